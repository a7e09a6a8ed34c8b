"""What the network sees of a raster: the right ground, the right scale, the right values, and nodata left out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import CRS, Geod, Transformer

from rotacube.errors import (
    RasterBands,
    RasterEmpty,
    RasterMissing,
    RasterNotGeoreferenced,
    RasterResolution,
    RasterUnreadable,
)
from rotacube.raster.file_source import FileSource
from rotacube.raster.grid import Box
from rotacube.raster.reading import Reading

MERCATOR_60 = 6378137 * math.asinh(math.tan(math.radians(60)))
GRIDS = {
    "degrees at the equator": ("EPSG:4326", Affine(2e-6, 0, 32.6, 0, -2e-6, 0.0)),
    "degrees at 60": ("EPSG:4326", Affine(2e-6, 0, 24.9, 0, -2e-6, 60.0)),
    "Web Mercator at 60": ("EPSG:3857", Affine(0.4, 0, 2.7e6, 0, -0.4, MERCATOR_60)),
    "US survey feet": ("EPSG:2263", Affine(0.7, 0, 985000, 0, -0.7, 200000)),
    "rotated by 30": (
        "EPSG:32645",
        Affine.translation(353000, 3060000) * Affine.rotation(30) * Affine.scale(0.2, -0.2),
    ),
    "not square": ("EPSG:32645", Affine(0.12, 0, 353000, 0, -0.31, 3060000)),
    "south up": ("EPSG:32645", Affine(0.25, 0, 353000, 0, 0.25, 3060000)),
    "UTM": ("EPSG:32645", Affine(0.08, 0, 353000, 0, -0.08, 3060000)),
}
MEAN = np.array([0.485, 0.456, 0.406])[:, None, None]
STD = np.array([0.229, 0.224, 0.225])[:, None, None]


def raw(source: FileSource, box: Box | None = None):
    """Values as the card's 0..1 before mean and std, and the validity."""
    values, valid = source.read(box or source.grid.extent)
    return values * STD + MEAN, valid


@pytest.fixture(scope="module")
def plain_card(make_card):
    """A card of 0.15 m whose normalisation leaves values as they are."""
    return make_card(normalisation={"scale": 1.0, "mean": [0.0] * 3, "std": [1.0] * 3})


@pytest.mark.parametrize("name", GRIDS)
def test_pixels_have_the_models_size_on_the_ground(name, tmp_path, write_raster, make_card):
    crs, transform = GRIDS[name]
    path = write_raster(tmp_path / "a.tif", np.ones((3, 200, 260), np.uint8), crs, transform)
    with FileSource(path, make_card(gsd=0.15)) as source:
        column, row = source.width / 2, source.height / 2
        u, v = np.array([-0.5, 0.5, 0, 0]) + column, np.array([0, 0, -0.5, 0.5]) + row
        t = source.grid.transform
        x, y = t.a * u + t.b * v + t.c, t.d * u + t.e * v + t.f
        there = CRS.from_wkt(source.grid.crs)
        longitude, latitude = Transformer.from_crs(there, there.geodetic_crs, always_xy=True).transform(x, y)
        _, _, metres = there.get_geod().inv(longitude[::2], latitude[::2], longitude[1::2], latitude[1::2])
        np.testing.assert_allclose(metres, 0.15, rtol=0.01)
        assert source.grid.gsd == pytest.approx((0.15, 0.15), rel=1e-6)
        covered = np.array([source.width, source.height]) * 0.15
    longitude, latitude = (np.array(v) for v in zip(*corners(crs, transform, 260, 200), strict=True))
    _, _, sides = Geod(ellps="WGS84").inv(longitude[[0, 0]], latitude[[0, 0]], longitude[[1, 2]], latitude[[1, 2]])
    np.testing.assert_allclose(covered, sides, atol=0.15 + 1e-3 * max(sides))


def corners(crs, transform, width, height):
    move = Transformer.from_crs(crs, 4326, always_xy=True)
    for column, row in ((0, 0), (width, 0), (0, height)):
        yield move.transform(*(transform * (column, row)))


