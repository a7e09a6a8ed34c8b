"""A job's events as signals, its previews as images."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Optional

from qgis.PyQt.QtCore import QObject, pyqtSignal
from qgis.PyQt.QtGui import QImage

from ..client.events import EventReader
from ..client.http import Client
from ..client.schema import TileEvent


class JobSignals(QObject):
    """Follows one job until its final state. Pictures are decoded in the reader's thread."""

    state = pyqtSignal(object)
    tile = pyqtSignal(object, object)
    broken = pyqtSignal(int)
    lost = pyqtSignal(object)

    def __init__(self, client: Client, job: str, parent=None):
        super().__init__(parent)
        self._reader = EventReader(
            client,
            job,
            on_state=partial(self._emit, self.state),
            on_tile=self._tile_read,
            on_broken=partial(self._emit, self.broken),
            on_lost=partial(self._emit, self.lost),
        )

    def start(self) -> None:
        """Begin to follow."""
        self._reader.start()

    def stop(self) -> None:
        """Follow the job no further."""
        self._reader.stop()

    def _tile_read(self, event: TileEvent, picture: Optional[bytes]) -> None:
        self._emit(self.tile, event, _decoded(picture) if picture is not None else None)

    def _emit(self, signal, *values) -> None:
        with contextlib.suppress(RuntimeError):  # the plugin was unloaded meanwhile
            signal.emit(*values)


def _decoded(picture: bytes) -> Optional[QImage]:
    image = QImage.fromData(picture, "PNG")
    return None if image.isNull() else image.convertToFormat(QImage.Format.Format_ARGB32_Premultiplied)
