"""Where a mask lies in degrees of WGS 84: a grid of pixels as large on the ground as the mask's own."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import ProjError

from rotacube.errors import OptionsRefused
from rotacube.raster.grid import Box
from rotacube.raster.map_grid import MapGrid

WGS84 = "EPSG:4326"
WIDEST = 90.0
"""Degrees of longitude that a mask may span."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Degrees:
    """A grid in degrees, north up.

    Attributes:
        west: of the left edge; it and what lies right of it may be beyond 180.
        north: of the upper edge.
        size: degrees of a pixel, along a row and along a column.
        height, width: pixels.
        turn: degrees to add to a longitude before it is written.
    """

    west: float
    north: float
    size: tuple[float, float]
    height: int
    width: int
    turn: float = 0.0

    @property
    def transform(self) -> Affine:
        """From pixel (column, row) to degrees."""
        return Affine(self.size[0], 0, self.west, 0, -self.size[1], self.north)

    def bounds(self, box: Box) -> tuple[float, float, float, float]:
        """West, south, east and north of a part, as they are written."""
        west, north = self.west + self.turn + box.left * self.size[0], self.north - box.top * self.size[1]
        return west, north - box.height * self.size[1], west + box.width * self.size[0], north


def degrees_of(grid: MapGrid) -> list[Degrees]:
    """The grid in degrees over a mask's grid; two where the meridian of 180 degrees cuts it.

    Raises:
        OptionsRefused: the mask lies about a pole, spans too much of the Earth, or lies where its CRS is not defined.
    """
    longitude, latitude = _edge(grid)
    if not (np.isfinite(longitude).all() and np.isfinite(latitude).all()):
        raise OptionsRefused("Parts of the mask lie nowhere on the Earth. Check its CRS, or cut these parts off.")
    middle = _to_degrees(grid, np.array([grid.width / 2]), np.array([grid.height / 2]))[0][0]
    longitude = (longitude - middle + 180) % 360 - 180 + middle
    if _holds_pole(grid) or np.ptp(longitude) > WIDEST:
        raise OptionsRefused(
            f"The mask spans more than {WIDEST:g} degrees of longitude, or a pole lies in it: in degrees it would be "
            "no picture. Cut it into parts first (gdal_translate -projwin)."
        )
    size = _pixel(grid, float(latitude.mean()))
    west, north = float(longitude.min()), float(latitude.max())
    height = max(1, math.ceil((north - float(latitude.min())) / size[1] - 1e-6))
    width = max(1, math.ceil((float(longitude.max()) - west) / size[0] - 1e-6))
    whole = Degrees(west, north, size, height, width)
    for meridian in (-180.0, 180.0):
        if west < meridian - size[0] and meridian + size[0] < west + width * size[0]:
            left = math.ceil((meridian - west) / size[0])
            turns = (360.0, 0.0) if meridian < 0 else (0.0, -360.0)
            start = meridian - left * size[0]
            right = replace(whole, west=meridian, width=width - left + 1, turn=turns[1])
            return [replace(whole, west=start, width=left, turn=turns[0]), right]
    return [replace(whole, turn=-360.0 if west > 180 - size[0] else 360.0 if west < -180 - size[0] else 0.0)]


def part_of(grid: MapGrid, degrees: Degrees, box: Box) -> Box:
    """The part of a mask's grid that a part of the grid in degrees shows, and a little more."""
    steps = np.linspace(0, 1, 9)
    columns = np.add.outer(steps * 0, box.left + steps * box.width).ravel()
    rows = np.add.outer(box.top + steps * box.height, steps * 0).ravel()
    crs = CRS.from_wkt(grid.crs)
    longitude, latitude = _through(degrees.transform, columns, rows)
    x, y = Transformer.from_crs(WGS84, crs, always_xy=True).transform(longitude, latitude)
    if crs.is_geographic:  # it may have been turned into the range about 0
        x = x + 360 * np.rint((longitude - x) / 360)
    u, v = _through(~grid.transform, x, y)
    seen = np.isfinite(u) & np.isfinite(v)
    if not seen.any():
        return Box(0, 0, 0, 0)
    bent = 2 + math.ceil(max(np.ptp(u[seen]), np.ptp(v[seen])) / 100)
    low, high = (np.floor([v[seen].min(), u[seen].min()]), np.ceil([v[seen].max(), u[seen].max()]))
    return Box(*(int(n) - bent for n in low), *(int(n) + bent for n in high)) & grid.extent


def _through(t: Affine, columns: Floats, rows: Floats) -> tuple[Floats, Floats]:
    """Places through a transform."""
    return t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f


def _to_degrees(grid: MapGrid, columns: Floats, rows: Floats) -> tuple[Floats, Floats]:
    x, y = _through(grid.transform, columns, rows)
    move = Transformer.from_crs(CRS.from_wkt(grid.crs), WGS84, always_xy=True)
    longitude, latitude = move.transform(x, y)
    return np.asarray(longitude), np.asarray(latitude)


def _edge(grid: MapGrid) -> tuple[Floats, Floats]:
    """Longitudes and latitudes along the grid's edge."""
    steps = np.linspace(0, 1, 65)
    columns = grid.width * np.concatenate([steps, steps, steps * 0, steps * 0 + 1])
    rows = grid.height * np.concatenate([steps * 0, steps * 0 + 1, steps, steps])
    return _to_degrees(grid, columns, rows)


def _holds_pole(grid: MapGrid) -> bool:
    crs = CRS.from_wkt(grid.crs)
    if crs.is_geographic:
        return False  # a pole is its edge
    for latitude in (-90.0, 90.0):
        try:
            x, y = Transformer.from_crs(WGS84, crs, always_xy=True).transform(0.0, latitude)
        except ProjError:
            continue
        column, row = ~grid.transform * (x, y)
        if 0 <= column <= grid.width and 0 <= row <= grid.height:
            return True
    return False


def _pixel(grid: MapGrid, latitude: float) -> tuple[float, float]:
    """Degrees of a pixel that is as large as the mask's; the mask's own where it is in degrees, north up."""
    t, crs = grid.transform, CRS.from_wkt(grid.crs)
    if crs.is_geographic and t.b == t.d == 0 and math.isclose(crs.axis_info[0].unit_conversion_factor, math.pi / 180):
        return abs(t.a), abs(t.e)
    geod, step = Geod(ellps="WGS84"), 1e-3
    at = max(-89.9, min(89.9, latitude))
    along = geod.inv(0, at, step, at)[2] / step
    up = geod.inv(0, at - step / 2, 0, at + step / 2)[2] / step
    return min(grid.gsd) / along, min(grid.gsd) / up
