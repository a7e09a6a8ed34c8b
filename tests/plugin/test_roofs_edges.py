"""Roofs by click: web layers, maps in another CRS, ends in the middle; and that many roofs keep nobody waiting."""

import http.server
import threading
import time

import numpy as np
import pytest
from fixtures import gone, wait
from osgeo import gdal
from qgis.core import QgsCoordinateReferenceSystem, QgsPointXY, QgsProject, QgsRasterLayer, QgsRectangle
from qgis.PyQt.QtCore import Qt, QTimer
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QPushButton
from qgis_plugin.client.schema import RoofInfo
from qgis_plugin.roofs import pixels
from qgis_plugin.roofs.known import Placing, batch, blocks

MERCATOR = QgsCoordinateReferenceSystem("EPSG:3857")


def test_the_strip_counts_and_the_raster_is_told_as_a_run_tells_it(town):
    t = town().begin()
    assert t.roofs.action.isChecked() and t.roofs.strip.isVisible() and not t.roofs.strip.bar.isVisible()
    count = t.known.count(t.canvas.mapSettings().visibleExtent())
    assert count > 20 and t.roofs.strip.status.text() == f"{count} roofs"
    body = t.view()["body"]
    assert body["model"] == "fake-rooftop" and body["raster"]["path"] == t.desk.raster
    assert body["raster"]["bands"] == [1, 2, 3] and body["raster"]["declared_nodata"] is True
    asked = t.view()["asked"]
    assert [each["ring"] for each in asked] == [0, 0.25] and all(each["threshold"] is None for each in asked)


def test_esc_cancels_what_is_asked(town):
    t = town("slow_roofs").begin(rested=False)
    wait(lambda: t.session is not None and t.session.view is not None and t.view()["asked"])
    t.key(Qt.Key.Key_Escape)
    wait(lambda: t.view()["cancelled"])
    assert not t.session.busy and "Cancelled" in t.roofs.strip.status.text()
    QTest.qWait(900)
    assert len(t.known) == 0


def test_a_map_in_another_crs(town):
    t = town()
    t.canvas.setDestinationCrs(MERCATOR)
    t.canvas.setExtent(t.canvas.mapSettings().layerToMapCoordinates(t.layer, t.layer.extent()))
    t.begin()
    t.click(2, 1)
    assert t.ids() == ["2:1"] and t.taken.crs() == t.layer.crs()
    assert t.features()[0].geometry().area() == pytest.approx(80)
    t.canvas.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:4326"))
    wait(lambda: t.known.at(t.place(4, 1)) is not None and not t.session.busy)
    t.click(4, 1)
    assert t.ids() == ["2:1", "4:1"]
    t.click(2, 1)
    assert len(t.features()) == 2


def test_too_far_away_is_said(town):
    t = town().begin()
    t.canvas.scene()  # the raster ends, the map does not: what is asked for is the raster's part
    t.canvas.zoomByFactor(400)
    QTest.qWait(400)
    t.rested()
    t.session.extent = t.session.extent.buffered(20_000)
    t.canvas.zoomByFactor(1.1)
    wait(lambda: "Zoom in" in t.roofs.strip.status.text())


# layers that QGIS renders


def use(t, layer):
    assert layer.isValid()
    QgsProject.instance().addMapLayer(layer)
    t.iface.setActiveLayer(layer)
    t.layer = layer


def test_a_layer_without_a_file_is_rendered_cell_by_cell(town):
    t = town()
    gdal.GetDriverByName("GTiff").CreateCopy("/vsimem/memory.tif", gdal.Open(t.desk.raster))
    try:
        layer = QgsRasterLayer("/vsimem/memory.tif", "memory", "gdal")
        use(t, layer)
        t.begin()
        told = t.view()
        assert told["body"]["crs"] == "EPSG:32645" and "raster" not in told["body"] and told["cells"] >= 4
        near = told["body"]["near"]
        t.corner = round(near[0], -1), round(near[1], -1)
        (roof, *_) = [roof for roof in t.known if layer.extent().contains(roof.on_map.boundingBox())]
        i, j = map(int, roof.info.id.split(":"))
        t.click(i, j)
        assert t.ids() == [roof.info.id]
        cells = t.view()["cells"]
        t.canvas.zoomByFactor(0.6)
        QTest.qWait(400)
        t.rested()
        assert t.view()["cells"] == cells  # nothing is rendered twice
        assert not t.iface.messages()
    finally:
        QgsProject.instance().removeMapLayer(layer)
        gdal.Unlink("/vsimem/memory.tif")


