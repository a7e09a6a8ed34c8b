"""What else can be said of a run: folded away, the model's own unless somebody says more, forgotten with the model."""

import dataclasses

import pytest
from fixtures import MODEL, make_raster, wait
from qgis.core import (
    QgsCoordinateTransformContext,
    QgsFeature,
    QgsField,
    QgsGeometry,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorFileWriter,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtTest import QTest
from qgis_plugin.client import cards
from qgis_plugin.gui.run_settings import RunSettings
from qgis_plugin.layers import further, polygons

CONTEXT = QgsCoordinateTransformContext()
SPECIES = dataclasses.replace(MODEL, name="fake-plants", task="plants", threshold=None, smallest=0.5)


@pytest.fixture
def fields(qgis_app, tmp_path):
    """Two squares in a GeoPackage, with names and a calculated field."""
    memory = QgsVectorLayer("Polygon?crs=EPSG:32645&field=name:string&field=owner:string", "fields", "memory")
    for name, left in (("a", 335002), ("b", 335020)):
        feature = QgsFeature(memory.fields())
        feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(left, 3057960, left + 10, 3057980)))
        feature.setAttributes([name, f"owner of {name}"])
        memory.dataProvider().addFeature(feature)
    path = str(tmp_path / "fields.gpkg")
    options = QgsVectorFileWriter.SaveVectorOptions()
    QgsVectorFileWriter.writeAsVectorFormatV3(memory, path, CONTEXT, options)
    layer = QgsVectorLayer(path, "fields", "ogr")
    layer.addExpressionField('upper("name")', QgsField("loud", memory.fields().at(0).type()))
    return layer


def type_into(box, text):
    box.selectAll()
    QTest.keyClicks(box, text)
    QTest.keyClick(box, Qt.Key.Key_Tab)


def unfolded(d):
    d.click(d.dock.settings.button)
    return d.dock.settings


def test_the_short_way_says_nothing(desk, sent):
    d = desk()
    d.ready()
    assert not d.dock.settings.body.isVisible() and d.dock.settings.button.text() == "More settings"
    d.run()
    d.until_idle()
    (request,) = sent
    assert request.threshold is None and request.smallest is None and request.zone_field == ""


def test_a_tile_is_looked_at_from_more_sides_by_keyboard(desk, sent):
    d = desk()
    d.ready()
    settings = unfolded(d)
    assert settings.turns() == 1
    settings.turns_box.setFocus()
    QTest.keyClick(settings.turns_box, Qt.Key.Key_Down)
    assert settings.turns_box.currentText().startswith("Two, one turned")
    assert settings.button.text() == "More settings (changed)"
    d.run()
    d.until_idle()
    assert sent[0].turns == 2
    d.dock.model_picker.set_models([MODEL, SPECIES])
    d.dock.model_picker.choose(SPECIES.name)
    assert settings.turns() == 1


def test_cuts_are_sent_and_forgotten_with_the_model(desk, sent):
    d = desk()
    d.ready()
    d.dock.further.boxes[further.POLYGONS].setChecked(True)
    settings = unfolded(d)
    assert settings.body.isVisible() and settings.threshold_box.value() == 0.45 and settings.smallest_box.value() == 2
    type_into(settings.threshold_box, "0.6")
    type_into(settings.smallest_box, "12.5")
    assert settings.button.text() == "More settings (changed)"
    d.run()
    d.until_idle()
    assert (sent[0].threshold, sent[0].smallest) == (0.6, 12.5)
    picker = d.dock.model_picker
    picker.set_models([MODEL, SPECIES])  # as after another start of the backend: nothing of it is forgotten
    assert settings.threshold() == 0.6
    picker.choose("fake-plants")
    assert not settings.threshold_box.isVisible() and settings.threshold() is None
    assert settings.smallest_box.value() == 0.5 and settings.button.text() == "More settings"
    picker.choose(MODEL.name)
    assert settings.threshold_box.isVisible() and settings.threshold_box.value() == 0.45
    assert settings.threshold() is None and settings.smallest() is None


def test_a_smallest_area_needs_something_to_be_cut(desk):
    d = desk()
    d.ready()
    settings = unfolded(d)
    assert not settings.smallest_box.isEnabled()
    d.dock.further.boxes[further.STATISTICS].click()
    assert settings.smallest_box.isEnabled()
    type_into(settings.smallest_box, "7")
    d.dock.further.boxes[further.STATISTICS].click()
    assert settings.smallest() is None and settings.button.text() == "More settings"


