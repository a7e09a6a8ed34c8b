"""The dock drives a job from the Run button to a styled layer; and what happens when something goes wrong."""

import os
import time

import pytest
from fixtures import gone, make_raster, wait
from osgeo import gdal
from qgis.core import QgsApplication, QgsCoordinateReferenceSystem, QgsProject, QgsRasterLayer, QgsRasterRange
from qgis.PyQt.QtCore import QPoint, Qt, QThreadPool
from qgis.PyQt.QtTest import QSignalSpy, QTest
from qgis.PyQt.QtWidgets import QPushButton
from qgis_plugin.client.http import Client
from qgis_plugin.client.schema import NodataRange


@pytest.fixture
def sent(monkeypatch):
    """The requests that were sent."""
    requests, original = [], Client.submit
    monkeypatch.setattr(Client, "submit", lambda self, request: (requests.append(request), original(self, request))[1])
    return requests


def test_run_adds_a_styled_mask(desk, tmp_path):
    d = desk()
    d.ready()
    d.type_output(tmp_path / "mask.tif")
    seen = []
    d.run()
    wait(lambda: d.controller.live is not None and d.controller.live.count() > 2)
    seen.append(d.dock.progress_label.text())
    d.until_idle()
    assert len(d.added) == 1
    (mask,) = d.masks()
    assert mask.source() == str(tmp_path / "mask.tif")
    assert [item.label for item in mask.renderer().classes()] == ["background", "building"]
    assert mask.renderer().classes()[0].color.alpha() == 0
    assert mask.renderer().classes()[1].color.name() == "#e2572b"
    assert QgsProject.instance().layerTreeRoot().children()[0].name() == "Rotacube"
    assert "fake-rooftop" in mask.metadata().abstract() and len(mask.metadata().history()) == 3
    assert seen[0].startswith("tile ") and "left" in seen[0]
    assert d.dock.result.isVisible() and d.dock.result.table.item(1, 0).text() == "building"
    assert "building" in d.iface.messages()[0]


def test_run_pressed_before_the_backend_is_up(desk):
    d = desk()
    d.run()
    assert d.controller.busy
    d.until_idle()
    wait(lambda: len(d.added) == 1)
    assert "_mask.tif" in d.masks()[0].source()  # a temporary file


def test_live_tiles_lie_where_the_raster_lies_and_go_at_the_end(desk):
    d = desk("slow")
    d.ready()
    d.run()
    wait(lambda: d.controller.live is not None and d.controller.live.count() >= 4)
    live, canvas = d.controller.live, d.iface.canvas
    quad = live._quad(live._tiles[0])
    corner = canvas.getCoordinateTransform().transform(d.layer.extent().xMinimum(), d.layer.extent().yMaximum())
    assert abs(quad[0].x() - corner.x()) < 1.5 and abs(quad[0].y() - corner.y()) < 1.5
    before = live.boundingRect()
    canvas.zoomByFactor(2)
    QTest.qWait(50)
    assert live.boundingRect().width() < 0.7 * before.width()
    canvas.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:3857"))
    QTest.qWait(50)
    assert all(tile.placed and abs(tile.placed[0].x()) > 1e6 for tile in live._tiles.values())
    d.click(d.dock.cancel_button)
    d.until_idle()
    assert d.controller.live is None
    assert live not in canvas.scene().items()
    assert "Cancelled" in d.iface.messages()[0] and not d.masks()


def test_canvas_area_is_sent_in_the_layers_crs(desk):
    d = desk()
    d.ready()
    canvas = d.iface.canvas
    canvas.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:3857"))
    sent = []
    canvas.setExtent(canvas.mapSettings().layerToMapCoordinates(d.layer, d.layer.extent()))
    canvas.zoomByFactor(0.4)
    QTest.qWait(100)
    d.dock.area_canvas.click()
    original = d.controller._follow
    d.controller._follow = lambda run: (sent.append(run.request), original(run))
    d.run()
    d.until_idle()
    (request,) = sent
    left, bottom, right, top = request.bounds
    extent = d.layer.extent()
    assert request.bounds_crs == "EPSG:32645"
    assert extent.xMinimum() < left < right < extent.xMaximum()
    assert extent.yMinimum() <= bottom < top <= extent.yMaximum()


