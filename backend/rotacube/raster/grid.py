"""The absolute tile grid: anchored at the raster's origin, the same whatever part of the raster is run.

Along each axis of n pixels, tile k covers `k * step` to `k * step + tile`, `step = tile - overlap`, as many tiles as it
takes to reach n; pixels are those of the model's grid whose (0, 0) is the raster's upper left corner. The last tile may
reach beyond the raster: what lies there is nodata. Neighbours fade into each other over their overlap, so that the
weights over every pixel sum to one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Box:
    """A window of pixels: half-open rows and columns. It may reach beyond the raster."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    @property
    def empty(self) -> bool:
        """Whether no pixel lies in it."""
        return self.height <= 0 or self.width <= 0

    def __and__(self, other: Box) -> Box:
        return Box(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )

    def parts(self, side: int) -> list[Box]:
        """Squares of so many pixels a side that make up this box, row by row; less at its right and at its bottom."""
        corners = product(range(self.top, self.bottom, side), range(self.left, self.right, side))
        return [Box(top, left, top + side, left + side) & self for top, left in corners]

    def within(self, outer: Box) -> tuple[slice, slice]:
        """The slices that cut this box out of an array that holds `outer`."""
        return (
            slice(self.top - outer.top, self.bottom - outer.top),
            slice(self.left - outer.left, self.right - outer.left),
        )


@dataclass(frozen=True)
class Axis:
    """Tiles along one axis of `size` pixels; `overlap` is at most half of `tile`."""

    size: int
    tile: int
    overlap: int

    @property
    def step(self) -> int:
        """Distance between neighbouring tiles."""
        return self.tile - self.overlap

    @property
    def count(self) -> int:
        """How many tiles there are."""
        return max(1, -(-(self.size - self.overlap) // self.step))

    def touching(self, start: int, stop: int) -> range:
        """Indices of all tiles that cover any pixel of `start` to `stop`, a part of the axis that is not empty."""
        first = (start - self.tile) // self.step + 1
        return range(max(0, first), min(self.count, (stop - 1) // self.step + 1))

    def core(self, k: int) -> tuple[int, int]:
        """The pixels that are shown as tile k's own: up to the middle of each overlap. Cores tile the axis."""
        half = self.overlap // 2
        start = k * self.step + half if k else 0
        return start, self.size if k == self.count - 1 else (k + 1) * self.step + half

    def like(self, k: int) -> int:
        """The first tile with the same ramp."""
        return k if k in (0, self.count - 1) else 1

    def ramp(self, k: int) -> NDArray[np.float32]:
        """Blending weights of tile k, (tile,): over every pixel of the axis the weights of all tiles sum to one."""
        ramp = np.ones(self.tile, np.float32)
        if self.overlap:
            rise = (np.sin((np.arange(self.overlap) + 0.5) / self.overlap * np.pi / 2) ** 2).astype(np.float32)
            if k > 0:
                ramp[: self.overlap] = rise
            if k < self.count - 1:
                ramp[-self.overlap :] = 1 - rise
        return ramp


@dataclass(frozen=True)
class TileGrid:
    """The tiles of a raster: rows i and columns j."""

    rows: Axis
    columns: Axis

    @classmethod
    def over(cls, height: int, width: int, tile: int, overlap: int) -> TileGrid:
        """The grid of a raster of `height` x `width` pixels."""
        return cls(Axis(height, tile, overlap), Axis(width, tile, overlap))

    def box(self, i: int, j: int) -> Box:
        """What tile (i, j) covers."""
        top, left = i * self.rows.step, j * self.columns.step
        return Box(top, left, top + self.rows.tile, left + self.columns.tile)

    def core(self, i: int, j: int) -> Box:
        """What is shown as the tile's own."""
        (top, bottom), (left, right) = self.rows.core(i), self.columns.core(j)
        return Box(top, left, bottom, right)

    def weights(self, i: int, j: int) -> NDArray[np.float32]:
        """Blending weights of tile (i, j), (tile, tile); not to be changed."""
        return _weights(self, self.rows.like(i), self.columns.like(j))


@lru_cache(maxsize=9)
def _weights(grid: TileGrid, i: int, j: int) -> NDArray[np.float32]:
    return np.outer(grid.rows.ramp(i), grid.columns.ramp(j))