@pytest.mark.parametrize("name", GRIDS)
def test_a_mark_on_the_ground_lands_on_its_pixel(name, tmp_path, write_raster, plain_card):
    crs, transform = GRIDS[name]
    image = np.zeros((3, 240, 300), np.uint8)
    places = [(41, 60), (120, 30), (200, 233), (29, 270)]
    for row, column in places:
        image[:, row - 10 : row + 10, column - 10 : column + 10] = 200
    path = write_raster(tmp_path / "a.tif", image, crs, transform)
    with FileSource(path, plain_card) as source:
        values, valid = source.read(source.grid.extent)
        assert valid[:-1, :-1].all(), "but for pixels of which the raster covers less than half"
        transform = Affine(*source.grid.transform[:6])
    with rasterio.open(path) as file:
        for row, column in places:
            x, y = file.xy(row, column, offset="ul")
            u, v = ~transform * (x, y)
            ratio = np.array([file.height / values.shape[1], file.width / values.shape[2]])
            reach = np.ceil(16 / ratio).astype(int)
            top, left = max(0, int(v) - reach[0]), max(0, int(u) - reach[1])
            part = values[0, top : int(v) + reach[0], left : int(u) + reach[1]]
            weights = part / part.sum()
            centre = (
                weights.sum(1) @ (np.arange(part.shape[0]) + 0.5),
                weights.sum(0) @ (np.arange(part.shape[1]) + 0.5),
            )
            np.testing.assert_allclose((top + centre[0], left + centre[1]), (v, u), atol=0.5)


def test_a_raster_of_nearly_the_models_resolution_is_not_resampled(tmp_path, write_raster, plain_card):
    image = np.random.default_rng(0).integers(0, 256, (3, 70, 90), np.uint8)
    path = write_raster(tmp_path / "a.tif", image, transform=Affine(0.151, 0, 353000, 0, -0.149, 3060000))
    with FileSource(path, plain_card) as source:
        assert (source.height, source.width) == (70, 90)
        np.testing.assert_array_equal(source.read(source.grid.extent)[0], np.clip(image.astype(np.float32), 0, 1))


@pytest.mark.parametrize("resolution", [0.05, 0.11, 0.15, 0.37])
@pytest.mark.parametrize("rotation", [0, 30])
def test_a_part_is_the_crop_of_a_larger_part(resolution, rotation, tmp_path, write_raster, make_card):
    rng = np.random.default_rng(1)
    transform = Affine.translation(353000, 3060000) * Affine.rotation(rotation) * Affine.scale(resolution, -resolution)
    image, valid = rng.integers(0, 256, (3, 500, 640), np.uint8), rng.random((500, 640)) > 0.1
    path = write_raster(tmp_path / "a.tif", image, transform=transform, valid=valid)
    with FileSource(path, make_card()) as source:
        large = Box(-30, -50, source.height + 10, source.width + 20)
        values, seen = source.read(large)
        parts = []
        for _ in range(12):
            top, left = rng.integers(-30, source.height - 20), rng.integers(-50, source.width - 20)
            parts.append(Box(int(top), int(left), int(top + rng.integers(1, 130)), int(left + rng.integers(1, 130))))
    for part in parts:
        part &= large
        with FileSource(path, make_card()) as fresh:
            some, some_seen = fresh.read(part)
        np.testing.assert_array_equal(some, values[(slice(None), *part.within(large))])
        np.testing.assert_array_equal(some_seen, seen[part.within(large)])


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:4326", Affine(1e-6, 0, 0, 0, -1e-6, 90)),
        ("EPSG:32645", Affine(1e-9, 0, 353000, 0, -1e-9, 3060000)),
        ("EPSG:3857", Affine(1e6, 0, 0, 0, -1e6, 1e6)),
    ],
    ids=["at the pole", "nanometres", "larger than the Earth"],
)
def test_pixels_of_absurd_size_are_told_whatever_is_asked_for(crs, transform, tmp_path, write_raster, make_card):
    path = write_raster(tmp_path / "a.tif", np.ones((3, 2000, 2000), np.uint8), crs, transform)
    with pytest.raises((RasterResolution, RasterNotGeoreferenced)):
        FileSource(path, make_card(), Reading(any_resolution=True))
    with pytest.raises((RasterResolution, RasterNotGeoreferenced)):
        FileSource(path, make_card())