class Tiles(http.server.BaseHTTPRequestHandler):
    """Web tiles, all alike; every second column is missing while `holes` is set."""

    holes = True
    picture = b""

    def do_GET(self):
        column = int(self.path.strip("/").split("/")[1])
        missing = type(self).holes and column % 2
        self.send_response(404 if missing else 200)
        self.send_header("Content-Type", "image/png")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if not missing:
            self.wfile.write(self.picture)

    def log_message(self, *args):
        pass


@pytest.fixture
def tiles():
    """The address of a server of web tiles."""
    plain = gdal.GetDriverByName("MEM").Create("", 256, 256, 3)
    plain.WriteArray(np.full((3, 256, 256), 120, "uint8"))
    gdal.GetDriverByName("PNG").CreateCopy("/vsimem/tile.png", plain)
    size = gdal.VSIStatL("/vsimem/tile.png").size
    file = gdal.VSIFOpenL("/vsimem/tile.png", "rb")
    Tiles.picture, Tiles.holes = bytes(gdal.VSIFReadL(1, size, file)), True
    gdal.VSIFCloseL(file)
    gdal.Unlink("/vsimem/tile.png")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tiles)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def show_tiles(t, tiles, zoom=1.0):
    """Look at web tiles where the raster lies. QGIS zooms to the first layers, which may be the world, when it finds
    the time: the place is set after that.
    """
    raster = t.layer
    use(t, QgsRasterLayer(f"type=xyz&url={tiles}/{{z}}/{{x}}/{{y}}.png&zmax=19&zmin=0", "web", "wms"))
    wait(lambda: t.canvas.layerCount() == 2)
    t.canvas.setDestinationCrs(MERCATOR)
    t.canvas.setExtent(t.canvas.mapSettings().layerToMapCoordinates(raster, raster.extent()))
    t.canvas.zoomByFactor(zoom)


def test_missing_web_tiles_are_said_and_asked_for_again(town, tiles):
    t = town()
    show_tiles(t, tiles)
    t.begin()
    assert t.view()["body"]["crs"] == "EPSG:3857"
    wait(lambda: [text for text in t.iface.messages() if "no picture" in text and "“web”" in text])
    assert t.session.pixels.poor
    some = len(t.known)
    Tiles.holes = False
    t.canvas.zoomByFactor(0.98)
    wait(lambda: not t.session.pixels.poor)
    t.rested()
    wait(lambda: not t.iface.messages())
    assert len(t.known) > some


def test_slow_web_tiles_are_given_up_and_said(town, tiles, monkeypatch):
    monkeypatch.setattr(pixels, "PATIENCE_MS", 100)
    monkeypatch.setattr(Tiles, "do_GET", lambda self: time.sleep(1))
    t = town()
    show_tiles(t, tiles, 0.2)
    t.begin()
    wait(lambda: [text for text in t.iface.messages() if "100.0 %" in text and "tiles are missing or late" in text])
    assert t.view()["cells"] == 0 and len(t.known) == 0


# what goes wrong


def test_without_a_raster_layer_it_says_what_to_do(town):
    t = town()
    t.desk.dock.layer_picker.combo.setExceptedLayerList([t.layer])
    t.iface.active = None
    t.roofs.action.trigger()
    assert not t.roofs.action.isChecked() and "Choose a raster layer" in t.iface.messages()[0]


def test_another_resolution_is_agreed_upon(town):
    t = town("far").begin(rested=False)
    wait(t.iface.messages)
    assert "10 m" in t.iface.messages()[0] and "--any" not in t.iface.messages()[0]
    (button,) = t.iface.bar.findChildren(QPushButton, "rotacubeMessageButton")
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    t.rested()
    assert t.view()["body"]["raster"]["any_resolution"] is True and len(t.known) > 20


