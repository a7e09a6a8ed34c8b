"""A run as a whole: the same mask whatever part is run, in its place, complete or not there at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import rasterio
import torch
from affine import Affine
from pyproj import Geod, Transformer
from rasterio.errors import RasterioIOError
from rio_cogeo.cogeo import cog_validate
from torch import nn

from rotacube.errors import JobCancelled, OptionsRefused, OutputUnwritable, RasterEmpty, RequestRefused
from rotacube.inference import engine
from rotacube.inference.device import Place, choose_place
from rotacube.inference.run import MapRequest, Product, run_map
from rotacube.models.store import LoadedModel
from rotacube.raster import write
from rotacube.raster.destination import Destination, _process
from rotacube.raster.file_source import FileSource

NODATA = 255


class Pointwise(nn.Module):
    """Logits of a pixel from that pixel alone: a 1x1 convolution with given weights."""

    def __init__(self, weights: list[list[float]], bias: list[float]) -> None:
        super().__init__()
        self.mix = nn.Conv2d(len(weights[0]), len(weights), 1)
        self.mix.weight.data = torch.tensor(weights)[:, :, None, None]
        self.mix.bias.data = torch.tensor(bias)

    def forward(self, x):
        return self.mix(x)


@pytest.fixture(scope="module")
def bright(make_card):
    """A model that finds what is brighter than the mean, pixel by pixel."""
    return LoadedModel(make_card(), Pointwise([[1.0, 1.0, 1.0]], [0.0]).eval(), Path())


@pytest.fixture(scope="module")
def strongest(make_card):
    """A model of three classes: the band that is strongest, pixel by pixel."""
    classes = [{"id": i, "name": name, "color": f"#{i}0aa0{i}"} for i, name in enumerate(("red", "green", "blue"))]
    network = Pointwise(np.eye(3).tolist(), [0.0] * 3).eval()
    return LoadedModel(make_card(classes=classes, tile=64, overlap=24), network, Path())


def mask_of_raster(raster, output, bounds=None, **more):
    """The request for a mask."""
    return MapRequest(str(raster), "tiny", (Product("mask", Path(output)),), bounds, **more)


def made(run):
    """The path of the mask that a request asks for, or a result holds."""
    return run.products[0].path


def mask_of(path):
    with rasterio.open(path) as file:
        return file.read(1), file.transform


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def whole(scene_path, tiny_model, cpu, tmp_path_factory):
    output = tmp_path_factory.mktemp("whole") / "mask.tif"
    return run_map(mask_of_raster(scene_path, output), tiny_model, place=cpu)


def part_of(transform, rows, columns):
    """Bounds of a window of a north-up grid, a third of a pixel within its outer pixels."""
    left, top = transform * (columns[0] + 0.33, rows[0] + 0.33)
    right, bottom = transform * (columns[1] - 0.33, rows[1] - 0.33)
    return left, bottom, right, top


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        ((0, 64), (0, 64)),
        ((64, 128), (128, 192)),
        ((37, 41), (201, 390)),
        ((90, 300), (55, 56)),
        ((233, 300), (333, 410)),
    ],
)
def test_a_part_is_the_crop_of_the_whole(rows, columns, whole, scene_path, tiny_model, cpu, tmp_path):
    labels, transform = mask_of(made(whole))
    assert {0, 1, NODATA} == set(np.unique(labels))
    request = mask_of_raster(scene_path, tmp_path / "part.tif", part_of(transform, rows, columns))
    try:
        run_map(request, tiny_model, place=cpu)
    except RasterEmpty:
        assert (labels[slice(*rows), slice(*columns)] == NODATA).all()
        return
    part, place = mask_of(made(request))
    np.testing.assert_array_equal(part, labels[slice(*rows), slice(*columns)])
    assert place * (0, 0) == pytest.approx(transform * (columns[0], rows[0]))


def test_columns_of_a_wide_area_fit_each_other(whole, scene_path, tiny_model, cpu, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "COLUMN", 256)
    tiles = []
    request = mask_of_raster(scene_path, tmp_path / "columns.tif")
    result = run_map(request, tiny_model, place=cpu, on_tile=tiles.append)
    np.testing.assert_array_equal(mask_of(made(request))[0], mask_of(made(whole))[0])
    assert [c.pixels for c in result.classes] == [c.pixels for c in whole.classes]
    assert [tile.done for tile in tiles] == list(range(1, tiles[0].total + 1))
    shown = np.zeros((300, 410), int)
    for tile in tiles:
        shown[max(tile.box.top, 0) : tile.box.bottom, max(tile.box.left, 0) : tile.box.right] += 1
    assert (shown == 1).all(), "each pixel is shown, and counted, once"


def test_the_batch_changes_next_to_nothing(whole, scene_path, tiny_model, tmp_path):
    request = mask_of_raster(scene_path, tmp_path / "single.tif")
    run_map(request, tiny_model, place=Place(torch.device("cpu"), torch.float32, 3))
    assert (mask_of(made(request))[0] != mask_of(made(whole))[0]).mean() <= 1e-4


def pixels_of(path, card):
    """The raster's values as the network gets them, and its validity, in one piece."""
    with FileSource(path, card) as source:
        return source.read(source.grid.extent)


