"""The dock drives a job from the Run button to a styled layer; and what happens when something goes wrong."""

import os
import time

from fixtures import gone, make_raster, wait
from qgis.core import QgsCoordinateReferenceSystem, QgsProject, QgsRasterLayer
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QPushButton


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
    d.dock.area.view.click()
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
    assert "was interrupted; what it found is kept" in d.iface.messages()[0] and "killed" in d.iface.messages()[0]
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
    assert "was interrupted" in d.iface.messages()[0]


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


def test_backend_that_dies_when_the_mask_is_written_loses_nothing(desk, monkeypatch):
    d = desk()
    d.ready()
    original = d.controller._opening.open
    killed = []

    def kill_first(finished, run=None):
        killed.append(os.kill(d.supervisor.pid, 9))
        original(finished, run)

    monkeypatch.setattr(d.controller._opening, "open", kill_first)
    d.run()
    d.until_idle()
    wait(lambda: d.supervisor.state == "stopped")
    QTest.qWait(100)
    assert killed and len(d.masks()) == 1 and not any("was interrupted" in text for text in d.iface.messages())


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
    d.dock.area.view.click()
    d.run()
    wait(lambda: d.iface.messages())
    assert "shows nothing of" in d.iface.messages()[0]
