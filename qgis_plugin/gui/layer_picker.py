"""The choice of a layer, with what will be read of it, and what is to be agreed upon before it is mapped."""

from __future__ import annotations

import contextlib
from typing import Iterable, Optional

from qgis.core import QgsMapLayer, QgsProject, QgsRasterLayer
from qgis.gui import QgsMapLayerComboBox
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QCheckBox, QSizePolicy, QVBoxLayout, QWidget

from ..client.schema import ModelInfo
from ..compat import RASTER_LAYERS, is_alive
from ..i18n import tr
from ..layers import ground, reading, results
from . import format as fmt
from .labels import note

_SLACK = 0.01  # two ways to measure a pixel on the ground differ by less


class LayerPicker(QWidget):
    """A combo box of raster layers that are no masks of ours, and notes on the chosen one."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._model: Optional[ModelInfo] = None
        self._layer: Optional[QgsRasterLayer] = None
        self.combo = QgsMapLayerComboBox()
        self.combo.setObjectName("rotacubeLayer")
        self.combo.setAccessibleName(tr("Layer to map"))
        self.combo.setFilters(RASTER_LAYERS)
        self.combo.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        with contextlib.suppress(AttributeError):  # QGIS 3.26 and newer
            self.combo.setShowCrs(False)
        self.reads = note()
        self.reads.setObjectName("rotacubeReads")
        self.reads.setTextFormat(Qt.TextFormat.PlainText)
        self.black = QCheckBox(tr("Black &borders are no data"))
        self.black.setObjectName("rotacubeBlack")
        self.black.setToolTip(tr("Pixels that are 0 in every band are left out of mask and areas"))
        self.scale = note()
        self.scale.setObjectName("rotacubeScale")
        self.scale.setTextFormat(Qt.TextFormat.PlainText)
        self.anyway = QCheckBox(tr("Map i&t anyway"))
        self.anyway.setObjectName("rotacubeAnyway")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        for widget in (self.combo, self.reads, self.black, self.scale, self.anyway):
            column.addWidget(widget)
        self.combo.layerChanged.connect(self._chosen)
        self.black.toggled.connect(self.describe)
        project = QgsProject.instance()
        project.layersAdded.connect(self._leave_masks_out)
        project.layersRemoved.connect(self._leave_masks_out)
        self._leave_masks_out()
        self._chosen(self.combo.currentLayer())

    def current(self) -> Optional[QgsRasterLayer]:
        """The chosen layer."""
        return self.combo.currentLayer()

    def follow(self, layer: Optional[QgsMapLayer]) -> None:
        """Choose the layer that became the active one, if it can be mapped."""
        if isinstance(layer, QgsRasterLayer) and not results.is_mask(layer):
            self.combo.setLayer(layer)

    def set_model(self, model: Optional[ModelInfo]) -> None:
        """The model with which the layer is to be mapped: which bands it reads, for which resolution it is made."""
        self._model = model
        self.describe()

    def black_is_nodata(self) -> bool:
        """Whether black pixels are left out."""
        return self.black.isChecked()

    def any_resolution(self) -> bool:
        """Whether the user agreed to a resolution that the model is not made for."""
        return not self.anyway.isHidden() and self.anyway.isChecked()

    def describe(self) -> None:
        """Say what is read of the layer, as it is shown now."""
        layer = self._layer
        readable = is_alive(layer) and layer.isValid() and layer.providerType() == "gdal"
        self.reads.setVisible(readable)
        self.black.setVisible(readable)
        warning = self._warning(layer) if readable else ""
        self.scale.setText(warning)
        self.scale.setVisible(bool(warning))
        self.anyway.setVisible(bool(warning))
        if readable:
            wanted = self._model.bands if self._model is not None else reading.COLOURS
            self.reads.setText(reading.sentence(reading.as_shown(layer, wanted), self.black.isChecked()))

    def _chosen(self, layer: Optional[QgsRasterLayer]) -> None:
        if is_alive(self._layer):
            for signal in _changes(self._layer):
                with contextlib.suppress(TypeError):  # it was connected once, or never
                    signal.disconnect(self.describe)
        self._layer = layer
        self.anyway.setChecked(False)  # what was agreed upon was another layer
        self.black.setChecked(False)
        if layer is not None:
            for signal in _changes(layer):
                signal.connect(self.describe)
        self.describe()

    def _warning(self, layer: QgsRasterLayer) -> str:
        size = ground.pixel_size(layer, QgsProject.instance().transformContext())
        if self._model is None or size is None:
            return ""
        low, high = self._model.gsd_range
        if low * (1 - _SLACK) <= min(size) and max(size) <= high * (1 + _SLACK):
            return ""
        text = tr(
            "Its pixels are {size}; {model} is made for {low} to {high}, and finds little that is true elsewhere."
        )
        return text.format(
            size=fmt.pixel_size(size), model=self._model.title, low=fmt.resolution(low), high=fmt.resolution(high)
        )

    def _leave_masks_out(self, _layers: Iterable = ()) -> None:
        layers = QgsProject.instance().mapLayers().values()
        self.combo.setExceptedLayerList([layer for layer in layers if results.is_mask(layer)])


def _changes(layer: QgsRasterLayer):
    return layer.rendererChanged, layer.styleChanged, layer.repaintRequested, layer.dataSourceChanged, layer.crsChanged
