"""Drone frames in the window: looked at, shown, mapped, cancelled, gone on with; a stand-in for the backend."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest
from fixtures import gone, make_raster, wait
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsPalettedRasterRenderer,
    QgsProject,
    QgsVectorFileWriter,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qgis.PyQt.QtGui import QDragEnterEvent, QDropEvent
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QPushButton
from qgis_plugin.client import environment
from qgis_plugin.client.schema import BackendError
from qgis_plugin.frames import order as orders
from qgis_plugin.frames.by_folder import MapFrames
from qgis_plugin.frames.order import FramesOrder, Placing
from qgis_plugin.gui import format as fmt
from qgis_plugin.layers import flights, results

FAKE = Path(__file__).with_name("fake_cli.py")


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """The stand-in is the backend's Python; gives the commands that it was told, and its processes."""
    script, notes = tmp_path / "python", tmp_path / "calls"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" "$@"\n')
    script.chmod(0o755)
    notes.touch()
    layer = QgsVectorLayer("Polygon?crs=EPSG:32632&field=frame:string&field=height_m:double", "frames", "memory")
    options, context = QgsVectorFileWriter.SaveVectorOptions(), QgsCoordinateTransformContext()
    QgsVectorFileWriter.writeAsVectorFormatV3(layer, str(tmp_path / "made.gpkg"), context, options)
    for name, value in (
        ("ROTACUBE_PYTHON", script),
        ("FAKE_CALLS", notes),
        ("FAKE_RASTER", make_raster(tmp_path / "made.tif", crs=32632, origin=(500000.0, 5200030.0))),
        ("FAKE_LAYER", tmp_path / "made.gpkg"),
    ):
        monkeypatch.setenv(name, str(value))
    return lambda: [json.loads(line) for line in notes.read_text().splitlines()]


@pytest.fixture
def folder(tmp_path):
    """A folder that holds a frame, by its name."""
    made = tmp_path / "meadow"
    made.mkdir()
    (made / "0.jpg").touch()
    return made


@pytest.fixture
def desk(iface, calls, folder):
    """The action, with its window open, and no folder named yet."""
    iface.canvas.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:32632"))
    made = MapFrames(iface, lambda: "plants-potato")
    made.action.trigger()
    yield made
    made.close()
    made.deleteLater()
    QTest.qWait(10)


def click(desk, name):
    button = desk.window.findChild(QPushButton, f"rotacubeFrames{name}")
    assert button.isVisible() and button.isEnabled(), name
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def look(desk, folder):
    desk.window.folder.setFilePath(str(folder))
    wait(lambda: desk.window.flight is not None, 20)


def over(desk):
    wait(lambda: desk.run is None, 30)


def layers():
    return {layer.name(): layer for layer in QgsProject.instance().mapLayers().values()}


def maps(calls):
    return [call["arguments"] for call in calls() if call.get("arguments", [""])[0] == "map"]


