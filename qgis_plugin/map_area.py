"""What the dock's area has to do with the map: the area that is drawn there, and whether the map is turned."""

from __future__ import annotations

from typing import Optional

from qgis.core import QgsGeometry, QgsProject
from qgis.gui import QgsMapCanvas, QgsMapTool, QgsRubberBand
from qgis.PyQt.QtCore import QObject

from .canvas.area_tool import AreaTool
from .canvas.bands import POLYGON, band
from .canvas.live import FRAME
from .compat import is_alive
from .gui.dock import RotacubeDock
from .layers.drawn import NOTHING, Drawn


class MapArea(QObject):
    """Lends the map to whoever draws, and shows what was drawn while it is what is mapped.

    The map tool that was chosen before is chosen again when an area is drawn, or given up.
    """

    def __init__(self, canvas: QgsMapCanvas, dock: RotacubeDock, parent=None):
        super().__init__(parent)
        self._canvas, self._dock, self._picker = canvas, dock, dock.area
        self._project = QgsProject.instance()
        self._before: Optional[QgsMapTool] = None
        self._band: Optional[QgsRubberBand] = None
        self.tool = AreaTool(canvas)
        self.tool.drawn.connect(self._drawn)
        self.tool.given_up.connect(self._give_back)
        self.tool.deactivated.connect(self._left)
        self._picker.draw_clicked.connect(self._draw)
        self._picker.changed.connect(self._follow)
        dock.visibilityChanged.connect(self._follow)
        self._project.cleared.connect(self._forget)
        canvas.destinationCrsChanged.connect(self._show)
        canvas.rotationChanged.connect(self._picker.set_map_turned)
        self._picker.set_map_turned(canvas.rotation())

    def close(self) -> None:
        """Take all of it off the map: the plugin is being unloaded."""
        self._project.cleared.disconnect(self._forget)
        if is_alive(self._canvas):
            self._canvas.destinationCrsChanged.disconnect(self._show)
            self._canvas.rotationChanged.disconnect(self._picker.set_map_turned)
            self._give_back()
            self._clear()
        self.tool.deleteLater()

    @property
    def drawing(self) -> bool:
        """Whether the map is lent."""
        return self._canvas.mapTool() is self.tool

    def _draw(self, begin: bool) -> None:
        if not begin:
            self._give_back()
        elif not self.drawing:
            self._before = self._canvas.mapTool()
            self._canvas.setMapTool(self.tool)
            self._picker.set_drawing(True)

    def _drawn(self, shape: QgsGeometry, box: bool) -> None:
        if not shape.isGeosValid():  # its edges cross: of an eight, both halves
            shape = shape.makeValid()
        crs = self._canvas.mapSettings().destinationCrs()
        drawn = Drawn(shape, crs, box and self._canvas.rotation() % 360 == 0)
        self._picker.set_drawn(drawn, drawn.square_metres(self._project.transformContext()))
        self._give_back()
        self._picker.draw_button.setFocus()

    def _give_back(self) -> None:
        if self.drawing:
            if is_alive(self._before):
                self._canvas.setMapTool(self._before)
            else:
                self._canvas.unsetMapTool(self.tool)
        self._before = None

    def _left(self) -> None:
        """Another tool is chosen, by whoever."""
        self._picker.set_drawing(False)

    def _forget(self) -> None:
        """The project is another one."""
        self._picker.set_drawn(NOTHING, 0.0)

    def _follow(self, *_about) -> None:
        """Nothing is drawn that is not wanted."""
        if self.drawing and (self._picker.drawn() is None or self._dock.isHidden()):
            self._give_back()
        self._show()

    def _show(self) -> None:
        drawn = self._picker.drawn()
        if drawn is None or drawn.shape.isEmpty() or self._dock.isHidden():
            self._clear()
            return
        if self._band is None:
            self._band = band(self._canvas, POLYGON, FRAME, 0.08)
        self._band.setToGeometry(drawn.shape, drawn.crs)

    def _clear(self) -> None:
        if is_alive(self._band):
            self._canvas.scene().removeItem(self._band)
        self._band = None
