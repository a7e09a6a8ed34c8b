"""What else can be said of a run, folded away: cuts and resolution, the model's own, and what names the zones."""

from __future__ import annotations

from typing import Optional, Tuple

from qgis.core import QgsFields, QgsProject, QgsRasterLayer, QgsVectorLayer
from qgis.gui import QgsDoubleSpinBox, QgsFieldComboBox
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QComboBox, QFormLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from ..client.schema import ON_MODEL, ON_SOURCE, ModelInfo
from ..compat import is_alive
from ..i18n import tr
from ..layers.further import POLYGONS, STATISTICS
from ..layers.ground import pixel_size
from ..layers.polygons import naming_fields
from ..run import views_of_a_tile
from . import format as fmt
from .labels import note

LEAST, MOST = 0.001, 0.999
"""Of a threshold."""
LARGEST_M2 = 1e4
"""That the smallest roof or patch may be."""


class RunSettings(QWidget):
    """A button that unfolds the fields; what is said holds until another model is chosen."""

    changed = pyqtSignal()

    def __init__(self, parent: Optional[QWidget] = None):
        super().__init__(parent)
        self._model = ""
        self._kinds: Tuple[str, ...] = ()
        self._binary = self._zones = False  # whether the model has a threshold; whether there are zones
        self.button = QToolButton()
        self.button.setObjectName("rotacubeMore")
        self.button.setCheckable(True)
        self.button.setAutoRaise(True)
        self.button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.threshold_box = _spin_box("rotacubeThreshold", 3, 0.05, LEAST, MOST)
        self.threshold_box.setToolTip(tr("Probability from which on a pixel counts: lower finds more, higher is surer"))
        self.smallest_box = _spin_box("rotacubeSmallest", 2, 1, 0, LARGEST_M2)
        self.smallest_box.setSuffix(" m²")
        self.smallest_box.setToolTip(tr("Smaller roofs are left out, smaller patches go to what lies around them"))
        self._build_grid()
        self._build_turns()
        self.names = QgsFieldComboBox()
        self.names.setObjectName("rotacubeZoneNames")
        self.names.setAllowEmptyFieldName(True)
        self.names.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.names.setMinimumContentsLength(8)
        self.names.setToolTip(tr("The field with the polygons' names in the statistics; without one they are numbered"))
        self.body = QWidget()
        self._form = QFormLayout(self.body)
        self._form.setContentsMargins(18, 0, 0, 0)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        for text, widget in (
            (tr("Threshold"), self.threshold_box),
            (tr("Smallest"), self.smallest_box),
            (tr("Resolution"), self.grid_box),
            (tr("Views of a tile"), self.turns_box),
            (tr("Zone names"), self.names),
        ):
            label = QLabel(text)
            label.setBuddy(widget)
            widget.setAccessibleName(text)
            self._form.addRow(label, widget)
            if widget is self.grid_box:
                self._form.addRow(self.grid_note)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.button, 0, Qt.AlignmentFlag.AlignLeft)
        column.addWidget(self.body)
        self.setFocusProxy(self.button)
        self.button.toggled.connect(self._fold)
        for signal in (
            self.threshold_box.valueChanged,
            self.smallest_box.valueChanged,
            self.grid_box.currentIndexChanged,
            self.turns_box.currentIndexChanged,
            self.names.fieldChanged,
        ):
            signal.connect(self._changed)
        self._fold(False)
        self.set_model(None)
        self.set_zones(None)

    def threshold(self) -> Optional[float]:
        """The probability from which on a pixel is of class 1; None for the model's own."""
        return _said(self.threshold_box) if self._binary else None

    def smallest(self) -> Optional[float]:
        """Square metres of the smallest roof or patch; None for the model's own."""
        return _said(self.smallest_box) if self.smallest_box.isEnabledTo(self.body) else None

    def grid(self) -> str:
        """Whose pixels mask and probability have: `ON_MODEL` or `ON_SOURCE`."""
        return self.grid_box.currentData()

    def turns(self) -> int:
        """How often each tile is looked at."""
        return self.turns_box.currentData()

    def zone_field(self) -> str:
        """The field with the zones' names; empty without."""
        return self.names.currentField() if self._zones else ""

    def set_model(self, model: Optional[ModelInfo]) -> None:
        """Offer what this model has; what was said of another one is forgotten."""
        if model is None or model.name == self._model:
            self.setEnabled(model is not None)
            return
        self._model = model.name
        self.setEnabled(True)
        self._binary = model.threshold is not None
        self._show_row(self.threshold_box, self._binary)
        if self._binary:
            _begin_at(self.threshold_box, model.threshold)
        self.smallest_box.setDecimals(_decimals(model.smallest))
        self.smallest_box.setSingleStep(1 if model.smallest >= 1 else 10 ** (1 - self.smallest_box.decimals()))
        _begin_at(self.smallest_box, model.smallest)
        self.grid_box.setCurrentIndex(0)
        self.turns_box.setCurrentIndex(0)
        self.grid_box.setItemText(0, tr("The model's ({})").format(fmt.resolution(model.gsd)))
        self._changed()

    def set_layer(self, layer: Optional[QgsRasterLayer]) -> None:
        """The layer that is mapped, for the size of its pixels."""
        readable = is_alive(layer) and layer.isValid()
        size = pixel_size(layer, QgsProject.instance().transformContext()) if readable else None
        text = tr("The layer's own ({})").format(fmt.pixel_size(size)) if size else tr("The layer's own")
        self.grid_box.setItemText(1, text)

    def set_kinds(self, kinds: Tuple[str, ...]) -> None:
        """What is made beside the mask: a smallest area means nothing to the mask alone."""
        self._kinds = kinds
        self.smallest_box.setEnabled(POLYGONS in kinds or STATISTICS in kinds)
        self._changed()

    def set_zones(self, layer: Optional[QgsVectorLayer]) -> None:
        """The polygons in which statistics are counted; None without."""
        before = self.names.currentField()
        self.names.setFields(QgsFields() if layer is None else naming_fields(layer))
        self.names.setField(before)
        self._zones = layer is not None
        self._show_row(self.names, self._zones)
        self._changed()

    def _changed(self, *_about) -> None:
        own = self.grid() == ON_SOURCE
        cuts = self.threshold() is not None or self.smallest() is not None
        said = cuts or own or self.turns() > 1 or self.zone_field()
        self._show_row(self.grid_note, own and (POLYGONS in self._kinds or STATISTICS in self._kinds))
        self.button.setText(tr("More settings (changed)") if said else tr("More settings"))
        self.changed.emit()

    def _fold(self, shown: bool) -> None:
        self.button.setArrowType(Qt.ArrowType.DownArrow if shown else Qt.ArrowType.RightArrow)
        self.body.setVisible(shown)

    def _show_row(self, field: QWidget, shown: bool) -> None:
        for widget in (self._form.labelForField(field), field):
            if widget is not None:
                widget.setVisible(shown)

    def _build_grid(self) -> None:
        self.grid_box = QComboBox()
        self.grid_box.setObjectName("rotacubeGrid")
        self.grid_box.addItem(tr("The model's"), ON_MODEL)
        self.grid_box.addItem(tr("The layer's own"), ON_SOURCE)
        self.grid_box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.grid_box.setMinimumContentsLength(8)
        self.grid_box.setToolTip(
            tr("Pixels of mask and probability: those that the model sees, or the layer's, by resampling")
        )
        self.grid_note = note(tr("Polygons and statistics are those of the model's resolution all the same."))
        self.grid_note.setObjectName("rotacubeGridNote")

    def _build_turns(self) -> None:
        self.turns_box = QComboBox()
        self.turns_box.setObjectName("rotacubeTurns")
        for turns, text in views_of_a_tile():
            self.turns_box.addItem(text, turns)
        self.turns_box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.turns_box.setMinimumContentsLength(8)
        self.turns_box.setToolTip(
            tr("Each tile is shown to the model from several sides, and its answers are averaged: surer, and slower")
        )


def _spin_box(name: str, decimals: int, step: float, low: float, high: float) -> QgsDoubleSpinBox:
    box = QgsDoubleSpinBox()
    box.setObjectName(name)
    box.setDecimals(decimals)
    box.setSingleStep(step)
    box.setRange(low, high)
    return box


def _decimals(value: float) -> int:
    """So many that a value is seen as it is; plants are smaller than roofs."""
    return next((count for count in range(2, 9) if round(value, count) == value), 9)


def _begin_at(box: QgsDoubleSpinBox, value: float) -> None:
    """The model's own value, to which the box's button leads back."""
    box.setClearValue(value)
    box.setValue(value)


def _said(box: QgsDoubleSpinBox) -> Optional[float]:
    own = round(box.clearValue(), box.decimals())
    return None if round(box.value(), box.decimals()) == own else box.value()
