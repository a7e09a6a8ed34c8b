"""A model is taught from polygons on the map: window, commands, going on after a break; a stand-in for the backend."""

import json
import sys
from pathlib import Path

import pytest
from fixtures import gone, make_raster, wait
from qgis.core import QgsFeature, QgsGeometry, QgsProject, QgsRasterLayer, QgsVectorLayer
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtTest import QSignalSpy, QTest
from qgis.PyQt.QtWidgets import QPushButton
from qgis_plugin import paths
from qgis_plugin.client import cards, environment
from qgis_plugin.gui.curve import LossCurve
from qgis_plugin.learning import lesson as lessons
from qgis_plugin.learning.by_polygons import TeachByPolygons
from qgis_plugin.learning.figures import Figure, figures
from qgis_plugin.learning.lesson import Lesson

FAKE = Path(__file__).with_name("fake_cli.py")
CARD = Path(paths.resource("models")) / "rooftop-lite" / "model.json"


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """The stand-in is the backend's Python; gives the commands that it was told, and its processes."""
    script, notes, models = tmp_path / "python", tmp_path / "calls", tmp_path / "models"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" "$@"\n')
    script.chmod(0o755)
    notes.touch()
    models.mkdir()
    environment.set_setting("models", str(models))
    for name, value in (
        ("ROTACUBE_PYTHON", script),
        ("FAKE_CALLS", notes),
        ("FAKE_CARD", CARD),
        ("FAKE_MODELS", models),
        ("ROTACUBE_HOME", tmp_path / "home"),
    ):
        monkeypatch.setenv(name, str(value))
    return lambda: [json.loads(line) for line in notes.read_text().splitlines()]


@pytest.fixture
def teaching(iface, calls, tmp_path):
    """The action, with a raster and polygons of two classes in the project."""
    raster = QgsRasterLayer(make_raster(tmp_path / "town.tif"), "town", "gdal")
    drawn = QgsVectorLayer("Polygon?field=kind:string&field=height:double", "drawn", "memory")
    drawn.setCrs(raster.crs())
    extent = raster.extent()
    for number, kind in enumerate(["roof", "roof", "other", None]):
        feature = QgsFeature(drawn.fields())
        feature.setGeometry(QgsGeometry.fromRect(extent.scaled(0.1 + 0.1 * number)))
        feature.setAttribute("kind", kind)
        drawn.dataProvider().addFeature(feature)
    QgsProject.instance().addMapLayers([raster, drawn])
    made = TeachByPolygons(iface, lambda: "rooftop-lite")
    made.action.trigger()
    made.window.name.setText("my-town")
    made.window.area.setCurrentIndex(0)
    yield made
    made.close()
    made.deleteLater()
    QTest.qWait(10)


def click(teaching, name):
    button = teaching.window.findChild(QPushButton, name)
    assert button.isVisible() and button.isEnabled()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def over(teaching):
    wait(lambda: teaching.training is None, 30)


def test_a_model_is_taught_measured_installed_and_offered(teaching, calls, tmp_path):
    window, learned = teaching.window, QSignalSpy(teaching.learned)
    assert window.field.currentField() == "kind" and window.classes.text() == "roof 2, other 1"
    assert "background, roof" in window.model_note.text()
    click(teaching, "rotacubeLearnStart")
    assert teaching.training is not None and not window.inputs.isEnabled() and window.bar.isVisible()
    over(teaching)
    assert list(learned) == [["my-town"]], window.said.text()
    cut, train, install = [(call["command"], call["arguments"]) for call in calls()]
    assert cut[0] == "dataset" and cut[1][:2] == ["from-labels", str(tmp_path / "town.tif")]
    assert cut[1][cut[1].index("--class-field") + 1] == "kind" and "--area" not in cut[1]
    assert train[0] == "train" and 'model="rooftop-lite"' in train[1] and "schedule.steps=500" in train[1]
    assert install[1][:1] == ["install"]
    assert [step for step, _ in window.curve.points] == [1, 2, 3, 4]
    assert "4" in window.curve.accessibleDescription() and window.curve.isVisible()
    rows = [[window.figures.item(row, column).text() for column in range(3)] for row in range(2)]
    assert rows == [["town iou", "0.50", "0.70"], ["town roofs f1", "0.60", "0.50 (0.40–0.62)"]]
    assert window.report.isVisible() and "is installed" in window.said.text()
    assert window.model.currentData().name == "my-town" and cards.find("my-town") is not None
    assert window.inputs.isEnabled() and window.start.isEnabled() and not window.cancel.isEnabled()
    assert lessons.unfinished("my-town") is None and not (lessons.home() / "my-town" / "tiles").exists()
    click(teaching, "rotacubeLearnStart")
    assert "already" in window.said.text() and teaching.training is None


