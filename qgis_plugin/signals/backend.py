"""What becomes of the backend's process, as signals."""

from __future__ import annotations

import contextlib

from qgis.PyQt.QtCore import QObject, Qt, pyqtSignal

from ..client.supervisor import DIED, MISSING, READY, STOPPED, News, Supervisor


class BackendSignals(QObject):
    """Tells a supervisor's news in the thread that made it; `failed` and `died` carry a sentence and details.

    `missing` says that there is no Python to start it with.
    """

    changed = pyqtSignal(str)
    ready = pyqtSignal()
    failed = pyqtSignal(str, str)
    died = pyqtSignal(str, str)
    missing = pyqtSignal(str)
    _came = pyqtSignal(object)

    def __init__(self, supervisor: Supervisor, parent=None):
        super().__init__(parent)
        self._supervisor = supervisor
        self._told = STOPPED
        # queued also within the GUI thread, so that nothing overtakes what another thread said before
        self._came.connect(self._deliver, Qt.ConnectionType.QueuedConnection)
        supervisor.listen(self._hear)

    def close(self) -> None:
        """Hear no more."""
        self._supervisor.forget(self._hear)

    def _hear(self, news: News) -> None:
        with contextlib.suppress(RuntimeError):  # the plugin was unloaded meanwhile
            self._came.emit(news)

    def _deliver(self, news: News) -> None:
        if news.stops != self._supervisor.stops:
            return
        if news.state != self._told:
            self._told = news.state
            self.changed.emit(news.state)
            if news.state == READY:
                self.ready.emit()
        if news.error is not None and news.error.code == MISSING:
            self.missing.emit(news.error.message)
        elif news.error is not None:
            signal = self.died if news.error.code == DIED else self.failed
            signal.emit(news.error.message, news.details)