def test_tiles_blend_without_seams(scene_path, bright, cpu, tmp_path):
    request = mask_of_raster(scene_path, tmp_path / "mask.tif")
    run_map(request, bright, place=cpu)
    values, valid = pixels_of(scene_path, bright.card)
    logits = values.sum(0)
    sure = valid & (np.abs(logits) > 1e-4)
    labels, _ = mask_of(made(request))
    np.testing.assert_array_equal(labels[sure], logits[sure] > 0)
    np.testing.assert_array_equal(labels == NODATA, ~valid)


def test_the_threshold_is_a_probability(scene_path, make_card, cpu, tmp_path):
    model = LoadedModel(make_card(threshold=0.8), Pointwise([[1.0, 1.0, 1.0]], [0.0]).eval(), Path())
    request = mask_of_raster(scene_path, tmp_path / "mask.tif")
    run_map(request, model, place=cpu)
    values, valid = pixels_of(scene_path, model.card)
    chance = 1 / (1 + np.exp(-values.sum(0, dtype=np.float64)))
    sure = valid & (np.abs(chance - 0.8) > 1e-4)
    np.testing.assert_array_equal(mask_of(made(request))[0][sure], chance[sure] > 0.8)


def test_more_than_two_classes_take_the_strongest(scene_path, strongest, cpu, tmp_path):
    request = mask_of_raster(scene_path, tmp_path / "mask.tif")
    result = run_map(request, strongest, place=cpu)
    values, valid = pixels_of(scene_path, strongest.card)
    first, second = np.sort(values, 0)[:-3:-1]
    sure = valid & (first - second > 1e-4)
    labels, _ = mask_of(made(request))
    np.testing.assert_array_equal(labels[sure], values.argmax(0)[sure])
    np.testing.assert_array_equal(labels == NODATA, ~valid)
    assert [c.pixels for c in result.classes] == [int((labels == i).sum()) for i in range(3)]
    assert result.nodata_pixels == (~valid).sum()


GRIDS = {
    "degrees at 60": ("EPSG:4326", Affine(2.2e-6, 0, 24.9, 0, -1.2e-6, 60.0)),
    "feet": ("EPSG:2263", Affine(0.4921, 0, 985000, 0, -0.4921, 200000)),
    "rotated": ("EPSG:32645", Affine.translation(353000, 3060000) * Affine.rotation(30) * Affine.scale(0.2, -0.2)),
}


