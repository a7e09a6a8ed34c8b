"""From a finished job to layers, without dock and controller."""

from dataclasses import replace

import pytest
from fixtures import MODEL
from qgis.core import QgsProject
from qgis_plugin.client.schema import ClassArea, JobRequest, JobResult, Product, ProductRequest
from qgis_plugin.layers import classes, results


@pytest.fixture
def finished(qgis_app, raster):
    """A finished job whose mask is any raster."""
    areas = [ClassArea(item.id, item.name, item.color, 50, 4.5, 0.5) for item in MODEL.classes]
    result = JobResult([Product("mask", "cog", raster, "v1/x")], 10, 10, (0.3, 0.3), areas, 0, 1.5, "cpu", [])
    return results.Finished("ortho", JobRequest("/data/ortho.tif", MODEL.name, [ProductRequest(raster)]), result, MODEL)


def test_mask_becomes_a_styled_layer_that_knows_its_origin(finished, raster):
    layer = results.mask_layer(finished)
    assert layer.isValid() and layer.source() == raster and layer.name() == "ortho – Rooftops (stand-in)"
    assert [item.color.alpha() for item in layer.renderer().classes()] == [0, 255]
    assert layer.opacity() == classes.OPACITY
    metadata = layer.metadata()
    assert "ortho.tif" in metadata.abstract() and MODEL.sha256 in metadata.abstract()
    assert metadata.licenses() == [MODEL.licence] and metadata.rights() == [MODEL.attribution]
    assert not QgsProject.instance().mapLayers()


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
