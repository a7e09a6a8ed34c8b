"""The queue and the list of runs: one after the other, each cancelled, opened, and asked again what it has said."""

import dataclasses
import json
import os
from pathlib import Path

from fixtures import make_raster, wait
from qgis.core import QgsApplication, QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication, QPushButton
from qgis_plugin.client.schema import JobRequest, ProductRequest
from qgis_plugin.gui import jobs_view
from qgis_plugin.gui.jobs_view import CANCEL, FOLDER, MESSAGE, OPEN, REMOVE, JobsView, Row


def listed(d):
    """Names and texts of the list."""
    items = [d.dock.jobs.list.topLevelItem(n) for n in range(d.dock.jobs.list.topLevelItemCount())]
    return [(item.text(0), item.text(1)) for item in items]


def choose(d, row):
    d.dock.jobs.list.setCurrentItem(d.dock.jobs.list.topLevelItem(row))


def offered(d):
    return [action for action, button in d.dock.jobs.buttons.items() if button.isVisible()]


def do(d, action):
    d.click(d.dock.jobs.buttons[action])


def queue(d, path):
    """Run into a file, as soon as the button takes it."""
    wait(d.dock.run_button.isEnabled)
    d.type_output(path)
    d.run()


def making(d):
    return d.controller.live is not None and d.controller.live.count() >= 1


def test_runs_wait_for_each_other(desk, tmp_path):
    d = desk("slow")
    d.ready()
    assert not d.dock.jobs.isVisible() and d.dock.run_button.text() == "R&un"
    queue(d, tmp_path / "first.tif")
    wait(lambda: making(d))
    assert d.dock.run_button.text() == "Q&ueue" and d.dock.output.isEnabled()
    queue(d, tmp_path / "second.tif")
    wait(lambda: [text for _, text in listed(d)][:1] == ["waiting"])
    assert listed(d)[1][1].startswith("tile ") and listed(d)[1][1].split(",")[0] in d.dock.progress_label.text()
    assert len(d.controller._runs.pending) == 2
    wait(lambda: len(d.masks()) == 1)
    assert d.masks()[0].name() == "first" and d.controller.busy
    wait(lambda: listed(d)[0][1].startswith("tile "))
    assert d.dock.cancel_button.isEnabled() and listed(d)[1] == ("ortho → first", "done in 00:13")
    d.until_idle(60)
    assert sorted(mask.name() for mask in d.masks()) == ["first", "second"]
    assert [text for _, text in listed(d)] == ["done in 00:13"] * 2 and d.dock.run_button.text() == "R&un"
    wait(lambda: QgsApplication.taskManager().countActiveTasks() == 0)


def test_a_waiting_run_is_cancelled_and_the_one_before_goes_on(desk, tmp_path):
    d = desk("slow")
    d.ready()
    for name in ("first", "second"):
        queue(d, tmp_path / f"{name}.tif")
        wait(d.dock.run_button.isEnabled)
    choose(d, 0)
    assert offered(d) == [CANCEL]
    do(d, CANCEL)
    wait(lambda: listed(d)[0][1] == "cancelled")
    assert d.controller.busy and offered(d) == [MESSAGE, REMOVE]
    d.until_idle(60)
    assert [mask.name() for mask in d.masks()] == ["first"] and not (tmp_path / "second.tif").exists()
    do(d, REMOVE)
    assert len(listed(d)) == 1


def test_cancel_ends_the_one_that_is_made_and_the_next_begins(desk, tmp_path):
    d = desk("slow")
    d.ready()
    for name in ("first", "second"):
        queue(d, tmp_path / f"{name}.tif")
        wait(d.dock.run_button.isEnabled)
    wait(lambda: making(d))
    d.click(d.dock.cancel_button)
    wait(lambda: listed(d)[1][1] == "cancelled")
    wait(lambda: listed(d)[0][1].startswith("tile "))
    assert d.dock.cancel_button.isEnabled() and d.dock.bar.isVisible()
    d.until_idle(60)
    assert [mask.name() for mask in d.masks()] == ["second"]


def test_two_runs_do_not_write_into_one_file(desk, tmp_path):
    d = desk("slow")
    d.ready()
    queue(d, tmp_path / "mask.tif")
    queue(d, tmp_path / "mask.tif")
    wait(lambda: any("has not ended yet writes into" in text for text in d.iface.messages()))
    assert len(listed(d)) == 1 and d.controller.busy and not d.dock.progress_label.isHidden()
    d.until_idle(60)
    assert len(d.masks()) == 1


