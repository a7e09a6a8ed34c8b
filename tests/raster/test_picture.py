"""A photo in 8 bits on any grid, whatever its bands, depth, opacity and CRS."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.warp import transform_bounds

from rotacube.errors import RasterBands
from rotacube.raster.grid import Box
from rotacube.raster.picture import Photo

UTM = CRS.from_epsg(32645)
HERE = Affine(0.5, 0, 350_000, 0, -0.5, 3_060_000)


def write(path, values, colours=None, palette=None, **profile):
    count, height, width = values.shape
    profile = {"driver": "GTiff", "dtype": values.dtype, "crs": UTM, "transform": HERE, **profile}
    with rasterio.open(path, "w", count=count, height=height, width=width, **profile) as file:
        if colours:
            file.colorinterp = [ColorInterp[name] for name in colours]
        file.write(values)
        if palette:
            file.write_colormap(1, palette)
    return str(path)


def read(path, height, width):
    with Photo(path, UTM.to_wkt(), HERE, height, width) as photo:
        return photo.read(Box(0, 0, height, width))


def ramp(count=3):
    rows, columns = np.mgrid[:60, :80]
    return np.stack([rows * 4, columns * 3, rows + columns, np.where(columns < 30, 0, 255)])[:count]


def test_8_bits_stay_as_they_are_and_opacity_nodata_and_what_lies_beside_show_nothing(tmp_path):
    values = ramp(4).astype(np.uint8)
    found = read(write(tmp_path / "a.tif", values, ["red", "green", "blue", "alpha"]), 60, 80)
    np.testing.assert_array_equal(found[..., 3], values[3])
    seen = values[3] > 0
    np.testing.assert_array_equal(found[seen][:, :3], values[:3, seen].T)
    empty = np.full((3, 60, 80), 9, np.uint8)
    empty[:, :, 40:] = 255
    found = read(write(tmp_path / "n.tif", empty, nodata=255), 70, 80)
    assert (found[:60, :40, 3] == 255).all() and not found[:, 40:, 3].any() and not found[60:, :, 3].any()


def test_bands_are_found_by_their_colours(tmp_path):
    values = ramp().astype(np.uint8)
    found = read(write(tmp_path / "a.tif", values, ["blue", "red", "green"]), 60, 80)
    np.testing.assert_array_equal(found[..., :3], values[[1, 2, 0]].transpose(1, 2, 0))
    grey = read(write(tmp_path / "g.tif", values[:1]), 60, 80)
    np.testing.assert_array_equal(grey[..., :3], np.repeat(values[0][..., None], 3, 2))


def test_a_palette_is_seen_in_its_colours(tmp_path):
    values = (ramp(1) // 60).astype(np.uint8)
    palette = {n: (10 * n, 200 - n, 5, 255) for n in range(4)}
    found = read(write(tmp_path / "a.tif", values, palette=palette), 60, 80)
    for n in range(4):
        assert (found[values[0] == n] == palette[n]).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_other_depths_are_stretched_between_percentiles(dtype, tmp_path):
    values = (ramp() * 37).astype(dtype)
    if dtype == np.float32:
        values[:, :5] = np.nan
    found = read(write(tmp_path / "a.tif", values), 60, 80)
    assert (found[..., 3] == 255).sum() == (55 * 80 if dtype == np.float32 else 60 * 80)
    for band in range(3):
        known = values[band, 5:].astype(float) if dtype == np.float32 else values[band].astype(float)
        low, high = np.percentile(known, (2, 98))
        wanted = np.clip(np.rint(255 * (known - low) / (high - low)), 0, 255)
        assert np.abs(found[-len(known) :, :, band] - wanted).max() <= 1


def test_it_lies_in_another_crs_where_it_does_in_its_own(tmp_path):
    values = np.zeros((3, 60, 80), np.uint8)
    values[0, 20:40, 30:50] = 200
    path = write(tmp_path / "a.tif", values)
    with rasterio.open(path) as file:
        west, south, east, north = transform_bounds(UTM, 4326, *file.bounds)
        patch = transform_bounds(UTM, 4326, *(HERE * (30, 40)), *(HERE * (50, 20)))
    grid = Affine((east - west) / 300, 0, west, 0, (south - north) / 300, north)
    with Photo(path, CRS.from_epsg(4326).to_wkt(), grid, 300, 300) as photo:
        found = photo.read(Box(0, 0, 300, 300))
    rows, columns = np.nonzero(found[..., 0] > 100)
    bounds = (*(grid * (columns.min(), rows.max() + 1)), *(grid * (columns.max() + 1, rows.min())))
    np.testing.assert_allclose(bounds, patch, atol=5 * grid.a)


def test_complex_numbers_are_no_colours(tmp_path):
    with pytest.raises(RasterBands, match="no colours"):
        read(write(tmp_path / "a.tif", ramp().astype(np.complex64)), 60, 80)