@pytest.mark.parametrize(("resolution", "fits"), [(0.014, False), (0.016, True), (0.44, True), (0.47, False)])
def test_a_resolution_far_from_the_models_is_taken_only_if_asked_for(
    resolution, fits, tmp_path, write_raster, make_card
):
    transform = Affine(resolution, 0, 353000, 0, -resolution, 3060000)
    path = write_raster(tmp_path / "a.tif", np.ones((3, 50, 50), np.uint8), transform=transform)
    if fits:
        FileSource(path, make_card()).close()
        return
    with pytest.raises(RasterResolution, match="--any-resolution"):
        FileSource(path, make_card())
    with FileSource(path, make_card(), Reading(any_resolution=True)) as source:
        assert "do not trust" in source.notes[0]


def test_beyond_the_raster_there_is_nothing(tmp_path, write_raster, make_card):
    path = write_raster(tmp_path / "a.tif", np.full((3, 40, 50), 90, np.uint8))
    with FileSource(path, make_card()) as source:
        values, valid = source.read(Box(-7, -9, 60, 70))
        assert valid[7:47, 9:59].all() and valid.sum() == 40 * 50
        assert not values[:, ~valid].any() and values[:, valid].any()
        far, nothing = source.read(Box(100, 100, 110, 120))
        assert far.shape == (3, 10, 20) and not far.any() and not nothing.any()


def hidden(shape):
    """A block without data and a block of extreme values beside it."""
    out = np.zeros(shape, bool)
    out[20:45, 30:70] = True
    return out


def nodata_value(path, image, out, write):
    image[:, out] = 3
    return write(path, image, nodata=3)


def nodata_nan(path, image, out, write):
    image = image.astype(np.float32)
    image[:, out] = np.nan
    return write(path, image)


def nodata_nan_declared(path, image, out, write):
    image = image.astype(np.float32)
    image[:, out] = np.nan
    return write(path, image, nodata=np.nan)


def nodata_far(path, image, out, write):
    image = image.astype(np.float32)
    image[:, out] = -9999
    return write(path, image, nodata=-9999)


def alpha_last(path, image, out, write):
    alpha = np.where(out, 0, 255).astype(np.uint8)[None]
    return write(path, np.concatenate([image, alpha]), colours=["red", "green", "blue", "alpha"])


def alpha_before_infrared(path, image, out, write):
    alpha, infrared = np.where(out, 0, 255).astype(np.uint8)[None], np.full_like(image[:1], 77)
    infrared[:, ::3] = 0
    colours = ["red", "green", "blue", "alpha", "undefined"]
    return write(path, np.concatenate([image, alpha, infrared]), colours=colours)


def internal_mask(path, image, out, write):
    return write(path, image, valid=~out)