def test_frames_are_looked_at_shown_and_mapped(desk, calls, folder, iface, monkeypatch):
    window, output = desk.window, folder.with_name("meadow_map")
    assert window.model.currentData().name == "plants-potato" and not window.cancel.isEnabled()
    click(desk, "Run")
    assert "Choose the folder" in window.said.text() and calls() == []
    look(desk, folder)
    said = ["3 frames", "40 m above the ground", "pixels of 1.7 cm on the ground", "0.240 ha", "1 left out"]
    assert window.summary.text() == ", ".join(said)
    listed = [window.left_out.item(n).text() for n in range(window.left_out.count())]
    assert listed == ["'3.jpg' is blurred.", "3 of 3 frames were saved again."]
    assert "made for 0.03 cm to 0.75 cm" in window.model_note.text()
    shown = desk.shown
    assert shown.featureCount() == 3 and shown.crs().authid() == "EPSG:32632" and "meadow" in shown.name()
    assert shown.getFeature(2).attribute("frame") == "1.jpg" and shown.customProperty("skipMemoryLayersCheck") == 1
    assert iface.canvas.extent().contains(shown.extent())
    window.gsd.setValue(10)
    window.boxes["any_resolution"].setChecked(True)
    heard, say = [], window.say
    monkeypatch.setattr(window, "say", lambda text: (heard.append(text), say(text)))
    click(desk, "Run")
    assert not window.inputs.isEnabled() and window.bar.isVisible()
    assert str(output) in environment.setting("frames/begun")
    over(desk)
    assert any(text.startswith("Mapping frame ") for text in heard)
    wait(lambda: desk.shown is None, 20)
    (asked,) = maps(calls)
    assert asked[:3] == ["map", str(folder), str(output)] and asked[3:5] == ["--model", "plants-potato"]
    assert asked[5:] == ["--gsd", "0.1", "--any-resolution", "--footprints", f"{output}/footprints.gpkg", "--keep"]
    group = QgsProject.instance().layerTreeRoot().findGroup("Rotacube").findGroup("meadow")
    assert {node.name(): node.itemVisibilityChecked() for node in group.children()} == {
        **{"meadow frames": False, "meadow mask": True, "meadow probability": False},
        **{"meadow agreement": False, "meadow photo": True, "meadow shares": False},
    }
    mask = layers()["meadow mask"]
    assert results.is_mask(mask) and isinstance(mask.renderer(), QgsPalettedRasterRenderer)
    assert results.kept(mask).title.startswith("meadow – ") and iface.active is mask
    assert '{"frames": {"folder"' in "".join(mask.metadata().history())
    assert window.result.isVisible() and window.result.table.item(1, 0).text() == "roof"
    assert window.said.text() == f"Mapped into {output}: 3 frames." and orders.begun() == []


def test_a_map_that_is_there_is_replaced_when_that_is_agreed(desk, calls, folder):
    look(desk, folder)
    click(desk, "Run")
    over(desk)
    wait(lambda: desk.shown is None, 20)
    click(desk, "Run")
    assert desk.run is None and "holds a map already: mask.tif, " in desk.window.said.text()
    click(desk, "Anew")
    over(desk)
    wait(lambda: desk.window.run.isEnabled() and len(maps(calls)) == 2, 20)
    QTest.qWait(300)
    assert "--overwrite" in maps(calls)[1] and "--resume" not in maps(calls)[1]
    assert len(layers()) == 6
    groups = QgsProject.instance().layerTreeRoot().findGroup("Rotacube").findGroups()
    assert [group.name() for group in groups] == ["meadow"]
    click(desk, "Run")
    desk.window.output.setFilePath(str(folder / "other"))
    click(desk, "Anew")  # what was agreed to was another folder
    over(desk)
    assert "--overwrite" not in maps(calls)[2]


def test_a_run_that_was_cut_off_is_gone_on_with_also_in_a_new_window(desk, calls, folder, iface, monkeypatch):
    look(desk, folder)
    monkeypatch.setenv("FAKE_CLI", "hang")
    click(desk, "Run")
    wait(lambda: desk.window.said.text().startswith("Mapping frame "), 20)  # where it hangs
    (folder.with_name("meadow_map") / orders.KEPT).mkdir(parents=True)  # as the backend leaves it
    click(desk, "Cancel")
    assert "Cancelling" in desk.window.said.text()
    over(desk)
    assert "goes on from where it was" in desk.window.said.text()
    wait(lambda: all(gone(call["pid"]) for call in calls()))
    monkeypatch.setenv("FAKE_CLI", "")
    desk.window.boxes["any_resolution"].setChecked(True)  # another request would not fit what is kept
    click(desk, "Run")
    assert desk.run is None and "begun and not finished" in desk.window.said.text()
    desk.window.close()
    again = MapFrames(iface, lambda: "")
    again.action.trigger()
    assert "“meadow”" in again.window.said.text() and again.window.folder_path() == str(folder)
    click(again, "Resume")
    over(again)
    first, second = maps(calls)
    assert second == [*first, "--resume"]
    assert orders.begun() == []
    again.close()


