"""Polygons and statistics of masks that are there already, ours and those of other programs."""

from __future__ import annotations

import csv

import numpy as np
import pyogrio
import pytest

from rotacube.errors import JobCancelled, OptionsRefused, RasterBands, RasterEmpty
from rotacube.inference.of_mask import POLYGONS, STATISTICS, MaskRequest, of_mask
from rotacube.inference.shares import likely
from rotacube.models.store import find_model


@pytest.fixture(scope="module")
def labels():
    """Two fields of 5 and one of 9 on nothing; a corner unknown (7)."""
    values = np.zeros((2100, 300), np.int16)
    values[20:60, 20:80] = 5
    values[2030:2080, 100:200] = 5  # over the edge of a block
    values[100:140, 100:180] = 9
    values[:10, :10] = 7
    return values


@pytest.fixture(scope="module")
def foreign(labels, write_raster, tmp_path_factory):
    return write_raster(tmp_path_factory.mktemp("mask") / "fields.tif", labels[None], nodata=7)


def rows_of(path):
    with path.open(encoding="utf-8-sig") as stream:
        return list(csv.DictReader(stream))


def test_polygons_of_another_program_s_mask_have_its_values(foreign, tmp_path):
    made = of_mask(MaskRequest(foreign, POLYGONS, tmp_path / "p.gpkg"))
    meta, _, _, data = pyogrio.raw.read(tmp_path / "p.gpkg")
    fields = dict(zip(meta["fields"], data, strict=True))
    assert sorted(zip(fields["class_id"].tolist(), fields["class"], strict=True)) == [
        (5, "class 5"),
        (5, "class 5"),
        (9, "class 9"),
    ]
    assert set(fields["outline"]) == {"regularised"} and "confidence" not in fields
    assert sorted(fields["area_m2"]) == pytest.approx([x * 0.15**2 for x in (2400, 3200, 5000)], rel=5e-3)
    assert [(value, total.pixels) for value, total in made.classes][1:] == [(5, 7400), (9, 3200)]
    assert [path.name for path in tmp_path.iterdir()] == ["p.gpkg"]


def test_chosen_classes_and_outlines_as_found(foreign, tmp_path):
    of_mask(MaskRequest(foreign, POLYGONS, tmp_path / "p.fgb", classes=("9",), regularise=False))
    meta, _, _, data = pyogrio.raw.read(tmp_path / "p.fgb")
    fields = dict(zip(meta["fields"], data, strict=True))
    assert fields["class_id"].tolist() == [9] and "axis_deg" not in fields
    with pytest.raises(OptionsRefused, match=r"no class 'roof'. It has: class 5 \(5\), class 9 \(9\)"):
        of_mask(MaskRequest(foreign, POLYGONS, tmp_path / "q.fgb", classes=("roof",)))


def test_statistics_without_a_model_say_so(foreign, labels, tmp_path):
    made = of_mask(MaskRequest(foreign, STATISTICS, tmp_path / "s.csv"))
    rows = rows_of(tmp_path / "s.csv")
    assert [(row["class_id"], int(row["pixels"])) for row in rows] == [
        (str(value), int((labels == value).sum())) for value in (0, 5, 9)
    ]
    assert all(row["share_low"] == "" and row["share_best"] == row["share"] for row in rows)
    assert "does not say which model" in rows[0]["assumptions"] and made.notes == [rows[0]["assumptions"]]


