"""Many rasters read as one: what rasterio merges, in their order, with whatever says where they are valid."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import Transformer
from rasterio.enums import ColorInterp
from rasterio.merge import merge

from rotacube.errors import RotacubeError
from rotacube.raster import mosaic
from rotacube.raster.file_source import FileSource
from rotacube.raster.grid import Box
from rotacube.raster.members import members_of
from rotacube.raster.reading import NodataRange, Reading

CORNER = Affine(0.15, 0, 353000, 0, -0.15, 3060000)
TURNED = CORNER * Affine.rotation(25)


@pytest.fixture
def card(make_card):
    return make_card()


def image(seed, height=40, width=50, dtype="uint8"):
    return np.random.default_rng(seed).integers(1, 200, (3, height, width)).astype(dtype)


@pytest.fixture
def tiles(write_raster, tmp_path):
    """Three rasters that overlap, each with a hole of nodata where another one has data."""
    folder = tmp_path / "tiles"
    folder.mkdir()
    paths = []
    for n, (row, column) in enumerate([(0, 0), (20, 30), (-10, 15)]):
        pixels = image(n)
        pixels[:, 22:30, 32:40] = 0
        pixels[:2, 5, 5] = 0  # of two bands, and so of the pixel
        place = CORNER * Affine.translation(column, row)
        paths.append(write_raster(folder / f"{'cab'[n]}.tif", pixels, transform=place, nodata=0))
    return paths


def listed(path, paths):
    path.write_text("\n".join(map(str, paths)))
    return str(path)


def read(name, card, reading=None):
    with FileSource(name, card, reading or Reading()) as source:
        return *source.read(source.grid.extent), source.grid.transform, source.notes


def by_hand(paths, card, reading=None):
    """The first valid pixel of each raster, read one by one."""
    corner = [float("inf")] * 2
    parts = []
    for path in paths:
        values, valid, place, _ = read(path, card, reading)
        column, row = (round(v) for v in ~CORNER * (place * (0, 0)))
        parts.append((row, column, values, valid))
        corner = [min(corner[0], row), min(corner[1], column)]
    height = max(row + valid.shape[0] for row, _, _, valid in parts) - corner[0]
    width = max(column + valid.shape[1] for _, column, _, valid in parts) - corner[1]
    out, seen = np.zeros((3, height, width), np.float32), np.zeros((height, width), bool)
    for row, column, values, valid in parts:
        place = np.s_[row - corner[0] :, column - corner[1] :]
        cut = tuple(slice(s.start, s.start + n) for s, n in zip(place, valid.shape, strict=True))
        take = valid & ~seen[cut]
        out[(slice(None), *cut)][:, take] = values[:, take]
        seen[cut] |= valid
    return out, seen


def test_where_they_overlap_the_first_with_data_counts(tiles, card, tmp_path, write_raster):
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        paths = [tiles[n] for n in order]
        values, valid, transform, notes = read(listed(tmp_path / "list.txt", paths), card)
        expected = by_hand(paths, card)
        np.testing.assert_array_equal(valid, expected[1])
        np.testing.assert_array_equal(values, expected[0])
        assert transform.almost_equals(CORNER * Affine.translation(0, -10), 1e-9)
        assert "3 rasters are mapped as one" in notes[0]


def test_rasterio_merges_alike(tiles, card, tmp_path, write_raster):
    for path in tiles:  # where a pixel is nodata in all bands or in none; rasterio looks at each band by itself
        with rasterio.open(path, "r+") as file:
            pixels = file.read()
            pixels[:, (pixels == 0).any(0)] = 0
            file.write(pixels)
    merged, transform = merge(tiles, method="first", nodata=0)
    whole = write_raster(tmp_path / "merged.tif", merged, transform=transform, nodata=0)
    ours, theirs = read(listed(tmp_path / "list.txt", tiles), card), read(whole, card)
    np.testing.assert_array_equal(ours[1], theirs[1])
    np.testing.assert_array_equal(ours[0], theirs[0])
    assert ours[2].almost_equals(theirs[2], 1e-9)


@pytest.mark.parametrize("kind", ["mask", "alpha", "named nodata"])
def test_whatever_says_that_a_pixel_has_no_data_lets_the_next_one_through(kind, write_raster, card, tmp_path):
    reading = Reading(nodata=(NodataRange(7, 7),)) if kind == "named nodata" else None
    paths = []
    for n in range(2):
        pixels, valid = image(n), np.full((40, 50), 255, np.uint8)
        valid[10 + 5 * n : 30, 10:40] = 0
        more = {}
        if kind == "mask":
            more = {"valid": valid}
        elif kind == "alpha":
            pixels, more = np.concatenate([pixels, valid[None]]), {"colours": ["red", "green", "blue", "alpha"]}
        else:
            pixels[:, valid == 0] = 7
        place = CORNER * Affine.translation(20 * n, 0)
        paths.append(write_raster(tmp_path / f"{n}.tif", pixels, transform=place, **more))
    name = listed(tmp_path / "list.txt", paths)
    ours, expected = read(name, card, reading), by_hand(paths, card, reading)
    np.testing.assert_array_equal(ours[1], expected[1])
    np.testing.assert_array_equal(ours[0], expected[0])
    assert ours[1][12, 25] and not ours[1][20, 35]


def test_few_files_are_open_at_once_and_a_turned_grid_is_no_other(write_raster, card, tmp_path, monkeypatch):
    monkeypatch.setattr(mosaic, "OPEN", 3)
    whole = image(1, 64, 80)
    folder = tmp_path / "folder"
    folder.mkdir()
    for row in range(0, 64, 16):
        for column in range(0, 80, 16):
            part = whole[:, row : row + 16, column : column + 16]
            place = TURNED * Affine.translation(column, row)
            write_raster(folder / f"{row}_{column}.tif", part, transform=place)
    one = write_raster(tmp_path / "whole.tif", whole, transform=TURNED)
    with FileSource(str(folder), card) as source, FileSource(one, card) as other:
        for box in (source.grid.extent, source.grid.extent & mosaic.Box(5, 9, 50, 77)):
            np.testing.assert_array_equal(source.read(box)[0], other.read(box)[0])
        assert len(source._pixels._opened) == 3
        assert source.grid.transform.almost_equals(other.grid.transform, 1e-9)
        assert {path.name for path in source.files.files} == {path.name for path in folder.iterdir()}


def test_a_folder_is_read_by_name_without_what_is_no_raster(tiles, tmp_path):
    folder = tmp_path / "tiles"
    (folder / "notes.txt").write_text("none of them")
    (folder / ".hidden.tif").write_text("")
    (folder / "sub").mkdir()
    shutil.copy(tiles[0], folder / "sub" / "d.tif")
    (folder / "all.vrt").write_text("<VRTDataset/>")
    assert members_of(str(folder)) == [str(folder / name) for name in ("a.tif", "b.tif", "c.tif")]
    assert members_of(tiles[0]) is None and members_of(str(folder / "all.vrt")) is None


def test_a_list_is_relative_to_itself(tiles, card, tmp_path):
    name = listed(tmp_path / "list.txt", ["tiles/c.tif", "", f"  {tiles[1]} "])
    assert members_of(name) == [str(tmp_path / "tiles" / "c.tif"), tiles[1]]
    with FileSource(name, card) as source:
        assert tmp_path / "list.txt" in source.files.files


def test_a_stac_collection_names_assets_by_their_roles(tiles, card, tmp_path):
    def item(**assets):
        return {"type": "Feature", "stac_version": "1.0.0", "id": "x", "assets": assets}

    tiff = "image/tiff; application=geotiff; profile=cloud-optimized"
    shutil.copy(tiles[0], tmp_path / "with space.tif")
    features = [
        item(thumb={"href": "t.png", "type": "image/png"}, data={"href": "tiles/a.tif", "roles": ["data"]}),
        item(
            data={"href": "x.tif", "roles": ["data"]}, visual={"href": "./tiles/b.tif", "roles": ["visual", "overview"]}
        ),
        item(other={"href": "with%20space.tif", "type": tiff}),
        item(other={"href": f"file://{tiles[0]}", "type": tiff}),
    ]
    path = tmp_path / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    found = members_of(str(path))
    assert [rasterio.open(name).shape for name in found] == [(40, 50)] * 4
    assert [name.rpartition("/")[2] for name in found] == ["a.tif", "b.tif", "with space.tif", "c.tif"]
    path.write_text(json.dumps(features[0]))
    assert len(members_of(str(path))) == 1
    with FileSource(str(path), card) as source:
        assert source.grid.width == 50


def other(write_raster, tmp_path, **changes):
    options = {"array": image(9), "transform": CORNER, "nodata": 0, **changes}
    return write_raster(tmp_path / "other.tif", options.pop("array"), **options)


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"transform": CORNER * Affine.scale(2.1)}, "raster_resolution", "too different in size"),
        ({"transform": CORNER * Affine.scale(0.4)}, "raster_resolution", "too different in size"),
        ({"crs": "EPSG:32601"}, "raster_resolution", "too different in size"),
        ({"array": image(9)[:2]}, "raster_bands", "needs 3 bands"),
        ({"array": np.concatenate([image(9), image(8)[:2]])}, "raster_bands", "5 and 3 bands"),
        ({"array": image(9, dtype="uint16")}, "raster_bands", "uint16 and uint8"),
        ({"transform": False}, "raster_not_georeferenced", "georeference"),
    ],
)
def test_what_is_not_like_the_first_is_named(changes, code, words, tiles, write_raster, card, tmp_path):
    path = other(write_raster, tmp_path, **changes)
    with pytest.raises(RotacubeError, match=words) as caught:
        FileSource(listed(tmp_path / "list.txt", [*tiles, path]), card)
    assert caught.value.code == code and "other.tif" in caught.value.message


def smooth(x, y):
    """A picture without edges, by place: what resampling must find again, (3, ...)."""
    waves = [120 + 60 * np.sin(x / a + y / b) for a, b in ((3.1, 4.3), (2.9, -3.7), (5.3, 2.3))]
    return np.rint(np.stack(waves)).astype(np.uint8)


def seen_from(transform, crs, height, width):
    """The picture as a raster of this grid shows it."""
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    t = transform
    x, y = t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f
    if crs != "EPSG:32645":
        there = Transformer.from_crs(crs, "EPSG:32645", always_xy=True)
        x, y = there.transform(x, y)
    return smooth(x - 353000, y - 3060000)


@pytest.mark.parametrize(
    ("onto", "crs"),
    [
        (Affine.translation(40.4, 0.3), "EPSG:32645"),
        (Affine.translation(40, 0) * Affine.scale(1.3), "EPSG:32645"),
        (Affine.translation(40, -5) * Affine.rotation(7), "EPSG:32645"),
        (None, "EPSG:32646"),
        (None, "EPSG:4326"),
    ],
    ids=["between pixels", "larger", "turned", "the next zone", "degrees"],
)
def test_what_lies_on_another_grid_is_resampled_in_its_place(onto, crs, write_raster, card, tmp_path):
    height, width = 60, 40
    if onto is None:
        x, y = CORNER * (35, -3)  # turned by the zones' convergence, it still covers what the first leaves
        x, y = Transformer.from_crs("EPSG:32645", crs, always_xy=True).transform(x, y)
        size = (0.15 / 98_000, 0.15 / 111_000) if crs == "EPSG:4326" else (0.15, 0.15)
        place = Affine(size[0], 0, x, 0, -size[1], y)
    else:
        place = CORNER * onto
    paths = [
        write_raster(tmp_path / "a.tif", seen_from(CORNER, "EPSG:32645", height, width), transform=CORNER),
        write_raster(tmp_path / "b.tif", seen_from(place, crs, height, 50), transform=place, crs=crs),
    ]
    with FileSource(listed(tmp_path / "list.txt", paths), card) as source:
        pixels = source._pixels
        whole = Box(0, 0, pixels.facts.height, pixels.facts.width)
        values, valid = pixels.read(whole)
        truth = seen_from(pixels.facts.transform, "EPSG:32645", *valid.shape)
        difference = np.abs(values.astype(int) - truth)[:, valid]
        assert difference.max() <= 9 and difference.mean() < 2  # half a pixel of the steepest wave is 2
        inside = ~valid[8:50, :80]
        assert inside.mean() < 0.2 and not inside[:, 35:45].any(), "a gap where they meet"
        assert "1 of them lie" in source.notes[0]
        for part in (Box(3, 30, 31, 61), Box(20, 41, 33, 60)):
            found, seen = pixels.read(part)
            np.testing.assert_array_equal(seen, valid[part.within(whole)])
            assert np.abs(found.astype(int) - values[(slice(None), *part.within(whole))])[:, seen].max() <= 1


def test_what_is_warped_lets_the_next_one_through_where_it_has_no_data(write_raster, card, tmp_path):
    hole = image(1)
    hole[:, 10:20, 10:20] = 0
    place = CORNER * Affine.translation(0.4, 0.4)
    paths = [
        write_raster(tmp_path / "a.tif", image(0, 5, 5), transform=CORNER * Affine.translation(-20, -20), nodata=0),
        write_raster(tmp_path / "b.tif", hole, transform=place, nodata=0),
        write_raster(tmp_path / "c.tif", image(2), transform=CORNER, nodata=0),
    ]
    with FileSource(listed(tmp_path / "list.txt", paths), card) as source:
        values, valid = source._pixels.read(Box(20, 20, 55, 60))
    assert valid.all()
    np.testing.assert_array_equal(values[:, 10:20, 10:20], image(2)[:, 10:20, 10:20])
    np.testing.assert_array_equal(values[:, 1:9, 1:9], hole[:, 1:9, 1:9])


def test_what_cannot_be_read_is_named(tiles, card, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged.tif").write_bytes(b"II*\0" + b"\1" * 500)
    cases = [
        (tmp_path / "empty", "raster_missing", "holds no raster"),
        (listed(tmp_path / "none.txt", [""]), "raster_missing", "names no raster"),
        (listed(tmp_path / "gone.txt", [tiles[0], "gone.tif"]), "raster_missing", r"gone\.tif"),
        (listed(tmp_path / "damaged.txt", [tiles[0], "damaged.tif"]), "raster_unreadable", r"damaged\.tif"),
        (listed(tmp_path / "web.txt", ["https://example.org/a.tif"]), "raster_network", r"example\.org"),
        (listed(tmp_path / "broken.json", ['{"features": [']), "raster_unreadable", "no JSON"),
        (
            listed(tmp_path / "bare.json", ['{"features": [{"stac_version": "1.0.0", "id": "x7", "assets": {}}]}']),
            "raster_missing",
            "x7",
        ),
    ]
    for name, code, words in cases:
        with pytest.raises(RotacubeError, match=words) as caught:
            FileSource(str(name), card)
        assert caught.value.code == code


def test_one_that_is_cut_short_is_named_when_it_is_read(tiles, card, tmp_path):
    name = listed(tmp_path / "list.txt", tiles)
    with FileSource(name, card) as source:
        os.truncate(tiles[1], 3000)
        with pytest.raises(RotacubeError, match=r"a\.tif") as caught:
            source.read(source.grid.extent)
        assert caught.value.code == "raster_unreadable"


def test_a_palette_beside_red_green_and_blue_is_refused(tiles, card, tmp_path):
    path = tmp_path / "palette.tif"
    shape = {"width": 50, "height": 40, "count": 1, "dtype": "uint8", "crs": "EPSG:32645", "transform": CORNER}
    with rasterio.open(path, "w", "GTiff", **shape) as file:
        file.write_colormap(1, {n: (n, 255 - n, n // 2, 255) for n in range(256)})
        file.colorinterp = [ColorInterp.palette]
        file.write(np.arange(2000, dtype="uint8").reshape(1, 40, 50))
    with pytest.raises(RotacubeError, match="1 and 3 bands"):
        FileSource(listed(tmp_path / "list.txt", [tiles[0], path]), card)


def test_real_tiles_are_the_mosaic_that_gdal_makes_of_them(banepa, card, tmp_path):
    from xml.etree import ElementTree

    names = dict.fromkeys(e.text for e in ElementTree.parse(banepa).iter("SourceFilename"))
    assert len(names) == 16
    with FileSource(listed(tmp_path / "list.txt", names), card) as ours, FileSource(banepa, card) as theirs:
        assert (ours.height, ours.width) == (theirs.height, theirs.width)
        box = mosaic.Box(300, 300, 900, 1000)
        np.testing.assert_array_equal(ours.read(box)[1], theirs.read(box)[1])
        np.testing.assert_allclose(ours.read(box)[0], theirs.read(box)[0], atol=1e-5)