def test_a_double_click_asks_for_one_run(desk):
    d = desk("slow")
    d.ready()
    d.run()
    QTest.qWait(QApplication.doubleClickInterval() // 2)
    d.run()
    wait(lambda: making(d))
    assert len(listed(d)) == 1


def test_open_leads_back_to_the_result(desk, tmp_path):
    d = desk()
    d.ready()
    queue(d, tmp_path / "mask.tif")
    d.until_idle()
    d.iface.canvas.zoomByFactor(8)
    (mask,) = d.masks()
    d.iface.setActiveLayer(d.layer)
    assert offered(d) == [OPEN, FOLDER, MESSAGE, REMOVE]
    do(d, OPEN)
    assert d.iface.active is mask and d.iface.canvas.extent().contains(mask.extent())
    QgsProject.instance().clear()
    do(d, OPEN)
    wait(lambda: len(d.masks()) == 1)  # added to the new project
    do(d, MESSAGE)
    assert d.iface.messages()[0].startswith("“ortho” is mapped: building")
    QgsProject.instance().removeMapLayers([layer.id() for layer in d.masks()])
    (tmp_path / "mask.tif").unlink()
    do(d, OPEN)
    wait(lambda: "Check that the file is still there" in d.iface.messages()[0])


def test_a_failed_run_says_again_why(desk):
    d = desk("fail_job")
    d.ready()
    d.run()
    d.until_idle()
    d.iface.bar.clearWidgets()
    assert listed(d) == [("ortho", "failed")] and offered(d) == [MESSAGE, REMOVE]
    do(d, MESSAGE)
    assert "cannot be read any further" in d.iface.messages()[0]


def test_all_runs_are_lost_and_offered_again_when_the_backend_dies(desk, tmp_path):
    d = desk("slow")
    d.ready()
    for name in ("first", "second"):
        queue(d, tmp_path / f"{name}.tif")
        wait(d.dock.run_button.isEnabled)
    wait(lambda: making(d))
    os.kill(d.supervisor.pid, 9)
    d.until_idle(10)
    assert [text for _, text in listed(d)] == ["interrupted"] * 2 and d.controller.live is None
    (button,) = d.iface.bar.findChildren(QPushButton, "rotacubeMessageButton")
    d.click(button)
    wait(lambda: not listed(d))  # what the backend knows of takes their place; the stand-in knows of nothing


def left(raster, output):
    return dataclasses.asdict(JobRequest(raster, "fake-rooftop", [ProductRequest(str(output))]))


def test_what_an_earlier_backend_left_is_listed_and_resumed(desk, tmp_path):
    rasters = [make_raster(tmp_path / f"town{n}.tif") for n in range(3)]
    requests = [left(raster, tmp_path / f"{n}.tif") for n, raster in enumerate(rasters)]
    d = desk(FAKE_LEFT=json.dumps(requests))
    d.ready()
    wait(lambda: listed(d) == [(f"town{n}", "interrupted at 43.0 %") for n in range(3)])
    choose(d, 2)
    do(d, jobs_view.DISCARD)
    wait(lambda: len(listed(d)) == 2)
    choose(d, 1)
    QTest.keyClick(d.dock.jobs.list, Qt.Key.Key_Return)  # the first that can be done: resume
    wait(lambda: d.controller.busy)
    d.until_idle()
    wait(lambda: len(d.masks()) == 1)
    assert d.masks()[0].name() == "1" and listed(d) == [("town1", "done in 00:13"), ("town0", "interrupted at 43.0 %")]


def test_a_run_of_another_layer_while_one_goes_on(desk, tmp_path, sent):
    d = desk("slow")
    d.ready()
    d.run()
    wait(lambda: making(d))
    other = QgsRasterLayer(make_raster(tmp_path / "other.tif", seed=4), "other")
    QgsProject.instance().addMapLayer(other)
    d.iface.setActiveLayer(other)
    wait(d.dock.run_button.isEnabled)
    d.run()
    d.until_idle(60)
    assert [Path(request.raster).name for request in sent] == ["ortho.tif", "other.tif"] and len(d.masks()) == 2


def test_tab_leads_from_the_list_to_what_can_be_done(desk):
    d = desk()
    d.ready()
    d.run()
    d.until_idle()
    d.iface.window.activateWindow()
    d.dock.jobs.list.setFocus()
    for action in (OPEN, FOLDER, MESSAGE, REMOVE):
        QTest.keyClick(d.iface.window.focusWidget(), Qt.Key.Key_Tab)
        assert d.iface.window.focusWidget() is d.dock.jobs.buttons[action]
    QTest.keyClick(d.iface.window.focusWidget(), Qt.Key.Key_Space)
    assert d.iface.window.focusWidget() is not None and not d.dock.jobs.isVisible()


def test_everything_by_keyboard(qgis_app):
    view, asked = JobsView(), []
    view.asked.connect(lambda *about: asked.append(about))
    view.show_row("1", Row("town", "done", (OPEN, MESSAGE, REMOVE)))
    view.show_row("2", Row("village", "tile 3 of 20", (CANCEL,)))
    view.resize(320, 150)
    view.show()
    QTest.qWaitForWindowExposed(view)
    view.activateWindow()
    view.list.setFocus()
    assert view.current() == "2" and view.list.accessibleName() == "Runs"
    QTest.keyClick(view.list, Qt.Key.Key_Delete)
    QTest.keyClick(view.list, Qt.Key.Key_Return)
    assert asked == []  # neither ends a run that is being made
    QTest.keyClick(view.list, Qt.Key.Key_Down)
    QTest.keyClick(view.list, Qt.Key.Key_Return)
    QTest.keyClick(view.list, Qt.Key.Key_Delete)
    assert asked == [("1", OPEN), ("1", REMOVE)]
    view.show_row("1", Row("town", "done", (MESSAGE,)))
    assert not view.buttons[OPEN].isVisible() and view.current() == "1"
    for key in ("1", "2"):
        view.remove_row(key)
    assert not view.isVisible() and view.current() == ""
    view.deleteLater()
