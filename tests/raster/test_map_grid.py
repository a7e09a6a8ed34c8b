"""A georeferenced grid: which pixels lie under a rectangle, and where a part of it lies."""

from __future__ import annotations

import math
import pickle

import pytest
import rasterio.transform
from affine import Affine
from pyproj import CRS, Geod, Transformer

from rotacube.errors import RasterEmpty
from rotacube.raster.grid import Box
from rotacube.raster.map_grid import MapGrid

GRID = MapGrid(100, 120, CRS.from_epsg(32645).to_wkt(), Affine(0.15, 0, 353000, 0, -0.15, 3060000), (0.15, 0.15))


@pytest.mark.parametrize(
    ("bounds", "crs", "word"),
    [
        ((0, 0, 1, 1), None, "does not touch"),
        ((353010, 3059990, 353005, 3059999), None, "no rectangle"),
        ((353000, 3059999, 353010, 3059990), None, "no rectangle"),
        ((math.nan, 3059990, 353010, 3059999), None, "no rectangle"),
        ((353000, 3059990, math.inf, 3059999), None, "no rectangle"),
        ((353001, 3059990, 353009, 3059999), "EPSG:999999", "not known"),
        ((353001, 3059990, 353009, 3059999), "nonsense", "not known"),
        ((353001, 3059990, 353009, 3059999), "", "not known"),
        ((1e9, 1e9, 2e9, 2e9), "EPSG:4326", "outside|not touch"),
    ],
)
def test_an_area_that_is_none_is_told(bounds, crs, word):
    with pytest.raises(RasterEmpty, match=word):
        GRID.box_of_bounds(bounds, crs)


def test_bounds_are_those_pixels_that_they_touch():
    left, top = 353000, 3060000
    assert GRID.box_of_bounds((left, top - 15, left + 18, top)) == GRID.extent
    assert GRID.box_of_bounds((left + 1.5, top - 3.0, left + 3.0, top - 1.5)) == Box(10, 10, 20, 20)
    assert GRID.box_of_bounds((left + 1.51, top - 3.01, left + 2.99, top - 1.49)) == Box(9, 10, 21, 20)
    assert GRID.box_of_bounds((left - 9, top - 1.5, left + 1.5, top + 9)) == Box(0, 0, 10, 10)
    move = Transformer.from_crs(32645, 4326, always_xy=True)
    west, south, east, north = move.transform_bounds(left + 3, top - 9, left + 9, top - 3)
    there = GRID.box_of_bounds((west, south, east, north), "EPSG:4326")
    assert there.top <= 20 and there.left <= 20 and there.bottom >= 60 and there.right >= 60
    assert there.height <= 44 and there.width <= 44


def test_corners_and_area_of_a_part_are_where_rasterio_and_proj_have_them():
    box = Box(10, 20, 60, 110)
    corners = GRID.corners(box)
    west, south, east, north = rasterio.transform.array_bounds(50, 90, GRID.transform_of(box))
    assert corners == tuple(pytest.approx(p) for p in ((west, north), (east, north), (east, south), (west, south)))
    longitude, latitude = Transformer.from_crs(32645, 4326, always_xy=True).transform(*zip(*corners, strict=True))
    assert GRID.area(box) == pytest.approx(
        -Geod(ellps="WGS84").polygon_area_perimeter(longitude, latitude)[0], rel=1e-6
    )


def test_a_grid_can_be_sent_to_another_process():
    GRID.area(GRID.extent)
    again = pickle.loads(pickle.dumps(GRID))
    assert again == GRID and again.area(GRID.extent) == GRID.area(GRID.extent)
