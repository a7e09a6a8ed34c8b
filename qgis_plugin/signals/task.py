"""A run among QGIS's own tasks: its progress is seen with the dock closed, and QGIS asks before it is closed."""

from __future__ import annotations

import threading

from qgis.core import QgsApplication, QgsTask
from qgis.PyQt.QtCore import QThreadPool, pyqtSignal

from ..compat import TASK_FLAGS


class RunTask(QgsTask):
    """Waits in a thread for the end of what another process does; it ends by `finish`, or when QGIS cancels it."""

    cancel_clicked = pyqtSignal()

    def __init__(self, description: str):
        super().__init__(description, TASK_FLAGS)
        self._over = threading.Event()
        self._done = False

    def start(self) -> None:
        """Let QGIS show it."""
        # it sleeps in a thread of the pool in which QGIS draws: the pool may have one more meanwhile
        QThreadPool.globalInstance().releaseThread()
        QgsApplication.taskManager().addTask(self)

    def run(self) -> bool:
        """In a thread: wait (QGIS calls this)."""
        self._over.wait()
        return self._done

    def cancel(self) -> None:
        """Somebody wants the end (QGIS calls this): pass it on, and wait no longer, for QGIS may be closing."""
        super().cancel()
        if not self._over.is_set():
            self.finish(False)
            self.cancel_clicked.emit()

    def tell(self, done: int, total: int) -> None:
        """So many tiles are done."""
        if not self._over.is_set():
            self.setProgress(100 * done / max(1, total))

    def finish(self, done: bool) -> None:
        """There is nothing more to wait for."""
        if not self._over.is_set():
            self._done = done
            self._over.set()
            QThreadPool.globalInstance().reserveThread()