WAYS = [nodata_value, nodata_nan, nodata_nan_declared, nodata_far, alpha_last, alpha_before_infrared, internal_mask]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("resolution", [0.15, 0.06, 0.4])
def test_nodata_is_left_out_however_it_is_told(way, resolution, tmp_path, write_raster, make_card):
    rng = np.random.default_rng(2)
    image = rng.integers(60, 200, (3, 100, 120), np.uint8)
    out = hidden((100, 120))

    def write(path, array, **more):
        return write_raster(path, array, transform=Affine(resolution, 0, 353000, 0, -resolution, 3060000), **more)

    with FileSource(way(tmp_path / "a.tif", image, out, write), make_card()) as source:
        values, valid = source.read(source.grid.extent)
        ratio_x, ratio_y = source.grid.transform.a / resolution, -source.grid.transform.e / resolution
    # What the raster has under the centre of each pixel; the raster ends within the last row and column.
    out = np.pad(out, ((0, 9), (0, 9)), constant_values=True)
    rows = ((np.arange(valid.shape[0]) + 0.5) * ratio_y).astype(int)
    columns = ((np.arange(valid.shape[1]) + 0.5) * ratio_x).astype(int)
    want = ~out[rows][:, columns]
    assert (valid != want).mean() < (0.03 if resolution != 0.15 else 1e-9)
    core = np.zeros_like(want)
    core[
        int(25 / 100 * len(rows)) : int(40 / 100 * len(rows)),
        int(40 / 120 * len(columns)) : int(60 / 120 * len(columns)),
    ] = True
    assert not valid[core].any()
    assert np.isfinite(values).all() and not values[:, ~valid].any()
    if image.dtype == np.uint8 and way not in (nodata_nan, nodata_nan_declared, nodata_far):
        shades = (values * STD + MEAN)[:, valid] * 255
        assert shades.min() > 55 and shades.max() < 205, "nodata does not bleed into its neighbours"


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_other_types_are_stretched_by_percentiles_of_the_whole_file_also_for_a_window(
    dtype, tmp_path, write_raster, make_card
):
    rng = np.random.default_rng(3)
    image = rng.gamma(4, 300, (3, 300, 400)).astype(dtype)
    image[:, :, 300:] *= 3
    image[:, :50, :60] = 0
    path = write_raster(tmp_path / "a.tif", image, nodata=0)
    low, high = np.array([np.percentile(band[band != 0], (2, 98)) for band in image]).T
    want = np.clip((image - low[:, None, None]) / (high - low)[:, None, None], 0, 1)
    part = Box(100, 20, 164, 120)
    with FileSource(path, make_card()) as source:
        values, valid = raw(source, part)
    cut = part.within(Box(0, 0, 300, 400))
    assert valid.all()
    np.testing.assert_allclose(values, want[(slice(None), *cut)], atol=2e-3)


def test_a_large_file_is_judged_by_a_sample_that_is_the_same_for_every_window(tmp_path, write_raster, make_card):
    ramp = np.linspace(0, 4000, 2600, dtype=np.float32) + np.zeros((3, 40, 1), np.float32)
    path = write_raster(tmp_path / "a.tif", ramp.astype(np.uint16) + 1)
    with FileSource(path, make_card()) as source:
        low, high = source.radiometry.low.ravel(), source.radiometry.high.ravel()
    np.testing.assert_allclose(low, 80, atol=20)
    np.testing.assert_allclose(high, 3920, atol=20)


def test_eight_bits_follow_the_card(tmp_path, write_raster, make_card):
    image = np.random.default_rng(4).integers(0, 256, (3, 64, 70), np.uint8)
    with FileSource(write_raster(tmp_path / "a.tif", image), make_card()) as source:
        values, _ = source.read(source.grid.extent)
    np.testing.assert_allclose(values, (image / 255 - MEAN) / STD, atol=1e-5)


def test_a_constant_band_does_not_divide_by_zero(tmp_path, write_raster, make_card):
    with FileSource(write_raster(tmp_path / "a.tif", np.full((3, 40, 40), 500, np.uint16)), make_card()) as source:
        assert np.isfinite(source.read(source.grid.extent)[0]).all()


def five_bands():
    return np.stack([np.full((40, 50), value, np.uint8) for value in (10, 20, 30, 40, 50)])


@pytest.mark.parametrize(
    ("colours", "given", "want"),
    [
        (["blue", "green", "red", "undefined", "alpha"], None, [30, 20, 10]),
        (["undefined", "red", "green", "blue", "undefined"], None, [20, 30, 40]),
        (["gray", "undefined", "undefined", "undefined", "undefined"], None, [10, 20, 30]),
        (["alpha", "undefined", "undefined", "undefined", "undefined"], None, [20, 30, 40]),
        (["red", "green", "blue", "undefined", "undefined"], [5, 4, 2], [50, 40, 20]),
        (["red", "green", "blue", "undefined", "undefined"], [1, 1, 1], [10, 10, 10]),
        (["red", "green", "blue", "alpha", "undefined"], [5, 1, 2], [50, 10, 20]),
    ],
)
def test_bands_are_chosen_by_list_or_by_their_colour_or_in_order(
    colours, given, want, tmp_path, write_raster, make_card
):
    path = write_raster(tmp_path / "a.tif", five_bands(), colours=colours)
    with FileSource(path, make_card(), Reading(given)) as source:
        values, valid = raw(source)
    assert valid.all()
    np.testing.assert_allclose(values[:, 5, 5] * 255, want, atol=1e-3)