def test_killed_backend_gives_a_message_and_the_next_run_works(desk):
    d = desk("slow")
    d.ready()
    d.run()
    wait(lambda: d.controller.live is not None and d.controller.live.count() >= 1)
    killed = time.monotonic()
    os.kill(d.supervisor.pid, 9)
    d.until_idle(10)
    assert time.monotonic() - killed < 5
    assert "lost" in d.iface.messages()[0] and "killed" in d.iface.messages()[0]
    assert d.dock.run_button.isEnabled() and not d.dock.cancel_button.isEnabled()
    d.run()
    wait(lambda: d.controller.live is not None and d.controller.live.count() >= 1)
    d.until_idle(30)
    assert len(d.masks()) == 1


def test_backend_that_dies_by_itself(desk):
    d = desk("die")
    d.ready()
    d.run()
    d.until_idle()
    assert "lost" in d.iface.messages()[0]


def test_failed_job_says_why(desk):
    d = desk("fail_job")
    d.ready()
    d.run()
    d.until_idle()
    assert "cannot be read any further" in d.iface.messages()[0]
    assert not d.masks()


def test_refused_job_says_why(desk):
    d = desk("refuse")
    d.ready()
    d.run()
    d.until_idle()
    assert "1 band, the model needs 3" in d.iface.messages()[0]


def test_event_that_is_no_json(desk):
    d = desk("bad_event")
    d.ready()
    d.run()
    d.until_idle()
    assert "no JSON" in d.iface.messages()[0] and "Run starts it again" in d.iface.messages()[0]
    assert d.supervisor.state == "stopped"


def test_finished_without_result(desk):
    d = desk("no_result")
    d.ready()
    d.run()
    d.until_idle()
    assert "without a result" in d.iface.messages()[0]


def test_broken_stream_is_taken_up_again(desk, monkeypatch):
    d = desk("break")
    d.ready()
    attempts, tiles = [], []
    original = d.controller._follow

    def follow(run):
        run.interrupted.connect(attempts.append)
        run.tile.connect(lambda event, image: tiles.append(event.n))
        original(run)

    monkeypatch.setattr(d.controller, "_follow", follow)
    d.run()
    d.until_idle()
    wait(lambda: len(d.added) == 1)
    assert attempts == [1]
    assert tiles == list(range(20))  # none lost, none twice


def test_models_that_are_no_json(desk):
    d = desk("bad_models")
    wait(lambda: d.iface.messages())
    assert "no JSON" in d.iface.messages()[0]
    assert d.dock.run_button.isEnabled()


def test_no_model(desk):
    d = desk("no_models")
    wait(lambda: d.supervisor.state == "ready" and "No model" in d.dock.model_picker.note.text())
    d.run()
    wait(lambda: d.iface.messages())
    assert "no model" in d.iface.messages()[0]


def test_deaf_backend_can_be_stopped_by_force(desk, monkeypatch):
    from qgis_plugin import controller

    monkeypatch.setattr(controller, "CANCEL_PATIENCE_MS", 300)
    d = desk("slow,deaf")
    d.ready()
    d.run()
    wait(lambda: d.controller.live is not None and d.controller.live.count() >= 1)
    pid = d.supervisor.pid
    d.click(d.dock.cancel_button)
    assert not d.dock.cancel_button.isEnabled()
    wait(lambda: d.dock.cancel_button.isEnabled())
    d.click(d.dock.cancel_button)
    assert not d.controller.busy and "was stopped" in d.iface.messages()[0]
    wait(lambda: gone(pid))


def test_layer_removed_in_mid_run(desk):
    d = desk("slow")
    d.ready()
    d.run()
    wait(lambda: d.controller.live is not None and d.controller.live.count() >= 1)
    QgsProject.instance().removeMapLayer(d.layer.id())
    d.until_idle(30)
    wait(lambda: len(d.added) == 1)


def test_new_project_in_mid_run_offers_the_mask(desk):
    d = desk("slow")
    d.ready()
    d.run()
    wait(lambda: d.controller.live is not None and d.controller.live.count() >= 1)
    QgsProject.instance().clear()
    assert d.controller.live is None
    d.until_idle(30)
    assert not d.masks()
    (button,) = d.iface.bar.findChildren(QPushButton, "rotacubeMessageButton")
    d.click(button)
    wait(lambda: len(d.masks()) == 1)