def test_a_training_that_was_broken_off_is_gone_on_with_or_dropped(teaching, calls, monkeypatch):
    window = teaching.window
    monkeypatch.setenv("FAKE_CLI", "hang")
    window.steps.setValue(77)
    click(teaching, "rotacubeLearnStart")
    wait(lambda: (calls() and "cutting tiles" in window.said.text()) or "Mapping" in window.said.text(), 20)
    click(teaching, "rotacubeLearnCancel")
    over(teaching)
    assert "Cancelled" in window.said.text() and window.start.isEnabled()
    wait(lambda: all(gone(call["pid"]) for call in calls()))
    monkeypatch.setenv("FAKE_CLI", "")
    (lessons.home() / "my-town" / "tiles").mkdir()  # they were cut before it was broken off
    window.steps.setValue(500)
    click(teaching, "rotacubeLearnStart")
    assert teaching.training is None and "77 steps" in window.said.text()
    begun = len(calls())
    click(teaching, "rotacubeLearnResume")
    over(teaching)
    train, _ = calls()[begun:]
    assert train["command"] == "train" and "schedule.steps=77" in train["arguments"]
    window.name.setText("other-town")
    monkeypatch.setenv("FAKE_CLI", "fail")
    click(teaching, "rotacubeLearnStart")
    over(teaching)
    assert "is damaged or cut short" in window.said.text()
    monkeypatch.setenv("FAKE_CLI", "")
    click(teaching, "rotacubeLearnStart")
    click(teaching, "rotacubeLearnAnew")
    over(teaching)
    assert cards.find("other-town") is not None and not window.anew.isVisible()


def test_what_cannot_be_taught_is_said(teaching, calls, tmp_path, monkeypatch):
    window = teaching.window
    for name, words in (("", "small letters"), ("My Town", "small letters"), ("../x", "small letters")):
        window.name.setText(name)
        click(teaching, "rotacubeLearnStart")
        assert words in window.said.text() and teaching.training is None
    window.name.setText("rooftop-lite")
    click(teaching, "rotacubeLearnStart")
    assert "There is a model “rooftop-lite” already" in window.said.text()
    window.name.setText("fine")
    monkeypatch.setenv("ROTACUBE_HOME", str(tmp_path / "calls" / "no-folder"))
    click(teaching, "rotacubeLearnStart")
    assert "cannot be written" in window.said.text()
    monkeypatch.setenv("ROTACUBE_PYTHON", str(tmp_path / "nothing"))
    monkeypatch.setenv("ROTACUBE_HOME", str(tmp_path / "home"))
    click(teaching, "rotacubeLearnStart")
    assert "is not there" in window.said.text() and teaching.training is None
    QgsProject.instance().clear()
    click(teaching, "rotacubeLearnStart")
    assert "Choose a layer of polygons" in window.said.text() and calls() == []


def test_it_ends_with_the_plugin_and_goes_on_behind_a_closed_window(teaching, calls, monkeypatch, iface):
    monkeypatch.setenv("FAKE_CLI", "")
    click(teaching, "rotacubeLearnStart")
    teaching.window.close()
    over(teaching)
    assert any("has been taught" in text for text in iface.messages())
    teaching.action.trigger()
    assert teaching.window.isVisible() and teaching.window.figures.isVisible()
    monkeypatch.setenv("FAKE_CLI", "hang")
    teaching.window.name.setText("another")
    click(teaching, "rotacubeLearnStart")
    wait(lambda: len(calls()) == 4, 20)
    teaching.close()
    wait(lambda: all(gone(call["pid"]) for call in calls()), 20)
    assert lessons.unfinished("another") is not None


def test_a_lesson_that_is_no_lesson_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv("ROTACUBE_HOME", str(tmp_path))
    lesson = Lesson("r.tif", "p.gpkg", "kind", "area.gpkg", "rooftop-lite", "mine", "Title", 9, True)
    lesson.begin()
    assert lessons.unfinished("mine") == lesson
    cut, train, _ = lesson.commands()
    assert cut[-3:] == ["--area", "area.gpkg", "--any-resolution"] and 'card.title="Title"' in train
    for text in ("", "[]", '{"raster": 1}', json.dumps({"name": "another"})):
        (lesson.folder / "lesson.json").write_text(text)
        assert lessons.unfinished("mine") is None
    lesson.begin()
    assert lessons.unfinished("mine") == lesson and lessons.unfinished("nobody") is None


def test_figures_are_compared_where_both_were_measured():
    accuracy = {"a iou": 0.5, "a precision": 0.9, "a before: iou": 0.4, "a calibration error": 0.1, "b mean iou": 0.2}
    assert figures(accuracy) == [
        Figure("a iou", 0.4, 0.5, ("0.40", "0.50")),
        Figure("a calibration error", None, 0.1, ("–", "0.10")),
        Figure("b mean iou", None, 0.2, ("–", "0.20")),
    ]


def test_the_mean_of_losses_is_of_the_last_steps(qgis_app):
    curve = LossCurve()
    curve.begin(100)
    for step in range(1, 101):
        curve.add(step, float(step))
    mean = curve.mean()
    assert mean[0] == 1 and mean[24] == 13 and mean[99] == pytest.approx(sum(range(76, 101)) / 25)
    curve.resize(400, 200)
    drawn, empty = curve.grab().toImage(), LossCurve()
    empty.resize(400, 200)
    assert drawn != empty.grab().toImage()