def test_statistics_of_our_own_mask_have_intervals(write_raster, tmp_path, monkeypatch):
    import rasterio

    card, _ = find_model("rooftop-lite")
    path = write_raster(tmp_path / "mask.tif", (np.indices((1, 256, 256))[2] > 180).astype(np.uint8), nodata=255)
    tags = {"ROTACUBE_MODEL": card.name, "ROTACUBE_MODEL_SHA256": card.weights.sha256}
    for threshold, known in ((f"{card.threshold:g}", True), ("0.9", False)):
        with rasterio.open(path, "r+") as file:
            file.update_tags(**tags, ROTACUBE_THRESHOLD=threshold)
            file.update_tags(1, CLASS_0="background", CLASS_1="roof")
        of_mask(MaskRequest(path, STATISTICS, tmp_path / "s.csv", overwrite=True))
        rows = rows_of(tmp_path / "s.csv")
        assert [row["class"] for row in rows] == ["background", "roof"]
        assert all((row["share_low"] != "") == known for row in rows)
        assert ("another threshold" in rows[0]["assumptions"]) != known
        if known:
            assert all(float(r["share_low"]) <= float(r["share_best"]) <= float(r["share_high"]) for r in rows)


def test_statistics_of_a_mask_of_plants_have_shares_of_the_vegetated_area(write_raster, tmp_path):
    import rasterio

    card, _ = find_model("plants-potato")
    kinds = np.clip(np.indices((1, 256, 256))[2] // 32 - 4, 0, 2).astype(np.uint8)  # 5/8, 1/8 and 2/8
    path = write_raster(tmp_path / "mask.tif", kinds, nodata=255)
    with rasterio.open(path, "r+") as file:
        tags = {"ROTACUBE_MODEL_SHA256": card.weights.sha256, "ROTACUBE_THRESHOLD": f"{card.threshold:g}"}
        file.update_tags(ROTACUBE_MODEL=card.name, **tags)
        file.update_tags(1, **{f"CLASS_{c.id}": c.name for c in card.classes})
    of_mask(MaskRequest(path, STATISTICS, tmp_path / "s.csv"))
    soil, potato, weed = rows_of(tmp_path / "s.csv")
    assert soil["vegetated_share"] == "" and soil["share_low"] != ""
    for row, share in ((potato, 1 / 3), (weed, 2 / 3)):
        assert float(row["vegetated_share"]) == pytest.approx(share, abs=1e-5)
        assert float(row["vegetated_share_low"]) < share < float(row["vegetated_share_high"])


def test_what_was_found_is_turned_by_the_rates_of_errors():
    rates = np.array([[0.9, 0.1], [0.2, 0.8]])
    true = np.array([0.7, 0.3])
    found = true @ rates
    turned = likely(found, {"here": rates.tolist()})
    np.testing.assert_allclose(turned.sum(1), 1)
    np.testing.assert_allclose(found @ turned, true, atol=1e-6)
    np.testing.assert_allclose(likely(found, {}), np.eye(2))


def test_what_is_no_mask_is_refused_in_a_sentence(scene_path, write_raster, tmp_path):
    reals = write_raster(tmp_path / "reals.tif", np.full((1, 40, 40), 0.5, np.float32))
    empty = write_raster(tmp_path / "empty.tif", np.full((1, 40, 40), 3, np.uint8), nodata=3)
    many = write_raster(tmp_path / "many.tif", np.arange(1600, dtype=np.int32).reshape(1, 40, 40))
    for path, error, word in (
        (reals, RasterBands, "no whole numbers"),
        (many, RasterBands, "more than 254 values"),
        (empty, RasterEmpty, "nodata all over"),
    ):
        with pytest.raises(error, match=word):
            of_mask(MaskRequest(path, POLYGONS, tmp_path / "p.gpkg"))
    with pytest.raises(RasterBands, match="no band 9"):
        of_mask(MaskRequest(scene_path, POLYGONS, tmp_path / "p.gpkg", band=9))
    assert not (tmp_path / "p.gpkg").exists()


def test_cancelled_it_leaves_nothing(foreign, tmp_path):
    with pytest.raises(JobCancelled):
        of_mask(MaskRequest(foreign, POLYGONS, tmp_path / "p.gpkg"), cancelled=lambda: True)
    steps = []
    with pytest.raises(JobCancelled):
        of_mask(
            MaskRequest(foreign, POLYGONS, tmp_path / "p.gpkg"),
            on_step=lambda what, share: steps.append(what),
            cancelled=lambda: "Drawing outlines" in steps,
        )
    assert list(tmp_path.iterdir()) == []
