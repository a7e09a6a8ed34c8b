"""One mapping run: from the request to its final state."""

from __future__ import annotations

from typing import Optional

from qgis.PyQt.QtCore import QObject, pyqtSignal

from .client.events import EventReader
from .client.http import Client
from .client.schema import BackendError, JobInfo, JobRequest, ModelInfo
from .i18n import tr
from .signals.background import Background


class Mapping(QObject):
    """Submits a job and follows it. Exactly one of `finished`, `failed` and `cancelled` comes, unless it is dropped."""

    progressed = pyqtSignal(int, int, object)
    tile = pyqtSignal(object, object)
    interrupted = pyqtSignal(int)
    finished = pyqtSignal(object)
    failed = pyqtSignal(object)
    cancelled = pyqtSignal()

    def __init__(self, client: Client, request: JobRequest, source_name: str, model: Optional[ModelInfo], parent=None):
        super().__init__(parent)
        self.request = request
        self.source_name = source_name
        self.model = model
        self.project_gone = False
        self.cancelling = False
        self.job_id = ""
        self._client = client
        self._over = False
        self._reader: Optional[EventReader] = None
        self._background = Background(self)

    def start(self) -> None:
        """Create the job."""
        self._background.call(lambda: self._client.submit(self.request), self._submitted, self._fail)

    def cancel(self) -> None:
        """Ask the backend to stop after the tile that it works on."""
        self.cancelling = True
        if self.job_id:
            self._background.call(lambda: self._client.cancel(self.job_id), lambda job: None, self._cancel_failed)

    def drop(self) -> None:
        """Follow the job no further; no signal comes afterwards."""
        self._over = True
        self._background.close()
        if self._reader is not None:
            self._reader.stop()

    def _submitted(self, job: JobInfo) -> None:
        if self._over:
            return
        self.job_id = job.id
        self._reader = EventReader(self._client, job.id, self)
        self._reader.state.connect(self._state)
        self._reader.tile.connect(self._tile)
        self._reader.broken.connect(self.interrupted)
        self._reader.lost.connect(self._fail)
        self._reader.start()
        if self.cancelling:
            self.cancel()

    def _state(self, job: JobInfo) -> None:
        if self._over:
            return
        if job.state == "running" and job.tiles_total:
            self.progressed.emit(job.tiles_done, job.tiles_total, job.seconds_left)
        elif job.state == "cancelled":
            self._over = True
            self.cancelled.emit()
        elif job.state == "failed":
            error = job.error
            message = error.message if error else tr("The backend gave up without saying why.")
            self._fail(BackendError(error.code if error else "error", message))
        elif job.state == "finished":
            if job.result is None:
                self._fail(BackendError("protocol", tr("The backend finished without a result.")))
                return
            self._over = True
            self._background.call(lambda: self._client.delete(job.id), lambda _: None)  # frees its previews
            self.finished.emit(job.result)

    def _tile(self, event, image) -> None:
        if not self._over:
            self.progressed.emit(event.done, event.total, event.seconds_left)
            self.tile.emit(event, image)

    def _cancel_failed(self, error: BackendError) -> None:
        if error.status == 0:  # the backend is not to be reached: the reader or the supervisor will say so
            return
        self._fail(error)

    def _fail(self, error: BackendError) -> None:
        if not self._over:
            self._over = True
            self.failed.emit(error)