def test_what_was_begun_is_dropped_when_that_is_agreed(desk, calls, folder, tmp_path):
    output = tmp_path / "there"
    (output / orders.KEPT).mkdir(parents=True)
    desk.window.output.setFilePath(str(output))
    look(desk, folder)
    orders.note_begun(FramesOrder(str(folder), str(output), "plants-potato"))
    orders.note_begun(FramesOrder(str(folder), str(tmp_path / "gone"), "plants-potato"))
    assert len(orders.begun()) == 1
    click(desk, "Run")
    click(desk, "Anew")
    over(desk)
    (asked,) = maps(calls)
    assert "--resume" not in asked and "--overwrite" not in asked and orders.begun() == []
    environment.set_setting("frames/begun", '[{"folder": 1}]')
    assert orders.begun() == []


def test_the_map_is_shown_while_files_of_it_are_written_and_stays_when_that_is_cancelled(
    desk, calls, folder, monkeypatch
):
    look(desk, folder)
    desk.window.boxes["kmz"].setChecked(True)
    monkeypatch.setenv("FAKE_CLI", "more")
    click(desk, "Run")
    wait(lambda: "meadow mask" in layers() and desk.window.said.text().startswith("Writing squares"), 20)
    assert desk.run is not None and desk.window.result.isVisible() and orders.begun() == []
    click(desk, "Cancel")
    over(desk)
    assert desk.window.said.text() == (
        f"Cancelled. The map is in {folder.with_name('meadow_map')}, without what was to be written of it."
    )
    assert len(layers()) == 6 and not desk.window.show_report.isVisible() and desk.window.run.isEnabled()


@pytest.mark.parametrize("mode", ["fail", "crash"])
def test_what_goes_wrong_is_a_sentence_in_window_and_bar(desk, calls, folder, iface, monkeypatch, mode):
    look(desk, folder)
    monkeypatch.setenv("FAKE_CLI", mode)
    words = {"fail": "is damaged or cut short", "crash": "ended unexpectedly"}[mode]
    click(desk, "Run")
    over(desk)
    assert words in desk.window.said.text() and any(words in text for text in iface.messages())
    assert desk.window.inputs.isEnabled() and desk.shown is not None and layers().keys() == {desk.shown.name()}
    desk.window.folder.setFilePath(str(folder.parent))
    wait(lambda: words in desk.window.summary.text(), 20)
    assert desk.shown is None and not layers() and desk.window.flight is None


def test_a_look_is_cancelled_and_footprints_go_with_the_window(desk, calls, folder, monkeypatch):
    monkeypatch.setenv("FAKE_CLI", "hang")
    desk.window.folder.setFilePath(str(folder))
    wait(lambda: desk.window.summary.text().startswith("Looking at frame "), 20)
    click(desk, "Cancel")
    wait(lambda: desk.look is None, 20)
    assert desk.window.summary.text() == "Cancelled." and not desk.window.bar.isVisible()
    monkeypatch.setenv("FAKE_CLI", "")
    desk.window.placing.ground.setValue(12)
    wait(lambda: desk.shown is not None, 20)
    assert calls()[-1]["arguments"][-2:] == ["--ground", "12.0"]
    desk.window.close()
    assert desk.shown is None and not layers()
    desk.action.trigger()
    wait(lambda: desk.shown is not None, 20)
    QgsProject.instance().clear()
    desk.window.close()


