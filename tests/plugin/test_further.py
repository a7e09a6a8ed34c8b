"""What a run makes beside the mask: files named after it, layers in our group, and what was chosen is kept."""

from pathlib import Path

import pytest
from fixtures import wait
from qgis.core import QgsProject, QgsSettings
from qgis.PyQt.QtWidgets import QPushButton
from qgis_plugin.gui.further_picker import FurtherPicker
from qgis_plugin.layers import further, results

KINDS = [further.POLYGONS, further.PROBABILITY, further.STATISTICS]


@pytest.fixture(autouse=True)
def nothing_kept():
    QgsSettings().remove("rotacube/further")
    yield
    QgsSettings().remove("rotacube/further")


def choose(dock, *kinds):
    for kind, box in dock.further.boxes.items():
        box.setChecked(kind in kinds)


def agree(d):
    (button,) = d.iface.bar.findChildren(QPushButton, "rotacubeMessageButton")
    d.click(button)


def test_files_are_named_after_the_mask_s():
    made = [further.request(kind, "/maps/town.tif") for kind in KINDS]
    assert [Path(product.path).name for product in made] == [
        "town_polygons.gpkg",
        "town_probability.tif",
        "town_statistics.csv",
    ]
    assert [product.format for product in made] == ["gpkg", "cog", "csv"]


def test_what_was_chosen_last_is_kept(qgis_app):
    picker = FurtherPicker()
    assert picker.kinds() == (further.POLYGONS,)
    picker.boxes[further.POLYGONS].setChecked(False)
    picker.boxes[further.STATISTICS].setChecked(True)
    assert FurtherPicker().kinds() == (further.STATISTICS,)


def test_a_run_adds_styled_layers_of_all_that_was_asked_for(desk, tmp_path):
    d = desk()
    d.ready()
    choose(d.dock, *KINDS)
    d.type_output(tmp_path / "mask.tif")
    steps = []
    set_step = d.dock.set_step
    d.dock.set_step = lambda *step: (steps.append(step), set_step(*step))
    d.run()
    d.until_idle()
    layers = {layer.name(): layer for layer in QgsProject.instance().mapLayers().values()}
    polygons, chance = layers["mask_polygons"], layers["mask_probability"]
    assert polygons.featureCount() == 2 and [c.value() for c in polygons.renderer().categories()] == ["building"]
    assert polygons.renderer().categories()[0].symbol().symbolLayer(0).strokeColor().name() == "#e2572b"
    assert layers["mask_statistics"].featureCount() == 1
    root = QgsProject.instance().layerTreeRoot()
    shown = {node.name(): node.isVisible() for node in root.findGroup("Rotacube").findLayers()}
    assert shown["mask_polygons"] and shown["mask"] and not shown["mask_probability"]
    order = [node.name() for node in root.findGroup("Rotacube").findLayers()]
    assert order.index("mask_polygons") < order.index("mask") < order.index("mask_probability")
    assert results.is_mask(layers["mask"]) and not results.is_mask(chance), "only the mask has a result"
    assert "fake-rooftop" in polygons.metadata().abstract()
    assert d.dock.result.isVisible()


def test_a_second_run_into_the_same_files_asks_and_replaces_the_layers(desk, tmp_path):
    d = desk()
    d.ready()
    choose(d.dock, further.POLYGONS)
    (tmp_path / "mask_polygons.gpkg").write_text("somebody's")
    d.type_output(tmp_path / "mask.tif")
    d.run()
    wait(lambda: any("is there already" in text for text in d.iface.messages()))
    assert (tmp_path / "mask_polygons.gpkg").read_text() == "somebody's"
    agree(d)
    wait(lambda: d.controller.busy)
    d.until_idle()
    names = [layer.name() for layer in QgsProject.instance().mapLayers().values()]
    assert names.count("mask_polygons") == 1
    d.run()
    wait(lambda: any("is shown as" in text for text in d.iface.messages()))
    agree(d)
    wait(lambda: d.controller.busy)
    d.until_idle()
    names = [layer.name() for layer in QgsProject.instance().mapLayers().values()]
    assert names.count("mask_polygons") == 1 and names.count("mask") == 1
