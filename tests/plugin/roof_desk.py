"""What the tests of roofs by click share: the tool on a raster in a window, used with mouse and keys."""

from fixtures import Desk, wait
from qgis.core import QgsPointXY, QgsProject
from qgis.PyQt.QtCore import QEvent, QPoint, QPointF, Qt
from qgis.PyQt.QtGui import QMouseEvent
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication
from qgis_plugin.roofs.by_click import RoofsByClick

LEFT = Qt.MouseButton.LeftButton
NONE, SHIFT = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier
CTRL, ALT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.AltModifier


class RoofDesk:
    """The tool, and a town of the stand-in's roofs on the raster."""

    def __init__(self, iface, supervisor, tmp_path):
        self.desk = Desk(iface, supervisor, tmp_path)
        self.iface, self.canvas, self.layer = iface, iface.canvas, self.desk.layer
        self.supervisor = supervisor
        self.roofs = RoofsByClick(iface, self.desk.dock, supervisor)
        self.corner = self.layer.extent().xMinimum(), self.layer.extent().yMaximum()
        iface.active = self.layer

    def begin(self, rested=True):
        """Choose the tool, and wait until all roofs are known."""
        self.roofs.action.trigger()
        if rested:
            self.rested()
        return self

    def rested(self):
        wait(lambda: self.session is not None and self.session.view is not None)
        wait(lambda: not self.session.busy and "roof" in self.roofs.strip._lasting)

    @property
    def session(self):
        return self.roofs.session

    @property
    def known(self):
        return self.roofs._known

    @property
    def taken(self):
        """The layer."""
        return self.roofs.gestures.taken.layer

    @property
    def hover(self):
        return self.roofs.gestures.hover

    def view(self, number=1):
        """What the stand-in was asked about a view."""
        return self.supervisor.client._json("GET", f"v1/views/view{number}")

    def place(self, i, j, dx=4.0, dy=5.0):
        """A place on roof i, j of the stand-in's town, on the map: metres from its upper left corner."""
        x, y = self.corner[0] + 4 + (i // 2) * 20 + (i % 2) * 8 + dx, self.corner[1] - 4 - j * 14 - dy
        settings = self.canvas.mapSettings()
        return settings.layerToMapCoordinates(self.layer, QgsPointXY(x, y))

    def pixel(self, i, j, dx=4.0, dy=5.0):
        """The same in pixels of the canvas."""
        spot = self.canvas.getCoordinateTransform().transform(self.place(i, j, dx, dy))
        return QPoint(round(spot.x()), round(spot.y()))

    def move(self, spot, button=Qt.MouseButton.NoButton):
        """Move the mouse to a pixel, as an event: the screen's own cursor may lie anywhere."""
        viewport, none = self.canvas.viewport(), Qt.MouseButton.NoButton
        at, within, everywhere = spot, viewport.mapTo(viewport.window(), spot), viewport.mapToGlobal(spot)
        places = (QPointF(each) for each in (at, within, everywhere))
        QApplication.sendEvent(viewport, QMouseEvent(QEvent.Type.MouseMove, *places, none, button, NONE))

    def click(self, i, j, modifiers=NONE, dx=4.0, dy=5.0):
        QTest.mouseClick(self.canvas.viewport(), LEFT, modifiers, self.pixel(i, j, dx, dy))

    def drag(self, start, end, modifiers=NONE, release=True):
        """Drag from pixel to pixel."""
        viewport = self.canvas.viewport()
        QTest.mousePress(viewport, LEFT, modifiers, start)
        for step in (1, 2, 3):
            self.move(start + (end - start) * step / 3, LEFT)
        if release:
            QTest.mouseRelease(viewport, LEFT, modifiers, end)

    def key(self, key, modifiers=NONE):
        QTest.keyClick(self.canvas, key, modifiers)

    def ids(self):
        """The roofs that are taken."""
        return sorted(feature["roof"] for feature in self.features())

    def features(self):
        return list(self.taken.getFeatures()) if self.roofs.gestures.taken.there() else []

    def close(self):
        self.roofs.close()
        self.desk.controller.close()
        self.supervisor.stop()
        self.desk.dock.close()
        self.desk.dock.deleteLater()
        QgsProject.instance().clear()
