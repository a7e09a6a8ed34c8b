"""The pixels of a layer that only QGIS can read: rendered by QGIS, cell by cell, at the model's resolution."""

from __future__ import annotations

from functools import partial
from typing import Callable, ClassVar, Dict, List, Optional, Set, Tuple

import numpy as np
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCsException,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
)
from qgis.PyQt.QtCore import QBuffer, QIODevice, QObject, QSize, Qt, QTimer, pyqtSignal
from qgis.PyQt.QtGui import QColor, QImage

from ..client.schema import BackendError, ViewInfo
from ..compat import is_alive
from ..layers.ground import transform_between
from ..notify import log
from ..signals.background import Background

AT_ONCE = 2  # cells rendered side by side
PATIENCE_MS = 30_000  # for one cell: tiles that come later are taken with the next look
GAP = 0.002  # share of a cell without a picture from which on that is said
Cell = Tuple[int, int]


def cell_box(view: ViewInfo, cell: Cell) -> QgsRectangle:
    """Where a cell lies, in the view's CRS."""
    (x, y), (dx, dy) = view.origin, view.pixel
    left, top = x + cell[0] * view.cell * dx, y + cell[1] * view.cell * dy
    return QgsRectangle(left, top + view.cell * dy, left + view.cell * dx, top)


class _Rendering(QObject):
    """One cell being rendered. It lives until QGIS has ended, whoever has lost interest meanwhile."""

    ended = pyqtSignal(object)
    late = pyqtSignal(object)
    alive: ClassVar[Set[_Rendering]] = set()

    def __init__(self, settings: QgsMapSettings, cell: Cell, turn: int):
        super().__init__()
        self.cell, self.turn, self.job = cell, turn, QgsMapRendererParallelJob(settings)
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.timeout.connect(self._waited)
        self.job.finished.connect(self._done)

    def begin(self) -> None:
        """Render."""
        self.alive.add(self)
        self._patience.start(PATIENCE_MS)
        self.job.start()

    def cancel(self) -> None:
        """Render no further; nobody waits for that."""
        self.job.cancelWithoutBlocking()

    def _waited(self) -> None:
        self.late.emit(self)

    def _done(self) -> None:
        self._patience.stop()
        self.ended.emit(self)
        QTimer.singleShot(0, self._forget)  # not within the signal of what is forgotten

    def _forget(self) -> None:
        self.alive.discard(self)
        self.job.deleteLater()
        self.deleteLater()


class Pixels(QObject):
    """Renders cells of one layer and sends them. `done` comes once for each call of `fetch`, unless it was stopped.

    Args:
        layer: what is rendered.
        view: its grid.
        crs: the view's.
        send: takes a cell and its picture as PNG, in a thread.
    """

    done = pyqtSignal()
    failed = pyqtSignal(object)  # BackendError: a cell could not be sent

    def __init__(
        self,
        layer: QgsRasterLayer,
        view: ViewInfo,
        crs: QgsCoordinateReferenceSystem,
        send: Callable[[Cell, bytes], None],
        parent=None,
    ):
        super().__init__(parent)
        self.poor: Dict[Cell, float] = {}  # cells of which something is missing, and which share of them
        self._layer, self._view, self._crs, self._send = layer, view, crs, send
        self._waiting: List[Cell] = []
        self._jobs: Dict[Cell, _Rendering] = {}
        self._encoding = 0
        self._turn = 0
        self._background = Background(self)

    def fetch(self, cells: List[Cell]) -> None:
        """Render cells; what was under way is stopped."""
        self.stop()
        self._waiting = list(cells)
        self._go_on()

    def stop(self) -> None:
        """Render no more."""
        self._turn += 1
        self._waiting, self._encoding = [], 0
        jobs, self._jobs = self._jobs, {}
        for job in jobs.values():
            job.cancel()

    def close(self) -> None:
        """Stop for good."""
        self.stop()
        self._background.close()

    def _go_on(self) -> None:
        while self._waiting and len(self._jobs) < AT_ONCE and is_alive(self._layer):
            self._start(self._waiting.pop(0))
        if not self._jobs and not self._encoding and (not self._waiting or not is_alive(self._layer)):
            self._waiting = []
            self.done.emit()

    def _start(self, cell: Cell) -> None:
        settings = QgsMapSettings()
        settings.setLayers([self._layer])
        settings.setDestinationCrs(self._crs)
        settings.setTransformContext(QgsProject.instance().transformContext())
        settings.setBackgroundColor(QColor(Qt.GlobalColor.transparent))
        settings.setOutputImageFormat(QImage.Format.Format_ARGB32_Premultiplied)
        settings.setOutputSize(QSize(self._view.cell, self._view.cell))
        settings.setExtent(cell_box(self._view, cell))
        job = _Rendering(settings, cell, self._turn)
        job.ended.connect(self._finished)
        job.late.connect(self._late)
        self._jobs[cell] = job
        job.begin()

    def _late(self, job: _Rendering) -> None:
        job.cancel()
        if job.turn == self._turn and self._jobs.pop(job.cell, None) is not None:
            log(f"cell {job.cell} of “{self._layer.name()}” was not rendered within {PATIENCE_MS / 1000:g} s")
            self.poor[job.cell] = 1.0
            self._go_on()

    def _finished(self, rendering: _Rendering) -> None:
        job, cell, turn = rendering.job, rendering.cell, rendering.turn
        if turn != self._turn or self._jobs.pop(cell, None) is None:
            return
        for error in job.errors():
            log(f"cell {cell} of “{self._layer.name()}”: {error.message}")
        failed, image = bool(job.errors()), job.renderedImage()
        extent = _extent(self._layer, self._crs)
        self._encoding += 1
        box, send = cell_box(self._view, cell), self._send

        def encode_and_send() -> float:
            png, gap = encoded(image, box, extent, failed)
            if png:
                send(cell, png)
            return gap

        self._background.call(encode_and_send, partial(self._sent, cell, turn), partial(self._not_sent, turn))
        self._go_on()

    def _sent(self, cell: Cell, turn: int, gap: float) -> None:
        self.poor.pop(cell, None)
        if gap > GAP:
            self.poor[cell] = gap
        if turn == self._turn:
            self._encoding -= 1
            self._go_on()

    def _not_sent(self, turn: int, error: BackendError) -> None:
        if turn == self._turn:
            self.stop()
            self.failed.emit(error)


