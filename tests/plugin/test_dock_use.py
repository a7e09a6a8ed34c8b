"""The dock as a person uses it: the layer that it takes, the result that it keeps, the keyboard, QGIS's own tasks."""

from fixtures import make_raster, wait
from qgis.core import QgsApplication, QgsProject, QgsRasterLayer, QgsRasterRange
from qgis.PyQt.QtCore import QPoint, Qt, QThreadPool
from qgis.PyQt.QtTest import QTest
from qgis_plugin.client.schema import NodataRange


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
    assert not d.dock.area.note.isVisible()
    d.dock.area.view.click()
    assert d.dock.area.note.isVisible() and "turned" in d.dock.area.note.text()
    d.iface.canvas.setRotation(0)
    assert not d.dock.area.note.isVisible()