def test_existing_output_is_replaced_only_when_agreed(desk, tmp_path):
    d = desk()
    d.ready()
    target = tmp_path / "mask.tif"
    target.write_bytes(b"something else")
    d.type_output(target)
    d.run()
    wait(lambda: d.iface.messages())
    assert "is there already" in d.iface.messages()[0] and target.read_bytes() == b"something else"
    (button,) = d.iface.bar.findChildren(QPushButton, "rotacubeMessageButton")
    d.click(button)
    d.until_idle()
    assert gdal.Open(str(target)).RasterXSize == 320


def test_file_of_the_mask_that_is_shown_is_replaced_and_the_layer_stays(desk, tmp_path):
    d = desk()
    d.ready()
    target = tmp_path / "mask.tif"
    d.type_output(target)
    d.run()
    d.until_idle()
    (mask,) = d.masks()
    before = target.stat().st_ino, target.stat().st_mtime_ns
    d.run()
    wait(lambda: "is shown as “mask”" in d.iface.messages()[0])
    assert (target.stat().st_ino, target.stat().st_mtime_ns) == before
    (button,) = d.iface.bar.findChildren(QPushButton, "rotacubeMessageButton")
    assert button.text() == "Replace the layer's file"
    changed = QSignalSpy(mask.dataSourceChanged)
    d.click(button)
    d.until_idle()
    assert target.stat().st_mtime_ns > before[1]
    assert d.masks() == [mask] and mask.isValid() and len(changed) == 1 and len(d.added) == 2
    assert len([layer for layer in QgsProject.instance().mapLayers().values() if layer.source() == str(target)]) == 1


def test_file_deleted_while_it_is_shown_gets_no_second_layer(desk, tmp_path):
    d = desk()
    d.ready()
    target = tmp_path / "mask.tif"
    d.type_output(target)
    d.run()
    d.until_idle()
    (mask,) = d.masks()
    target.unlink()
    wait(lambda: not mask.isValid(), 10)
    assert "The file of “mask” was deleted" in d.iface.messages()[0]
    d.run()
    d.until_idle()
    assert d.masks() == [mask] and mask.isValid() and target.exists()


@pytest.mark.parametrize(
    ("mode", "label", "field", "words"),
    [("far", "Map anyway", "any_resolution", "10 m"), ("network", "Allow network", "allow_network", "example.org")],
)
def test_what_the_backend_wants_agreed_is_asked(desk, sent, mode, label, field, words):
    d = desk(mode)
    d.ready()
    d.run()
    d.until_idle()
    assert words in d.iface.messages()[0] and "--" not in d.iface.messages()[0] and not d.masks()
    (button,) = d.iface.bar.findChildren(QPushButton, "rotacubeMessageButton")
    assert button.text() == label
    QgsProject.instance().addMapLayer(QgsRasterLayer(make_raster(d.tmp / "other.tif"), "other"))
    d.dock.layer_combo.setLayer(QgsProject.instance().mapLayersByName("other")[0])  # it was asked of the other one
    d.click(button)
    d.until_idle()
    assert [getattr(request, field) for request in sent] == [False, True] and len(d.masks()) == 1
    assert sent[1].raster == d.raster
    d.run()
    d.until_idle()
    assert not getattr(sent[2], field)  # it was agreed upon for one run


def test_both_are_agreed_one_after_the_other(desk, sent):
    d = desk("far,network")
    d.ready()
    d.run()
    for label in ("Map anyway", "Allow network"):
        d.until_idle()
        (button,) = d.iface.bar.findChildren(QPushButton, "rotacubeMessageButton")
        assert button.text() == label
        d.click(button)
    d.until_idle()
    assert len(sent) == 3 and sent[2].any_resolution and sent[2].allow_network and len(d.masks()) == 1


def test_agreement_to_a_layer_that_is_gone(desk):
    d = desk("far")
    d.ready()
    d.run()
    d.until_idle()
    (button,) = d.iface.bar.findChildren(QPushButton, "rotacubeMessageButton")
    QgsProject.instance().removeMapLayer(d.layer.id())
    d.click(button)
    assert "Choose a raster layer" in d.iface.messages()[0] and not d.controller.busy