def encoded(image: QImage, box: QgsRectangle, extent: Optional[QgsRectangle], failed: bool) -> Tuple[bytes, float]:
    """A cell's picture as PNG, and the share of it, 0 to 1, that should have a picture and has none; for any thread.

    A cell of which nothing came has no PNG: it is asked for again.

    Args:
        image: as it was rendered.
        box: where the cell lies.
        extent: where the layer lies, in the same CRS; None if that is not known.
        failed: whether QGIS says that something went wrong.
    """
    image = image.convertToFormat(QImage.Format.Format_RGBA8888)
    side = image.width()
    bits = image.constBits()
    bits.setsize(image.sizeInBytes())
    alpha = np.frombuffer(bits, np.uint8).reshape(image.height(), image.bytesPerLine())[:, 3 : 4 * side : 4]
    gap = _gap(alpha, box, extent)
    if failed:
        gap = max(gap, 2 * GAP)
    return (b"" if gap > GAP and not alpha.any() else _png(image)), gap


def _gap(alpha: np.ndarray, box: QgsRectangle, extent: Optional[QgsRectangle]) -> float:
    """The share of a picture that lies in the extent and is empty; a pixel along the extent's edge may be."""
    rows, columns = alpha.shape
    if extent is None:
        left, right, top, bottom = 0, columns, 0, rows
    else:
        across, down = box.width() / columns, box.height() / rows
        left = max(0, round((extent.xMinimum() - box.xMinimum()) / across) + 2)
        right = min(columns, round((extent.xMaximum() - box.xMinimum()) / across) - 2)
        top = max(0, round((box.yMaximum() - extent.yMaximum()) / down) + 2)
        bottom = min(rows, round((box.yMaximum() - extent.yMinimum()) / down) - 2)
    if right <= left or bottom <= top:
        return 0.0
    return float((alpha[top:bottom, left:right] == 0).sum()) / alpha.size


def _png(image: QImage) -> bytes:
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    image.save(buffer, "PNG", 80)  # for PNG, this is speed rather than size
    return bytes(buffer.data())


def _extent(layer: QgsRasterLayer, crs: QgsCoordinateReferenceSystem) -> Optional[QgsRectangle]:
    """Where a layer surely lies, where that is a box: turned or bent extents have corners without pixels."""
    transform = transform_between(layer.crs(), crs, QgsProject.instance().transformContext())
    if transform.isShortCircuited():
        return layer.extent()
    try:
        around = transform.transformBoundingBox(layer.extent())
        bent = transform.transform(layer.extent().center())
    except QgsCsException:
        return None
    return around.scaled(0.9, bent) if around.isFinite() else None
