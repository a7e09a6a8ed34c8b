"""The dock at its smallest width: nothing in the form is cut off."""

from qgis.core import QgsFeature, QgsGeometry, QgsProject, QgsRectangle, QgsVectorLayer
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QScrollArea


def test_nothing_is_wider_than_the_narrow_dock(desk, tmp_path):
    d = desk()
    d.ready()
    layer = QgsVectorLayer("Polygon?crs=EPSG:32645", "fields of the whole valley, as they were in spring", "memory")
    feature = QgsFeature()
    feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(353005, 3059950, 353025, 3059980)))
    layer.dataProvider().addFeature(feature)
    QgsProject.instance().addMapLayer(layer)
    layer.selectAll()
    QTest.qWait(50)
    d.dock.area.in_polygons.click()
    QTest.qWait(50)
    area = d.dock.pages.widget(0)
    assert isinstance(area, QScrollArea)
    for row in (d.dock.further, d.dock.area):
        assert row.minimumSizeHint().width() + d.dock.further.mapTo(area.widget(), row.rect().topLeft()).x() <= 340
    QgsProject.instance().removeMapLayer(layer.id())