@pytest.mark.parametrize("given", [[1, 2], [0, 1, 2], [1, 2, 6], [-1, 1, 2], [1, 2, 3, 4], []])
def test_bands_that_are_not_there_are_told(given, tmp_path, write_raster, make_card):
    path = write_raster(tmp_path / "a.tif", five_bands())
    with pytest.raises(RasterBands, match=r"needs 3 bands .* out of 1 to 5"):
        FileSource(path, make_card(), Reading(given))


def test_a_palette_becomes_its_colours(tmp_path, write_raster, make_card):
    path = tmp_path / "a.tif"
    entries = np.random.default_rng(6).integers(0, 3, (1, 40, 40)).astype(np.uint8)
    write_raster(path, entries)
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {0: (10, 20, 30, 255), 1: (200, 100, 0, 255), 2: (0, 0, 0, 0)})
    with FileSource(str(path), make_card()) as source:
        values, valid = raw(source)
    table = np.array([(10, 20, 30), (200, 100, 0), (0, 0, 0)])
    np.testing.assert_allclose(values[:, valid] * 255, table[entries[0]].transpose(2, 0, 1)[:, valid], atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "profile", "kind", "word"),
    [
        ((3, 30, 30), {"crs": None}, RasterNotGeoreferenced, "coordinate reference system"),
        ((3, 30, 30), {"transform": Affine.identity()}, RasterNotGeoreferenced, "georeference"),
        ((3, 30, 30), {"crs": 'LOCAL_CS["site",UNIT["metre",1]]'}, RasterNotGeoreferenced, "tie to the ground"),
        ((2, 30, 30), {}, RasterBands, "needs 3 bands"),
        ((3, 30, 1), {}, RasterEmpty, "1 x 30 pixels"),
        ((3, 1, 30), {}, RasterEmpty, "30 x 1 pixels"),
    ],
)
def test_what_cannot_be_mapped_is_told(shape, profile, kind, word, tmp_path, write_raster, make_card):
    path = write_raster(tmp_path / "a.tif", np.ones(shape, np.uint8), **profile)
    with pytest.raises(kind, match=word):
        FileSource(path, make_card())


@pytest.mark.parametrize("name", ["no.tif", "no/such/folder/a.tif", "a" * 300 + ".tif"])
def test_a_missing_file_is_told(name, tmp_path, make_card):
    with pytest.raises(RasterMissing, match="There is no raster"):
        FileSource(str(tmp_path / name), make_card())


@pytest.mark.parametrize("content", [b"", b"I am no raster", b"II*\x00\x08\x00\x00\x00", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_raster_is_told(content, tmp_path, make_card):
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    with pytest.raises(RasterUnreadable, match="cannot be opened"):
        FileSource(str(path), make_card())


@pytest.mark.parametrize("path", ["", "."])
def test_a_folder_is_no_raster(path, make_card):
    with pytest.raises((RasterUnreadable, RasterMissing)):
        FileSource(path, make_card())


@pytest.mark.parametrize(
    "profile", [{}, {"tiled": True, "blockxsize": 64, "blockysize": 64}, {"compress": "DEFLATE"}, {"compress": "LZW"}]
)
def test_a_truncated_file_is_told_when_its_missing_part_is_read(profile, tmp_path, write_raster, make_card):
    image = np.random.default_rng(5).integers(0, 256, (3, 400, 400), np.uint8)
    path = tmp_path / "a.tif"
    write_raster(path, image, **profile)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with (
        pytest.raises(RasterUnreadable, match=r"damaged|cannot be opened"),
        FileSource(str(path), make_card()) as source,
    ):
        source.read(source.grid.extent)
