"""The map tool with which an area is drawn: a rectangle by dragging, a polygon corner by corner."""

from __future__ import annotations

from typing import List, Optional

from qgis.core import QgsGeometry, QgsPointXY
from qgis.gui import QgsMapCanvas, QgsMapTool, QgsRubberBand
from qgis.PyQt.QtCore import QEvent, QPoint, Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QApplication

from ..compat import is_alive
from .bands import POLYGON, band
from .live import FRAME

_ENTER = (Qt.Key.Key_Return, Qt.Key.Key_Enter)
_BACK = (Qt.Key.Key_Backspace, Qt.Key.Key_Delete)


class AreaTool(QgsMapTool):
    """Tells of an area when it is drawn; all places are in the map's CRS.

    A right click or Enter ends a polygon, Backspace takes its last corner back. Esc takes all of them back; where
    there are none it gives the tool up.

    Signals:
        drawn: the polygon, and whether it is a rectangle along the sides of the map's window.
        given_up: nothing is to be drawn.
    """

    drawn = pyqtSignal(object, bool)
    given_up = pyqtSignal()

    def __init__(self, canvas: QgsMapCanvas):
        super().__init__(canvas)
        self._canvas = canvas
        self._pressed: Optional[QPoint] = None
        self._dragging = False
        self._corners: List[QgsPointXY] = []
        self._cursor: Optional[QgsPointXY] = None
        self._band: Optional[QgsRubberBand] = None
        self.setCursor(Qt.CursorShape.CrossCursor)

    @property
    def corners(self) -> int:
        """How many corners a polygon has that is being drawn."""
        return len(self._corners)

    def activate(self) -> None:
        """The tool is chosen (QGIS calls this)."""
        super().activate()
        self._canvas.installEventFilter(self)
        self._canvas.setFocus()  # the keys are the tool's

    def deactivate(self) -> None:
        """Another tool is chosen (QGIS calls this)."""
        self.abort()
        if is_alive(self._canvas):
            self._canvas.removeEventFilter(self)
        super().deactivate()

    def abort(self) -> None:
        """Forget what was begun."""
        self._pressed, self._dragging, self._corners = None, False, []
        if is_alive(self._band) and is_alive(self._canvas):
            self._canvas.scene().removeItem(self._band)
        self._band = None

    def canvasPressEvent(self, event) -> None:
        """A button goes down."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._pressed, self._dragging = event.pos(), False

    def canvasMoveEvent(self, event) -> None:
        """The mouse moves."""
        if self._pressed is not None and not self._corners and not self._dragging:
            self._dragging = (event.pos() - self._pressed).manhattanLength() >= QApplication.startDragDistance()
        self._cursor = self.toMapCoordinates(event.pos())
        self._show(self._box(event.pos()) if self._dragging else self._polygon(self._cursor))

    def canvasReleaseEvent(self, event) -> None:
        """A button goes up."""
        if event.button() == Qt.MouseButton.RightButton:
            self._end()
            return
        pressed, self._pressed = self._pressed, None
        if event.button() != Qt.MouseButton.LeftButton or pressed is None:
            return  # a double click sets one corner
        if not self._dragging:
            self._corners.append(self.toMapCoordinates(event.pos()))
            self._show(self._polygon(None))
            return
        self._pressed = pressed
        shape = self._box(event.pos())
        self.abort()
        if shape.area() > 0:
            self.drawn.emit(shape, True)

    def keyPressEvent(self, event) -> None:
        """A key goes down on the map; those that mean something here go no further."""
        meaning = self._meaning(event)
        event.setAccepted(meaning is not None)
        if meaning is not None:
            meaning()

    def eventFilter(self, watched, event) -> bool:
        """Claim the keys that QGIS's menus would take; see Esc while a button is down, which the canvas keeps."""
        if event.type() == QEvent.Type.KeyPress and event.key() == Qt.Key.Key_Escape and self._pressed is not None:
            self.abort()
            return True
        if event.type() == QEvent.Type.ShortcutOverride and self._meaning(event) is not None:
            event.accept()
            return True
        return False

    def _meaning(self, event):
        """What a key does; None for those of QGIS."""
        if event.modifiers() & (Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier):
            return None
        if event.key() == Qt.Key.Key_Escape:
            return self._escape
        if event.key() in _ENTER:
            return self._end
        return self._take_back if event.key() in _BACK else None

    def _escape(self) -> None:
        if self._corners:
            self.abort()
        else:
            self.given_up.emit()

    def _take_back(self) -> None:
        if self._corners:
            self._corners.pop()
            self._show(self._polygon(self._cursor))

    def _end(self) -> None:
        """The polygon is done, if it is one."""
        shape = self._polygon(None)
        if len(self._corners) >= 3 and shape.area() > 0:
            self.abort()
            self.drawn.emit(shape, False)

    def _box(self, place: QPoint) -> QgsGeometry:
        """Also where the map is turned."""
        start = self._pressed
        corners = (start, QPoint(place.x(), start.y()), place, QPoint(start.x(), place.y()))
        return QgsGeometry.fromPolygonXY([[self.toMapCoordinates(corner) for corner in corners]])

    def _polygon(self, cursor: Optional[QgsPointXY]) -> QgsGeometry:
        corners = [*self._corners, *([cursor] if cursor is not None and self._corners else [])]
        return QgsGeometry.fromPolygonXY([corners]) if corners else QgsGeometry()

    def _show(self, shape: QgsGeometry) -> None:
        if self._band is None:
            self._band = band(self._canvas, POLYGON, FRAME, 0.15)
        self._band.setToGeometry(shape, None)
