"""Mask and probability on the raster's own grid: its transform to the bit, its nodata, and GDAL's own resampling."""

from __future__ import annotations

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from products import NAMES, contents
from rasterio.enums import Resampling
from rasterio.warp import reproject

from rotacube.errors import JobInterrupted, OptionsRefused
from rotacube.inference import source_grid
from rotacube.inference.outputs import format_of
from rotacube.inference.run import MapRequest, Product, run_map
from rotacube.inference.store import Store
from rotacube.raster.file_source import FileSource
from rotacube.raster.reading import Reading

NODATA = 255
NORTH_UP = Affine(0.12, 0, 353000, 0, -0.12, 3060000)
TURNED = NORTH_UP * Affine.rotation(33)
COARSER = Affine(0.31, 0, 353000, 0, -0.31, 3060000)


def request_of(raster, model, folder, grid="source", kinds=("mask", "probability"), **more):
    products = tuple(Product(kind, folder / NAMES[kind], format_of(kind, NAMES[kind])) for kind in kinds)
    reading = Reading(any_resolution=True)
    return MapRequest(str(raster), str(model), products, grid=grid, reading=reading, **more)


def read(path):
    with rasterio.open(path) as file:
        return file.read(), file.transform, file.crs


@pytest.fixture(scope="module")
def rasters(scene_path, write_raster, tmp_path_factory):
    """The drawn town as if its pixels had other sizes and directions, a part of it without data."""
    with rasterio.open(scene_path) as file:
        image, valid = file.read(), file.dataset_mask()
    valid[100:140, 200:260] = 0
    valid[30, 40] = 0
    folder = tmp_path_factory.mktemp("rasters")
    places = {"north-up": NORTH_UP, "turned": TURNED, "coarser": COARSER}
    return {
        name: (write_raster(folder / f"{name}.tif", image, transform=place, valid=valid), place, valid > 0)
        for name, place in places.items()
    }


@pytest.mark.parametrize("name", ["north-up", "turned", "coarser"])
def test_it_is_the_raster_s_grid_and_what_gdal_makes_of_the_map(
    name, rasters, model_folder, tiny_model, cpu, tmp_path, monkeypatch
):
    monkeypatch.setattr(source_grid, "WIDEST", 100)
    raster, place, valid = rasters[name]
    folders = [tmp_path / grid for grid in ("model", "source")]
    for folder in folders:
        folder.mkdir()
        request = request_of(raster, model_folder, folder, folder.name)
        result = run_map(request, tiny_model, place=cpu)
    (mask, transform, crs), (chance, transform_too, _) = (read(folders[1] / NAMES[k]) for k in ("mask", "probability"))
    with rasterio.open(raster) as file:
        assert transform == file.transform == transform_too and crs == file.crs
        assert mask.shape[1:] == chance.shape[1:] == (file.height, file.width) == (result.height, result.width)
    assert ((mask[0] == NODATA) == (chance[0] == NODATA)).all()
    assert (mask[0][~valid] == NODATA).all(), "nodata stays nodata"
    assert (mask[0] != NODATA).sum() > 0.98 * valid.sum()
    assert [c.pixels for c in result.classes] == [int((mask == n).sum()) for n in (0, 1)]
    assert result.nodata_pixels == int((mask == NODATA).sum())

    found, on, _ = read(folders[0] / NAMES["probability"])
    theirs = np.full(chance.shape, NODATA, np.float32)
    to = {"src_crs": crs, "dst_crs": crs, "src_nodata": NODATA, "dst_nodata": NODATA, "tolerance": 0}
    reproject(
        found.astype(np.float32), theirs, src_transform=on, dst_transform=place, resampling=Resampling.bilinear, **to
    )
    both = (mask[0] != NODATA) & (theirs[0] != NODATA)
    off = np.abs(theirs[0] - chance[0])[both]
    assert np.percentile(off, 99.5) <= 1, "a rounding apart, but at the borders of nodata"
    threshold = tiny_model.card.threshold * 254
    assert ((theirs[0] > threshold) == (mask[0] == 1))[both].mean() > 0.999
    nearest = np.full(mask.shape, NODATA, np.uint8)
    labels, on, _ = read(folders[0] / NAMES["mask"])
    reproject(labels, nearest, src_transform=on, dst_transform=place, resampling=Resampling.nearest, **to)
    same = [(np.roll(nearest, by, (0, 1, 2)) == mask)[0][both].mean() for by in ((0, 0, 0), (0, 1, 0), (0, 0, -1))]
    assert same[0] > 0.75 and same[0] > 1.1 * max(same[1:]), "the same places, with smoother outlines"


