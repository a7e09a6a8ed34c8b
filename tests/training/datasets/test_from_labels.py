"""Tiles from polygons: what is drawn is known, classes are the model's, and a training learns from them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin

from rotacube.errors import DatasetDamaged, JobCancelled, LayerRefused, OptionsRefused, OutputUnwritable
from rotacube.training.datasets.areas import Faults
from rotacube.training.datasets.coco import write_coco
from rotacube.training.datasets.crops import RoofCrops
from rotacube.training.datasets.folder import split_areas
from rotacube.training.datasets.from_labels import write_tiles
from rotacube.training.finish import finish
from rotacube.training.fit import fit, start
from rotacube.training.recipe import IMAGENET as RULE
from rotacube.training.recipe import read_recipe

GSD = 0.15
LEFT, TOP = 353000.0, 3060000.0
ROOFS = [(10, 10, 40, 50), (60, 20, 90, 44), (150, 30, 190, 70), (110, 120, 140, 150), (200, 100, 240, 140)]
LAND = [(45, 60, 58, 140), (95, 60, 108, 90), (160, 80, 190, 110)]


def layer(path, rows, crs="EPSG:32645"):
    """A GeoJSON of (value, (left, top, right, bottom) in pixels)."""
    features = []
    for value, (left, top, right, bottom) in rows:
        shape = shapely.box(LEFT + left * GSD, TOP - bottom * GSD, LEFT + right * GSD, TOP - top * GSD)
        geometry = json.loads(shapely.to_geojson(shape))
        features.append({"type": "Feature", "properties": {"kind": value}, "geometry": geometry})
    named = {"type": "name", "properties": {"name": crs}}
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": named, "features": features}))
    return str(path)


@pytest.fixture
def raster(tmp_path, write_raster):
    """160 x 256 pixels of 0.15 m: roofs are red; without data on the right of column 250."""
    rng = np.random.default_rng(0)
    image = rng.integers(40, 80, (3, 160, 256), np.uint8)
    for left, top, right, bottom in ROOFS:
        image[0, top:bottom, left:right] = 220
    valid = np.ones((160, 256), bool)
    valid[:, 250:] = False
    return write_raster(tmp_path / "town.tif", image, transform=from_origin(LEFT, TOP, GSD, GSD), valid=valid)


@pytest.fixture
def drawn(tmp_path):
    return layer(tmp_path / "drawn.geojson", [("roof", box) for box in ROOFS] + [("background", box) for box in LAND])


def test_what_is_drawn_is_known_and_nothing_else(raster, drawn, tmp_path, make_card):
    written = write_tiles(raster, drawn, "kind", tmp_path / "out", make_card(), side=64)
    assert written.notes == [] and set(written.pixels) == {"background", "roof"}
    whole = {kind: np.zeros((192, 256), np.int64) for kind in ("masks", "valid", "instances")}
    picture = np.zeros((4, 192, 256), np.uint8)
    for path in (tmp_path / "out" / "images").iterdir():
        with rasterio.open(path) as file:
            left, top = ~from_origin(LEFT, TOP, GSD, GSD) * (file.transform.c, file.transform.f)
            at = np.s_[round(top) : round(top) + file.height, round(left) : round(left) + file.width]
            picture[(slice(None), *at)] = file.read()
            assert file.crs.to_epsg() == 32645
        for kind, values in whole.items():
            with rasterio.open(tmp_path / "out" / kind / path.name) as file:
                values[at] = file.read(1)
    roof, known = np.zeros((192, 256), bool), np.zeros((192, 256), bool)
    for boxes, target in ((ROOFS, roof), (LAND, known)):
        for left, top, right, bottom in boxes:
            target[top:bottom, left:right] = True
    np.testing.assert_array_equal(whole["masks"] > 0, roof)
    np.testing.assert_array_equal(whole["valid"] > 0, roof | known)
    np.testing.assert_array_equal(whole["instances"] > 0, roof)
    with rasterio.open(raster) as file:
        image = file.read()
    seen = (whole["valid"] > 0)[:160]
    np.testing.assert_array_equal(picture[:3, :160][:, seen], image[:, seen])
    np.testing.assert_array_equal(picture[3, :160][seen], 255)
    assert written.pixels == {"background": int(known.sum()), "roof": int(roof.sum())}


def test_within_an_area_all_else_is_the_first_class_and_nodata_stays_unknown(raster, tmp_path, make_card):
    roofs = layer(tmp_path / "roofs.geojson", [("roof", box) for box in ROOFS])
    area = layer(tmp_path / "area.geojson", [("", (100, 0, 256, 160))])
    written = write_tiles(raster, roofs, "kind", tmp_path / "out", make_card(), area=area, side=64)
    inside = sum((right - left) * (bottom - top) for left, top, right, bottom in ROOFS if left >= 100)
    assert written.pixels["background"] == 150 * 160 - inside


def test_what_is_not_drawn_is_seen_all_the_same(raster, tmp_path, make_card):
    small = layer(tmp_path / "small.geojson", [("roof", (20, 20, 26, 28)), ("background", (222, 60, 246, 70))])
    write_tiles(raster, small, "kind", tmp_path / "out", make_card(), side=256)
    (area,) = split_areas(tmp_path / "out", "train", Faults())
    assert area.valid.sum() == 6 * 8 + 24 * 10
    assert area.seen[:, :250].all() and not area.seen[:, 250:].any()
    for crops in (RoofCrops([(area, 1.0)], 6, 128, GSD, RULE, centred=centred) for centred in (0.0, 1.0)):
        for item in (crops[index] for index in range(6)):
            assert 0 < item["valid"].sum() < 0.1 * item["seen"].sum()
            assert (item["image"][:, item["seen"][0] > 0] != 0).float().mean() > 0.9


def test_splits_are_whole_columns_and_both_hold_something(raster, drawn, tmp_path, make_card):
    written = write_tiles(raster, drawn, "kind", tmp_path / "out", make_card(), side=64)
    splits = json.loads((tmp_path / "out" / "splits.json").read_text())
    columns = {part: {name.split("_")[1] for name in names} for part, names in splits.items()}
    assert columns["train"] and columns["val"] and not columns["train"] & columns["val"]
    assert max(columns["train"]) < min(columns["val"])
    assert written.tiles == {"train": len(splits["train"]), "validation": len(splits["val"])}
    areas = split_areas(tmp_path / "out", "validation", Faults())
    assert len(areas) == len(splits["val"]) and all(area.valid.any() and area.gsd == GSD for area in areas)


def test_classes_that_the_model_does_not_know_are_new_ones_behind_its_first(raster, tmp_path, make_card):
    rows = [("pond", ROOFS[0]), ("tree", ROOFS[1]), ("background", LAND[0])]
    write_tiles(raster, layer(tmp_path / "a.geojson", rows), "kind", tmp_path / "out", make_card(), side=64)
    classes = json.loads((tmp_path / "out" / "dataset.json").read_text())["classes"]
    assert list(classes) == ["background", "pond", "tree"] and classes["background"] == "#000000"


def test_two_classes_on_one_pixel_are_left_out_and_polygons_beside_the_raster_counted(raster, tmp_path, make_card):
    rows = [("roof", ROOFS[0]), ("background", (20, 20, 60, 60)), ("roof", (900, 900, 950, 950))]
    written = write_tiles(raster, layer(tmp_path / "a.geojson", rows), "kind", tmp_path / "out", make_card(), side=64)
    twice = 20 * 30
    assert written.pixels == {"background": 40 * 40 - twice, "roof": 30 * 40 - twice}
    assert "1 of 3 polygons lie outside of the raster" in written.notes[0]
    share = twice / (twice + sum(written.pixels.values()))
    assert written.notes[1].startswith(f"{share:.1%} of what is drawn lies in polygons of two classes")


@pytest.mark.parametrize(
    ("rows", "field", "sentence"),
    [
        ([("roof", ROOFS[0])], "kind", "All polygons are of one class, 'roof' in 'kind'.*--area"),
        ([("roof", ROOFS[0])], "species", "no field 'species'"),
        ([("roof", (900, 0, 950, 50)), ("background", (900, 60, 950, 90))], "kind", "No polygon .* lies on"),
        ([("roof", (251, 0, 254, 50)), ("background", (251, 60, 254, 90))], "kind", "nodata all over"),
    ],
)
def test_polygons_that_teach_nothing_are_refused_and_nothing_is_left(
    raster, tmp_path, make_card, rows, field, sentence
):
    with pytest.raises(LayerRefused, match=sentence):
        write_tiles(raster, layer(tmp_path / "a.geojson", rows), field, tmp_path / "out", make_card(), side=64)
    assert {path.name for path in tmp_path.iterdir()} <= {"a.geojson", "town.tif", "town.tif.aux.xml"}


def test_a_folder_that_is_there_is_kept_and_a_cancelled_run_leaves_nothing(raster, drawn, tmp_path, make_card):
    with pytest.raises(JobCancelled):
        write_tiles(raster, drawn, "kind", tmp_path / "out", make_card(), side=64, cancelled=lambda: True)
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputUnwritable, match="is there already"):
        write_tiles(raster, drawn, "kind", tmp_path / "out", make_card(), side=64)


@pytest.mark.parametrize("known", [True, False])
def test_a_model_learns_from_polygons(raster, drawn, tmp_path, make_model, cpu, known):
    """The classes are the model's or new ones; what it has learned before is kept but for the head of new ones."""
    from rotacube.models.card import read_card

    folder = make_model(tmp_path / "model")
    if not known:
        drawn = layer(tmp_path / "a.geojson", [("pond", ROOFS[0]), ("tree", ROOFS[2]), ("background", LAND[0])])
    write_tiles(raster, drawn, "kind", tmp_path / "out", read_card(folder), side=64)
    changes = [f"model={folder}", f"data={tmp_path / 'out'}", "schedule.steps=4", "precision=32-true"]
    recipe = read_recipe("finetune", [*changes, "crops={crop: 64, batch: 2, workers: 0}", "card={name: mine}"])
    assert recipe.card["name"] == "mine" and recipe.gsd == GSD and recipe.architecture == "convnext-cube-small"
    assert recipe.teacher == (str(folder) if known else "") and (recipe.losses.taught == "unknown") == known
    before = start(recipe).state_dict()
    network = fit(recipe, tmp_path, tmp_path / "run", progress=False)
    card = finish(network, recipe, tmp_path, tmp_path / "tuned", cpu, lambda text: None)
    assert [part.name for part in card.classes] == list(recipe.classes)
    assert "Polygons on town.tif" in card.training_data
    assert any("before:" in key for key in card.accuracy) == known
    first = read_card(folder)
    kept = (card.threshold, card.separation) == (first.threshold, first.separation)
    assert kept or not known  # of what is held out too little is known to choose
    assert set(before) == set(network.state_dict())


