"""Pixels that somebody sends cell by cell, on a grid of the model's ground sample distance, as a source."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from threading import Lock

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio.io import MemoryFile

from rotacube.errors import RasterNotGeoreferenced, RequestRefused, first_line
from rotacube.models.card import ModelCard
from rotacube.raster.gdal import GDAL_ERRORS
from rotacube.raster.grid import Box
from rotacube.raster.ground import Ground
from rotacube.raster.map_grid import MapGrid

CELL = 512
"""Pixels a side of a cell."""
MOST = 400
"""Cells that are kept; those that were not read for longest go first."""
HALF = 2**19
"""Pixels from the grid's origin to the place that it was made about."""
At = tuple[int, int]


class CellSource:
    """A source whose pixels are put into it.

    Attributes:
        grid: the model's grid, in the CRS of the pixels, about a place.

    Args:
        crs: of the pixels, in any form that PROJ takes; its axes are in metres or feet, or in degrees.
        near: x, y of a place about which the ground sample distance is the model's.
        card: of the model.

    Raises:
        RasterNotGeoreferenced: the CRS is none, or the place is nowhere on the ground.
    """

    def __init__(self, crs: str, near: tuple[float, float], card: ModelCard) -> None:
        try:
            text = CRS.from_user_input(crs).to_wkt()
        except CRSError as error:
            raise RasterNotGeoreferenced(f"The CRS of the map is not known ({first_line(error)}).") from error
        size = Ground(text, Affine(1, 0, near[0], 0, -1, near[1])).pixel_size(0, 0)
        if not all(math.isfinite(metres) and metres > 0 for metres in size):
            raise RasterNotGeoreferenced("The map shows a place that its CRS does not cover.")
        dx, dy = (card.gsd / metres for metres in size)
        column, row = math.floor(near[0] / (CELL * dx)), math.floor(-near[1] / (CELL * dy))
        origin = Affine(dx, 0, (column * CELL - HALF) * dx, 0, -dy, -(row * CELL - HALF) * dy)
        self.grid = MapGrid(2 * HALF, 2 * HALF, text, origin, (card.gsd, card.gsd))
        self._rule = card.normalisation
        self._cells: OrderedDict[At, NDArray[np.uint8]] = OrderedDict()
        self._lock = Lock()

    @property
    def height(self) -> int:
        """Rows of the grid."""
        return self.grid.height

    @property
    def width(self) -> int:
        """Columns of the grid."""
        return self.grid.width

    @property
    def count(self) -> int:
        """Cells that are kept."""
        return len(self._cells)

    def put(self, column: int, row: int, png: bytes) -> Box | None:
        """Take the pixels of a cell.

        Returns:
            What the cell covers, in the grid's pixels; None if it had these pixels already.

        Raises:
            RequestRefused: they are no PNG of a cell's size in colours.
        """
        if not (0 <= column < 2 * HALF // CELL and 0 <= row < 2 * HALF // CELL):
            raise RequestRefused(f"There is no cell ({column}, {row}).")
        if not png:
            raise RequestRefused("A cell's picture has no bytes.")
        try:
            with rasterio.Env(GDAL_PAM_ENABLED="NO"), MemoryFile(png) as memory, memory.open(driver="PNG") as file:
                if (file.width, file.height) != (CELL, CELL) or file.count < 3 or file.dtypes[0] != "uint8":
                    raise RequestRefused(f"A cell is a PNG of {CELL} x {CELL} pixels, 8 bits a colour.")
                pixels = file.read()
        except GDAL_ERRORS as error:
            raise RequestRefused(f"A cell's picture is no whole PNG ({first_line(error)}).") from error
        if len(pixels) == 3:
            pixels = np.concatenate([pixels, np.full((1, CELL, CELL), 255, np.uint8)])
        with self._lock:
            before = self._cells.get((column, row))
            self._cells[column, row] = pixels[:4]
            self._cells.move_to_end((column, row))
            if len(self._cells) > MOST:
                self._cells.popitem(last=False)
        return None if before is not None and np.array_equal(before, pixels[:4]) else _box(column, row)

    def missing(self, boxes: Iterable[Box]) -> set[At]:
        """The cells, column and row, that windows of the grid need and that are not here."""
        with self._lock:
            return {at for box in boxes for at in _cells(box & self.grid.extent) if at not in self._cells}

    def read(self, box: Box) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read a window; what nobody has sent is nodata."""
        raw = np.zeros((4, box.height, box.width), np.uint8)
        with self._lock:
            for column, row in _cells(box & self.grid.extent):
                if (column, row) in self._cells:
                    self._cells.move_to_end((column, row))
                    cell = _box(column, row)
                    both = cell & box
                    raw[(slice(None), *both.within(box))] = self._cells[column, row][(slice(None), *both.within(cell))]
        valid = raw[3] > 0
        return self._rule.apply(raw[:3].astype(np.float32) / np.float32(self._rule.scale), valid), valid


def _box(column: int, row: int) -> Box:
    """What a cell covers."""
    return Box(row * CELL, column * CELL, (row + 1) * CELL, (column + 1) * CELL)


def _cells(box: Box) -> Iterable[At]:
    if box.empty:
        return []
    rows, columns = range(box.top // CELL, -(-box.bottom // CELL)), range(box.left // CELL, -(-box.right // CELL))
    return [(column, row) for row in rows for column in columns]
