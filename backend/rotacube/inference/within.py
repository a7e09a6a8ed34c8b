"""A map within polygons: what lies outside is nodata, and costs nothing where no tile touches them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import rasterio.features
import shapely
from affine import Affine
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from rotacube.errors import RasterEmpty
from rotacube.raster.file_source import FileSource
from rotacube.raster.grid import Box
from rotacube.raster.map_grid import MapGrid
from rotacube.vector.layers import moved, read_polygons

EDGE = 64.0
"""Pixels between places on an edge."""
_APART = "The polygons do not touch the raster. Choose some that lie over it."


def inside_of(shapes: Sequence[BaseGeometry], box: Box) -> NDArray[np.bool_]:
    """Of which pixels (H, W) of a window the middle lies in one of these shapes, in the grid's pixels."""
    shape = (box.height, box.width)
    if not shapes:
        return np.zeros(shape, bool)
    place = Affine.translation(box.left, box.top)
    found: NDArray[np.bool_] = rasterio.features.geometry_mask(shapes, shape, place, invert=True)
    return found


class Reach:
    """Polygons, and what they reach of a grid.

    Args:
        shapes: polygons in the grid's pixels; none: all of it.
    """

    def __init__(self, shapes: Sequence[BaseGeometry]) -> None:
        self._everywhere = not len(shapes)
        self._tree = shapely.STRtree(list(shapes))

    def extent(self, area: Box) -> Box:
        """What of an area the polygons reach.

        Raises:
            RasterEmpty: nothing.
        """
        if self._everywhere:
            return area
        left, top, right, bottom = shapely.total_bounds(self._tree.geometries)
        reach = Box(int(np.floor(top)), int(np.floor(left)), int(np.ceil(bottom)), int(np.ceil(right))) & area
        if reach.empty:
            raise RasterEmpty(_APART)
        return reach

    def edge(self, area: Box) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Columns and rows of many places on the edge of what the polygons reach of an area.

        Raises:
            RasterEmpty: nothing.
        """
        box = self.extent(area)
        shapes: NDArray[np.object_] = np.array([shapely.box(box.left, box.top, box.right, box.bottom)], object)
        if not self._everywhere:
            shapes = shapely.intersection(self._tree.geometries, shapes[0])
        columns, rows = shapely.get_coordinates(shapely.segmentize(shapes, EDGE)).T
        if not len(columns):
            raise RasterEmpty(_APART)
        return columns, rows

    def inside(self, box: Box) -> NDArray[np.bool_]:
        """Of which pixels (H, W) of a window the middle lies in a polygon."""
        if self._everywhere:
            return np.ones((box.height, box.width), bool)
        return inside_of(list(self._tree.geometries[self._touched(box)]), box)

    def _touched(self, box: Box) -> NDArray[np.int64]:
        window = shapely.box(box.left, box.top, box.right, box.bottom)
        touched: NDArray[np.int64] = self._tree.query(window, predicate="intersects")
        return touched


class Within(Reach):
    """A source of which tiles that touch no polygon are nodata; the others are whole, as a network sees them.

    Args:
        source: what is read.
        shapes: polygons in the grid's pixels; none: all of the source.
    """

    def __init__(self, source: FileSource, shapes: Sequence[BaseGeometry]) -> None:
        super().__init__(shapes)
        self.source = source

    @property
    def height(self) -> int:
        """Rows of the grid."""
        return self.source.height

    @property
    def width(self) -> int:
        """Columns of the grid."""
        return self.source.width

    @property
    def mark(self) -> str:
        """Of these polygons alone, to know them again; empty without."""
        if self._everywhere:
            return ""
        return hashlib.sha256(b"".join(shapely.to_wkb(self._tree.geometries))).hexdigest()

    def read(self, box: Box) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read a window, as a source does."""
        if not self._everywhere and not len(self._touched(box)):
            bands = len(self.source.card.bands)
            return np.zeros((bands, box.height, box.width), np.float32), np.zeros((box.height, box.width), bool)
        return self.source.read(box)


def within(source: FileSource, layer: str) -> Within:
    """A source within a layer's polygons; all of it where the layer's name is empty.

    Raises:
        LayerRefused: the layer cannot be read, or holds no polygon.
    """
    return Within(source, shapes_of(layer, source.grid))


def shapes_of(layer: str, grid: MapGrid) -> list[BaseGeometry]:
    """A layer's polygons in the pixels of a grid; none where the layer's name is empty.

    Raises:
        LayerRefused: the layer cannot be read, or holds no polygon.
    """
    if not layer:
        return []
    return list(moved(np.array(read_polygons(layer, grid.crs).shapes, object), ~grid.transform))