def test_what_the_layer_shows_is_sent(desk, sent):
    d = desk()
    d.ready()
    d.layer.renderer().setRedBand(3)
    d.layer.dataProvider().setUserNoDataValue(1, [QgsRasterRange(7, 7)])
    d.layer.dataProvider().setUserNoDataValue(2, [QgsRasterRange(7, 7)])
    d.layer.triggerRepaint()
    assert d.dock.layer_picker.reads.text() == "Reads bands 3, 2, 3 as the layer shows them; 7 is nodata."
    d.click(d.dock.layer_picker.black)
    assert d.dock.layer_picker.reads.text().endswith("; 7, 0 are nodata.")
    d.run()
    d.until_idle()
    (request,) = sent
    assert request.bands == [3, 2, 3] and request.nodata == [NodataRange(7, 7, 2), NodataRange(0, 0)]


def test_layer_that_is_too_coarse_for_the_model(desk, sent):
    d = desk("far")
    d.ready()
    assert not d.dock.layer_picker.scale.isVisible() and not d.dock.layer_picker.anyway.isVisible()
    coarse = QgsRasterLayer(make_raster(d.tmp / "coarse.tif", size=10), "coarse")
    QgsProject.instance().addMapLayer(coarse)
    d.dock.layer_combo.setLayer(coarse)
    text = d.dock.layer_picker.scale.text()
    assert "10.0 m" in text and "Rooftops (stand-in) is made for 15 cm to 90 cm" in text
    QTest.mouseClick(d.dock.layer_picker.anyway, Qt.MouseButton.LeftButton, pos=QPoint(8, 8))
    d.run()
    d.until_idle()
    assert [request.any_resolution for request in sent] == [True] and len(d.masks()) == 1
    d.dock.layer_combo.setLayer(d.layer)
    d.dock.layer_combo.setLayer(coarse)
    assert not d.dock.layer_picker.anyway.isChecked()  # it was agreed upon before


def test_masks_are_no_source_and_the_source_follows_the_active_layer(desk, tmp_path):
    d = desk()
    d.ready()
    d.type_output(tmp_path / "mask.tif")
    d.run()
    d.until_idle()
    (mask,) = d.masks()
    other = QgsRasterLayer(make_raster(tmp_path / "other.tif"), "other")
    QgsProject.instance().addMapLayer(other)
    combo = d.dock.layer_combo
    assert sorted(combo.itemText(n) for n in range(combo.count())) == ["ortho", "other"]
    for layer in (d.layer, other):
        d.iface.setActiveLayer(layer)
        assert combo.currentLayer() == layer
    d.iface.setActiveLayer(mask)
    d.iface.setActiveLayer(None)
    assert combo.currentLayer() == other


def test_result_is_the_layers_own(desk, tmp_path):
    d = desk("notes")
    d.ready()
    view, project = d.dock.result, QgsProject.instance()
    for name in ("first", "second"):
        d.type_output(tmp_path / f"{name}.tif")
        d.run()
        d.until_idle()
    assert "second" in view.title.text() and "-10000 looks like nodata." in view.note.text()
    d.iface.setActiveLayer(d.masks()[1])
    assert "first" in view.title.text()
    d.iface.setActiveLayer(d.layer)
    assert "first" in view.title.text()
    project.removeMapLayer(d.masks()[1].id())
    assert "second" in view.title.text()
    assert project.write(str(tmp_path / "p.qgz"))
    project.clear()
    assert not view.isVisible()
    assert project.read(str(tmp_path / "p.qgz"))
    assert view.isVisible() and "second" in view.title.text() and view.table.item(1, 0).text() == "building"


def test_cancelled_run_leaves_the_earlier_result(desk, tmp_path):
    d = desk("slow")
    d.ready()
    d.type_output(tmp_path / "first.tif")
    d.run()
    d.until_idle()
    d.type_output(tmp_path / "second.tif")
    d.run()
    wait(lambda: d.controller.live.count() >= 1)
    d.click(d.dock.cancel_button)
    d.until_idle()
    assert d.dock.result.isVisible() and "first" in d.dock.result.title.text()


def test_focus_goes_to_cancel_and_back_to_run(desk):
    d = desk("slow")
    d.ready()
    d.iface.window.activateWindow()
    d.dock.run_button.setFocus()
    QTest.keyClick(d.dock.run_button, Qt.Key.Key_Space)
    assert d.iface.window.focusWidget() is d.dock.cancel_button
    wait(lambda: d.controller.live is not None and d.controller.live.count() >= 1)
    QTest.keyClick(d.iface.window.focusWidget(), Qt.Key.Key_Space)
    assert d.iface.window.focusWidget() is d.dock.progress_label
    d.until_idle()
    assert d.iface.window.focusWidget() is d.dock.run_button and "Cancelled" in d.iface.messages()[0]


