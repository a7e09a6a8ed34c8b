"""The files of the masks that are shown: QGIS goes on drawing remains of a file that somebody has deleted."""

from __future__ import annotations

import os
from typing import Dict

from qgis.core import QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import QFileSystemWatcher, QObject, QTimer, pyqtSignal

from . import results, source

_PATIENCE_MS = 500  # who replaces a file may take it away for a moment


class MaskFiles(QObject):
    """Tells when the file of a mask of the project is gone."""

    gone = pyqtSignal(object)

    def __init__(self, project: QgsProject, parent=None):
        super().__init__(parent)
        self._project = project
        self._watcher = QFileSystemWatcher(self)
        self._watcher.fileChanged.connect(lambda: self._later.start(_PATIENCE_MS))
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self._look)
        project.layersAdded.connect(self._follow)
        project.layersRemoved.connect(self._follow)
        self._follow()

    def close(self) -> None:
        """Watch no longer."""
        self._later.stop()
        self._project.layersAdded.disconnect(self._follow)
        self._project.layersRemoved.disconnect(self._follow)

    def _masks(self) -> Dict[str, QgsRasterLayer]:
        layers = self._project.mapLayers().values()
        return {source.path_of(layer): layer for layer in layers if results.is_mask(layer)}

    def _follow(self, _layers=()) -> None:
        wanted, watched = {path for path in self._masks() if os.path.exists(path)}, set(self._watcher.files())
        if watched - wanted:
            self._watcher.removePaths(sorted(watched - wanted))
        if wanted - watched:
            self._watcher.addPaths(sorted(wanted - watched))

    def _look(self) -> None:
        for path, layer in self._masks().items():
            if layer.isValid() and not os.path.exists(path):
                self.gone.emit(layer)
        if self._watcher.files():  # a file that was replaced is another one, and the watcher holds to the old one
            self._watcher.removePaths(self._watcher.files())
        self._follow()
