"""An area drawn on the map with mouse and keys: shown, sent, drawn anew, taken away."""

import pytest
from fixtures import Desk, wait
from qgis.core import QgsCoordinateReferenceSystem, QgsGeometry, QgsPointXY, QgsProject, QgsRectangle, QgsVectorLayer
from qgis.gui import QgsMapToolPan, QgsRubberBand
from qgis.PyQt.QtCore import QPoint, Qt
from qgis.PyQt.QtTest import QTest
from qgis_plugin.layers import further

LEFT, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton


def at(d, x, y):
    """Where a place of the map lies on the canvas."""
    found = d.iface.canvas.getCoordinateTransform().transform(QgsPointXY(x, y))
    return QPoint(round(found.x()), round(found.y()))


def click(d, x, y, button=LEFT):
    QTest.mouseMove(d.iface.canvas.viewport(), at(d, x, y))
    QTest.mouseClick(d.iface.canvas.viewport(), button, pos=at(d, x, y))
    QTest.qWait(5)


def drag(d, start, end):
    view = d.iface.canvas.viewport()
    QTest.mousePress(view, LEFT, pos=at(d, *start))
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    for place in (middle, end):
        QTest.mouseMove(view, at(d, *place))
        QTest.qWait(5)
    QTest.mouseRelease(view, LEFT, pos=at(d, *end))


def key(d, code):
    QTest.keyClick(d.iface.canvas, code)


def bands(d):
    """The outlines that the map shows."""
    items = d.iface.canvas.scene().items()
    return [item.asGeometry() for item in items if isinstance(item, QgsRubberBand) and item.numberOfVertices()]


def begun(d):
    d.ready()
    pan = QgsMapToolPan(d.iface.canvas)
    d.iface.canvas.setMapTool(pan)
    d.dock.area.by_hand.click()
    assert d.dock.area.draw_button.isChecked() and "Drag a rectangle" in d.dock.area.draw_note.text()
    return pan


def test_a_rectangle_is_dragged_and_sent_as_bounds(desk, sent):
    d = desk()
    pan = begun(d)
    drag(d, (335020, 3057990), (335060, 3057950))
    assert d.iface.canvas.mapTool() is pan and not d.dock.area.draw_button.isChecked()
    assert d.dock.area.draw_note.text().startswith("Rectangle, 0.1") and d.dock.area.draw_button.text() == "Draw anew"
    (shown,) = bands(d)
    d.run()
    d.until_idle()
    assert sent[0].within == "" and sent[0].bounds_crs == "EPSG:32645"
    pixel = d.iface.canvas.mapUnitsPerPixel()
    assert sent[0].bounds == pytest.approx((335020, 3057950, 335060, 3057990), abs=pixel)
    assert shown.boundingBox().xMinimum() == pytest.approx(sent[0].bounds[0])


def test_a_polygon_is_clicked_and_sent_as_a_layer(desk, sent):
    d = desk()
    pan = begun(d)
    d.dock.further.boxes[further.STATISTICS].setChecked(True)
    for place in ((335010, 3057990), (335090, 3057990), (335095, 3057985), (335010, 3057930)):
        click(d, *place)
    key(d, Qt.Key.Key_Backspace)
    key(d, Qt.Key.Key_Backspace)
    click(d, 335010, 3057930)
    click(d, 335000, 3057925, RIGHT)
    assert d.iface.canvas.mapTool() is pan and d.dock.area.draw_note.text().startswith("Polygon, 0.2")
    d.run()
    d.until_idle()
    assert sent[0].bounds is None and sent[0].zones == ""
    (feature,) = QgsVectorLayer(sent[0].within, "w", "ogr").getFeatures()
    wanted = QgsGeometry.fromWkt("POLYGON((335010 3057990, 335090 3057990, 335010 3057930, 335010 3057990))")
    assert feature.geometry().symDifference(wanted).area() < 0.05 * wanted.area()


def test_enter_ends_a_polygon_and_escape_gives_up(desk):
    d = desk()
    pan = begun(d)
    click(d, 335010, 3057990)
    click(d, 335050, 3057990)
    key(d, Qt.Key.Key_Return)  # two corners are no area
    assert d.dock.area.draw_button.isChecked()
    key(d, Qt.Key.Key_Escape)
    assert d.dock.area.draw_button.isChecked() and not bands(d)
    key(d, Qt.Key.Key_Escape)
    assert d.iface.canvas.mapTool() is pan and d.dock.area.draw_note.text() == "Nothing is drawn yet."
    d.run()
    assert "Nothing is drawn on the map yet" in d.iface.messages()[0]
    QTest.keyClick(d.dock.area.draw_button, Qt.Key.Key_Space)
    for place in ((335010, 3057990), (335050, 3057990), (335050, 3057950)):
        click(d, *place)
    key(d, Qt.Key.Key_Enter)
    (first,) = bands(d)
    d.click(d.dock.area.draw_button)
    drag(d, (335020, 3057990), (335060, 3057950))
    (second,) = bands(d)
    assert not second.equals(first) and d.dock.area.draw_note.text().startswith("Rectangle")


