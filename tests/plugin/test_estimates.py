"""What a run would come to is said before it is made, and nothing is made for it."""

import dataclasses
from pathlib import Path

import pytest
from fixtures import MODEL, wait
from qgis.core import QgsFeature, QgsGeometry, QgsProcessingUtils, QgsProject, QgsRectangle, QgsSettings, QgsVectorLayer
from qgis_plugin.client.schema import DiskNeed, Estimate, JobRequest, JobResult
from qgis_plugin.estimates import pace, remember_pace
from qgis_plugin.gui import format as fmt
from qgis_plugin.layers import further
from qgis_plugin.layers.results import Finished


def test_words():
    found = Estimate(1240, 100, 100, [DiskNeed("/a", 850_000_000, 10**12), DiskNeed("/b", 10_000_000, 10**9)])
    assert fmt.estimate(found, None) == "1,240 tiles, up to 860 MB on the disk"
    assert fmt.estimate(found, 200) == "1,240 tiles, up to 860 MB on the disk, about 03:20"
    full = Estimate(1, 100, 100, [DiskNeed("/a", 20_000_000, 3_000_000)])
    assert fmt.estimate(full, None) == "1 tile, up to 20 MB on the disk. The disk of /a has only 3.0 MB left."


def test_it_stands_above_run_and_follows_what_is_chosen(desk, asked):
    d = desk()
    d.ready()
    wait(lambda: d.dock.estimate.text() == "20 tiles, up to 40 MB on the disk")
    assert (
        d.dock.estimate.mapTo(d.dock, d.dock.estimate.rect().bottomLeft()).y()
        <= d.dock.run_button.mapTo(d.dock, d.dock.run_button.rect().topLeft()).y()
    )
    d.dock.further.boxes[further.PROBABILITY].click()
    assert d.dock.estimate.text() == "", "what was said holds no longer"
    wait(lambda: d.dock.estimate.text() == "20 tiles, up to 80 MB on the disk")
    d.dock.area.view.click()
    wait(lambda: d.dock.estimate.text().startswith("1 tile,"))
    assert asked[-1].bounds is not None and asked[-1].overwrite
    before = len(asked)
    d.iface.canvas.zoomByFactor(0.5)
    wait(lambda: len(asked) == before + 1)


def test_time_comes_from_an_earlier_run(desk):
    d = desk()
    d.ready()
    wait(d.dock.estimate.text)
    d.run()
    d.until_idle()
    wait(lambda: d.dock.estimate.text() == "20 tiles, up to 40 MB on the disk, about 00:13")  # 12.3 s, says the fake
    assert pace(MODEL.name, "cuda") is None and pace("another", "cpu") is None


def test_a_few_tiles_tell_nothing(qgis_app):
    result = JobResult([], 10, 10, (0.3, 0.3), [], 0, 1.5, "cpu, float32", [])
    job = Finished("ortho", JobRequest("ortho.tif", MODEL.name, []), result, MODEL)
    remember_pace(job, 9)
    assert pace(MODEL.name, "cpu") is None
    remember_pace(job, 10)
    assert pace(MODEL.name, "cpu, float32") == pytest.approx(0.15)
    assert pace(MODEL.name, "cpu", 4) is None
    job = dataclasses.replace(job, request=dataclasses.replace(job.request, turns=4))
    remember_pace(dataclasses.replace(job, result=dataclasses.replace(result, seconds=6.0)), 10)
    assert pace(MODEL.name, "cpu", 4) == pytest.approx(0.6) and pace(MODEL.name, "cpu") == pytest.approx(0.15)
    QgsSettings().setValue(f"rotacube/pace/{MODEL.name}", "nonsense cpu")
    assert pace(MODEL.name, "cpu") is None


def test_nothing_is_said_of_what_would_be_refused(desk, asked):
    d = desk("refuse")
    d.ready()
    wait(lambda: asked)
    assert d.dock.estimate.text() == "" and not d.iface.messages()
    d.type_output("/nowhere/at/all.tif")
    d.dock.area.changed.emit()
    before = len(asked)
    assert d.controller._estimates._request(d.dock.order(None)) is None and len(asked) == before


def test_a_full_disk_is_told_before_run(desk):
    d = desk("full")
    d.ready()
    wait(lambda: "has only 0.0 MB left" in d.dock.estimate.text())


def test_nothing_is_copied_or_made(desk, asked):
    d = desk()
    d.ready()
    layer = QgsVectorLayer("Polygon?crs=EPSG:32645", "fields", "memory")
    for left in (335010, 335050):
        feature = QgsFeature()
        feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(left, 3057950, left + 10, 3057960)))
        layer.dataProvider().addFeature(feature)
    layer.updateExtents()
    QgsProject.instance().addMapLayer(layer)
    made = set(Path(QgsProcessingUtils.tempFolder()).iterdir())
    wait(d.dock.area.in_polygons.isEnabled)
    d.dock.area.in_polygons.click()
    wait(lambda: asked and asked[-1].bounds is not None)
    assert asked[-1].bounds == pytest.approx((335010, 3057950, 335060, 3057960)) and asked[-1].within == ""
    layer.selectByIds([1])
    d.dock.area.polygons.selected.click()
    wait(lambda: asked[-1].bounds[2] == pytest.approx(335020))
    assert set(Path(QgsProcessingUtils.tempFolder()).iterdir()) == made
    QgsProject.instance().removeMapLayer(layer.id())
