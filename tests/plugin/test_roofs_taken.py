"""Roofs by click: what is under the cursor is taken, joined, split, mended, removed; and all of it can be undone."""

import pytest
from fixtures import wait
from qgis.core import QgsProject
from qgis.PyQt.QtCore import QPoint, Qt
from qgis_plugin.roofs import taken as taken_module
from roof_desk import ALT, CTRL, SHIFT


def test_the_roof_under_the_cursor_is_outlined_with_its_figures(town):
    t = town().begin()
    t.move(t.pixel(2, 1))
    assert t.hover.label.isVisible() and t.hover.label.text() == "80 m², 70 %"
    outline = t.hover.band.asGeometry()
    assert outline.contains(t.place(2, 1)) and abs(outline.area() - 80) < 0.1
    t.move(t.pixel(3, 1))
    assert t.hover.band.asGeometry().contains(t.place(3, 1)) and "75 %" in t.hover.label.text()
    t.move(t.pixel(3, 1, dx=10))  # the street
    assert not t.hover.label.isVisible() and t.hover.band.numberOfVertices() == 0


def test_a_click_takes_a_roof_into_a_layer_like_that_of_a_run(town):
    t = town().begin()
    assert not t.roofs.gestures.taken.there()
    t.click(2, 1)
    (feature,) = t.features()
    layer = t.taken
    assert layer.isEditable() and layer.crs() == t.layer.crs() and layer.name() == "Roofs of ortho"
    assert QgsProject.instance().layerTreeRoot().findGroup("Rotacube").findLayer(layer) is not None
    assert layer.renderer().classAttribute() == "class"
    assert [item.label() for item in layer.renderer().categories()] == ["building"]
    assert feature["class"] == "building" and feature["class_id"] == 1 and feature["number"] == 1
    assert feature["area_m2"] == 80.0 and feature["perimeter_m"] == 36.0 and feature["confidence"] == 0.7
    assert feature["axis_deg"] == 0.0 and feature["outline"] == "regularised" and feature["source"] == "ortho"
    assert feature.geometry().boundingBox().contains(t.place(2, 1))
    t.click(4, 2)
    assert [f["number"] for f in t.features()] == [1, 2] and len(t.features()) == 2


def test_a_roof_is_not_taken_twice(town):
    t = town().begin()
    t.click(2, 1)
    t.click(2, 1)
    assert t.ids() == ["2:1"] and "already" in t.roofs.strip.status.text()
    assert t.taken.selectedFeatureCount() == 1
    t.move(t.pixel(2, 1))
    assert "taken" in t.hover.label.text()
    t.taken.commitChanges()  # its features get other numbers
    t.click(2, 1)
    t.drag(t.pixel(1, 0, -1, -1), t.pixel(3, 2, 9, 11))
    assert t.ids().count("2:1") == 1 and len(t.ids()) > 3


def test_another_tool_and_back_goes_on_in_the_same_layer(town):
    t = town().begin()
    t.click(2, 1)
    first = t.taken
    t.canvas.unsetMapTool(t.roofs.tool)
    assert not t.roofs.action.isChecked() and t.roofs.strip is None
    assert first.isEditable() and first.featureCount() == 1
    t.begin()
    t.click(2, 1)
    t.click(4, 1)
    assert t.taken is first and t.ids() == ["2:1", "4:1"]


def test_shift_joins_neighbours_and_leaves_strangers_apart(town):
    t = town().begin()
    t.click(2, 1)
    t.click(3, 1, SHIFT)
    (whole,) = t.features()
    assert abs(whole.geometry().area() - 160) < 0.1 and not whole.geometry().isEmpty()
    assert abs(whole["area_m2"] - 160) < 1 and whole["outline"] == "edited"
    t.click(4, 1, SHIFT)  # across the street
    assert len(t.features()) == 2 and "does not touch" in t.roofs.strip.status.text()
    t.click(5, 1)
    t.click(4, 1, SHIFT)  # both are taken
    assert sorted(round(f.geometry().area()) for f in t.features()) == [160, 160]


def test_a_selected_roof_is_joined_to_rather_than_the_last_one(town):
    t = town().begin()
    t.click(2, 1)
    t.click(6, 1)
    t.click(2, 1)  # selects it
    t.click(3, 1, SHIFT)
    assert sorted(round(f.geometry().area()) for f in t.features()) == [80, 160]


def test_ctrl_click_removes_a_roof_or_cuts_it_out(town):
    t = town().begin()
    t.click(2, 1)
    t.click(2, 1, CTRL)
    assert t.features() == []
    t.click(2, 1, CTRL)
    assert "No taken roof" in t.roofs.strip.status.text()
    t.click(2, 1)
    t.click(3, 1, SHIFT)
    t.click(3, 1, CTRL)
    (left,) = t.features()
    assert abs(left.geometry().area() - 80) < 0.1 and left.geometry().contains(t.place(2, 1))


