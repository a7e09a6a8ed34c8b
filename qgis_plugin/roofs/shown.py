"""What is drawn on the map: the roof under the cursor with its figures, and faintly all roofs that are known."""

from __future__ import annotations

from typing import Iterable, List, Optional

from qgis.core import QgsGeometry, QgsMapSettings
from qgis.gui import QgsMapCanvas, QgsMapCanvasItem
from qgis.PyQt.QtCore import QPoint, QRectF, Qt
from qgis.PyQt.QtGui import QColor, QImage, QPainter, QPen
from qgis.PyQt.QtWidgets import QLabel

from ..canvas.bands import POLYGON, band
from ..canvas.live import FRAME
from ..canvas.picture import Picture, blank
from ..compat import is_alive
from ..signals.background import Background
from .known import Known, politely

TAKEN = QColor("#2f6f8f")
MOST = 20_000  # outlines that are drawn


class Hover:
    """The outline under the cursor, with a label beside it."""

    def __init__(self, canvas: QgsMapCanvas):
        self._canvas = canvas
        self.band = band(canvas, POLYGON, FRAME)
        self.taken = band(canvas, POLYGON, TAKEN)
        self.label = QLabel(canvas.viewport())
        self.label.setObjectName("rotacubeRoofLabel")
        self.label.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.label.setTextFormat(Qt.TextFormat.PlainText)
        self.label.setStyleSheet("background: rgba(32, 36, 40, 215); color: white; padding: 2px 6px;")
        self.hide()

    def show(self, outline: QgsGeometry, text: str, taken: bool) -> None:
        """Show an outline, in the map's CRS."""
        shown, other = (self.taken, self.band) if taken else (self.band, self.taken)
        other.reset(POLYGON)
        shown.setToGeometry(outline, None)
        self.label.setText(text)
        self.label.adjustSize()

    def move(self, place: QPoint) -> None:
        """Put the label beside the cursor, within the canvas."""
        x, y = place.x() + 16, place.y() + 18
        room = self._canvas.viewport().rect()
        if x + self.label.width() > room.right():
            x = place.x() - 10 - self.label.width()
        if y + self.label.height() > room.bottom():
            y = place.y() - 10 - self.label.height()
        self.label.move(max(0, x), max(0, y))
        if not self.label.isVisible():
            self.label.show()

    def hide(self) -> None:
        """Show nothing."""
        self.band.reset(POLYGON)
        self.taken.reset(POLYGON)
        self.label.hide()

    def remove(self) -> None:
        """Take all of it off the canvas."""
        if not is_alive(self._canvas):
            return
        for each in (self.band, self.taken):
            if is_alive(each):
                self._canvas.scene().removeItem(each)
        if is_alive(self.label):
            self.label.hide()
            self.label.deleteLater()


class Outlines(QgsMapCanvasItem):
    """All known roofs as faint outlines: drawn into a picture by a thread, so that the map stays quick."""

    def __init__(self, canvas: QgsMapCanvas):
        super().__init__(canvas)
        self._canvas = canvas
        self._picture: Optional[Picture] = None
        self._rect = QRectF()
        self._turn = 0
        self._background = Background()
        self.setZValue(40)

    def draw(self, known: Known) -> None:
        """Draw what is known of what the map shows; the picture before stays until the new one is there."""
        self._turn += 1
        turn, settings = self._turn, QgsMapSettings(self._canvas.mapSettings())
        if not len(known):
            self._drawn(turn, settings, None)
            return
        roofs = [roof.on_map for roof in known.meeting(settings.visibleExtent())] if len(known) <= MOST else []
        self._background.call(lambda: picture(roofs, settings), lambda image: self._drawn(turn, settings, image))

    def remove(self) -> None:
        """Take it off the canvas."""
        self._background.close()
        if is_alive(self._canvas) and self in self._canvas.scene().items():
            self._canvas.scene().removeItem(self)

    def updatePosition(self) -> None:
        """Follow pan and zoom until a new picture is there (the canvas calls this)."""
        self.prepareGeometryChange()
        self.setPos(0, 0)
        self._rect = QRectF() if self._picture is None else self._picture.place(self, self._canvas)
        self.update()

    def boundingRect(self) -> QRectF:
        """Where the picture lies, in canvas pixels."""
        return self._rect

    def paint(self, painter: QPainter, option=None, widget=None) -> None:
        """Draw the picture."""
        if self._picture is not None and not self._rect.isEmpty():
            painter.drawImage(self._rect, self._picture.image)

    def _drawn(self, turn: int, settings: QgsMapSettings, image: Optional[QImage]) -> None:
        if turn != self._turn:
            return
        self._picture = None if image is None else Picture(image, settings)
        self.updatePosition()


def picture(outlines: Iterable[QgsGeometry], settings: QgsMapSettings) -> QImage:
    """Outlines as a map with these settings shows them; for any thread."""
    image = blank(settings)
    painter = QPainter(image)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    turned = settings.mapToPixel().transform()
    shapes = [turned.map(part.asQPolygonF()) for outline in politely(outlines) for part in _parts(outline)]
    halo, line = QColor(20, 20, 20, 140), QColor(255, 255, 255, 220)  # what is taken has the colour of its class
    for color, width in ((halo, 2.4), (line, 1.2)):
        painter.setPen(QPen(color, width))
        for shape in politely(shapes):
            painter.drawPolygon(shape)
    painter.end()
    return image


def _parts(outline: QgsGeometry) -> List[QgsGeometry]:
    return outline.asGeometryCollection() if outline.isMultipart() else [outline]