@pytest.mark.parametrize("name", GRIDS)
def test_the_mask_lies_where_the_raster_lies(name, bright, cpu, tmp_path, write_raster):
    crs, transform = GRIDS[name]
    image = np.full((3, 200, 260), 10, np.uint8)
    image[:, 40:90, 170:210] = 250
    request = mask_of_raster(write_raster(tmp_path / "a.tif", image, crs, transform), tmp_path / "mask.tif")
    run_map(request, bright, place=cpu)
    for row, column, roof in [(44, 174, 1), (44, 206, 1), (86, 174, 1), (86, 206, 1), (36, 190, 0), (94, 190, 0),
                              (60, 166, 0), (60, 214, 0), (2, 2, 0), (195, 255, 0)]:  # fmt: skip
        x, y = transform * (column + 0.5, row + 0.5)
        with rasterio.open(made(request)) as file:
            assert next(file.sample([(x, y)]))[0] == roof
        assert located(made(request), x, y) == roof


def located(path, x, y):
    """What GDAL's own tool finds under a coordinate; a GDAL of another build than the one that wrote."""
    if shutil.which("gdallocationinfo") is None:
        with rasterio.open(path) as file:
            return file.read(1)[file.index(x, y)]
    tool = ["gdallocationinfo", "-valonly", "-geoloc", str(path), repr(x), repr(y)]
    return int(subprocess.run(tool, capture_output=True, text=True, check=True).stdout)


def test_the_mask_is_a_valid_cog_with_colours_classes_and_provenance(bright, cpu, tmp_path, write_raster):
    image = np.random.default_rng(0).integers(0, 256, (3, 700, 1300), np.uint8)
    request = mask_of_raster(
        write_raster(tmp_path / "a.tif", image), tmp_path / "mask.tif", (353010, 3059910, 353180, 3060000)
    )
    run_map(request, bright, place=cpu)
    assert cog_validate(made(request), strict=True) == (True, [], [])
    with rasterio.open(made(request)) as file:
        assert file.count == 1 and file.dtypes == ("uint8",) and file.nodata == NODATA
        assert file.colormap(1)[1] == (0xE6, 0x55, 0x0D, 255) and file.colormap(1)[NODATA][3] == 0
        assert file.overviews(1) and file.crs.to_epsg() == 32645
        tags = file.tags()
        assert file.tags(1)["CLASS_1"] == "roof"
    assert tags["ROTACUBE_MODEL"] == "tiny" and tags["ROTACUBE_LICENCE"] == "MIT"
    assert tags["ROTACUBE_BOUNDS"] == "353010 3059910 353180 3060000"
    assert left_in(tmp_path) == ["a.tif", "mask.tif"], "no side files"


@pytest.mark.parametrize("name", GRIDS)
def test_areas_are_those_on_the_ellipsoid(name, bright, cpu, tmp_path, write_raster):
    crs, transform = GRIDS[name]
    image = np.random.default_rng(1).integers(0, 256, (3, 300, 420), np.uint8)
    request = mask_of_raster(write_raster(tmp_path / "a.tif", image, crs, transform), tmp_path / "mask.tif")
    result = run_map(request, bright, place=cpu)
    ring = [transform * corner for corner in ((0, 0), (420, 0), (420, 300), (0, 300))]
    x, y = np.transpose(ring)
    longitude, latitude = Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y)
    area, _ = Geod(ellps="WGS84").polygon_area_perimeter(longitude, latitude)
    border = 2 * (result.width + result.height) * result.gsd[0] * result.gsd[1]
    assert sum(c.area_m2 for c in result.classes) == pytest.approx(abs(area), abs=border)
    labels, _ = mask_of(made(request))
    for c in result.classes:
        assert c.pixels == (labels == c.info.id).sum()
        assert c.area_m2 / c.pixels == pytest.approx(result.gsd[0] * result.gsd[1], rel=2e-3)