@pytest.mark.parametrize("name", ["north-up", "coarser"])
def test_a_part_is_the_crop_of_the_whole(name, rasters, model_folder, tiny_model, cpu, tmp_path):
    raster, place, _ = rasters[name]
    run_map(request_of(raster, model_folder, tmp_path), tiny_model, place=cpu)
    whole = [read(tmp_path / NAMES[kind])[0] for kind in ("mask", "probability")]
    for rows, columns in (((37, 141), (101, 390)), ((233, 300), (0, 78))):
        left, top = place * (columns[0] + 0.4, rows[0] + 0.4)
        right, bottom = place * (columns[1] - 0.4, rows[1] - 0.4)
        part = tmp_path / f"part{rows[0]}"
        part.mkdir()
        request = request_of(raster, model_folder, part, bounds=(left, bottom, right, top))
        run_map(request, tiny_model, place=cpu)
        for kind, every in zip(("mask", "probability"), whole, strict=True):
            found, at, _ = read(part / NAMES[kind])
            np.testing.assert_array_equal(found, every[:, slice(*rows), slice(*columns)])
            assert at * (0, 0) == pytest.approx(place * (columns[0], rows[0]))


def test_within_polygons_the_rest_is_nodata(rasters, model_folder, tiny_model, cpu, tmp_path):
    raster, place, _ = rasters["north-up"]
    run_map(request_of(raster, model_folder, tmp_path), tiny_model, place=cpu)
    whole, _, crs = read(tmp_path / NAMES["mask"])
    corners = [place * at for at in ((100, 60), (300, 80), (280, 220), (120, 200))]
    layer = tmp_path / "area.gpkg"
    pyogrio.raw.write(
        layer,
        shapely.to_wkb(np.array([shapely.Polygon(corners)], object)),
        [np.array([1])],
        ["n"],
        crs=crs.to_wkt(),
        geometry_type="Polygon",
    )
    part = tmp_path / "part"
    part.mkdir()
    run_map(request_of(raster, model_folder, part, within=str(layer)), tiny_model, place=cpu)
    found, at, _ = read(part / NAMES["mask"])
    column, row = (round(v) for v in ~place * (at * (0, 0)))
    every = whole[:, row : row + found.shape[1], column : column + found.shape[2]]
    with rasterio.open(part / NAMES["mask"]) as file:
        shape = [shapely.Polygon(corners)]
        near = rasterio.features.geometry_mask([shape[0].buffer(0.2)], file.shape, at, invert=True)
        inside = rasterio.features.geometry_mask([shape[0].buffer(-0.2)], file.shape, at, invert=True)
    assert found.shape[1:] < whole.shape[1:] and (found[0][~near] == NODATA).all()
    np.testing.assert_array_equal(found[0][inside], every[0][inside])


def test_where_the_model_s_grid_is_the_raster_s_both_are_the_same(scene_path, model_folder, tiny_model, cpu, tmp_path):
    found = []
    for grid in ("model", "source"):
        (tmp_path / grid).mkdir()
        run_map(request_of(scene_path, model_folder, tmp_path / grid, grid), tiny_model, place=cpu)
        found.append(read(tmp_path / grid / NAMES["mask"]))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert found[0][1:] == found[1][1:]


def test_polygons_and_statistics_are_those_of_the_model_s_grid(rasters, model_folder, tiny_model, cpu, tmp_path):
    found = []
    for grid in ("model", "source"):
        (tmp_path / grid).mkdir()
        request = request_of(rasters["north-up"][0], model_folder, tmp_path / grid, grid, NAMES)
        run_map(request, tiny_model, place=cpu)
        found.append(contents(tmp_path / grid))
    assert found[0][1:] == found[1][1:]
    assert found[0][0][0].shape != found[1][0][0].shape


def test_a_mask_alone_is_the_one_of_all_products(rasters, model_folder, tiny_model, cpu, tmp_path):
    raster, _, _ = rasters["north-up"]
    run_map(request_of(raster, model_folder, tmp_path), tiny_model, place=cpu)
    alone = tmp_path / "alone"
    alone.mkdir()
    run_map(request_of(raster, model_folder, alone, kinds=("mask",)), tiny_model, place=cpu)
    np.testing.assert_array_equal(read(alone / NAMES["mask"])[0], read(tmp_path / NAMES["mask"])[0])