def test_keys_unfold_and_reach_every_field(desk):
    d = desk()
    d.ready()
    d.dock.further.boxes[further.POLYGONS].setChecked(True)
    settings = d.dock.settings
    d.iface.window.activateWindow()
    settings.button.setFocus()
    QTest.keyClick(settings.button, Qt.Key.Key_Space)
    assert settings.body.isVisible()
    order = []
    for _ in range(5):
        QTest.keyClick(d.iface.window.focusWidget(), Qt.Key.Key_Tab)
        order.append(d.iface.window.focusWidget())
    boxes = [settings.threshold_box, settings.smallest_box, settings.grid_box, settings.turns_box]
    assert order == [*boxes, d.dock.run_button]


def test_the_layers_own_resolution_is_sent_and_what_stays_on_the_models_is_said(desk, sent, asked):
    d = desk()
    d.ready()
    settings = unfolded(d)
    assert [settings.grid_box.itemText(n) for n in (0, 1)] == ["The model's (30 cm)", "The layer's own (30 cm)"]
    coarse = QgsRasterLayer(make_raster(d.tmp / "coarse.tif", size=0.5), "coarse")
    QgsProject.instance().addMapLayer(coarse)
    d.dock.layer_combo.setLayer(coarse)
    assert settings.grid_box.itemText(1) == "The layer's own (50 cm)"
    wait(lambda: bool(d.dock.estimate.text()))
    assert asked[-1].grid == "model" and not settings.grid_note.isVisible()
    settings.grid_box.setFocus()
    QTest.keyClick(settings.grid_box, Qt.Key.Key_Down)
    assert settings.button.text() == "More settings (changed)" and d.dock.estimate.text() == ""
    wait(lambda: bool(d.dock.estimate.text()))
    assert asked[-1].grid == "source" and not settings.grid_note.isVisible()
    d.dock.further.boxes[further.STATISTICS].click()
    assert settings.grid_note.isVisible() and "statistics are those of the model's" in settings.grid_note.text()
    d.run()
    d.until_idle()
    assert sent[0].grid == "source" and sent[0].to_json()["grid"] == "source"
    d.dock.model_picker.set_models([MODEL, SPECIES])
    d.dock.model_picker.choose("fake-plants")
    assert settings.grid() == "model" and not settings.grid_note.isVisible()


def test_zones_are_named_by_a_field(desk, fields, sent):
    d = desk()
    d.ready()
    QgsProject.instance().addMapLayer(fields)
    settings = unfolded(d)
    d.dock.area.in_polygons.click()
    assert not settings.names.isVisible()
    d.dock.further.boxes[further.STATISTICS].click()
    assert settings.names.isVisible()
    names = [settings.names.itemText(n) for n in range(settings.names.count())]
    assert names == ["", "name", "owner", "loud"]  # and not fid, which the backend sees none of
    settings.names.setField("name")
    d.run()
    d.until_idle()
    assert sent[0].zone_field == "name" and sent[0].zones == sent[0].within == fields.source()
    d.dock.further.boxes[further.STATISTICS].click()
    assert settings.zone_field() == ""
    QgsProject.instance().removeMapLayer(fields.id())


def test_a_field_that_is_not_in_the_file_is_copied(fields):
    own = polygons.path_of(fields, False, CONTEXT, "name")
    assert own == fields.source()
    copied = polygons.path_of(fields, False, CONTEXT, "loud")
    assert copied != own
    assert sorted(f["loud"] for f in QgsVectorLayer(copied, "c", "ogr").getFeatures()) == ["A", "B"]


def test_cards_give_the_cuts_without_a_backend(qgis_app):
    models = {model.name: model for model in cards.installed()}
    assert models["rooftop-small"].threshold == 0.45 and models["rooftop-small"].smallest == 2.0
    assert models["plants-potato"].threshold is None  # of three classes


def test_without_a_model_there_is_nothing_to_say(qgis_app):
    settings = RunSettings()
    assert not settings.isEnabled() and settings.threshold() is None and settings.smallest() is None


def test_the_smallest_plant_is_seen_as_it_is(qgis_app):
    settings = RunSettings()
    settings.set_model(dataclasses.replace(SPECIES, smallest=0.000625))
    assert "0.000625" in settings.smallest_box.text() and settings.smallest() is None
    settings.smallest_box.setEnabled(True)
    settings.smallest_box.stepUp()
    assert settings.smallest() == pytest.approx(0.000635)
    settings.set_model(MODEL)
    assert settings.smallest_box.text().startswith("2.00 ") and settings.smallest_box.singleStep() == 1