def test_tiles_are_told_in_order_with_their_ground_and_what_they_show(scene_path, bright, cpu, tmp_path):
    tiles = []
    request = mask_of_raster(scene_path, tmp_path / "mask.tif", (353010, 3059960, 353050, 3059990))
    run_map(request, bright, place=cpu, on_tile=tiles.append)
    labels, transform = mask_of(made(request))
    with FileSource(scene_path, bright.card) as source:
        area = source.grid.box_of_bounds(request.bounds)
    total = tiles[0].total
    assert [(t.n, t.done, t.total) for t in tiles] == [(n, n + 1, total) for n in range(total)]
    covered = np.zeros_like(labels, int)
    for tile in tiles:
        if (tile.box & area).empty:
            continue
        cut = tile.box.within(area)
        covered[cut] += 1
        corners = [transform * p for p in ((cut[1].start, cut[0].start), (cut[1].stop, cut[0].start),
                                           (cut[1].stop, cut[0].stop), (cut[1].start, cut[0].stop))]  # fmt: skip
        np.testing.assert_allclose(tile.corners, corners)
        if tile.labels is None:
            assert (labels[cut] == NODATA).all() and tile.counts == {}
        else:
            assert (tile.labels != labels[cut]).mean() < 1e-3
            assert tile.counts == {i: int((tile.labels == i).sum()) for i in (0, 1)}
    assert (covered == 1).all()


@pytest.mark.parametrize("after", [0, 1, 3])
def test_cancelled_at_a_tile_nothing_is_left(after, scene_path, bright, cpu, tmp_path):
    done = []
    with pytest.raises(JobCancelled):
        run_map(mask_of_raster(scene_path, tmp_path / "mask.tif"), bright, place=cpu, on_tile=done.append,
                cancelled=lambda: len(done) >= after)  # fmt: skip
    assert len(done) <= after + cpu.batch and left_in(tmp_path) == []


class Broken(nn.Module):
    """A network that fails."""

    def forward(self, x):
        raise RuntimeError("out of order")


def fail(*_, **__):
    raise RasterioIOError("no space left on device")


@pytest.mark.parametrize("part", ["write", "copy", "check", "network", "listener"])
def test_whatever_fails_nothing_is_left_and_what_was_there_stays(part, scene_path, bright, cpu, tmp_path, monkeypatch):
    model, listener, error = bright, None, OutputUnwritable
    if part == "write":
        monkeypatch.setattr(write.CogWriter, "write", lambda *_: (_ for _ in ()).throw(OutputUnwritable("full")))
    elif part == "copy":
        monkeypatch.setattr(write.rasterio.shutil, "copy", fail)
    elif part == "check":
        monkeypatch.setattr(write, "_read_through", fail)
    elif part == "network":
        model, error = LoadedModel(bright.card, Broken(), Path()), RuntimeError
    else:
        listener, error = fail, RasterioIOError
    old = tmp_path / "mask.tif"
    old.write_bytes(b"what was there")
    with pytest.raises(error):
        run_map(mask_of_raster(scene_path, old, overwrite=True), model, place=cpu, on_tile=listener)
    assert left_in(tmp_path) == ["mask.tif"] and old.read_bytes() == b"what was there"


def test_an_output_is_replaced_only_if_asked(scene_path, bright, cpu, tmp_path):
    old = tmp_path / "mask.tif"
    old.write_bytes(b"what was there")
    with pytest.raises(OutputUnwritable, match="is there already"):
        run_map(mask_of_raster(scene_path, old), bright, place=cpu)
    assert old.read_bytes() == b"what was there"
    run_map(mask_of_raster(scene_path, old, overwrite=True), bright, place=cpu)
    assert mask_of(old)[0].shape == (300, 410)


def test_a_raster_is_never_replaced_by_its_own_mask(scene_path, bright, cpu, tmp_path):
    path = tmp_path / "a.tif"
    shutil.copy(scene_path, path)
    (tmp_path / "link.tif").symlink_to(path)
    before = path.read_bytes()
    for output in (path, tmp_path / "link.tif"):
        with pytest.raises(OutputUnwritable, match="the raster itself"):
            run_map(mask_of_raster(str(path), output, overwrite=True), bright, place=cpu)
    assert path.read_bytes() == before


