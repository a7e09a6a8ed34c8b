"""What is asked before it is done: files replaced, resolutions that no model is made for, requests over the network."""

import pytest
from fixtures import make_raster, wait
from osgeo import gdal
from qgis.core import QgsProject, QgsRasterLayer
from qgis.PyQt.QtTest import QSignalSpy
from qgis.PyQt.QtWidgets import QPushButton


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
