"""A map within the polygons of a layer: its file, or what is selected, edited and filtered of it as it is now."""

import pytest
from fixtures import wait
from qgis.core import (
    QgsCoordinateTransformContext,
    QgsFeature,
    QgsGeometry,
    QgsProject,
    QgsRectangle,
    QgsVectorFileWriter,
    QgsVectorLayer,
)
from qgis_plugin.layers import further, polygons
from qgis_plugin.layers.source import SourceRefused

CONTEXT = QgsCoordinateTransformContext()


@pytest.fixture
def drawn(qgis_app):
    """Two squares in memory."""
    layer = QgsVectorLayer("Polygon?crs=EPSG:32645&field=name:string", "fields", "memory")
    for name, left in (("a", 353005), ("b", 353040)):
        feature = QgsFeature(layer.fields())
        feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(left, 3059950, left + 20, 3059980)))
        feature["name"] = name
        layer.dataProvider().addFeature(feature)
    layer.updateExtents()
    return layer


def names_in(path):
    layer = QgsVectorLayer(path, "x", "ogr")
    assert layer.isValid() and layer.crs().authid() == "EPSG:32645"
    return sorted(feature["name"] for feature in layer.getFeatures())


def test_what_is_in_memory_or_selected_is_copied(drawn):
    assert names_in(polygons.path_of(drawn, False, CONTEXT)) == ["a", "b"]
    drawn.selectByExpression("\"name\" = 'b'")
    assert names_in(polygons.path_of(drawn, True, CONTEXT)) == ["b"]
    drawn.removeSelection()
    with pytest.raises(SourceRefused, match="Nothing is selected in “fields”"):
        polygons.path_of(drawn, True, CONTEXT)


def test_a_file_goes_by_its_path_unless_it_is_filtered_or_edited(drawn, tmp_path):
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.layerName = "fields"
    path = str(tmp_path / "f.gpkg")
    QgsVectorFileWriter.writeAsVectorFormatV3(drawn, path, CONTEXT, options)
    layer = QgsVectorLayer(f"{path}|layername=fields", "fields", "ogr")
    assert polygons.path_of(layer, False, CONTEXT) == f"{path}|layername=fields"
    assert polygons.path_of(QgsVectorLayer(path, "f", "ogr"), False, CONTEXT) == path
    layer.setSubsetString("name = 'a'")
    assert names_in(polygons.path_of(layer, False, CONTEXT)) == ["a"]
    layer.setSubsetString("")
    layer.startEditing()
    layer.deleteFeature(next(layer.getFeatures()).id())
    assert names_in(polygons.path_of(layer, False, CONTEXT)) == ["b"]
    layer.rollBack()


def test_the_dock_maps_within_polygons(desk, drawn, tmp_path):
    d = desk()
    d.ready()
    assert not d.dock.area.in_polygons.isEnabled() and not d.dock.area.polygons.isVisible()
    QgsProject.instance().addMapLayer(drawn, True)
    wait(d.dock.area.in_polygons.isEnabled)
    d.dock.area.in_polygons.click()
    assert d.dock.area.polygons.isVisible() and not d.dock.area.polygons.selected.isEnabled()
    drawn.selectByExpression("\"name\" = 'a'")
    assert d.dock.area.polygons.selected.text() == "Selected only (1)"
    d.dock.area.polygons.selected.click()
    d.dock.further.boxes[further.STATISTICS].setChecked(True)
    d.type_output(tmp_path / "mask.tif")
    d.run()
    wait(lambda: d.controller.current is not None)
    request = d.controller.current.request
    assert names_in(request.within) == ["a"] and request.zones == request.within and request.bounds is None
    d.until_idle()
    QgsProject.instance().removeMapLayer(drawn.id())
    wait(lambda: not d.dock.area.in_polygons.isEnabled())
    assert d.dock.area.whole.isChecked()
