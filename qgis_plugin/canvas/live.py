"""Finished tiles on the map while a job runs: one canvas item, never a layer a tile."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Dict, List, Optional

from qgis.core import QgsCoordinateReferenceSystem, QgsCoordinateTransform, QgsCsException, QgsPointXY, QgsProject
from qgis.gui import QgsMapCanvas, QgsMapCanvasItem
from qgis.PyQt.QtCore import QPointF, QRectF, Qt, QTimer
from qgis.PyQt.QtGui import QColor, QImage, QPainter, QPen, QPolygonF, QTransform

from ..client.schema import TileEvent
from ..compat import is_alive
from ..layers.classes import OPACITY
from ..layers.ground import transform_between

FRAME = QColor("#ff7a1a")
PIXEL_BUDGET = 24_000_000  # about 100 MB of previews; beyond it all of them are halved


@dataclass
class _Tile:
    image: Optional[QImage]
    corners: List[QgsPointXY]
    crs: str
    placed: Optional[List[QgsPointXY]] = None  # in the canvas CRS; None where it has no place there


class LiveTiles(QgsMapCanvasItem):
    """Draws previews where they lie, whatever the canvas shows and in whichever CRS."""

    def __init__(self, canvas: QgsMapCanvas):
        super().__init__(canvas)
        self._canvas = canvas
        self._tiles: Dict[int, _Tile] = {}
        self._transforms: Dict[str, QgsCoordinateTransform] = {}
        self._latest: Optional[int] = None
        self._pixels = 0
        self._rect = QRectF()
        self.setZValue(50)
        self._fallback: Optional[QTimer] = None
        self._removed = False
        canvas.destinationCrsChanged.connect(self._canvas_crs_changed)

    def add(self, event: TileEvent, image: Optional[QImage]) -> None:
        """Show a finished tile; without a picture only its frame, while it is the latest."""
        if self._removed:
            return
        tile = _Tile(image, [QgsPointXY(x, y) for x, y in event.corners], event.crs)
        tile.placed = self._place(tile)
        self._tiles[event.n] = tile
        self._latest = event.n
        if image is not None:
            self._pixels += image.width() * image.height()
            if self._pixels > PIXEL_BUDGET:
                self._halve()
        self.updatePosition()

    def count(self) -> int:
        """How many tiles have a picture."""
        return sum(tile.image is not None for tile in self._tiles.values())

    def remove_after_refresh(self) -> None:
        """Stay until the canvas has drawn the mask itself, so that nothing flickers; no longer than five seconds."""
        self._latest = None
        self.update()
        self._fallback = QTimer()
        self._fallback.setSingleShot(True)
        self._fallback.timeout.connect(self.remove)
        self._fallback.start(5000)
        self._canvas.mapCanvasRefreshed.connect(self.remove)

    def remove(self) -> None:
        """Take the item off the canvas; doing it twice is fine."""
        if self._removed:
            return
        self._removed = True
        self._tiles.clear()
        if not is_alive(self._canvas):
            return
        self._canvas.destinationCrsChanged.disconnect(self._canvas_crs_changed)
        if self._fallback is not None:
            self._fallback.stop()
            self._canvas.mapCanvasRefreshed.disconnect(self.remove)
        self._canvas.scene().removeItem(self)

    def updatePosition(self) -> None:
        """Follow pan, zoom and resize (the canvas calls this)."""
        self.prepareGeometryChange()
        self.setPos(0, 0)
        rect = QRectF()
        for tile in self._tiles.values():
            if tile.placed:
                rect = rect.united(self._quad(tile).boundingRect())
        self._rect = rect.adjusted(-3, -3, 3, 3)
        self.update()

    def boundingRect(self) -> QRectF:
        """Around all tiles, in canvas pixels."""
        return self._rect

    def paint(self, painter: QPainter, option=None, widget=None) -> None:
        """Draw every tile that the canvas shows."""
        shown = QRectF(self._canvas.viewport().rect()).adjusted(-1e3, -1e3, 1e3, 1e3)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, True)
        latest = None
        for n, tile in self._tiles.items():
            if not tile.placed:
                continue
            quad = self._quad(tile)
            if not quad.boundingRect().intersects(shown):
                continue
            if n == self._latest:
                latest = quad
            if tile.image is not None:
                self._draw(painter, tile.image, quad)
        if latest is not None:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing, True)
            pen = QPen(FRAME, 2)
            pen.setJoinStyle(Qt.PenJoinStyle.MiterJoin)
            painter.setPen(pen)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawPolygon(latest)

    def _draw(self, painter: QPainter, image: QImage, quad: QPolygonF) -> None:
        width, height = image.width(), image.height()
        frame = QPolygonF([QPointF(0, 0), QPointF(width, 0), QPointF(width, height), QPointF(0, height)])
        transform = QTransform()
        if not QTransform.quadToQuad(frame, quad, transform):
            return
        painter.save()
        painter.setOpacity(OPACITY)
        painter.setTransform(transform, True)
        painter.drawImage(QPointF(0, 0), image)
        painter.restore()

    def _quad(self, tile: _Tile) -> QPolygonF:
        return QPolygonF([QPointF(self.toCanvasCoordinates(point)) for point in tile.placed])

    def _place(self, tile: _Tile) -> Optional[List[QgsPointXY]]:
        transform = self._transforms.get(tile.crs)
        if transform is None:
            transform = transform_between(
                QgsCoordinateReferenceSystem.fromWkt(tile.crs),
                self._canvas.mapSettings().destinationCrs(),
                QgsProject.instance().transformContext(),
            )
            self._transforms[tile.crs] = transform
        try:
            placed = [transform.transform(point) for point in tile.corners]
        except QgsCsException:
            return None
        return placed if all(math.isfinite(p.x()) and math.isfinite(p.y()) for p in placed) else None

    def _canvas_crs_changed(self) -> None:
        self._transforms.clear()
        for tile in self._tiles.values():
            tile.placed = self._place(tile)
        self.updatePosition()

    def _halve(self) -> None:
        self._pixels = 0
        for tile in self._tiles.values():
            if tile.image is not None:
                width, height = max(1, tile.image.width() // 2), max(1, tile.image.height() // 2)
                tile.image = tile.image.scaled(width, height)
                self._pixels += width * height