def test_a_backend_that_ends_takes_nothing_along(town):
    t = town("die_roofs").begin()
    t.click(2, 1)
    known, pid = len(t.known), t.supervisor.pid
    t.canvas.zoomByFactor(0.9)
    wait(lambda: gone(pid) and t.session is None)
    assert any("ended" in text for text in t.iface.messages())
    t.click(4, 1)  # what is known can still be taken
    assert t.ids() == ["2:1", "4:1"] and len(t.known) == known
    t.canvas.zoomByFactor(0.9)
    t.rested()
    assert t.supervisor.pid != pid
    t.click(5, 1)
    assert t.ids() == ["2:1", "4:1", "5:1"]


@pytest.mark.parametrize("how", ["layer", "project", "tool"])
def test_an_end_in_the_middle_leaves_nothing_on_the_map(town, how):
    t = town("slow_roofs")
    items = len(t.canvas.scene().items())
    t.begin(rested=False)
    wait(lambda: t.session is not None and t.session.view is not None and t.view()["asked"])
    if how == "layer":
        QgsProject.instance().removeMapLayer(t.layer.id())
    elif how == "project":
        QgsProject.instance().clear()
    else:
        t.roofs.strip.closed.emit()
    assert t.session is None and t.roofs.strip is None and not t.roofs.action.isChecked()
    assert t.canvas.mapTool() is not t.roofs.tool
    QTest.qWait(700)
    assert len(t.canvas.scene().items()) == items


def test_another_layer_is_followed(town, tmp_path):
    from fixtures import make_raster

    t = town().begin()
    other = QgsRasterLayer(make_raster(tmp_path / "other.tif", seed=2), "other", "gdal")
    use(t, other)
    wait(lambda: t.roofs.layer is other)
    t.rested()
    assert t.view(2)["body"]["raster"]["path"].endswith("other.tif")
    t.click(2, 1)
    assert t.taken.name() == "Roofs of other"


# how fast


def many(corner, count=20_000):
    """What the backend tells of roofs in rows, 10 m apart."""
    infos = []
    for n in range(count):
        x, y = corner[0] + n % 200 * 10, corner[1] - n // 200 * 10
        ring = [[x, y], [x + 8, y], [x + 8, y - 8], [x, y - 8], [x, y]]
        infos.append(RoofInfo(str(n), {"type": "Polygon", "coordinates": [ring]}, 64.0, 32.0, 0.9, None, "regular"))
    return infos


def placing(crs):
    return Placing(crs, crs, QgsProject.instance().transformContext())


def test_the_cursor_is_answered_at_once_among_many_roofs(town):
    t = town().begin()
    t.known.clear()
    infos = many(t.corner)
    for first in range(0, len(infos), 1000):
        t.known.add(batch(infos[first : first + 1000], placing(t.layer.crs())))
    t.roofs._known_changed()
    wait(lambda: t.roofs._outlines._picture is not None)
    spots = [t.pixel(i, j) for i in range(8) for j in range(5)] * 5
    took = []
    for spot in spots:
        begin = time.thread_time()  # not what others on the machine take
        t.move(spot)
        t.canvas.viewport().repaint()  # until the outline is on the screen
        took.append(1000 * (time.thread_time() - begin))
    assert t.hover.label.isVisible()
    assert np.percentile(took, 95) < 40, np.percentile(took, [50, 95])  # 8 ms on a machine of one's own


def test_the_main_thread_stays_free_while_many_roofs_come(town):
    t = town().begin()
    infos, way = many(t.corner, 5000), placing(t.layer.crs())
    gaps, last = [], [time.perf_counter()]

    def beat():
        now = time.perf_counter()
        gaps.append(now - last[0])
        last[0] = now

    timer = QTimer()
    timer.timeout.connect(beat)
    timer.start(1)
    QTest.qWait(100)
    gaps.clear()
    done = []
    t.session._background.call(lambda: batch(infos, way), lambda made: done.append(t.known.add(made)))
    wait(lambda: done)
    timer.stop()
    assert done == [True] and len(gaps) > 5
    assert np.percentile(gaps, 95) < 0.05, max(gaps)


def test_blocks_cover_a_box_from_a_point_on():
    box = QgsRectangle(0, 0, 100, 60)
    focus = QgsPointXY(90, 10)
    made = blocks(box, (40, 40), focus)
    assert len(made) == 6 and sum(each.area() for each in made) == pytest.approx(box.area())
    distances = [each.center().sqrDist(focus) for each in made]
    assert distances == sorted(distances)
