"""What a run keeps of a strip, a byte for each thing that it says of a pixel.

All products are made of these bytes, whether they were found just now or lie in the job's folder since a run that was
cut off: both give equal files.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rotacube.inference.engine import Strip
from rotacube.inference.labels import labels_of
from rotacube.logits import probabilities
from rotacube.models.card import ModelCard
from rotacube.raster.grid import Box
from rotacube.raster.write import NODATA

Bytes = NDArray[np.uint8]
LABELS, CHANCE, VOTE = "labels", "chance", "vote"
FULL = 254
"""The byte of probability 1."""
FURTHER = ("distance", "border")
"""The outputs beside the logits of which single roofs are made."""


@dataclass(frozen=True)
class Finding:
    """What is kept of a strip.

    Attributes:
        box: what it covers, in the grid's pixels.
        parts: by name, (height, width) each: "labels" are class ids, "chance 1" and so on the probabilities of the
            classes from 1 on, "vote 1" and so on how many of several views are for them, "distance" and "border" those
            outputs, all of these in 254ths; nodata is 255.
    """

    box: Box
    parts: dict[str, Bytes] = field(repr=False)

    @property
    def labels(self) -> Bytes:
        """Class ids."""
        return self.parts[LABELS]


def names_of(card: ModelCard, needs: Collection[str]) -> list[str]:
    """The parts that a model's strips are kept as.

    Args:
        card: of the model.
        needs: of "chance", "distance" and "border" those that are wanted where the model has them.
    """
    own = {output.name for output in card.further}
    chances = [f"{CHANCE} {c.id}" for c in card.classes[1:]] if CHANCE in needs else []
    return [LABELS, *chances, *(name for name in FURTHER if name in needs and name in own)]


def finding_of(strip: Strip, card: ModelCard, names: Collection[str]) -> Finding:
    """Keep a strip as these parts."""
    valid = strip.valid
    parts = {LABELS: labels_of(strip.logits, valid, card)}
    if any(name.startswith(CHANCE) for name in names):
        every = probabilities(strip.logits)
        parts |= {f"{CHANCE} {c.id}": _bytes(every[c.id], valid) for c in card.classes[1:]}
    for name in FURTHER:
        if name in names:
            parts[name] = _bytes(probabilities(strip.further[name][:1])[1], valid)
    return Finding(strip.box, parts)


def _bytes(chance: NDArray[np.float32], valid: NDArray[np.bool_]) -> Bytes:
    kept: Bytes = np.where(valid, np.rint(chance * FULL), NODATA).astype(np.uint8)
    return kept
