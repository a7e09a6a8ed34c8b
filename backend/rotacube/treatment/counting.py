"""Counts a mask's pixels in the cells of a grid, window by window: memory does not grow with the mask.

A pixel belongs to the cell that its centre lies in, on an edge to the one right of it or below. Where the mask's CRS is
another than the grid's, one centre in 32 x 32 is sent through PROJ, and those between lie evenly: over pixels of a
metre that moves none by more than a millimetre.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from rotacube.errors import RasterNotGeoreferenced
from rotacube.inference.within import Reach
from rotacube.raster.grid import Box
from rotacube.raster.map_grid import MapGrid
from rotacube.raster.mask_source import CHUNK, MaskSource
from rotacube.raster.write import NODATA
from rotacube.treatment.cells import Cells

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Ints = NDArray[np.int32]
BAND = 128
"""Rows that are counted at once: their places are much larger than their pixels."""
APART = 32
"""Pixels between those whose place is worked out."""
TIE = 1e-6
"""Parts of a cell: a centre as close to an edge lies on it."""


@dataclass(frozen=True)
class CellCounts:
    """Pixels of each of N cells.

    Attributes:
        pixels: (N,) all whose centre lies in it, whether the mask reaches there or not.
        valid: (N,) those with data.
        found: (K, N) those of each class but the background.
    """

    pixels: Counts
    valid: Counts
    found: Counts


class Places:
    """Where pixels lie in a CRS.

    Args:
        grid: of the pixels.
        crs: WKT.
    """

    def __init__(self, grid: MapGrid, crs: str) -> None:
        self._transform = grid.transform
        self._move: Transformer | None = None
        if not CRS.from_wkt(grid.crs).equals(CRS.from_wkt(crs), ignore_axis_order=True):
            self._move = Transformer.from_crs(grid.crs, crs, always_xy=True)

    def of(self, columns: Floats, rows: Floats) -> tuple[Floats, Floats]:
        """X and y of pixel coordinates (0.5 is the first pixel's centre).

        Raises:
            RasterNotGeoreferenced: one of them is nowhere in the CRS.
        """
        t = self._transform
        x, y = t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f
        if self._move is not None:
            try:
                x, y = self._move.transform(x, y)
            except ProjError:
                x = np.full(np.shape(columns), np.inf)
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise RasterNotGeoreferenced(
                "The raster's coordinates lie outside of what its CRS covers. Check that the CRS is the true one."
            )
        return np.asarray(x), np.asarray(y)


def count(
    source: MaskSource, reach: Reach, cells: Cells, step: Callable[[float], None] = lambda share: None
) -> CellCounts:
    """Count.

    Args:
        source: the mask.
        reach: polygons outside of which no pixel has data.
        cells: the grid.
        step: is told the share that is done.

    Raises:
        RasterUnreadable: the file is damaged.
        RasterNotGeoreferenced: a part of it is nowhere on the ground.
    """
    totals = np.zeros((1 + len(source.classes), cells.rows, cells.columns), np.int64)
    places = Places(source.grid, cells.crs)
    boxes = _boxes(reach.extent(source.grid.extent), math.ceil(1.5 * cells.size / min(source.grid.gsd)) + 1)
    for done, box in enumerate(boxes):
        step(done / len(boxes))
        labels = _labels(source, reach, box)
        for top in range(box.top, box.bottom, BAND):
            band = Box(top, box.left, min(top + BAND, box.bottom), box.right)
            _add(totals, labels[band.within(box)].ravel(), *_cells_of(places, cells, band))
    flat = totals.reshape(len(totals), -1)
    return CellCounts(flat[0], flat[1], flat[2:])


def _add(totals: Counts, labels: NDArray[np.uint8], column: Ints, row: Ints) -> None:
    """Add pixels (N,) to those that were counted: all, those with data, and those of each class."""
    rows, columns = totals.shape[1:]
    if column.min() < 0 or row.min() < 0 or column.max() >= columns or row.max() >= rows:
        inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
        labels, column, row = labels[inside], column[inside], row[inside]
        if not len(labels):
            return
    top, left = int(row.min()), int(column.min())
    into = totals[:, top : int(row.max()) + 1, left : int(column.max()) + 1]
    at = (row - top) * into.shape[2] + (column - left)
    into[0] += _counted(at, into.shape[1:])
    at, labels = at[labels != NODATA], labels[labels != NODATA]
    into[1] += _counted(at, into.shape[1:])
    for number in range(1, len(totals) - 1):
        into[1 + number] += _counted(at[labels == number], into.shape[1:])


def _counted(at: Ints, shape: tuple[int, ...]) -> Counts:
    return np.bincount(at, minlength=math.prod(shape)).reshape(shape)


def _boxes(extent: Box, margin: int) -> list[Box]:
    """Windows that tile an extent and a margin about it, in which cells at the edge have pixels, too."""
    rows = _cuts(extent.top - margin, extent.bottom + margin)
    columns = _cuts(extent.left - margin, extent.right + margin)
    return [
        Box(top, left, bottom, right)
        for top, bottom in zip(rows[:-1], rows[1:], strict=True)
        for left, right in zip(columns[:-1], columns[1:], strict=True)
    ]


def _cuts(low: int, high: int) -> list[int]:
    """Where windows begin and end: at whole `CHUNK`s, as the file's own blocks do."""
    return [low, *range((low // CHUNK + 1) * CHUNK, high, CHUNK), high]


def _labels(source: MaskSource, reach: Reach, box: Box) -> NDArray[np.uint8]:
    """Class ids (H, W) of a window, nodata beyond the mask and outside of the polygons."""
    labels = np.full((box.height, box.width), NODATA, np.uint8)
    there = box & source.grid.extent
    if not there.empty:
        labels[there.within(box)] = source.read(there)
    labels[~reach.inside(box)] = NODATA
    return labels


def _cells_of(places: Places, cells: Cells, box: Box) -> tuple[Ints, Ints]:
    """Column and row in the grid of the cells that the pixels of a window, row by row, lie in."""
    rows, columns = _nodes(box.top, box.bottom), _nodes(box.left, box.right)
    x, y = places.of(*(np.ravel(part) for part in np.meshgrid(columns, rows)))
    column, row = (
        _between(_between(part.reshape(len(rows), -1).T, box.width).T, box.height) for part in cells.places(x, y)
    )
    return np.floor(column + TIE).astype(np.int32).ravel(), np.floor(row + TIE).astype(np.int32).ravel()


def _nodes(start: int, stop: int) -> Floats:
    """Places about `APART` pixels from each other, from end to end."""
    return np.linspace(start, stop, max(1, math.ceil((stop - start) / APART)) + 1)


def _between(at_nodes: Floats, pixels: int) -> Floats:
    """Values (pixels, ...) at the pixels' centres, of those at the nodes (n, ...)."""
    at = (np.arange(pixels) + 0.5) / pixels * (len(at_nodes) - 1)
    before = at.astype(np.int64)
    return at_nodes[before] + (at - before)[:, None] * np.diff(at_nodes, axis=0)[before]