def test_what_killed_runs_left_is_swept_and_nothing_else(scene_path, bright, cpu, tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    started = int(psutil.Process(ended.pid).create_time())
    ended.wait()
    own = Destination(tmp_path / "other.tif", False)
    host, pid, start = _process().split("-")
    old = [
        f".mask[1].tif.{host}-{ended.pid}-{started}-0a1b2c3d.strips.rotacube-part",
        f".elsewhere.tif.{host}-{ended.pid}-{started}-0a1b2c3d.cog.rotacube-part.aux.xml",
        f".mask[1].tif.{host}-{pid}-{int(start) - 500}-0a1b2c3d.cog.rotacube-part",
        ".mask[1].tif.ffffff-1-1-0a1b2c3d.cog.rotacube-part",
    ]
    kept = [".mask1.tif.strips.txt", "mask[1].tif.txt", own.part("strips").name]
    foreign = ".mask[1].tif.ffffff-1-1-ffffffff.cog.rotacube-part"
    for name in [*old, *kept, foreign]:
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (1e9, 1e9))
    os.utime(tmp_path / foreign)
    run_map(mask_of_raster(scene_path, tmp_path / "mask[1].tif"), bright, place=cpu)
    assert left_in(tmp_path) == sorted([*kept, foreign, "mask[1].tif"])
    own.drop()
    assert not (tmp_path / kept[2]).exists()


def test_an_area_without_data_is_told_and_leaves_nothing(bright, cpu, tmp_path, write_raster):
    path = write_raster(tmp_path / "a.tif", np.zeros((3, 100, 100), np.uint8), nodata=0)
    with pytest.raises(RasterEmpty, match="nodata all over"):
        run_map(mask_of_raster(path, tmp_path / "mask.tif"), bright, place=cpu)
    assert left_in(tmp_path) == ["a.tif"]


def test_names_with_spaces_and_letters_of_all_kinds_work(scene_path, bright, cpu, tmp_path):
    folder = tmp_path / "Bâle, été [2024] छत"
    folder.mkdir()
    source = folder / "ортофото 50 %.tif"
    shutil.copy(scene_path, source)
    result = run_map(mask_of_raster(str(source), folder / "маска #1.tif"), bright, place=cpu)
    assert mask_of(made(result))[0].shape == (300, 410)
    assert len(left_in(folder)) == 2


@pytest.mark.parametrize("output", ["no/such/mask.tif", "mask.png", "mask", "x" * 300 + ".tif", "x" * 240 + ".tif"])
def test_an_output_that_cannot_be_is_told(output, scene_path, bright, cpu, tmp_path):
    with pytest.raises(OutputUnwritable):
        run_map(mask_of_raster(scene_path, tmp_path / output), bright, place=cpu)
    assert left_in(tmp_path) == []


def test_a_precision_that_is_not_there_is_told():
    with pytest.raises(RequestRefused, match="float32 or bfloat16"):
        choose_place("float8")


def test_bfloat16_finds_nearly_the_same(whole, scene_path, tiny_model, tmp_path):
    request = mask_of_raster(scene_path, tmp_path / "mask.tif", (353000, 3059985, 353061.5, 3060000))
    run_map(request, tiny_model, place=Place(torch.device("cpu"), torch.bfloat16, 2))
    labels, _ = mask_of(made(request))
    assert (labels != mask_of(made(whole))[0][: len(labels)]).mean() < 0.05


