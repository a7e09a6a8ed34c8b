"""The choice of a polygon layer, or of what is selected in it."""

from __future__ import annotations

from typing import Optional

from qgis.core import QgsMapLayer, QgsVectorLayer
from qgis.gui import QgsMapLayerComboBox
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QCheckBox, QComboBox, QVBoxLayout, QWidget

from ..compat import POLYGON_LAYERS, is_alive
from ..i18n import tr


class PolygonPicker(QWidget):
    """A layer's polygons, all of them or those that are selected."""

    layers_changed = pyqtSignal()

    def __init__(self, parent: Optional[QWidget] = None):
        super().__init__(parent)
        self.combo = QgsMapLayerComboBox()
        self.combo.setObjectName("rotacubePolygons")
        self.combo.setAccessibleName(tr("Polygon layer"))
        self.combo.setFilters(POLYGON_LAYERS)
        self.selected = QCheckBox(tr("Selected only"))
        self.selected.setObjectName("rotacubeSelectedOnly")
        self.combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.combo.setMinimumContentsLength(8)  # a long name does not widen the dock
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.combo)
        column.addWidget(self.selected)
        self._followed: Optional[QgsVectorLayer] = None
        self.combo.layerChanged.connect(self._follow)
        self._follow(self.combo.currentLayer())

    def layer(self) -> Optional[QgsVectorLayer]:
        """The layer; None where the project has none of polygons."""
        return self.combo.currentLayer()

    def selected_only(self) -> bool:
        """Whether only what is selected counts."""
        return self.selected.isEnabled() and self.selected.isChecked()

    def _follow(self, layer: Optional[QgsMapLayer]) -> None:
        if is_alive(self._followed):
            self._followed.selectionChanged.disconnect(self._look)
            self._followed.updatedFields.disconnect(self.layers_changed)
        self._followed = layer
        if layer is not None:
            layer.selectionChanged.connect(self._look)
            layer.updatedFields.connect(self.layers_changed)
        self._look()
        self.layers_changed.emit()

    def _look(self, *_about) -> None:
        layer = self.layer()
        count = layer.selectedFeatureCount() if layer is not None else 0
        self.selected.setEnabled(count > 0)
        self.selected.setText(tr("Selected only ({})").format(count) if count else tr("Selected only"))