def test_focus_elsewhere_stays_there(desk):
    d = desk()
    d.ready()
    d.iface.canvas.setFocus()
    d.run()  # a mouse click gives the focus only where the button takes it
    d.iface.canvas.setFocus()
    d.until_idle()
    assert d.iface.window.focusWidget() is d.iface.canvas


def test_run_shows_among_qgis_tasks_and_is_cancelled_there(desk):
    d, manager = desk("slow"), QgsApplication.taskManager()
    d.ready()
    d.run()
    wait(lambda: manager.count() == 1 and manager.tasks()[0].progress() > 0)
    (task,) = manager.activeTasks()
    assert task.description() == "Rotacube maps ortho"
    d.dock.close()
    task.cancel()
    d.until_idle()
    assert "Cancelled" in d.iface.messages()[0] and not d.masks()
    wait(lambda: manager.countActiveTasks() == 0)


def test_task_ends_with_the_run_and_the_pool_is_as_before(desk):
    d, manager, pool = desk(), QgsApplication.taskManager(), QThreadPool.globalInstance()
    wait(lambda: manager.countActiveTasks() == 0)
    d.ready()
    for _ in range(3):
        d.run()
        d.until_idle()
    wait(lambda: manager.countActiveTasks() == 0 and pool.activeThreadCount() == 0)


def test_turned_map_says_what_is_mapped(desk):
    d = desk()
    d.iface.canvas.setRotation(30)
    assert not d.dock.area_note.isVisible()
    d.dock.area_canvas.click()
    assert d.dock.area_note.isVisible() and "turned" in d.dock.area_note.text()
    d.iface.canvas.setRotation(0)
    assert not d.dock.area_note.isVisible()


def test_backend_that_dies_when_the_mask_is_written_loses_nothing(desk, monkeypatch):
    d = desk()
    d.ready()
    original = d.controller._open
    killed = []

    def kill_first(finished, run=None):
        killed.append(os.kill(d.supervisor.pid, 9))
        original(finished, run)

    monkeypatch.setattr(d.controller, "_open", kill_first)
    d.run()
    d.until_idle()
    wait(lambda: d.supervisor.state == "stopped")
    QTest.qWait(100)
    assert killed and len(d.masks()) == 1 and not any("lost" in text for text in d.iface.messages())


def test_path_from_the_save_dialog_counts_as_agreed(desk, tmp_path):
    d = desk()
    d.ready()
    target = tmp_path / "mask.tif"
    target.write_bytes(b"something else")
    d.dock.output.setFilePath(str(target))  # what the save dialog does
    assert d.dock.output_was_confirmed()
    d.run()
    d.until_idle()
    wait(lambda: len(d.added) == 1)
    assert not d.dock.output_was_confirmed()


def test_no_layer(desk):
    d = desk()
    d.ready()
    QgsProject.instance().removeAllMapLayers()
    d.run()
    wait(lambda: d.iface.messages())
    assert "Choose a raster layer" in d.iface.messages()[0]


def test_layer_whose_crs_is_not_the_files(desk):
    d = desk()
    d.ready()
    d.layer.setCrs(QgsCoordinateReferenceSystem("EPSG:32644"))
    d.run()
    wait(lambda: d.iface.messages())
    assert "its file says" in d.iface.messages()[0] and "EPSG:32645" in d.iface.messages()[0]


def test_layer_without_crs(desk, tmp_path):
    d = desk()
    d.ready()
    bare = QgsRasterLayer(make_raster(tmp_path / "bare.tif", crs=None), "bare", "gdal")
    QgsProject.instance().addMapLayer(bare)
    d.dock.layer_combo.setLayer(bare)
    d.run()
    wait(lambda: d.iface.messages())
    assert "no coordinate reference system" in d.iface.messages()[0]


def test_canvas_that_shows_nothing_of_the_layer(desk):
    d = desk()
    d.ready()
    extent = d.layer.extent()
    extent.setXMinimum(extent.xMaximum() + 1000)
    extent.setXMaximum(extent.xMinimum() + 100)
    d.iface.canvas.setExtent(extent)
    d.dock.area_canvas.click()
    d.run()
    wait(lambda: d.iface.messages())
    assert "shows nothing of" in d.iface.messages()[0]
