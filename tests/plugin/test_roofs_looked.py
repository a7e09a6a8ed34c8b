"""Roofs by click: the conversation about what the map shows, and what may go wrong in it."""

import time

import numpy as np
from fixtures import wait
from osgeo import gdal
from qgis.core import QgsCoordinateReferenceSystem, QgsRasterLayer, QgsRectangle
from qgis.PyQt.QtGui import QCursor
from qgis.PyQt.QtTest import QTest
from qgis_plugin.client.schema import ViewInfo
from qgis_plugin.roofs.pixels import Pixels, cell_box


def said(t):
    return " ".join(item.toolTip() or item.text() for item in t.iface.messageBar().items())


def test_the_slider_cuts_anew_and_the_cut_is_kept(town):
    t = town().begin()
    before = set(t.known.ids)
    t.roofs.strip.slider.setValue(75)
    wait(lambda: t.session.threshold == 0.75)
    t.rested()
    assert set(t.known.ids) < before
    assert {round(roof.info.confidence, 2) for roof in t.known} <= {0.75, 0.8, 0.85, 0.9}
    assert {asked["threshold"] for asked in t.view()["asked"]} == {None, 0.75}


def test_a_click_where_none_was_found_grows_one_or_says_why(town):
    t = town().begin()
    assert t.known.at(t.place(0, 4)) is None
    t.click(0, 4)
    wait(lambda: t.ids() == ["0:4"])
    t.click(1, 1, dx=10)  # the street
    wait(lambda: "Nothing like a roof" in t.roofs.strip.status.text())
    assert t.ids() == ["0:4"] and len(t.view()["grown"]) == 2


def test_roofs_about_the_cursor_come_first(town):
    t = town()
    focus = t.place(6, 4)
    QCursor.setPos(t.canvas.viewport().mapToGlobal(t.pixel(6, 4)))
    wait(lambda: t.canvas.viewport().mapFromGlobal(QCursor.pos()) == t.pixel(6, 4))
    t.begin()
    asked = [QgsRectangle(*each["bounds"]) for each in t.view()["asked"]]
    side = t.session.view.cell * t.session.view.pixel[0]
    assert len(asked) == 2
    left, top = t.session.view.origin
    column, row = (focus.x() - left) // side, (top - focus.y()) // side
    assert asked[0].xMinimum() > left + column * side and asked[0].xMaximum() < left + (column + 1) * side
    assert asked[0].yMaximum() < top - row * side and asked[0].yMinimum() > top - (row + 1) * side
    assert asked[1] == t.layer.extent().intersect(t.canvas.extent())


def test_what_is_looked_for_is_cancelled_when_the_map_moves(town):
    t = town("slow_roofs").begin(rested=False)
    wait(lambda: t.session is not None and t.session.view is not None and t.session.busy)
    extent = QgsRectangle(t.canvas.extent())
    extent.scale(0.5)
    t.canvas.setExtent(extent)
    wait(lambda: t.view()["cancelled"] and len(t.view()["asked"]) > 1)
    QTest.qWait(400)
    t.rested()
    told = t.view()
    assert told["cancelled"] and told["asked"][-1]["ticket"] not in told["cancelled"]
    assert len(t.known) > 3


def test_the_pointer_never_waits_for_the_backend(town):
    """95 of 100 moves over roofs draw their outline within 8 ms, while roofs are asked for."""
    t = town("slow_roofs").begin()
    t.session.cut(0.6)
    spent = []
    for number in range(60):
        spot = t.pixel(2 + number % 6, number % 4)
        begun = time.perf_counter()
        t.move(spot)
        spent.append(time.perf_counter() - begun)
    assert sorted(spent)[56] < 0.03, "8 ms on a machine that does nothing else"


def test_a_failure_is_told_once_and_what_is_taken_stays(town):
    t = town("fail_roofs").begin(rested=False)
    wait(lambda: "cannot be read any further" in said(t))
    assert "cannot be found" in t.roofs.strip._lasting and not t.session.busy


def test_a_backend_that_ends_takes_nothing_along(town):
    t = town("die_roofs").begin()
    t.click(2, 1)
    t.roofs.strip.slider.setValue(60)
    wait(lambda: t.session is None)
    t.click(3, 1)
    assert "2:1" in t.ids()
    assert t.taken.isEditable()


def test_a_view_that_the_backend_has_forgotten_is_opened_again(town):
    t = town("forget").begin()
    time.sleep(0.2)
    t.roofs.strip.slider.setValue(60)
    wait(lambda: t.session.view is not None and t.session.view.id == "view2", 20)
    t.rested()
    assert len(t.known) > 3


def test_a_resolution_far_from_the_models_is_agreed_to_first(town):
    t = town("far").begin(rested=False)
    wait(lambda: "10 m" in said(t))
    assert t.session.view is None


def test_cells_are_rendered_as_the_layer_shows_them(town, raster):
    t = town()
    layer = QgsRasterLayer(raster if isinstance(raster, str) else str(raster), "shown")
    view = ViewInfo("v", "EPSG:32645", 0.3, (layer.extent().xMinimum(), layer.extent().yMaximum()), (0.3, -0.3), 64)
    sent = {}
    pixels = Pixels(layer, view, QgsCoordinateReferenceSystem(layer.crs()), lambda cell, png: sent.update({cell: png}))
    done = []
    pixels.done.connect(lambda: done.append(1))
    pixels.fetch([(0, 0), (1, 0), (-5, 0)])
    wait(lambda: done)
    assert {(0, 0), (1, 0)} <= set(sent) and not pixels.poor
    gdal.FileFromMemBuffer("/vsimem/cell.png", sent[1, 0])
    picture = gdal.Open("/vsimem/cell.png").ReadAsArray()
    gdal.Unlink("/vsimem/cell.png")
    assert picture.shape == (4, 64, 64) and (picture[3] == 255).all() and np.ptp(picture[:3]) > 0
    assert cell_box(view, (1, 0)).xMinimum() == view.origin[0] + 64 * 0.3
    pixels.close()
    t.begin()