def test_a_part_of_the_real_mosaic_is_the_crop_of_the_whole_and_lies_in_its_place(banepa, tiny_model, cpu, tmp_path):
    with rasterio.open(banepa) as source:
        outer = part_of(source.transform, (400, 700), (700, 980))
        inner = part_of(source.transform, (471, 590), (777, 901))
        transform = source.transform
    for name, bounds in (("outer", outer), ("inner", inner)):
        run_map(mask_of_raster(banepa, tmp_path / f"{name}.tif", bounds), tiny_model, place=cpu)
        assert cog_validate(tmp_path / f"{name}.tif", strict=True)[0]
    (labels, whole), (part, place) = mask_of(tmp_path / "outer.tif"), mask_of(tmp_path / "inner.tif")
    column, row = ~whole * (place.c, place.f)
    assert (column, row) == pytest.approx((round(column), round(row)), abs=1e-4)
    cut = labels[round(row) : round(row) + part.shape[0], round(column) : round(column) + part.shape[1]]
    np.testing.assert_array_equal(part, cut)
    if shutil.which("gdalinfo"):
        told = subprocess.run(["gdalinfo", "-json", tmp_path / "outer.tif"], capture_output=True, check=True).stdout
        corners = json.loads(told)["cornerCoordinates"]
        assert corners["upperLeft"] == pytest.approx(transform * (700, 400), abs=2e-6)
        assert corners["lowerRight"] == pytest.approx(transform * (980, 700), abs=2e-6)


def test_the_mask_of_the_real_mosaic_shows_what_the_mosaic_shows(banepa, bright, cpu, tmp_path):
    """Bright pixels of the mosaic, read by GDAL at the ground coordinates of the mask's pixels."""
    with rasterio.open(banepa) as source:
        bounds = part_of(source.transform, (0, 500), (0, 600))
        image, grid = source.read((1, 2, 3)), source.transform
    run_map(mask_of_raster(banepa, tmp_path / "mask.tif", bounds), bright, place=cpu)
    labels, transform = mask_of(tmp_path / "mask.tif")
    rule = bright.card.normalisation
    found = ((image / 255 - np.array(rule.mean)[:, None, None]) / np.array(rule.std)[:, None, None]).sum(0) > 0
    rows, columns = (n.ravel() for n in np.mgrid[20 : labels.shape[0] - 20, 20 : labels.shape[1] - 20])

    def agreement(dx, dy):
        u, v = ~grid * (transform * (columns + 0.5 + dx, rows + 0.5 + dy))
        return (found[v.astype(int), u.astype(int)] == labels[rows, columns]).mean()

    here = agreement(0, 0)
    assert here > 0.93
    assert all(here > agreement(*shift) for shift in [(1, 0), (-1, 0), (0, 1), (0, -1)])


@pytest.mark.parametrize(
    ("products", "word"),
    [
        ((), "Nothing is asked for"),
        ((Product("dream", Path("a.tif")),), "no product 'dream' as 'cog'. There are: mask"),
        ((Product("mask", Path("a.tif"), "png"),), "no product 'mask' as 'png'"),
        ((Product("mask", Path("a.tif")), Product("mask", Path("a.tif"))), "same path"),
    ],
)
def test_products_that_cannot_be_made_are_told(products, word, scene_path, bright, cpu):
    with pytest.raises(RequestRefused, match=word):
        run_map(MapRequest(scene_path, "tiny", products), bright, place=cpu)


def test_a_scene_model_does_not_map(make_card, scene_path, cpu, tmp_path):
    model = LoadedModel(make_card(architecture="alexnet"), Broken(), Path())
    with pytest.raises(OptionsRefused, match="labels whole images, not pixels"):
        run_map(mask_of_raster(scene_path, tmp_path / "mask.tif"), model, place=cpu)
    assert left_in(tmp_path) == []


def test_a_run_loads_the_model_that_it_names(scene_path, model_folder, cpu, whole, tmp_path):
    request = MapRequest(scene_path, str(model_folder), (Product("mask", tmp_path / "mask.tif"),))
    assert run_map(request, place=cpu).classes == whole.classes