def test_a_line_splits_roofs(town):
    t = town().begin()
    t.click(2, 1)
    t.drag(t.pixel(2, 1, -3, 4), t.pixel(2, 1, 7, 4), CTRL)  # it ends within
    assert len(t.features()) == 1 and "right across" in t.roofs.strip.status.text()
    t.drag(t.pixel(2, 1, 3, -2), t.pixel(2, 1, 3, 12), CTRL)
    areas = sorted(f.geometry().area() for f in t.features())
    assert len(areas) == 2 and sum(areas) == pytest.approx(80) and areas[0] == pytest.approx(30, abs=3)
    assert sorted(f["number"] for f in t.features()) == [1, 2]
    t.key(Qt.Key.Key_Z, CTRL)
    assert len(t.features()) == 1


def test_a_line_across_roofs_that_are_not_taken_takes_the_parts(town):
    t = town().begin()
    t.drag(t.pixel(4, 2, -1, 5), t.pixel(5, 2, 9, 5), CTRL)
    assert len(t.features()) == 4 and {round(f["area_m2"]) for f in t.features()} <= {39, 40, 41, 36, 44, 38, 42}
    t.key(Qt.Key.Key_Z, CTRL)
    assert t.features() == []


def test_a_box_takes_all_roofs_in_it_as_one_step(town):
    t = town().begin()
    t.drag(t.pixel(2, 0, -2, -2), t.pixel(5, 2, 10, 12))
    assert t.ids() == sorted(f"{i}:{j}" for i in (2, 3, 4, 5) for j in (0, 1, 2))
    assert "12" in t.roofs.strip.status.text()
    t.key(Qt.Key.Key_Z, CTRL)
    assert t.ids() == []


def test_undo_and_redo_step_by_step(town):
    t = town().begin()
    t.key(Qt.Key.Key_Z, CTRL)
    assert "nothing to undo" in t.roofs.strip.status.text()
    t.click(2, 1)
    t.click(4, 1)
    t.click(5, 1, SHIFT)
    assert t.taken.undoStack().count() == 3
    seen = []
    for _ in range(3):
        t.key(Qt.Key.Key_Z, CTRL)
        seen.append(t.ids())
    assert seen == [["2:1", "4:1"], ["2:1"], []]
    t.click(2, 1)  # what was undone can be taken again
    assert t.ids() == ["2:1"]
    t.key(Qt.Key.Key_Z, CTRL)
    t.key(Qt.Key.Key_Y, CTRL)
    assert t.ids() == ["2:1"]


def test_the_brush_adds_from_within_and_takes_away_from_outside(town):
    t = town().begin()
    t.click(2, 1)
    t.drag(t.pixel(2, 1, 4, 5), t.pixel(2, 1, 4, -1), ALT)
    (feature,) = t.features()
    grown = feature.geometry().area()
    assert grown > 82 and feature["area_m2"] == pytest.approx(grown, rel=0.01)
    t.roofs.strip.brush.click()  # without Alt, which some window managers take
    t.drag(t.pixel(2, 1, -4, 5), t.pixel(2, 1, 1, 5))
    (feature,) = t.features()
    assert feature.geometry().area() < grown - 1
    before = feature.geometry().asWkt()
    t.drag(t.pixel(7, 3, -4, 1), t.pixel(7, 3, -4, 9))
    assert [f.geometry().asWkt() for f in t.features()] == [before] and "mends" in t.roofs.strip.status.text()
    radius = t.roofs.tool.radius
    t.key(Qt.Key.Key_BracketRight)
    assert t.roofs.tool.radius > radius


def test_esc_gives_up_what_is_drawn(town):
    t = town().begin()
    items = len(t.canvas.scene().items())
    t.drag(t.pixel(2, 0, -2, -2), t.pixel(5, 2, 10, 12), release=False)
    assert t.roofs.tool.dragging and len(t.canvas.scene().items()) == items + 1
    t.key(Qt.Key.Key_Escape)
    assert not t.roofs.tool.dragging and len(t.canvas.scene().items()) == items
    t.drag(QPoint(5, 5), QPoint(6, 6))
    assert t.features() == []


def test_the_layer_may_be_taken_away_or_changed_by_hand(town):
    t = town().begin()
    t.click(2, 1)
    QgsProject.instance().removeMapLayer(t.taken.id())
    t.move(t.pixel(2, 1))
    assert t.hover.label.text() == "80 m², 70 %"
    t.click(2, 1)
    assert t.ids() == ["2:1"]
    t.taken.deleteFeature(t.features()[0].id())  # by QGIS's own tools
    t.taken.deleteAttribute(t.taken.fields().lookupField("axis_deg"))
    t.click(2, 1)
    t.click(3, 1, SHIFT)
    assert len(t.features()) == 1


def test_a_layer_of_before_is_found_again(town, monkeypatch):
    t = town().begin()
    t.click(2, 1)
    t.taken.commitChanges()
    first = t.taken
    t.canvas.unsetMapTool(t.roofs.tool)
    QgsProject.instance().addMapLayer(first.clone())  # another layer of the same kind does no harm
    t.begin()
    t.click(2, 1)
    assert t.taken.customProperty(taken_module.PROPERTY) == first.customProperty(taken_module.PROPERTY)
    assert t.taken.featureCount() == 1
    wait(lambda: not t.session.busy)
