"""From a finished job to layers, without dock and controller."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from fixtures import MODEL, make_raster, wait
from qgis.core import QgsLayerTreeModel, QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import Qt, QThread
from qgis.PyQt.QtTest import QSignalSpy, QTest
from qgis_plugin.client.schema import ClassArea, JobRequest, JobResult, Product, ProductRequest
from qgis_plugin.layers import classes, results
from qgis_plugin.layers.watch import MaskFiles


@pytest.fixture
def finished(qgis_app, raster):
    """A finished job whose mask is any raster."""
    areas = [ClassArea(item.id, item.name, item.color, 50, 4.5, 0.5) for item in MODEL.classes]
    result = JobResult([Product("mask", "cog", raster, "v1/x")], 10, 10, (0.3, 0.3), areas, 0, 1.5, "cpu", [])
    return results.Finished("ortho", JobRequest("/data/ortho.tif", MODEL.name, [ProductRequest(raster)]), result, MODEL)


def test_mask_becomes_a_styled_layer_that_knows_its_origin(finished, raster):
    layer = results.mask_layer(finished)
    assert layer.isValid() and layer.source() == raster and layer.name() == "raster"
    assert layer.metadata().title() == "ortho – Rooftops (stand-in)"
    assert [item.color.alpha() for item in layer.renderer().classes()] == [0, 255]
    assert layer.opacity() == classes.OPACITY
    metadata = layer.metadata()
    assert "ortho.tif" in metadata.abstract() and MODEL.sha256 in metadata.abstract()
    assert metadata.licenses() == [MODEL.licence] and metadata.rights() == [MODEL.attribution]
    assert not QgsProject.instance().mapLayers()


def test_layer_made_in_a_thread_belongs_to_the_one_that_shows_it(finished):
    made, here = [], QThread.currentThread()
    worker = threading.Thread(target=lambda: made.append(results.mask_layer(finished, here)))
    worker.start()
    worker.join()
    assert made[0].thread() == here and made[0].dataProvider().thread() == here
    results.add(made[0], QgsProject.instance())
    QgsProject.instance().clear()


def test_result_is_read_back_from_the_layer(finished, tmp_path):
    told = replace(finished, result=replace(finished.result, notes=["-10000 looks like nodata."]))
    layer, project = results.mask_layer(told), QgsProject.instance()
    results.add(layer, project)
    assert project.write(str(tmp_path / "project.qgz"))
    project.clear()
    assert project.read(str(tmp_path / "project.qgz"))
    (again,) = project.mapLayers().values()
    assert results.is_mask(again) and results.kept(again) == results.Kept(told.title, told.result)
    assert "-10000 looks like nodata." in again.metadata().abstract()
    project.clear()


@pytest.mark.parametrize("line", ["{", "[1]", "7", '{"rotacube_result": {"width": 1}}', '{"rotacube_result": 3}'])
def test_metadata_that_a_person_has_changed(finished, line):
    layer = results.mask_layer(finished)
    metadata = layer.metadata()
    metadata.setHistory([line])
    layer.setMetadata(metadata)
    assert results.is_mask(layer) and results.kept(layer) is None


def test_layer_shows_what_its_file_has_become(finished, raster):
    layer, project = results.mask_layer(finished), QgsProject.instance()
    results.add(layer, project)
    assert layer.width() == 320
    make_raster(raster, width=100, height=90)
    areas = [replace(item, name=item.name + "!") for item in finished.result.classes]
    areas.append(ClassArea(2, "tree", "#00ff00", 5, 4.5, 0.1))
    results.renew(layer, replace(finished, result=replace(finished.result, classes=areas)), project)
    assert (layer.width(), layer.height()) == (100, 90)
    assert [item.label for item in layer.renderer().classes()] == ["background!", "building!", "tree"]
    assert results.kept(layer).result.classes == areas
    assert legend(layer) == ["background!", "building!", "tree"]
    project.clear()


def legend(layer):
    """What the layer panel lists below a layer."""
    root = QgsProject.instance().layerTreeRoot()
    model = QgsLayerTreeModel(root)
    texts = [node.data(Qt.ItemDataRole.DisplayRole) for node in model.layerLegendNodes(root.findLayer(layer.id()))]
    model.deleteLater()
    return texts


def test_legend_names_the_classes_and_nothing_else(finished):
    layer = results.mask_layer(finished)
    results.add(layer, QgsProject.instance())
    assert legend(layer) == ["background", "building"]
    QgsProject.instance().clear()


def test_file_that_somebody_deletes_is_told_and_one_that_is_replaced_is_not(finished, raster, tmp_path):
    project = QgsProject.instance()
    watch = MaskFiles(project)
    gone = QSignalSpy(watch.gone)
    layer = results.mask_layer(finished)
    results.add(layer, project)
    for n in range(2):  # the second time it is another file that is watched
        Path(make_raster(tmp_path / f"new{n}.tif")).replace(raster)
        QTest.qWait(700)
    assert len(gone) == 0
    Path(raster).unlink()
    wait(lambda: len(gone) == 1, 5)
    assert gone[0][0] == layer
    results.reopen(layer)
    assert not layer.isValid() and results.is_mask(layer)
    watch.close()
    project.clear()


def test_masks_of_a_file_are_found_where_the_file_is_gone(finished, raster):
    layer, other = results.mask_layer(finished), QgsRasterLayer(raster, "no mask")
    Path(raster).unlink()
    assert results.shown_at(raster, [layer, other]) == [layer]
    assert results.shown_at(raster + "x", [layer, other]) == []


def test_layers_are_added_to_one_group(finished):
    project = QgsProject.instance()
    first, second = results.mask_layer(finished), results.mask_layer(finished)
    results.add(first, project)
    results.add(second, project)
    group = project.layerTreeRoot().findGroup("Rotacube")
    assert [node.layer() for node in group.findLayers()] == [second, first]
    project.clear()


def test_mask_that_is_gone(finished):
    gone = [replace(finished.mask, path="/not/there.tif")]
    with pytest.raises(results.ResultUnreadable, match=r"/not/there\.tif"):
        results.mask_layer(replace(finished, result=replace(finished.result, products=gone)))


def test_resolution_is_one_number_where_pixels_are_square(finished):
    assert "Resolution: 0.3 m\n" in results.provenance(finished).abstract()
    oblong = replace(finished, result=replace(finished.result, gsd=(0.15, 0.16)))
    assert "Resolution: 0.15 × 0.16 m\n" in results.provenance(oblong).abstract()


def test_background_is_transparent():
    assert [classes.color(item).alpha() for item in MODEL.classes] == [0, 255]
    assert classes.color(MODEL.classes[1]).name() == MODEL.classes[1].color
