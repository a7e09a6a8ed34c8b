"""From what a finished run has made to layers of the project."""

from __future__ import annotations

from functools import partial
from typing import Optional

from qgis.core import QgsProject
from qgis.PyQt.QtCore import QObject, QThread, pyqtSignal

from .client.schema import BackendError
from .layers import further, results
from .layers.results import Finished
from .run import Run
from .signals.background import Background


class Opening(QObject):
    """Opens files in a thread, for that takes its time, and adds them to the project, or renews the layers there.

    Signals:
        added: a finished run, its `Run` if it goes by one, and the mask's layer.
        unwanted: the same without a layer: the project is another one meanwhile.
        failed: the same, and the error.
    """

    added = pyqtSignal(object, object, object)
    unwanted = pyqtSignal(object, object)
    failed = pyqtSignal(object, object, object)

    def __init__(self, project: QgsProject, parent=None):
        super().__init__(parent)
        self._project = project
        self._background = Background(self)

    def open(self, finished: Finished, run: Optional[Run] = None) -> None:
        """Begin; one of the signals comes."""
        thread = QThread.currentThread()
        self._background.call(
            lambda: further.opened(finished, thread),
            partial(self._opened, finished, run),
            partial(self.failed.emit, finished, run),
        )

    def close(self) -> None:
        """Nothing is added any more."""
        self._background.close()

    def _opened(self, finished: Finished, run: Optional[Run], made: further.Opened) -> None:
        if run is not None and run.project_gone:
            self.unwanted.emit(finished, run)
            return
        shown = results.shown_at(finished.mask.path, self._project.mapLayers().values())
        try:
            for old in shown:
                results.renew(old, finished, self._project)
        except BackendError as error:
            self.failed.emit(finished, run, error)
            return
        layer = shown[0] if shown else made.mask
        if not shown:
            results.add(layer, self._project)
        further.add(made.beside, self._project)
        self.added.emit(finished, run, layer)
