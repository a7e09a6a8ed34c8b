"""A raster's pixels on the grid of another one: in another CRS, of another size, turned, or between its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.warp import reproject, transform

from rotacube.raster.bands import Choice
from rotacube.raster.gdal import GDAL_ERRORS
from rotacube.raster.grid import Box
from rotacube.raster.opening import Facts
from rotacube.raster.pixels import Pixels

SPOTS = 20
"""Parts into which a side of a window is cut to see where it lies in the other raster."""
AROUND = 3
"""Pixels about that place which are read, too."""


@dataclass(frozen=True)
class Grid:
    """Pixels of a CRS (WKT)."""

    crs: str
    transform: Affine
    height: int
    width: int


def place_in(of: Grid, facts: Facts, box: Box) -> tuple[float, float, float, float] | None:
    """Where a part of a grid lies in a raster's pixels: top, left, bottom, right; None where that is not known."""
    along = np.linspace(0, 1, SPOTS + 1)
    low, high = np.zeros_like(along), np.ones_like(along)
    u = box.left + box.width * np.concatenate([along, along, low, high])
    v = box.top + box.height * np.concatenate([low, high, along, along])
    t = of.transform
    x, y = t.a * u + t.b * v + t.c, t.d * u + t.e * v + t.f
    if of.crs != facts.crs:
        try:
            x, y = (np.array(values) for values in transform(of.crs, facts.crs, x, y))
        except GDAL_ERRORS:
            return None
    columns, rows = ~facts.transform * (x, y)
    if not (np.isfinite(columns).all() and np.isfinite(rows).all()):
        return None
    return float(rows.min()), float(columns.min()), float(rows.max()), float(columns.max())


class Warped:
    """Reads windows of a raster on another grid, as `Pixels` does on its own.

    Args:
        pixels: the raster's; closed with this.
        onto: what it is read on; its pixels are at most a few times as large or small.
        resampling: nearest keeps values, and moves them by half a pixel at most.
    """

    def __init__(self, pixels: Pixels, onto: Grid, resampling: Resampling) -> None:
        self._pixels, self._onto, self._resampling = pixels, onto, resampling

    @property
    def choice(self) -> Choice:
        """The bands."""
        return self._pixels.choice

    def close(self) -> None:
        """Close the file."""
        self._pixels.close()

    def may_hold(self, box: Box) -> bool:
        """Whether anything can be valid in a window; true where that is not known without reading it."""
        own = self._own(box)
        return not own.empty and self._pixels.may_hold(own)

    def read(self, box: Box) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        """The model's bands (n, H, W) of a window, and the validity (H, W)."""
        own = self._own(box)
        dtype = np.dtype(self._pixels.dtypes[0])
        if own.empty:
            return np.zeros((len(self._pixels.dtypes), box.height, box.width), dtype), np.zeros(
                (box.height, box.width), bool
            )
        values, valid = self._pixels.read(own)
        if self._resampling == Resampling.nearest:
            seen = self._warped(valid[None].astype(np.uint8), own, box)[0] > 0
            return self._warped(np.ascontiguousarray(values), own, box), seen
        exact = values.astype(np.float64 if values.dtype.itemsize > 2 else np.float32)
        exact[:, ~valid] = np.nan
        found = self._warped(exact, own, box, np.nan)
        seen = np.isfinite(found).all(0)
        found[:, ~seen] = 0
        return (np.rint(found) if values.dtype.kind in "iu" else found).astype(values.dtype), seen

    def valid(self, box: Box) -> NDArray[np.bool_]:
        """The validity (H, W) of a window."""
        return self.read(box)[1]

    def _own(self, box: Box) -> Box:
        """What is read of the raster for a window."""
        facts = self._pixels.facts
        every = Box(0, 0, facts.height, facts.width)
        place = place_in(self._onto, facts, box)
        if place is None:
            return every
        low, high = np.floor(place[:2]).astype(int) - AROUND, np.ceil(place[2:]).astype(int) + AROUND
        return Box(int(low[0]), int(low[1]), int(high[0]), int(high[1])) & every

    def _warped(
        self, values: NDArray[np.generic], own: Box, box: Box, nothing: float | None = None
    ) -> NDArray[np.generic]:
        """Values (n, ...) of a part of the raster on a window; nothing is read as `nothing`, or as 0 if None."""
        facts = self._pixels.facts
        found: NDArray[np.generic] = np.full((len(values), box.height, box.width), nothing or 0, values.dtype)
        reproject(
            values,
            found,
            src_transform=facts.transform * Affine.translation(own.left, own.top),
            src_crs=facts.crs,
            dst_transform=self._onto.transform * Affine.translation(box.left, box.top),
            dst_crs=self._onto.crs,
            src_nodata=nothing,
            dst_nodata=nothing,
            init_dest_nodata=nothing is not None,
            resampling=self._resampling,
        )
        return found