def test_a_fine_tuning_says_what_it_needs(tmp_path, model_folder):
    with pytest.raises(OptionsRefused, match="--set model=NAME --set data=FOLDER"):
        read_recipe("finetune")
    with pytest.raises(DatasetDamaged, match="dataset from-labels"):
        read_recipe("finetune", [f"model={model_folder}", f"data={tmp_path}"])


def test_tiles_for_other_tools_hold_the_same_roofs(raster, drawn, tmp_path, make_card):
    write_tiles(raster, drawn, "kind", tmp_path / "out", make_card(), side=64)
    areas = split_areas(tmp_path / "out", "train", Faults())
    tiles, objects = write_coco(areas, ["background", "roof"], tmp_path / "coco", side=64)
    content = json.loads((tmp_path / "coco" / "annotations.json").read_text())
    assert (tiles, objects) == (len(content["images"]), len(content["annotations"])) == (len(areas), objects)
    assert content["categories"] == [{"id": 1, "name": "roof"}]
    for image, area in zip(content["images"], areas, strict=True):
        with rasterio.open(tmp_path / "coco" / "masks" / image["file_name"]) as file:
            mask = file.read(1)
        np.testing.assert_array_equal(mask == 1, area.roof & area.valid)
        np.testing.assert_array_equal(mask == 255, ~area.valid)
        own = [entry for entry in content["annotations"] if entry["image_id"] == image["id"]]
        assert len(own) == len(np.unique(area.ids[area.ids > 0]))
        assert sum(entry["area"] for entry in own) == (area.ids > 0).sum()
        for entry in own:
            ring = shapely.Polygon(np.reshape(entry["segmentation"][0], (-1, 2)))
            left, top, width, height = entry["bbox"]
            assert ring.area == entry["area"] and ring.bounds == (left, top, left + width, top + height)


def test_an_object_with_a_hole_is_written_as_run_lengths(tmp_path):
    from rotacube.training.datasets.areas import Area

    labels = np.zeros((20, 30), np.uint8)
    labels[0:15, 0:20], labels[5:9, 6:12] = 2, 0
    image, known = np.zeros((3, 20, 30), np.uint8), np.ones(labels.shape, bool)
    area = Area("field", image, labels, labels * np.int32(0), known, 0.01)
    write_coco([area], ["soil", "crop", "weed"], tmp_path / "coco")
    (entry,) = json.loads((tmp_path / "coco" / "annotations.json").read_text())["annotations"]
    counts = entry["segmentation"]["counts"]
    line = np.repeat(np.arange(len(counts)) % 2, counts)
    np.testing.assert_array_equal(line.reshape(entry["segmentation"]["size"][::-1]).T, labels > 0)
    assert entry["category_id"] == 2 and entry["area"] == 15 * 20 - 24
