"""The geometry of a treatment grid: turned square cells, numbered in rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from rotacube.errors import OptionsRefused

Floats = NDArray[np.float64]
MOST = 2_000_000
"""Cells of the largest grid, those without data included."""


@dataclass(frozen=True)
class Cells:
    """A grid of square cells. Its columns run along the angle, its rows across; row 0 lies farthest along it.

    Attributes:
        crs: WKT, projected, in metres.
        size: of a side, metres.
        angle: degrees clockwise from the CRS's north.
        across: of the first column's outer side, metres across the angle.
        along: of the first row's outer side, metres along the angle.
        rows, columns: how many there are.
    """

    crs: str
    size: float
    angle: float
    across: float
    along: float
    rows: int
    columns: int

    @classmethod
    def over(
        cls, crs: str, x: Floats, y: Floats, size: float, angle: float, about: tuple[Floats, Floats] | None = None
    ) -> Cells:
        """The grid that covers places (N,) of the CRS.

        Args:
            crs: WKT, projected, in metres.
            x: of the places.
            y: of the places.
            size: of a cell's side, metres.
            angle: degrees clockwise from north.
            about: places whose turned box has a corner of cells at its first corner; if None the first cell begins at
                that of all.

        Raises:
            OptionsRefused: it would have more than `MOST` cells.
        """
        across, along = _turned(x, y, angle)
        left, top = float(across.min()), float(along.max())
        if about is not None:
            inner, outer = _turned(*about, angle)
            left = float(inner.min()) - math.ceil((float(inner.min()) - left) / size) * size
            top = float(outer.max()) + math.ceil((top - float(outer.max())) / size) * size
        spans = top - float(along.min()), float(across.max()) - left
        rows, columns = (max(1, math.ceil(span / size - 1e-6)) for span in spans)
        if rows * columns > MOST:
            raise OptionsRefused(
                f"Cells of {size:g} m make a grid of {rows * columns:,} cells, more than {MOST:,}. Choose larger ones, "
                "or a smaller area with polygons."
            )
        return cls(crs, size, angle, left, top, rows, columns)

    @property
    def count(self) -> int:
        """Of all cells."""
        return self.rows * self.columns

    def places(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Column and row, with fractions, of places of the CRS; 0.5 is the first cell's middle."""
        across, along = _turned(x, y, self.angle)
        return (across - self.across) / self.size, (self.along - along) / self.size

    def polygons(self, numbers: NDArray[np.int64]) -> NDArray[np.object_]:
        """The squares (N,) of cells, by their numbers: row by row, from 0."""
        row, column = np.divmod(numbers, self.columns)
        # down, right, up: counterclockwise
        across = self.across + (column[:, None] + np.array([0, 0, 1, 1, 0])) * self.size
        along = self.along - (row[:, None] + np.array([0, 1, 1, 0, 0])) * self.size
        turn = math.radians(self.angle)
        x = across * math.cos(turn) + along * math.sin(turn)
        y = along * math.cos(turn) - across * math.sin(turn)
        squares: NDArray[np.object_] = shapely.polygons(np.stack([x, y], -1))
        return squares


def longest_side(x: Floats, y: Floats) -> float:
    """Degrees clockwise from north, 0 to 180, of the longest side of the narrowest box about places (N,)."""
    box = shapely.oriented_envelope(shapely.multipoints(np.stack([x, y], -1)))
    corners = shapely.get_coordinates(box)
    sides = np.diff(corners, axis=0)
    if not len(sides):  # a single place
        return 0.0
    east, north = sides[np.argmax(np.hypot(*sides.T))]
    return round(math.degrees(math.atan2(east, north)) % 180, 3) % 180


def _turned(x: Floats, y: Floats, angle: float) -> tuple[Floats, Floats]:
    """Metres across and along the angle."""
    turn = math.radians(angle)
    return x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)
