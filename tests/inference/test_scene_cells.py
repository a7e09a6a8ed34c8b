"""Scenes of a raster: each is what the network says of its pixels, where it lies; what has no data is left out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
import torch
from pyproj import Geod, Transformer
from rasterio.windows import Window

from rotacube.errors import JobCancelled, LayerRefused, OptionsRefused, OutputUnwritable, RasterEmpty
from rotacube.inference.scenes import SceneRequest, classify_scenes
from rotacube.models.store import load_model
from rotacube.raster.reading import NodataRange, Reading

SIDE = 64
METRES = SIDE * 0.15


@pytest.fixture(scope="module")
def folder(make_scene_model):
    return make_scene_model()


@pytest.fixture(scope="module")
def model(folder):
    return load_model(str(folder))


def layer(path):
    meta, _, shapes, values = pyogrio.raw.read(path)
    fields = dict(zip(meta["fields"], values, strict=True))
    return meta, shapely.from_wkb(shapes), fields


def said(network, raster, window):
    """What a network says of a window of a raster, by rasterio and PyTorch alone: probabilities, and share of data."""
    with rasterio.open(raster) as file:
        values = file.read(window=window, boundless=True, fill_value=0).astype(np.float32)
        valid = np.zeros(values.shape[1:], bool)
        top, left = max(0, -int(window.row_off)), max(0, -int(window.col_off))
        mask = file.read_masks(1, window=window.intersection(Window(0, 0, file.width, file.height))) > 0
        valid[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    mean, std = (np.array(v)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    given = np.where(valid, (values / 255 - mean) / std, 0).astype(np.float32)
    with torch.inference_mode():
        return network(torch.from_numpy(given)[None]).softmax(1)[0].numpy(), valid.mean()


def run(scene_path, folder, model, cpu, output, **more):
    request = SceneRequest(scene_path, str(folder), output, **more)
    return classify_scenes(request, model, place=cpu)


def test_each_square_is_what_the_network_says_of_it(scene_path, folder, model, cpu, tmp_path):
    steps = []
    request = SceneRequest(scene_path, str(folder), tmp_path / "s.gpkg")
    result = classify_scenes(request, model, place=cpu, on_scene=lambda *about: steps.append(about))
    meta, shapes, fields = layer(tmp_path / "s.gpkg")
    names = ["field", "forest", "houses"]
    found, left_out = 0, 0
    with rasterio.open(scene_path) as file:
        place, height, width = file.transform, file.height, file.width
    for row in range(-(-height // SIDE)):
        for column in range(-(-width // SIDE)):
            chances, share = said(model.network, scene_path, Window(column * SIDE, row * SIDE, SIDE, SIDE))
            if share < 0.5:
                left_out += 1
                continue
            at = found
            found += 1
            assert fields["number"][at] == row * 7 + column + 1
            assert [fields[f"p_{name}"][at] for name in names] == pytest.approx(chances, abs=2e-4)
            assert fields["class"][at] == names[chances.argmax()] and fields["class_id"][at] == chances.argmax()
            assert fields["probability"][at] == pytest.approx(chances.max(), abs=2e-4)
            assert fields["valid"][at] == pytest.approx(share, abs=1e-4)
            left, top = place * (column * SIDE, row * SIDE)
            right, bottom = place * ((column + 1) * SIDE, (row + 1) * SIDE)
            square = shapely.box(left, bottom, right, top)
            assert shapely.symmetric_difference(shapes[at], square).area < 1e-6
    assert found == len(shapes) == result.scenes and left_out == result.left_out > 0
    assert len({str(name) for name in fields["class"]}) > 1, "the model tells nothing apart: the test shows nothing"
    assert steps[-1][:2] == (35, 35) and [done for done, _, _ in steps] == sorted({done for done, _, _ in steps})
    assert meta["crs"] == "EPSG:32645"
    assert {c.info.name: c.scenes for c in result.classes} == {n: int((fields["class"] == n).sum()) for n in names}


def test_areas_are_those_on_the_ellipsoid(scene_path, folder, model, cpu, tmp_path):
    run(scene_path, folder, model, cpu, tmp_path / "s.fgb", size=15)
    _, shapes, fields = layer(tmp_path / "s.fgb")
    turn = Transformer.from_crs("EPSG:32645", "EPSG:4326", always_xy=True)
    for shape, area in zip(shapes, fields["area_m2"], strict=True):
        ground = shapely.transform(shape, turn.transform, interleaved=False)
        assert area == pytest.approx(abs(Geod(ellps="WGS84").geometry_area_perimeter(ground)[0]), rel=1e-3)


def test_a_part_has_the_scenes_of_the_whole(scene_path, folder, model, cpu, tmp_path):
    run(scene_path, folder, model, cpu, tmp_path / "whole.gpkg")
    with rasterio.open(scene_path) as file:
        left, top = file.transform * (100, 70)
        right, bottom = file.transform * (250, 200)
    run(scene_path, folder, model, cpu, tmp_path / "part.gpkg", bounds=(left, bottom, right, top))
    _, shapes, whole = layer(tmp_path / "whole.gpkg")
    _, some, part = layer(tmp_path / "part.gpkg")
    chosen = np.isin(whole["number"], part["number"])
    assert 0 < len(some) < len(shapes) and shapely.equals(some, shapes[chosen]).all()
    for name, values in part.items():
        assert (values == whole[name][chosen]).all(), name


def test_polygons_are_scenes(scene_path, folder, model, cpu, tmp_path):
    with rasterio.open(scene_path) as file:
        place = file.transform
    boxes = [(150, 150, 250, 220), (300, 200, 320, 210), (-500, 0, -400, 80)]  # columns and rows; the last lies beside
    shapes = [shapely.box(*(place * (a, b)), *(place * (c, d))) for a, b, c, d in boxes]
    shapes[1] = shapely.MultiPolygon([shapes[1], shapely.affinity.translate(shapes[1], 6, 0)])
    degrees = Transformer.from_crs("EPSG:32645", "EPSG:4326", always_xy=True)
    turned = [shapely.transform(shape, degrees.transform, interleaved=False) for shape in shapes]
    pyogrio.raw.write(
        str(tmp_path / "fields.geojson"),
        shapely.to_wkb(np.array(turned, object)),
        [np.array(["mill", "ford", "beside"], object)],
        ["name"],
        driver="GeoJSON",
        geometry_type="Unknown",
        crs="EPSG:4326",
    )
    cells = str(tmp_path / "fields.geojson")
    result = run(scene_path, folder, model, cpu, tmp_path / "s.gpkg", cells=cells, cell_field="name")
    _, found, fields = layer(tmp_path / "s.gpkg")
    assert list(fields["name"]) == ["mill", "ford"] and list(fields["number"]) == [1, 2] and result.left_out == 1
    for at in range(2):
        assert shapely.symmetric_difference(found[at], shapes[at]).area < 0.01
        assert fields["area_m2"][at] == pytest.approx(shapes[at].area, rel=2e-3)
    # the first is 100 x 70 pixels: the square about it is seen; its corners move by less than a pixel on the way
    chances, _ = said(model.network, scene_path, Window(150, 135, 100, 100))
    other, _ = said(model.network, scene_path, Window(149, 134, 101, 101))
    given = [fields[f"p_{name}"][0] for name in ("field", "forest", "houses")]
    assert min(np.abs(given - chances).max(), np.abs(given - other).max()) < 0.05


def test_two_classes_have_a_threshold(scene_path, make_scene_model, cpu, tmp_path):
    def built(threshold):
        folder = make_scene_model(tmp_path / f"two-{threshold}", ("open", "built"), gain=1.0, threshold=threshold)
        run(scene_path, folder, load_model(str(folder)), cpu, tmp_path / f"{threshold}.gpkg")
        fields = layer(tmp_path / f"{threshold}.gpkg")[2]
        assert fields["p_open"] + fields["p_built"] == pytest.approx(1, abs=2e-4)
        assert fields["probability"] == pytest.approx(
            np.where(fields["class"] == "built", fields["p_built"], fields["p_open"])
        )
        return fields["p_built"], fields["class"] == "built"

    chances, _ = built(0.5)
    between = np.sort(chances)[len(chances) // 2 - 1 :][:2]
    threshold = round(float(between.mean()), 5)
    assert between[0] < threshold < between[1], "the model tells nothing apart: the test shows nothing"
    same, above = built(threshold)
    assert (same == chances).all() and (above == (chances > threshold)).all() and 0 < above.sum() < len(above)


def test_what_a_person_calls_nodata_is_left_out(scene_path, folder, model, cpu, tmp_path, write_raster):
    values = np.full((3, 128, 192), 90, np.uint8)
    values[:, :, :64] = 0
    raster = write_raster(tmp_path / "r.tif", values)
    reading = Reading(nodata=(NodataRange(0, 0),))
    assert run(raster, folder, model, cpu, tmp_path / "a.gpkg").scenes == 6
    assert run(raster, folder, model, cpu, tmp_path / "b.gpkg", reading=reading).scenes == 4
    none = Reading(nodata=(NodataRange(90, 90), NodataRange(0, 0)))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(RasterEmpty):
        run(raster, folder, model, cpu, tmp_path / "c.gpkg", reading=none)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({"size": 5}, OptionsRefused, "33 of the model's pixels a side; it takes 64 to 2,048. Choose a size from 9.6"),
        ({"size": 500}, OptionsRefused, "3,333 of the model's pixels"),
        ({"size": float("nan")}, OptionsRefused, "is none"),
        ({"least": 101}, OptionsRefused, "101 % of data"),
        ({"size": 20, "cells": "x.gpkg"}, OptionsRefused, "no size and no bounds"),
        ({"cells": "gone.gpkg"}, LayerRefused, "There is no file 'gone.gpkg'"),
        ({"bounds": (0, 0, 1, 1)}, RasterEmpty, "does not touch the raster"),
        ({"output": Path("s.shp")}, OutputUnwritable, ".gpkg"),
    ],
)
def test_what_is_wrong_is_a_sentence(more, error, words, scene_path, folder, model, cpu, tmp_path):
    more = {**more, "output": tmp_path / more.get("output", "s.gpkg")}
    with pytest.raises(error) as caught:
        classify_scenes(SceneRequest(scene_path, str(folder), **more), model, place=cpu)
    assert words in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_pixels_is_refused(scene_path, model_folder, tiny_model, cpu, tmp_path):
    with pytest.raises(OptionsRefused, match="labels pixels, not whole images"):
        run(scene_path, model_folder, tiny_model, cpu, tmp_path / "s.gpkg")


def test_cancelled_it_leaves_nothing_and_what_was_there_stays(scene_path, folder, model, cpu, tmp_path):
    (tmp_path / "s.gpkg").write_text("mine")
    request = SceneRequest(scene_path, str(folder), tmp_path / "s.gpkg")
    with pytest.raises(OutputUnwritable, match="is there already"):
        classify_scenes(request, model, place=cpu)
    asked = iter([False, False, True])
    with pytest.raises(JobCancelled):
        classify_scenes(dataclasses.replace(request, overwrite=True), model, place=cpu, cancelled=lambda: next(asked))
    assert [path.name for path in tmp_path.iterdir()] == ["s.gpkg"]
    assert (tmp_path / "s.gpkg").read_text() == "mine"
