"""What a run makes beside the mask: probabilities, polygons, statistics; each fits the others."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.features
import shapely
from pyproj import CRS, Transformer
from rio_cogeo.cogeo import cog_validate
from torch import nn

from rotacube.errors import LayerRefused, OptionsRefused, OutputUnwritable, RasterEmpty, RequestRefused
from rotacube.inference.outputs import format_of
from rotacube.inference.run import MapRequest, Product, run_map
from rotacube.models.store import LoadedModel
from rotacube.raster.file_source import FileSource
from rotacube.vector import geoparquet

NAMES = {"mask": "mask.tif", "probability": "p.tif", "polygons": "roofs.gpkg", "statistics": "s.json"}


class Bright(nn.Module):
    """The logit of a pixel is the sum of its bands."""

    def forward(self, x):
        return x.sum(1, keepdim=True)


@pytest.fixture(scope="module")
def bright(make_card):
    confusion = {"here": [[0.9, 0.1], [0.2, 0.8]], "there": [[0.95, 0.05], [0.1, 0.9]]}
    card = make_card(
        confusion=confusion, counts={"here": [50, 45, 40], "there": [30, 33, 25]}, separation={"smallest": 1}
    )
    return LoadedModel(card, Bright().eval(), Path())


def request_of(raster, folder, names=NAMES, **more):
    products = tuple(Product(kind, folder / name, format_of(kind, name)) for kind, name in names.items())
    return MapRequest(str(raster), "tiny", products, **more)


@pytest.fixture(scope="module")
def made(bright, scene_path, cpu, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    steps = []
    result = run_map(request_of(scene_path, folder), bright, place=cpu, on_step=lambda *step: steps.append(step))
    assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES.values())
    assert [what for what, share in steps if share == 1] == ["Telling roofs apart", "Drawing outlines"]
    return folder, result


def test_the_probability_is_the_network_s_in_254ths(made, bright, scene_path):
    folder, _ = made
    assert cog_validate(folder / "p.tif")[0]
    with rasterio.open(folder / "p.tif") as file, rasterio.open(folder / "mask.tif") as mask:
        assert file.count == 1 and file.nodata == 255 and file.scales == (pytest.approx(1 / 254),)
        assert file.descriptions == (f"probability of {bright.card.classes[1].name}",)
        assert (file.transform, file.crs) == (mask.transform, mask.crs)
        found, labels = file.read(1), mask.read(1)
    with FileSource(scene_path, bright.card) as source:
        values, valid = source.read(source.grid.extent)
    chance = 1 / (1 + np.exp(-values.sum(0, dtype=np.float64)))
    np.testing.assert_array_equal(found == 255, ~valid)
    np.testing.assert_array_equal(found == 255, labels == 255)
    assert np.abs(found[valid] / 254 - chance[valid]).max() < 0.5 / 254 + 1e-6


def test_each_roof_is_a_polygon(made, bright):
    folder, _ = made
    assert pyogrio.list_layers(folder / "roofs.gpkg").tolist() == [["roofs", "Polygon"]]
    meta, _, wkb, data = pyogrio.raw.read(folder / "roofs.gpkg")
    fields, shapes = dict(zip(meta["fields"], data, strict=True)), shapely.from_wkb(wkb)
    assert shapely.is_valid(shapes).all() and len(shapes) > 5
    with rasterio.open(folder / "mask.tif") as file:
        labels, transform, crs = file.read(1), file.transform, file.crs
    assert rasterio.crs.CRS.from_user_input(meta["crs"]) == crs
    burnt = rasterio.features.rasterize([(s, 1) for s in shapes], labels.shape, transform=transform)
    roof = labels == 1
    assert (burnt & roof).sum() / (burnt | roof).sum() > 0.9
    np.testing.assert_allclose(fields["area_m2"], shapely.area(shapes), rtol=2e-3, atol=0.02)
    np.testing.assert_allclose(fields["perimeter_m"], shapely.length(shapes), rtol=2e-3, atol=0.02)
    assert (fields["area_m2"] > 0.5).all() and sorted(fields["number"]) == list(range(1, len(shapes) + 1))
    assert (fields["confidence"] > 0.5).all() and (fields["confidence"] <= 1).all()
    assert set(fields["class"]) == {bright.card.classes[1].name} and set(fields["class_id"]) == {1}
    assert set(fields["outline"]) <= {"as found", "regularised"} and set(fields["source"]) == {"scene.tif"}
    assert ((fields["axis_deg"] >= 0) & (fields["axis_deg"] < 90)).all()


def test_statistics_agree_with_the_mask(made, bright):
    folder, result = made
    content = json.loads((folder / "s.json").read_text())
    background, roof = content["rows"]
    for row, total in zip((background, roof), result.classes, strict=True):
        assert row["zone"] == "whole map" and row["pixels"] == total.pixels
        assert row["area_m2"] == pytest.approx(total.area_m2, rel=1e-4)
        assert 0 <= row["share_low"] <= row["share_best"] <= row["share_high"] <= 1
        assert row["area_low_m2"] <= row["area_best_m2"] <= row["area_high_m2"]
    assert background["share"] + roof["share"] == pytest.approx(1, abs=1e-5)
    assert roof["count"] == pyogrio.read_info(folder / "roofs.gpkg")["features"]
    assert roof["count_low"] < roof["count_high"]
    assert content["assumptions"] and content["about"]["ROTACUBE_MODEL"] == bright.card.name


@pytest.fixture(scope="module")
def zones(scene_path, tmp_path_factory):
    """Two halves of the scene, and a zone beyond it, in longitude and latitude."""
    with rasterio.open(scene_path) as file:
        (left, bottom, right, top), crs = file.bounds, file.crs
    middle = (left + right) / 2
    boxes = [shapely.box(left, bottom, middle, top), shapely.box(middle, bottom, right, top)]
    boxes.append(shapely.box(right + 10, bottom, right + 20, top))
    turn = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    placed = shapely.transform(np.array(boxes), turn.transform, interleaved=False)
    path = tmp_path_factory.mktemp("zones") / "zones.gpkg"
    names = [np.array(["west", "east", "beyond"], object)]
    pyogrio.raw.write(str(path), shapely.to_wkb(placed), names, ["name"], geometry_type="Polygon", crs="EPSG:4326")
    return str(path)


def test_zones_add_up_to_the_whole(made, bright, scene_path, zones, cpu, tmp_path):
    _, result = made
    names = {"statistics": "s.csv"}
    run_map(request_of(scene_path, tmp_path, names, zones=zones, zone_field="name"), bright, place=cpu)
    with (tmp_path / "s.csv").open(encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["zone"], row["class_id"]) for row in rows] == [
        (zone, number) for zone in ("whole map", "west", "east") for number in "01"
    ]
    for number, total in enumerate(result.classes):
        parts = [row for row in rows if row["class_id"] == str(number) and row["zone"] != "whole map"]
        assert sum(int(row["pixels"]) for row in parts) == total.pixels
        assert sum(float(row["area_m2"]) for row in parts) == pytest.approx(total.area_m2, rel=1e-3)
    whole, *halves = [int(row["count"]) for row in rows if row["class_id"] == "1"]
    assert sum(halves) == whole
    assert "'beyond' has no pixel" in rows[0]["assumptions"]


def test_fgb_holds_what_gpkg_holds(made, bright, scene_path, cpu, tmp_path):
    folder, _ = made
    run_map(request_of(scene_path, tmp_path, {"polygons": "r.fgb"}), bright, place=cpu)
    ours, theirs = (pyogrio.raw.read(path) for path in (tmp_path / "r.fgb", folder / "roofs.gpkg"))
    assert set(shapely.from_wkb(ours[2])) == set(shapely.from_wkb(theirs[2]))
    assert ours[0]["fields"].tolist() == theirs[0]["fields"].tolist()


def read_parquet(path):
    """The table of a GeoParquet file, its polygons, and what it says of them."""
    parquet = pytest.importorskip("pyarrow.parquet")
    table, known = parquet.read_table(path), parquet.read_metadata(path).metadata
    return table, shapely.from_wkb(table["geometry"].to_pylist()), json.loads(known[b"geo"]), known


def test_parquet_holds_what_gpkg_holds(made, bright, scene_path, cpu, tmp_path):
    pytest.importorskip("pyarrow")
    folder, _ = made
    run_map(request_of(scene_path, tmp_path, {"polygons": "r.parquet"}), bright, place=cpu)
    assert [path.name for path in tmp_path.iterdir()] == ["r.parquet"]
    table, shapes, about, known = read_parquet(tmp_path / "r.parquet")
    meta, _, theirs, data = pyogrio.raw.read(folder / "roofs.gpkg")
    assert len(shapes) > 5 and table.column_names == [*meta["fields"], "geometry"]
    fields = dict(zip(meta["fields"], data, strict=True))
    order, same = np.argsort(table["number"].to_pylist()), np.argsort(fields["number"])
    assert shapely.equals_exact(shapes[order], shapely.from_wkb(theirs)[same]).all()
    for name, values in fields.items():
        assert np.array(table[name].to_pylist())[order].tolist() == values[same].tolist(), name
    column = about["columns"][about["primary_column"]]
    assert about["version"] == "1.1.0" and (column["encoding"], column["geometry_types"]) == ("WKB", ["Polygon"])
    assert CRS.from_json_dict(column["crs"]) == CRS.from_user_input(meta["crs"])
    assert column["bbox"] == pytest.approx(shapely.total_bounds(shapely.from_wkb(theirs)).tolist())
    assert known[b"ROTACUBE_MODEL"] == b"tiny"


def test_parquet_of_nothing_has_the_same_columns(bright, cpu, tmp_path, write_raster):
    pytest.importorskip("pyarrow")
    raster = write_raster(tmp_path / "dark.tif", np.full((3, 200, 200), 5, np.uint8))
    run_map(request_of(raster, tmp_path, {"polygons": "r.geoparquet"}), bright, place=cpu)
    table, shapes, about, _ = read_parquet(tmp_path / "r.geoparquet")
    assert len(shapes) == 0 and "bbox" not in about["columns"]["geometry"]
    assert {name: str(table.schema.field(name).type) for name in ("number", "class", "area_m2", "geometry")} == {
        **{"number": "int64", "class": "string", "area_m2": "double", "geometry": "binary"}
    }


def test_without_pyarrow_it_says_first_what_to_install(bright, scene_path, cpu, tmp_path, monkeypatch):
    monkeypatch.setattr(geoparquet, "find_spec", lambda name: None)
    tiles = []
    with pytest.raises(OptionsRefused, match=r"pip install 'rotacube\[parquet\]'"):
        run_map(request_of(scene_path, tmp_path, {"polygons": "r.parquet"}), bright, place=cpu, on_tile=tiles.append)
    assert not tiles and not list(tmp_path.iterdir())


def test_a_map_without_a_roof_has_an_empty_layer(bright, cpu, tmp_path, write_raster):
    raster = write_raster(tmp_path / "dark.tif", np.full((3, 200, 200), 5, np.uint8))
    run_map(request_of(raster, tmp_path, overwrite=True), bright, place=cpu)
    assert pyogrio.read_info(tmp_path / "roofs.gpkg")["features"] == 0
    roof = json.loads((tmp_path / "s.json").read_text())["rows"][1]
    assert (roof["pixels"], roof["count"]) == (0, 0) and roof["share_high"] > 0


def test_the_threshold_and_the_smallest_area_are_the_request_s(made, bright, scene_path, cpu, tmp_path):
    _, result = made
    more = run_map(request_of(scene_path, tmp_path, threshold=0.6, smallest=20.0), bright, place=cpu)
    assert more.classes[1].pixels < result.classes[1].pixels
    _, _, _, data = pyogrio.raw.read(tmp_path / "roofs.gpkg", columns=["area_m2"])
    assert data[0].min() > 0.9 * 20


@pytest.mark.parametrize(
    ("more", "error", "said"),
    [
        ({"threshold": 1.5}, OptionsRefused, "between 0 and 1"),
        ({"smallest": -1.0}, OptionsRefused, "square metres"),
        ({"zones": "nowhere.gpkg"}, LayerRefused, "There is no file"),
        ({"names": {"polygons": "roofs.tif"}}, OutputUnwritable, r"does not end in \.gpkg"),
        ({"names": {"mask": "mask.gpkg"}}, OutputUnwritable, r"does not end in \.tif"),
        ({"names": {"photographs": "a.tif"}}, RequestRefused, "no product 'photographs'"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(more, error, said, bright, scene_path, cpu, tmp_path):
    names = more.pop("names", NAMES)
    products = tuple(
        Product(kind, tmp_path / name, {"polygons": "gpkg"}.get(kind, "cog")) for kind, name in names.items()
    )
    if names is NAMES:
        products = request_of(scene_path, tmp_path).products
    with pytest.raises(error, match=said):
        run_map(MapRequest(scene_path, "tiny", products, **more), bright, place=cpu)
    assert list(tmp_path.iterdir()) == []


class Triple(nn.Module):
    """The class of a pixel is its strongest band."""

    def forward(self, x):
        return 3 * x


def test_patches_of_classes(make_card, cpu, tmp_path, write_raster):
    image = np.full((3, 260, 300), 20, np.uint8)
    image[0] = 200
    for band, rows, columns in ((1, (40, 120), (50, 140)), (2, (60, 90), (140, 190)), (1, (200, 201), (200, 201))):
        image[:, slice(*rows), slice(*columns)] = 20
        image[band, slice(*rows), slice(*columns)] = 220
    classes = [{"id": i, "name": name, "color": f"#{i}0aa0{i}"} for i, name in enumerate(("soil", "crop", "weed"))]
    card = make_card(classes=classes, task="plant species", separation={"smallest": 0.1})
    model = LoadedModel(card, Triple().eval(), Path())
    run_map(request_of(write_raster(tmp_path / "a.tif", image), tmp_path), model, place=cpu)
    assert pyogrio.list_layers(tmp_path / "roofs.gpkg")[0, 0] == "patches"
    meta, _, wkb, data = pyogrio.raw.read(tmp_path / "roofs.gpkg")
    fields, shapes = dict(zip(meta["fields"], data, strict=True)), shapely.from_wkb(wkb)
    assert fields["class"].tolist() == ["crop", "weed"], "one pixel is no patch"
    crop, weed = shapes
    assert crop.touches(weed) and crop.intersection(weed).length == pytest.approx(30 * 0.15, rel=0.2)
    assert fields["area_m2"] == pytest.approx([80 * 90 * 0.0225, 30 * 50 * 0.0225], rel=0.02)
    with rasterio.open(tmp_path / "p.tif") as file:
        assert file.descriptions == ("probability of crop", "probability of weed")
    rows = json.loads((tmp_path / "s.json").read_text())["rows"]
    assert [row["class"] for row in rows] == ["soil", "crop", "weed"] and "count" not in rows[1]
    assert rows[1]["share_low"] is None, "the card says nothing of confusion"


def test_a_map_within_polygons_is_that_part_of_the_whole(made, bright, scene_path, cpu, tmp_path, monkeypatch):
    folder, _ = made
    with rasterio.open(folder / "mask.tif") as file:
        whole, transform, crs = file.read(1), file.transform, file.crs
    drawn = [shapely.Point(120, 90).buffer(60), shapely.box(250, 150, 300.4, 210)]
    placed = shapely.transform(np.array(drawn, object), lambda at: np.column_stack(transform * (at[:, 0], at[:, 1])))
    layer = tmp_path / "area.gpkg"
    pyogrio.raw.write(str(layer), shapely.to_wkb(placed), [], [], geometry_type="Polygon", crs=crs.to_wkt())
    read, boxes = FileSource.read, []
    monkeypatch.setattr(FileSource, "read", lambda self, box: boxes.append(box) or read(self, box))
    run_map(request_of(scene_path, tmp_path, {"mask": "m.tif"}, within=str(layer)), bright, place=cpu)
    with rasterio.open(tmp_path / "m.tif") as file:
        part, left_top = file.read(1), ~transform * (file.transform * (0, 0))
    column, row = (round(v) for v in left_top)
    cut = whole[row : row + part.shape[0], column : column + part.shape[1]]
    inside = rasterio.features.geometry_mask(drawn, part.shape, rasterio.Affine.translation(column, row), invert=True)
    np.testing.assert_array_equal(part, np.where(inside, cut, 255))
    touched = [
        box for box in boxes if any(s.intersects(shapely.box(box.left, box.top, box.right, box.bottom)) for s in drawn)
    ]
    assert boxes == touched, "tiles beside the polygons are not read"


def test_polygons_beside_the_raster_are_a_sentence(bright, scene_path, cpu, tmp_path):
    layer = tmp_path / "area.geojson"
    pyogrio.raw.write(
        str(layer),
        shapely.to_wkb(np.array([shapely.box(86.0, 27.0, 86.01, 27.01)])),
        [],
        [],
        geometry_type="Polygon",
        crs="EPSG:4326",
    )
    with pytest.raises(RasterEmpty, match="do not touch the raster"):
        run_map(request_of(scene_path, tmp_path, {"mask": "m.tif"}, within=str(layer)), bright, place=cpu)