def test_a_run_goes_on_behind_a_closed_window_and_ends_with_the_plugin(desk, calls, folder, iface, monkeypatch):
    look(desk, folder)
    click(desk, "Run")
    desk.window.close()
    over(desk)
    wait(lambda: any("are mapped" in text for text in iface.messages()), 20)
    desk.action.trigger()
    assert desk.window.isVisible() and desk.window.result.isVisible()
    QgsProject.instance().clear()
    desk.window.output.setFilePath(str(folder / "second"))
    click(desk, "Run")
    QgsProject.instance().clear()
    over(desk)
    wait(lambda: any("project is another one" in text for text in iface.messages()), 20)
    assert not layers()
    monkeypatch.setenv("FAKE_CLI", "hang")
    desk.window.output.setFilePath(str(folder / "third"))
    click(desk, "Run")
    wait(lambda: len(maps(calls)) == 3, 20)
    desk.close()
    wait(lambda: all(gone(call["pid"]) for call in calls()), 20)


def test_a_folder_or_a_frame_of_it_is_dropped(desk, folder):
    def drop(path):
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(path))])
        move, left = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
        enter = QDragEnterEvent(QPoint(5, 5), move, data, left, Qt.KeyboardModifier.NoModifier)
        enter.ignore()
        desk.window.dragEnterEvent(enter)
        if enter.isAccepted():
            desk.window.dropEvent(QDropEvent(QPointF(5, 5), move, data, left, Qt.KeyboardModifier.NoModifier))
        return enter.isAccepted()

    (folder / "notes.txt").touch()
    assert not drop(folder / "notes.txt") and desk.window.folder_path() == ""
    assert drop(folder / "0.jpg") and desk.window.folder_path() == str(folder)
    assert drop(folder.parent) and desk.window.folder_path() == str(folder.parent)


def test_settings_survive_and_names_are_told(desk, folder, iface):
    window = desk.window
    window.folder.setFilePath(str(folder))
    window.gsd.setValue(2.5)
    window.placing.ground.setValue(-3)
    window.placing.refine.setChecked(True)
    window.placing.calibration.setFilePath("/lens.json")
    window.boxes["report"].setChecked(True)
    window.model.setCurrentIndex(window.model.findText("Peanut", Qt.MatchFlag.MatchContains))
    name = window.model.currentData().name
    window.output.setFilePath("relative")
    click(desk, "Run")
    assert "whole path" in window.said.text()
    window.close()
    again = MapFrames(iface, lambda: "")
    again.action.trigger()
    order = again.window.order()
    assert order is None and again.window.output.filePath() == "relative"
    again.window.output.setFilePath("")
    order = again.window.order()
    placing = Placing(-3.0, calibration="/lens.json", refine=True)
    output = str(folder.with_name("meadow_map"))
    assert order == FramesOrder(str(folder), output, name, placing, 0.025, report=True)
    assert {"--refine", "--report", "--ground", "--calibration"} <= set(order.command())
    (folder / orders.KEPT).mkdir()
    orders.note_begun(dataclasses.replace(order, output=str(folder)))
    assert orders.begun() == [dataclasses.replace(order, output=str(folder))]
    names = [w.accessibleName() for w in (again.window.left_out, again.window.placing.refine, again.window.bar)]
    assert all(names) and again.window.folder.lineEdit().accessibleName() == "Frames"
    again.close()


def test_steps_are_told_frame_by_frame():
    assert fmt.frames("Mapping frames", 2, 18, 65.0) == "mapping frame 3 of 18, 01:05 left"
    assert fmt.frames("Matching frames", 7, 7, None) == "matching frames, pair 7 of 7"
    assert fmt.frames("Mapping frames", 0, 1, None) == "mapping frame 1 of 1"
    assert fmt.frames("Joining frames", 0.5, 1, None) == "joining frames, 50 %"
    assert fmt.frames("Sorting", 1, 4, None) == "Sorting, 2 / 4"


def test_an_answer_of_another_shape_is_no_flight():
    for told in ({}, {"frames": [{"frame": "a"}], "notes": []}, {"frames": 3, "notes": []}):
        with pytest.raises(BackendError, match="no list of frames"):
            flights.parse_flight("x", told)
    with pytest.raises(BackendError, match="names no files"):
        flights.files_of({"products": [{}]})
