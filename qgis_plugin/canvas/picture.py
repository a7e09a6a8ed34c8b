"""A picture of what lies on the map, drawn for one view of the canvas and shown until there is one of the next."""

from __future__ import annotations

from qgis.core import QgsMapSettings
from qgis.gui import QgsMapCanvas, QgsMapCanvasItem
from qgis.PyQt.QtCore import QPointF, QRectF, QSizeF, Qt
from qgis.PyQt.QtGui import QImage


class Picture:
    """An image as large as the canvas, and where it lies on the map.

    Args:
        image: see `blank`.
        settings: of the map for which it is drawn.
    """

    def __init__(self, image: QImage, settings: QgsMapSettings):
        self.image = image
        self._corner = settings.mapToPixel().toMapCoordinates(0, 0)
        self._scale, self._rotation = settings.mapUnitsPerPixel(), settings.rotation()

    def place(self, item: QgsMapCanvasItem, canvas: QgsMapCanvas) -> QRectF:
        """Where an item that shows it has to draw it, in canvas pixels; empty where the map is turned since."""
        if self._rotation != canvas.rotation():
            return QRectF()
        corner = QPointF(item.toCanvasCoordinates(self._corner))
        size = QSizeF(self.image.size()) / self.image.devicePixelRatio()
        ratio = self._scale / canvas.mapUnitsPerPixel()
        if abs(ratio - 1) < 1e-9:
            return QRectF(QPointF(corner.toPoint()), size)  # on whole pixels nothing is resampled
        return QRectF(corner, size * ratio)


def blank(settings: QgsMapSettings) -> QImage:
    """An image of what a map with these settings shows, with nothing on it; for any thread."""
    image = QImage(settings.outputSize() * settings.devicePixelRatio(), QImage.Format.Format_ARGB32_Premultiplied)
    image.setDevicePixelRatio(settings.devicePixelRatio())
    image.fill(Qt.GlobalColor.transparent)
    return image
