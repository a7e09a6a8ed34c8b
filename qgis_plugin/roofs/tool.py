"""The map tool: what the mouse and the keys mean, and what is drawn while they are held."""

from __future__ import annotations

from typing import List, Optional

from qgis.core import QgsGeometry, QgsPointXY, QgsRectangle
from qgis.gui import QgsMapCanvas, QgsMapTool, QgsRubberBand
from qgis.PyQt.QtCore import QEvent, QPoint, Qt, pyqtSignal
from qgis.PyQt.QtGui import QColor, QKeySequence
from qgis.PyQt.QtWidgets import QApplication

from ..canvas.bands import LINE, POLYGON, band
from ..canvas.live import FRAME
from ..compat import is_alive

CLICK, JOIN, REMOVE = "click", "join", "remove"
BOX, SPLIT, BRUSH = "box", "split", "brush"
SMALLEST, LARGEST = 2, 80  # radius of the brush, in canvas pixels
Modifier = Qt.KeyboardModifier


class RoofTool(QgsMapTool):
    """Tells gestures; all places are in the map's CRS."""

    hovered = pyqtSignal(object, object)  # QgsPointXY, QPoint
    left = pyqtSignal()
    clicked = pyqtSignal(str, object)  # CLICK, JOIN or REMOVE, QgsPointXY
    boxed = pyqtSignal(object)  # QgsRectangle
    split = pyqtSignal(object)  # a line
    brushed = pyqtSignal(object, object)  # where it began, the area that the brush went over
    escaped = pyqtSignal()
    undo_wanted = pyqtSignal()
    redo_wanted = pyqtSignal()
    stepped = pyqtSignal(int)  # the slider, in per cent
    brush_key = pyqtSignal()

    def __init__(self, canvas: QgsMapCanvas):
        super().__init__(canvas)
        self.brush = False  # whether dragging mends edges without Alt
        self.radius = 12
        self._canvas = canvas
        self._kind = ""
        self._pressed: Optional[QPoint] = None
        self._modifiers = Modifier.NoModifier
        self._stroke: List[QgsPointXY] = []
        self._line: Optional[QgsRubberBand] = None
        self.setCursor(Qt.CursorShape.CrossCursor)

    def activate(self) -> None:
        """The tool is chosen (QGIS calls this)."""
        super().activate()
        self._canvas.installEventFilter(self)
        self._canvas.viewport().installEventFilter(self)

    def deactivate(self) -> None:
        """Another tool is chosen (QGIS calls this)."""
        self.abort()
        if is_alive(self._canvas):
            self._canvas.removeEventFilter(self)
            self._canvas.viewport().removeEventFilter(self)
        super().deactivate()

    @property
    def dragging(self) -> bool:
        """Whether something is being drawn."""
        return bool(self._kind)

    def abort(self) -> None:
        """Draw no further."""
        self._kind, self._pressed, self._stroke = "", None, []
        if self._line is not None and is_alive(self._canvas):
            self._canvas.scene().removeItem(self._line)
        self._line = None

    def canvasPressEvent(self, event) -> None:
        """A button goes down."""
        self.abort()
        if event.button() == Qt.MouseButton.LeftButton:
            self._pressed, self._modifiers = event.pos(), event.modifiers()

    def canvasMoveEvent(self, event) -> None:
        """The mouse moves."""
        if self._pressed is None:
            self.hovered.emit(self.toMapCoordinates(event.pos()), event.pos())
            return
        far = (event.pos() - self._pressed).manhattanLength() >= QApplication.startDragDistance()
        if not self._kind and far:
            self._begin()
        if self._kind:
            self._draw(event.pos())

    def canvasReleaseEvent(self, event) -> None:
        """A button goes up."""
        if event.button() != Qt.MouseButton.LeftButton or self._pressed is None:
            return
        kind, start, stroke = self._kind, self.toMapCoordinates(self._pressed), self._stroke
        here = self.toMapCoordinates(event.pos())
        shape = self._line.asGeometry() if self._line is not None else QgsGeometry()
        self.abort()
        if kind == BOX:
            self.boxed.emit(QgsRectangle(start, here))
        elif kind == SPLIT:
            self.split.emit(QgsGeometry.fromPolylineXY([start, here]))
        elif kind == BRUSH:
            self.brushed.emit(stroke[0], shape)
        elif self._modifiers & Modifier.ControlModifier:
            self.clicked.emit(REMOVE, here)
        else:
            self.clicked.emit(JOIN if self._modifiers & Modifier.ShiftModifier else CLICK, here)

    def keyPressEvent(self, event) -> None:
        """A key goes down on the map; those that mean something here go no further."""
        signal = self._meaning(event)
        if signal is None:
            event.ignore()
            return
        event.accept()
        signal()

    def eventFilter(self, watched, event) -> bool:
        """See when the mouse leaves the map, and claim the keys that QGIS's menus would take."""
        if event.type() == QEvent.Type.Leave:
            self.left.emit()
        if event.type() == QEvent.Type.KeyPress and event.key() == Qt.Key.Key_Escape and self.dragging:
            self.abort()  # the canvas takes no key while a button is down
            return True
        if event.type() == QEvent.Type.ShortcutOverride and self._meaning(event) is not None:
            event.accept()
            return True
        return False

    def _meaning(self, event):
        """What a key does; None for those of QGIS."""
        if event.matches(QKeySequence.StandardKey.Undo):
            return self.undo_wanted.emit
        if event.matches(QKeySequence.StandardKey.Redo) or (
            event.key() == Qt.Key.Key_Y and event.modifiers() == Modifier.ControlModifier
        ):
            return self.redo_wanted.emit
        if event.modifiers() & (Modifier.ControlModifier | Modifier.AltModifier):
            return None
        return {
            Qt.Key.Key_Escape: self._escape,
            Qt.Key.Key_Plus: lambda: self.stepped.emit(5),
            Qt.Key.Key_Minus: lambda: self.stepped.emit(-5),
            Qt.Key.Key_B: self.brush_key.emit,
            Qt.Key.Key_BracketLeft: lambda: self._resize(-3),
            Qt.Key.Key_BracketRight: lambda: self._resize(3),
        }.get(event.key())

    def _escape(self) -> None:
        if self.dragging or self._pressed is not None:
            self.abort()
        else:
            self.escaped.emit()

    def _resize(self, pixels: int) -> None:
        self.radius = min(LARGEST, max(SMALLEST, self.radius + pixels))

    def _begin(self) -> None:
        if self._modifiers & Modifier.AltModifier or (self.brush and self._modifiers == Modifier.NoModifier):
            self._kind = BRUSH
            self._stroke = [self.toMapCoordinates(self._pressed)]
        else:
            self._kind = SPLIT if self._modifiers & Modifier.ControlModifier else BOX
        self.left.emit()
        line = self._kind == SPLIT
        self._line = band(self._canvas, LINE if line else POLYGON, QColor("#d7263d") if line else FRAME, 0.15)

    def _draw(self, place: QPoint) -> None:
        start, here = self.toMapCoordinates(self._pressed), self.toMapCoordinates(place)
        if self._kind == SPLIT:
            shape = QgsGeometry.fromPolylineXY([start, here])
        elif self._kind == BOX:
            corners = (self._pressed, QPoint(place.x(), self._pressed.y()), place, QPoint(self._pressed.x(), place.y()))
            shape = QgsGeometry.fromPolygonXY([[self.toMapCoordinates(corner) for corner in corners]])
        else:
            self._stroke.append(here)
            shape = QgsGeometry.fromPolylineXY(self._stroke).buffer(self.radius * self._canvas.mapUnitsPerPixel(), 6)
        self._line.setToGeometry(shape, None)
