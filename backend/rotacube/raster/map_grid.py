"""The grid that a map is made on: pixels of a known size on the ground, where they lie, and how much they cover."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from affine import Affine
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError

from rotacube.errors import RasterEmpty
from rotacube.raster.grid import Box
from rotacube.raster.ground import Ground

Corners = tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]


def metres(gsd: tuple[float, float]) -> str:
    """A ground sample distance for a person: one number where both directions agree in four digits.

    >>> metres((0.15, 0.15000001)), metres((0.15, 0.1525))
    ('0.15 m', '0.15 x 0.1525 m')
    """
    return " x ".join(dict.fromkeys(f"{size:.4g}" for size in gsd)) + " m"


@dataclass(frozen=True)
class MapGrid:
    """A georeferenced grid of pixels.

    Attributes:
        height, width: pixels.
        crs: WKT.
        transform: from pixel (column, row) to CRS coordinates.
        gsd: ground sample distance in metres, along a row and along a column.
    """

    height: int
    width: int
    crs: str
    transform: Affine
    gsd: tuple[float, float]

    @property
    def extent(self) -> Box:
        """The whole grid."""
        return Box(0, 0, self.height, self.width)

    @cached_property
    def ground(self) -> Ground:
        """Lengths and areas on the ellipsoid."""
        return Ground(self.crs, self.transform)

    def area(self, box: Box) -> float:
        """Square metres on the ellipsoid of a part of the grid."""
        return self.ground.area(box.left, box.top, box.width, box.height)

    def pixel_area(self, box: Box) -> float:
        """Square metres on the ellipsoid of a pixel of a part of the grid, on average."""
        return self.area(box) / (box.height * box.width)

    def transform_of(self, box: Box) -> Affine:
        """The affine transform of a part of the grid."""
        part: Affine = self.transform * Affine.translation(box.left, box.top)
        return part

    def corners(self, box: Box) -> Corners:
        """x, y of a part's corners: upper left, upper right, lower right, lower left."""
        part, width, height = self.transform_of(box), box.width, box.height
        return part * (0, 0), part * (width, 0), part * (width, height), part * (0, height)

    def box_of_bounds(self, bounds: tuple[float, float, float, float], crs: str | None = None) -> Box:
        """The pixels of the grid that lie under a rectangle.

        Args:
            bounds: left, bottom, right, top.
            crs: of the bounds, in any form that PROJ takes; the grid's if None.

        Raises:
            RasterEmpty: the rectangle does not touch the grid, or is none.
        """
        left, bottom, right, top = bounds
        if not (all(map(math.isfinite, bounds)) and left < right and bottom < top):
            raise RasterEmpty(f"The area {bounds} is no rectangle: it must be left, bottom, right, top, each in order.")
        steps = np.linspace(0, 1, 21)
        x = left + (right - left) * np.concatenate([steps, steps, steps * 0, steps * 0 + 1])
        y = bottom + (top - bottom) * np.concatenate([steps * 0, steps * 0 + 1, steps, steps])
        if crs is not None:
            try:
                move = Transformer.from_crs(CRS.from_user_input(crs), CRS.from_wkt(self.crs), always_xy=True)
                x, y = move.transform(x, y)
            except (CRSError, ProjError) as error:
                raise RasterEmpty(f"The CRS of the area is not known ({error}). Give one such as EPSG:4326.") from error
        columns, rows = ~self.transform * (np.asarray(x), np.asarray(y))
        seen = np.isfinite(columns) & np.isfinite(rows)
        if not seen.any():
            raise RasterEmpty(f"The area {bounds} lies outside of what the raster's CRS covers. Choose another area.")
        columns, rows = columns[seen], rows[seen]
        slack = 1e-6
        box = self.extent & Box(
            math.floor(rows.min() + slack),
            math.floor(columns.min() + slack),
            math.ceil(rows.max() - slack),
            math.ceil(columns.max() - slack),
        )
        if box.empty:
            raise RasterEmpty(
                f"The area {tuple(round(v, 6) for v in bounds)} does not touch the raster. Choose an area over the "
                "layer, or the whole layer."
            )
        return box
