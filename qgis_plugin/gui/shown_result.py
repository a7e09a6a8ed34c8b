"""Which mask's result the dock shows: the active layer's, or the uppermost one's; it is read from the layer itself."""

from __future__ import annotations

from typing import Optional

from qgis.core import QgsMapLayer, QgsProject
from qgis.PyQt.QtCore import QObject

from ..compat import is_alive
from ..layers import results
from .result_view import ResultView


class ShownResult(QObject):
    """Keeps a view in step with the project's masks."""

    def __init__(self, view: ResultView, project: QgsProject, parent=None):
        super().__init__(parent)
        self._view = view
        self._project = project
        self._layer: Optional[QgsMapLayer] = None
        project.readProject.connect(self._look)
        project.cleared.connect(self._look)
        project.layersRemoved.connect(self._look)
        self._look()

    def close(self) -> None:
        """Follow the project no further."""
        self._project.readProject.disconnect(self._look)
        self._project.cleared.disconnect(self._look)
        self._project.layersRemoved.disconnect(self._look)

    def choose(self, layer: Optional[QgsMapLayer]) -> None:
        """Show a layer's result, if it is a mask that knows it."""
        kept = results.kept(layer)
        if kept is None:
            return
        self._layer = layer
        self._view.show_result(layer.name(), kept.title, kept.result)

    def _look(self, *_about) -> None:
        """After a change in the project: the layer may be gone, others may have come."""
        if is_alive(self._layer) and self._project.mapLayer(self._layer.id()) is not None:
            return
        self._layer = None
        for node in self._project.layerTreeRoot().findLayers():
            self.choose(node.layer())
            if self._layer is not None:
                return
        self._view.clear()
