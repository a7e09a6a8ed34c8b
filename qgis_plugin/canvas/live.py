"""Finished tiles on the map while a job runs: one canvas item, never a layer a tile."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass
from typing import Deque, Dict, List, Optional

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCsException,
    QgsMapSettings,
    QgsMapToPixel,
    QgsPointXY,
    QgsProject,
    QgsRectangle,
)
from qgis.gui import QgsMapCanvas, QgsMapCanvasItem
from qgis.PyQt.QtCore import QPointF, QRectF, Qt, QTimer
from qgis.PyQt.QtGui import QColor, QImage, QPainter, QPen, QPolygonF, QTransform

from ..client.schema import TileEvent
from ..compat import is_alive
from ..layers.classes import OPACITY
from ..layers.ground import transform_between
from .picture import Picture, blank

FRAME = QColor("#ff7a1a")
GRID = QColor(255, 255, 255, 90)
PIXEL_BUDGET = 10_000_000
"""Of previews, 40 MB; beyond it all of them are halved."""
SLICE = 0.006
"""Seconds for which tiles are drawn before the main thread may do something else."""


@dataclass
class _Tile:
    image: Optional[QImage]
    corners: List[QgsPointXY]
    crs: str
    placed: Optional[List[QgsPointXY]] = None  # in the canvas CRS; None where it has no place there


class LiveTiles(QgsMapCanvasItem):
    """Draws previews under a light grid where they lie, whatever the canvas shows and in whichever CRS.

    Each is drawn once for a view, some at a time, into a picture: a map of thousands leaves the main thread free. Until
    the picture of a new view is whole, the one before it is shown in its place.
    """

    def __init__(self, canvas: QgsMapCanvas):
        super().__init__(canvas)
        self._canvas = canvas
        self._tiles: Dict[int, _Tile] = {}
        self._transforms: Dict[str, QgsCoordinateTransform] = {}
        self._latest: Optional[int] = None
        self._pixels = 0
        self._extent: Optional[QgsRectangle] = None  # of all tiles, in the canvas CRS
        self._rect = QRectF()
        self._picture: Optional[Picture] = None  # that is shown
        self._coming: Optional[Picture] = None  # of another view, not whole yet
        self._view = QgsMapSettings()  # of the latest picture
        self._todo: Deque[int] = deque()  # what it lacks
        self._large: Deque[int] = deque()  # what is to be halved
        self._work = QTimer()
        self._work.setSingleShot(True)
        self._work.setInterval(0)
        self._work.timeout.connect(self._work_on)
        self.setZValue(50)
        self._fallback: Optional[QTimer] = None
        self._removed = False
        canvas.destinationCrsChanged.connect(self._canvas_crs_changed)

    def add(self, event: TileEvent, image: Optional[QImage]) -> None:
        """Show a finished tile; without a picture only its frame, while it is the latest."""
        if self._removed:
            return
        tile = _Tile(image, [QgsPointXY(x, y) for x, y in event.corners], event.crs)
        self._tiles[event.n] = tile
        self._latest = event.n
        self._put(tile)
        if image is not None:
            self._pixels += image.width() * image.height()
            if self._pixels > PIXEL_BUDGET and not self._large:
                self._large.extend(self._tiles)
            self._todo.append(event.n)
        self.updatePosition()
        self._work.start()

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
        self._work.stop()
        self._tiles.clear()
        self._picture = self._coming = None
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
        self._rect = QRectF()
        if self._extent is not None:
            e = self._extent
            corners = ((e.xMinimum(), e.yMinimum()), (e.xMinimum(), e.yMaximum()), (e.xMaximum(), e.yMaximum()))
            points = [QgsPointXY(*corner) for corner in (*corners, (e.xMaximum(), e.yMinimum()))]
            quad = QPolygonF([QPointF(self.toCanvasCoordinates(point)) for point in points])
            self._rect = quad.boundingRect().adjusted(-3, -3, 3, 3)
        if _seen(self._canvas.mapSettings()) != _seen(self._view):
            self._begin()
        self.update()

    def boundingRect(self) -> QRectF:
        """Around all tiles, in canvas pixels."""
        return self._rect

    def paint(self, painter: QPainter, option=None, widget=None) -> None:
        """Draw the tiles, and a frame about the latest."""
        if self._picture is not None:
            place = self._picture.place(self, self._canvas)
            if not place.isEmpty():
                painter.setOpacity(OPACITY)
                painter.drawImage(place, self._picture.image)
                painter.setOpacity(1.0)
        latest = self._tiles.get(self._latest)
        if latest is not None and latest.placed:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing, True)
            pen = QPen(FRAME, 2)
            pen.setJoinStyle(Qt.PenJoinStyle.MiterJoin)
            painter.setPen(pen)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawPolygon(self._quad(latest))

    def _begin(self) -> None:
        """Draw all tiles anew, for what the canvas shows now."""
        self._view = QgsMapSettings(self._canvas.mapSettings())
        self._coming = Picture(blank(self._view), self._view)
        self._todo = deque(n for n, tile in self._tiles.items() if tile.image is not None)
        self._work.start()

    def _work_on(self) -> None:
        """Draw and halve what there is time for."""
        target, stop = self._coming or self._picture, time.perf_counter() + SLICE
        if target is not None:
            painter, onto = QPainter(target.image), self._view.mapToPixel()
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, True)
            whole = QRectF(target.image.rect())
            while self._todo and time.perf_counter() < stop:
                _draw(painter, self._tiles[self._todo.popleft()], onto, whole)
            painter.end()
            if not self._todo:
                self._picture, self._coming = target, None
        while self._large and time.perf_counter() < stop:
            self._halve(self._tiles[self._large.popleft()])
        if self._todo or self._large:
            self._work.start()
        self.update()

    def _quad(self, tile: _Tile) -> QPolygonF:
        return QPolygonF([QPointF(self.toCanvasCoordinates(point)) for point in tile.placed])

    def _put(self, tile: _Tile) -> None:
        """Find a tile's place on the canvas."""
        tile.placed = self._place(tile)
        for point in tile.placed or ():
            if self._extent is None:
                self._extent = QgsRectangle(point, point)
            else:
                self._extent.combineExtentWith(point.x(), point.y())

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
        self._extent = self._picture = None
        for tile in self._tiles.values():
            self._put(tile)
        self._view = QgsMapSettings()
        self.updatePosition()

    def _halve(self, tile: _Tile) -> None:
        if tile.image is None:
            return
        width, height = tile.image.width(), tile.image.height()
        tile.image = tile.image.scaled(max(1, width // 2), max(1, height // 2))
        self._pixels -= width * height - tile.image.width() * tile.image.height()


def _seen(view: QgsMapSettings) -> tuple:
    """What a picture of a view depends on."""
    size, extent = view.outputSize(), view.visibleExtent()
    return extent.toRectF(), size.width(), size.height(), view.rotation(), view.devicePixelRatio()


def _draw(painter: QPainter, tile: _Tile, onto: QgsMapToPixel, whole: QRectF) -> None:
    """Draw a tile where it lies, if that is within the picture."""
    if not tile.placed or tile.image is None:
        return
    quad = QPolygonF([onto.transform(point).toQPointF() for point in tile.placed])
    if not quad.boundingRect().intersects(whole):
        return
    width, height = tile.image.width(), tile.image.height()
    frame = QPolygonF([QPointF(0, 0), QPointF(width, 0), QPointF(width, height), QPointF(0, height)])
    transform = QTransform()
    if QTransform.quadToQuad(frame, quad, transform):
        painter.setTransform(transform)
        painter.drawImage(QPointF(0, 0), tile.image)
        painter.resetTransform()
        painter.setPen(QPen(GRID, 1))
        painter.drawPolygon(quad)