@pytest.mark.parametrize("cut", ["while strips are found", "while the map is resampled"])
def test_a_run_that_was_cut_off_goes_on(cut, rasters, model_folder, tiny_model, cpu, tmp_path, monkeypatch):
    raster, _, _ = rasters["north-up"]
    run_map(request_of(raster, model_folder, tmp_path), tiny_model, place=cpu)
    again = tmp_path / "again"
    again.mkdir()

    def interrupted(self, finding, add=Store.add):
        if len(self.boxes) == 2:
            raise JobInterrupted("The backend ends.")
        add(self, finding)

    def ends(what, share):
        raise JobInterrupted("The backend ends.")

    with monkeypatch.context() as patch, pytest.raises(JobInterrupted):
        if cut == "while strips are found":
            patch.setattr(Store, "add", interrupted)
        run_map(request_of(raster, model_folder, again), tiny_model, place=cpu, on_step=ends)
    assert [path.name for path in again.iterdir()] == [".mask.tif.rotacube-job"]
    run_map(request_of(raster, model_folder, again, resume=True), tiny_model, place=cpu)
    for kind in ("mask", "probability"):
        np.testing.assert_array_equal(read(again / NAMES[kind])[0], read(tmp_path / NAMES[kind])[0])
    assert sorted(path.name for path in again.iterdir()) == ["mask.tif", "p.tif"]


def test_another_word_is_refused(scene_path, model_folder, tiny_model, cpu, tmp_path):
    with pytest.raises(OptionsRefused, match="the model or the source, not 'mine'"):
        run_map(request_of(scene_path, model_folder, tmp_path, "mine"), tiny_model, place=cpu)
    assert list(tmp_path.iterdir()) == []


def test_several_classes(rasters, make_model, cpu, tmp_path):
    from rotacube.models.store import load_model

    classes = [{"id": i, "name": name, "color": f"#{i}0aa0{i}"} for i, name in enumerate(("soil", "potato", "weed"))]
    folder = make_model(tmp_path / "three", classes=classes)
    model = load_model(str(folder))
    run_map(request_of(rasters["north-up"][0], folder, tmp_path), model, place=cpu)
    (mask, _, _), (chance, _, _) = (read(tmp_path / NAMES[kind]) for kind in ("mask", "probability"))
    seen = mask[0] != NODATA
    every = np.concatenate([254 - chance.sum(0, keepdims=True, dtype=int), chance])
    best = np.take_along_axis(every, np.minimum(mask, 2).astype(int), 0)[0]
    assert (best >= every.max(0) - 2)[seen].all() and len(np.unique(mask[0][seen])) >= 2


def test_real_imagery(banepa, model_folder, tiny_model, cpu, tmp_path):
    """Banepa, 0.13 m in degrees: the mask has each pixel of the raster, and its nodata."""
    with rasterio.open(banepa) as file:
        window = rasterio.windows.Window(300, 200, 500, 400)
        bounds = rasterio.windows.bounds(window, file.transform)
    run_map(request_of(banepa, model_folder, tmp_path, bounds=bounds), tiny_model, place=cpu)
    mask, transform, crs = read(tmp_path / NAMES["mask"])
    with rasterio.open(banepa) as file, FileSource(banepa, tiny_model.card) as source:
        assert mask.shape[1:] == (400, 500) and crs == file.crs
        assert transform.almost_equals(file.transform * Affine.translation(300, 200), 1e-12)
        assert source.scale != (1.0, 1.0)
        valid = file.dataset_mask(window=window) > 0
    assert (mask[0][~valid] == NODATA).all() and (mask[0] != NODATA).mean() > 0.9


def test_the_command_line_has_it(rasters, model_folder, tmp_path):
    from typer.testing import CliRunner

    from rotacube.cli import app

    raster, place, _ = rasters["north-up"]
    output = tmp_path / "mask.tif"
    done = CliRunner().invoke(app, ["map", raster, str(output), "--model", str(model_folder), "--grid", "source"])
    assert done.exit_code == 0, done.output
    with rasterio.open(output) as file:
        assert file.transform == place and file.tags()["ROTACUBE_GRID"] == "source"
