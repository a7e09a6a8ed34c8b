"""Frames that overlap, put together: each votes with its probabilities, the more the nearer to its middle.

All sums are of whole numbers, so no order of frames gives another map. Those of 32 bits hold 33,000 views of a pixel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rotacube.inference.accord import Cells
from rotacube.inference.findings import CHANCE, FULL, LABELS, VOTE, Finding
from rotacube.models.card import ModelCard
from rotacube.raster.grid import Box
from rotacube.raster.write import NODATA

AGREEMENT, VIEWS, WEIGHT = "agreement", "views", "weight"
COLOURS = ("red", "green", "blue")
FOCUS = 5
"""The power of a frame's weight that its colours have: frames lie some pixels off each other, and a mean of all that
see a place would show it twice. 254 to the fifth, times 255, fits 60,000 times into 64 bits."""
FOCUSED = np.arange(256, dtype=np.uint64) ** np.uint64(FOCUS)

Bytes = NDArray[np.uint8]


def frame_parts(card: ModelCard) -> list[str]:
    """The parts that are kept of a frame: probabilities of the classes from 1 on, its weight (0 where it does not
    reach), and its colours.
    """
    return [*(f"{CHANCE} {c.id}" for c in card.classes[1:]), WEIGHT, *COLOURS]


class Votes:
    """The votes of frames on a part of the grid.

    Args:
        box: the part.
        card: of the model.

    Attributes:
        cells: what views of the same ground find there.
    """

    def __init__(self, box: Box, card: ModelCard) -> None:
        self.box, self.card = box, card
        self.cells = Cells(box, len(card.classes))
        shape, classes = (box.height, box.width), len(card.classes)
        self._weight, self._views = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        self._chance, self._votes = (np.zeros((classes, *shape), np.int32) for _ in range(2))
        self._focus, self._colour = np.zeros(shape, np.uint64), np.zeros((3, *shape), np.uint64)

    def add(self, window: Box, parts: Bytes) -> None:
        """Count a frame's parts (as `frame_parts` has them, height, width) in a window within the box."""
        cut = window.within(self.box)
        there = (slice(None), *cut)
        *chances, weight, red, green, blue = parts
        heavy, seen = weight.astype(np.int32), weight > 0
        further = np.where(seen, chances, 0).astype(np.int32)
        chance = np.concatenate([np.maximum(FULL - further.sum(0, dtype=np.int32), 0)[None], further])
        self._weight[cut] += heavy
        self._views[cut] += seen
        self._chance[there] += chance * heavy
        winner = self._winner(chance, FULL)
        self.cells.add(window, winner, seen)
        for number, votes in enumerate(self._votes):
            votes[cut] += heavy * (winner == number)
        focus = FOCUSED[weight]
        self._focus[cut] += focus
        self._colour[there] += np.stack([red, green, blue]) * focus

    def _winner(self, chance: NDArray[np.int32], whole: NDArray[np.int32] | int) -> Bytes:
        """The class (H, W) of chances (classes, H, W) that are parts of a whole; of equal ones the first."""
        if len(chance) == 2:
            return np.asarray(chance[1] > self.card.threshold * whole, np.uint8)
        winner, most = np.zeros(chance.shape[1:], np.uint8), chance[0].copy()
        for number, one in enumerate(chance[1:], start=1):
            winner[one > most] = number
            np.maximum(most, one, out=most)
        return winner

    @property
    def finding(self) -> Finding:
        """What the votes say: class ids, probabilities, votes, agreement, number of views, and colours."""
        seen, weight = self._weight > 0, np.maximum(self._weight, 1)
        winner = self._winner(self._chance, weight * FULL)
        for_it = np.take_along_axis(self._votes, winner[None], 0)[0]
        colour = self._colour // np.maximum(self._focus, 1)
        parts = {
            LABELS: winner,
            **{f"{CHANCE} {c.id}": self._chance[c.id] / weight for c in self.card.classes[1:]},
            **{f"{VOTE} {c.id}": self._votes[c.id] / weight * FULL for c in self.card.classes[1:]},
            AGREEMENT: for_it / weight * FULL,
            VIEWS: np.minimum(self._views, FULL),
            **dict(zip(COLOURS, np.minimum(colour, FULL), strict=True)),
        }
        return Finding(self.box, {name: _bytes(values, seen) for name, values in parts.items()})


def _bytes(values: NDArray[np.generic], seen: NDArray[np.bool_]) -> Bytes:
    whole = values if np.issubdtype(values.dtype, np.integer) else np.rint(values)
    kept: Bytes = whole.astype(np.uint8)
    kept[~seen] = NODATA
    return kept
