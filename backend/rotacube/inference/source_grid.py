"""A map on the raster's own grid: found on the model's grid, and resampled window by window when all is found.

Probabilities are resampled, not classes: between two pixels of the model's grid an outline runs where the probability
passes the threshold. Both grids have one origin and direction, so each axis is resampled by itself, and a part is the
crop of the whole to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rotacube.inference.findings import CHANCE, FULL, LABELS, Finding
from rotacube.inference.store import Store
from rotacube.models.card import ModelCard
from rotacube.raster.file_source import FileSource
from rotacube.raster.grid import Box
from rotacube.raster.map_grid import MapGrid
from rotacube.raster.resample import Taps, resample, taps_of
from rotacube.raster.write import BLOCK, NODATA

MODEL, SOURCE = "model", "source"
GRIDS = (MODEL, SOURCE)
WIDEST = 4096
"""Pixels a side, of either grid, of the largest window that is held."""


@dataclass(frozen=True)
class SourceGrid:
    """The raster's own grid, and the part of it that a map is delivered on.

    Attributes:
        source: the raster.
        box: the part, in the raster's pixels.
    """

    source: FileSource
    box: Box

    @property
    def grid(self) -> MapGrid:
        """The raster's own grid."""
        return self.source.own

    def under(self) -> Box:
        """The pixels of the model's grid that the part is made of."""
        rows, columns = self._taps(self.box)
        return Box(rows.first, columns.first, rows.first + rows.length, columns.first + columns.length)

    def over(self, area: Box) -> SourceGrid:
        """What of the part lies over an area of the model's grid."""
        across, down = self.source.scale
        reach = Box(
            int(np.floor(area.top * down)),
            int(np.floor(area.left * across)),
            self.grid.height if area.bottom == self.source.height else int(np.ceil(area.bottom * down)),
            self.grid.width if area.right == self.source.width else int(np.ceil(area.right * across)),
        )
        return replace(self, box=self.box & reach)

    def findings(self, store: Store, card: ModelCard, step: Callable[[float], None]) -> Iterator[Finding]:
        """What was found, on this grid.

        Args:
            store: what was found on the model's grid, with the probabilities of the classes.
            card: of the model, as the request changes it.
            step: is told the share that is done.
        """
        boxes = list(self._windows())
        for done, box in enumerate(boxes):
            step(done / len(boxes))
            rows, columns = self._taps(box)
            window = Box(rows.first, columns.first, rows.first + rows.length, columns.first + columns.length)
            found = store.read(window, store.names)
            parts = dict(zip(store.names, found, strict=True))
            if (parts[LABELS] == NODATA).all():
                nothing = np.full((box.height, box.width), NODATA, np.uint8)
                yield Finding(box, dict.fromkeys(store.names, nothing))
            else:
                yield self._finding(box, parts, (rows, columns), card)
        step(1.0)

    def _finding(
        self, box: Box, parts: dict[str, NDArray[np.uint8]], taps: tuple[Taps, Taps], card: ModelCard
    ) -> Finding:
        names = [f"{CHANCE} {c.id}" for c in card.classes[1:]]
        known = parts[LABELS] != NODATA
        values = np.stack([np.where(known, parts[name], 0) for name in names]).astype(np.float32)
        chances, seen = resample(values, known, *taps)
        valid = seen & self.source.valid(box)
        if len(chances) == 1:
            labels = (chances[0] > card.threshold * FULL).astype(np.uint8)
        else:
            labels = np.concatenate([FULL - chances.sum(0, keepdims=True), chances]).argmax(0).astype(np.uint8)
        kept = {LABELS: labels} | {name: np.rint(v).astype(np.uint8) for name, v in zip(names, chances, strict=True)}
        return Finding(box, {name: np.where(valid, part, np.uint8(NODATA)) for name, part in kept.items()})

    def _windows(self) -> Iterator[Box]:
        """Windows that tile the part, as high as blocks of its file where that is not too much of the model's grid."""
        across, down = self.source.scale
        height = max(1, min(BLOCK, int(BLOCK * down)))
        width = max(1, min(WIDEST, int(WIDEST * across)))
        for top in range(self.box.top, self.box.bottom, height):
            for left in range(self.box.left, self.box.right, width):
                yield Box(top, left, top + height, left + width) & self.box

    def _taps(self, box: Box) -> tuple[Taps, Taps]:
        """The pixels of the model's grid under a window, whose last ones may lie half a pixel beyond that grid."""
        across, down = self.source.scale
        rows = taps_of(box.top, box.bottom, 1 / down, self.source.height)
        columns = taps_of(box.left, box.right, 1 / across, self.source.width)
        return (
            replace(rows, inside=np.ones_like(rows.inside)),
            replace(columns, inside=np.ones_like(columns.inside)),
        )
