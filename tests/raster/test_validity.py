"""Valid is where everything that speaks of validity agrees."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine
from virtual import write_vrt

from rotacube.raster.file_source import FileSource
from rotacube.raster.reading import NodataRange, Reading

SIZE = (60, 80)


def image(seed=0):
    return np.random.default_rng(seed).integers(10, 250, (3, *SIZE)).astype(np.uint8)


def seen(path, card, **reading):
    with FileSource(str(path), card, Reading(**reading)) as source:
        return source.read(source.grid.extent)[1]


def test_each_band_may_declare_nodata_of_its_own(tmp_path, write_raster, make_card):
    want = np.ones(SIZE, bool)
    for n in range(3):
        band = image()[n : n + 1]
        band[:, 20 * n : 20 * n + 10, :30] = n
        want[20 * n : 20 * n + 10, :30] = False
        write_raster(tmp_path / f"{n}.tif", band)
    path = write_vrt(tmp_path / "a.vrt", [(f"{n}.tif", 1, "uint8", n) for n in range(3)], SIZE)
    np.testing.assert_array_equal(seen(path, make_card()), want)
    assert seen(path, make_card(), declared_nodata=False).all()
    assert seen(path, make_card(), bands=(1, 1, 1))[20:].all(), "only what is read counts"


@pytest.mark.parametrize("other", ["alpha", "mask"])
def test_nodata_and_opacity_or_a_mask_count_together(other, tmp_path, write_raster, make_card):
    values, opaque = image(), np.ones(SIZE, bool)
    opaque[:, 50:] = False
    values[:, :15] = 3
    if other == "alpha":
        array = np.concatenate([values, np.where(opaque, 255, 0)[None].astype(np.uint8)])
        path = write_raster(tmp_path / "a.tif", array, colours=["red", "green", "blue", "alpha"], nodata=3)
    else:
        path = write_raster(tmp_path / "a.tif", values, nodata=3, valid=opaque)
    want = opaque.copy()
    want[:15] = False
    np.testing.assert_array_equal(seen(path, make_card()), want)


def test_a_person_names_nodata_of_a_band_or_of_all(tmp_path, write_raster, make_card):
    values = image()
    values[:, :10] = 0
    values[1, 30:40] = 5
    path = write_raster(tmp_path / "a.tif", values)
    of_all, of_one = NodataRange(0, 5), NodataRange(4, 6, band=2)
    want = np.ones(SIZE, bool)
    want[:10] = False
    np.testing.assert_array_equal(seen(path, make_card(), nodata=(of_all,)), want)
    want[30:40] = False
    np.testing.assert_array_equal(seen(path, make_card(), nodata=(of_all, of_one)), want)
    assert seen(path, make_card()).all()


def test_opacity_is_another_band_or_none_where_a_person_says_so(tmp_path, write_raster, make_card):
    alpha, other = np.zeros((2, 1, *SIZE), np.uint8)
    alpha[:, :, 40:], other[:, 30:] = 255, 1
    colours = ["red", "green", "blue", "alpha", "undefined"]
    path = write_raster(tmp_path / "a.tif", np.concatenate([image(), alpha, other]), colours=colours)
    np.testing.assert_array_equal(seen(path, make_card()), alpha[0] > 0)
    np.testing.assert_array_equal(seen(path, make_card(), alpha_band=5), other[0] > 0)
    assert seen(path, make_card(), alpha_band=0).all()


def test_nodata_values_that_only_count_together_do(tmp_path, write_raster, make_card):
    values = image()
    values[:, :10] = np.array([1, 2, 3], np.uint8)[:, None, None]
    values[0, 20:] = 1
    path = write_raster(tmp_path / "a.tif", values)
    with rasterio.open(path, "r+") as file:
        file.update_tags(NODATA_VALUES="1 2 3")
    valid = seen(path, make_card())
    assert not valid[:10].any() and valid[10:].all()


@pytest.mark.parametrize("resolution", [0.05, 0.11, 0.149, 0.2, 0.4])
def test_specks_do_not_grow_under_resampling(resolution, tmp_path, write_raster, make_card):
    rng = np.random.default_rng(3)
    values = rng.gamma(4, 300, (3, 400, 400)).astype(np.float32)
    specks = rng.random((400, 400)) < 5e-4
    values[:, specks] = np.nan
    transform = Affine(resolution, 0, 353000, 0, -resolution, 3060000)
    path = write_raster(tmp_path / "a.tif", values, transform=transform)
    with FileSource(path, make_card()) as source:
        out, valid = source.read(source.grid.extent)
        area = resolution**2 / 0.15**2
    assert (~valid).sum() <= 1.5 * specks.sum() * max(area, 1)
    assert np.isfinite(out).all()
    assert valid.shape == (round(400 * resolution / 0.15), round(400 * resolution / 0.15)) or valid.all(0).any()
