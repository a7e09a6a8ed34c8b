"""Overviews: what is most frequent of four stays, and nodata hides nothing."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling

from rotacube.raster.overviews import most_frequent, with_overviews


@pytest.mark.parametrize("size", [(8, 12), (7, 9), (1, 1)])
def test_the_most_frequent_value_stays_and_the_first_of_equals(size):
    values = np.random.default_rng(0).choice(np.array([0, 1, 2, 255], np.uint8), size)
    got = most_frequent(values, 255)
    for i in range(got.shape[0]):
        for j in range(got.shape[1]):
            four = [int(v) for v in values[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].ravel() if v != 255]
            assert got[i, j] == (Counter(four).most_common(1)[0][0] if four else 255)


def test_two_classes_without_ties_are_as_gdal_has_them(tmp_path):
    rng = np.random.default_rng(1)
    values = np.repeat(np.repeat(rng.integers(0, 2, (40, 50), np.uint8), 4, 0), 4, 1)
    values[::4, ::4] ^= 1
    path = tmp_path / "a.tif"
    with rasterio.open(path, "w", driver="GTiff", height=160, width=200, count=1, dtype="uint8") as file:
        file.write(values, 1)
        file.build_overviews([2], Resampling.mode)
    with rasterio.open(path, overview_level=0) as file:
        np.testing.assert_array_equal(most_frequent(values, 255), file.read(1))


def test_levels_go_down_to_one_block(tmp_path):
    values = np.random.default_rng(2).integers(0, 3, (150, 90), np.uint8)
    values[:70, :40] = 255
    path = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "height": 150, "width": 90, "count": 1, "dtype": "uint8", "nodata": 255}
    with rasterio.open(path, "w", **profile, tiled=True, blockxsize=32, blockysize=32) as file:
        file.write(values, 1)
    virtual = with_overviews(path, lambda kind: tmp_path / kind, 32)
    with rasterio.open(virtual) as file:
        assert file.overviews(1) == [2, 4, 8]
        np.testing.assert_array_equal(file.read(1), values)
    for level in range(3):
        values = most_frequent(values, 255)
        with rasterio.open(virtual, overview_level=level) as file:
            np.testing.assert_array_equal(file.read(1), values)