def test_another_tool_or_area_ends_the_drawing(desk):
    d = desk()
    begun(d)
    other = QgsMapToolPan(d.iface.canvas)
    d.iface.canvas.setMapTool(other)
    assert not d.dock.area.draw_button.isChecked() and d.iface.canvas.mapTool() is other
    d.click(d.dock.area.draw_button)
    d.dock.area.whole.click()
    assert d.iface.canvas.mapTool() is other and not d.dock.area.draw_button.isVisible()
    d.dock.area.by_hand.click()
    drag(d, (335020, 3057990), (335060, 3057950))
    assert len(bands(d)) == 1
    d.dock.area.whole.click()
    assert not bands(d)
    d.dock.area.by_hand.click()  # what was drawn is still there
    assert len(bands(d)) == 1 and not d.dock.area.draw_button.isChecked()
    d.dock.close()
    assert not bands(d)
    d.dock.show()
    assert len(bands(d)) == 1
    QgsProject.instance().clear()
    assert not bands(d) and d.dock.area.draw_note.text() == "Nothing is drawn yet."


def test_in_another_crs_a_rectangle_is_a_polygon(desk, sent):
    d = desk()
    d.iface.canvas.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:3857"))
    d.iface.canvas.setExtent(d.iface.canvas.mapSettings().layerExtentToOutputExtent(d.layer, d.layer.extent()))
    begun(d)
    centre = d.iface.canvas.extent().center()
    drag(d, (centre.x() - 20, centre.y() - 15), (centre.x() + 20, centre.y() + 15))
    before = bands(d)[0].boundingBox()
    d.run()
    d.until_idle()
    layer = QgsVectorLayer(sent[0].within, "w", "ogr")
    assert layer.crs().authid() == "EPSG:3857" and sent[0].bounds is None
    (feature,) = layer.getFeatures()
    box = feature.geometry().boundingBox()
    assert box.xMinimum() == pytest.approx(before.xMinimum()) and box.yMaximum() == pytest.approx(before.yMaximum())
    assert feature.geometry().constGet().nCoordinates() > 100  # edges are no straight lines in the raster's CRS
    d.iface.canvas.setDestinationCrs(d.layer.crs())
    assert d.layer.extent().contains(bands(d)[0].boundingBox())  # the outline goes with the map


def test_on_a_turned_map_a_rectangle_is_a_polygon(desk, sent):
    d = desk()
    d.ready()
    d.iface.canvas.setRotation(30)
    d.dock.area.by_hand.click()
    drag(d, (335030, 3057970), (335060, 3057950))
    assert d.dock.area.draw_note.text().startswith("Polygon")
    d.run()
    d.until_idle()
    (feature,) = QgsVectorLayer(sent[0].within, "w", "ogr").getFeatures()
    shape = feature.geometry()
    assert shape.area() < 0.9 * shape.boundingBox().area() and shape.constGet().nCoordinates() == 5


def test_what_lies_beside_the_layer_is_refused(desk, tmp_path):
    d = desk()
    begun(d)
    d.iface.canvas.setExtent(QgsRectangle(336000, 3057900, 336100, 3058000))
    drag(d, (336020, 3057990), (336060, 3057950))
    d.run()
    assert "What is drawn on the map lies beside “ortho”" in d.iface.messages()[0]


def test_the_estimate_follows(desk):
    d = desk()
    begun(d)
    assert d.dock.estimate.text() == ""
    drag(d, (335020, 3057990), (335060, 3057950))
    wait(lambda: d.dock.estimate.text().startswith("1 tile,"))


def test_closing_leaves_the_map_as_it_was(iface, supervisor, tmp_path):
    d = Desk(iface, supervisor(), tmp_path)
    pan = begun(d)
    click(d, 335010, 3057990)
    d.controller.close()
    assert d.iface.canvas.mapTool() is pan and not bands(d)
    d.iface.canvas.setRotation(10)  # and nobody hears of it
    d.dock.deleteLater()
