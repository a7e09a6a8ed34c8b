"""The stretch: full-resolution pixels by a fixed rule, and values that nobody declared as nodata."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling

from rotacube.raster.file_source import FileSource
from rotacube.raster.radiometry import ENOUGH, judge
from rotacube.raster.reading import NodataRange, Reading


def town(shape=(3, 400, 500), seed=0):
    return (np.random.default_rng(seed).gamma(4, 300, shape) + 300).astype(np.uint16)


def judged(image, valid=None, dtype=None):
    valid = np.ones(image.shape[1:], bool) if valid is None else valid
    read = []

    def window(box):
        read.append(box)
        rows, columns = slice(box.top, box.bottom), slice(box.left, box.right)
        return image[:, rows, columns], valid[rows, columns]

    return judge([str(dtype or image.dtype)] * len(image), 255.0, *image.shape[1:], window), read


@pytest.mark.parametrize("how", [Resampling.average, Resampling.nearest])
def test_overviews_change_nothing(how, tmp_path, write_raster, make_card):
    image = np.tile(town(), (1, 6, 6))
    image[:, np.random.default_rng(1).random(image.shape[1:]) < 0.03] = 60000
    found = []
    for name in ("without.tif", "with.tif"):
        path = write_raster(tmp_path / name, image, compress="deflate")
        if name == "with.tif":
            with rasterio.open(path, "r+") as file:
                file.build_overviews([2, 4, 8, 16], how)
        with FileSource(path, make_card()) as source:
            found.append(source.radiometry)
    np.testing.assert_array_equal(found[0].low, found[1].low)
    np.testing.assert_array_equal(found[0].high, found[1].high)


def test_a_large_raster_is_sampled_all_over_and_not_read_whole():
    image = np.broadcast_to(np.linspace(1, 60000, 9000).astype(np.uint16), (3, 7000, 9000))
    found, read = judged(image)
    np.testing.assert_allclose(found.low.ravel(), 1200, atol=300)
    np.testing.assert_allclose(found.high.ravel(), 58800, atol=300)
    assert sum(b.height * b.width for b in read) < 0.03 * 7000 * 9000


def test_a_large_raster_with_little_data_is_sampled_where_its_data_is():
    image = np.broadcast_to(np.arange(9000, dtype=np.uint16), (1, 7000, 9000))
    valid = np.zeros((7000, 9000), bool)
    valid[5000:5040, 3000:3040] = True
    found, _ = judged(image, valid)
    assert 3000 <= found.low.item() < found.high.item() < 3040
    assert valid.sum() < ENOUGH
    assert judged(image, np.zeros_like(valid))[0] is None


@pytest.mark.parametrize(
    ("dtype", "value"),
    [(np.float32, -10000), (np.int16, -32768), (np.uint16, 65535), (np.uint16, 0), (np.float64, 1e30)],
)
@pytest.mark.parametrize("where", ["collar", "patch"])
def test_a_fill_value_is_named_and_left_out_of_the_stretch(dtype, value, where):
    image = town().astype(dtype)
    plain, _ = judged(image)
    block = (slice(0, 60), slice(None)) if where == "collar" else (slice(100, 180), slice(100, 200))
    filled = image.copy()
    filled[(slice(None), *block)] = value
    found, _ = judged(filled)
    assert [v for v, _ in found.fills] == [value]
    assert found.fills[0][1] == pytest.approx(filled[0][block].size / filled[0].size)
    np.testing.assert_allclose(found.low, plain.low, rtol=0.02)
    np.testing.assert_allclose(found.high, plain.high, rtol=0.02)


def test_two_fill_values_are_both_left_out():
    image = town()
    plain, _ = judged(image)
    image[:, :40], image[:, -40:] = 0, 65535
    found, _ = judged(image)
    assert {v for v, _ in found.fills} == {0, 65535}
    np.testing.assert_allclose(found.high, plain.high, rtol=0.02)


@pytest.mark.parametrize("kind", ["plain", "saturated", "dark", "constant", "one band"])
def test_nothing_is_taken_for_a_fill_value_where_none_is(kind):
    image = town()
    if kind == "saturated":
        image = np.minimum(image, 2200)
    elif kind == "dark":
        image = np.maximum(image, 700)
    elif kind == "constant":
        image[:] = 500
    elif kind == "one band":
        image[0, :60] = 0
    found, _ = judged(image)
    assert found.fills == ()
    assert (found.high > found.low).all()


def test_the_sentence_names_the_value_and_what_to_do(tmp_path, write_raster, make_card):
    image = town().astype(np.float32)
    image[:, :, :90] = -10000
    path = write_raster(tmp_path / "a.tif", image)
    with FileSource(path, make_card()) as source:
        source.read(source.grid.extent)
        assert "-10000 in every band" in source.notes[0] and "--nodata -10000" in source.notes[0]
    with FileSource(path, make_card(), Reading(nodata=(NodataRange(-10000, -10000),))) as source:
        _, valid = source.read(source.grid.extent)
        assert source.notes == [] and not valid[:, :90].any() and valid[:, 90:].all()


@pytest.mark.parametrize(("value", "word"), [(0, "black"), (255, "white")])
def test_borders_of_eight_bits_are_told(value, word, tmp_path, write_raster, make_card):
    image = np.random.default_rng(2).integers(1, 255, (3, 100, 100)).astype(np.uint8)
    image[:, :20] = value
    path = write_raster(tmp_path / "a.tif", image)
    with FileSource(path, make_card()) as source:
        source.read(source.grid.extent)
        assert f"a {word} border" in source.notes[0] and f"20.0% of what was read is {value} " in source.notes[0]
