"""Which products are wanted beside the mask; what was chosen last is kept."""

from __future__ import annotations

from typing import Dict, Optional, Tuple

from qgis.core import QgsSettings
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QCheckBox, QGridLayout, QWidget

from ..client.cards import ROOFTOPS
from ..client.schema import ModelInfo
from ..i18n import tr
from ..layers.further import POLYGONS, PROBABILITY, STATISTICS

_SETTING = "rotacube/further"


class FurtherPicker(QWidget):
    """A box for each product; their files lie beside the mask's."""

    changed = pyqtSignal()

    def __init__(self, parent: Optional[QWidget] = None):
        super().__init__(parent)
        self.setObjectName("rotacubeFurther")
        grid = QGridLayout(self)  # in one row they are wider than a narrow dock
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(1, 1)
        self.boxes: Dict[str, QCheckBox] = {}
        wanted = str(QgsSettings().value(_SETTING, POLYGONS)).split(",")
        for kind, text, tip in (
            (POLYGONS, tr("Polygons"), tr("Each roof, or each patch of a class, with its area and confidence")),
            (PROBABILITY, tr("Probability"), tr("How sure the model is of each pixel, 0 to 1")),
            (STATISTICS, tr("Statistics"), tr("Area and share of each class with 95 % intervals, as a table")),
        ):
            box = QCheckBox(text)
            box.setObjectName(f"rotacube_{kind}")
            box.setToolTip(tip + "\n" + tr("The file is named after the mask's and lies beside it."))
            box.setChecked(kind in wanted)
            box.toggled.connect(self._keep)
            grid.addWidget(box, *divmod(len(self.boxes), 2))
            self.boxes[kind] = box
        self.setFocusProxy(self.boxes[POLYGONS])

    def kinds(self) -> Tuple[str, ...]:
        """The products that are wanted."""
        return tuple(kind for kind, box in self.boxes.items() if box.isChecked())

    def set_model(self, model: Optional[ModelInfo]) -> None:
        """Call the polygons what they are of this model."""
        roofs = model is not None and model.task == ROOFTOPS
        self.boxes[POLYGONS].setText(tr("Roof polygons") if roofs else tr("Polygons"))

    def _keep(self) -> None:
        QgsSettings().setValue(_SETTING, ",".join(self.kinds()))
        self.changed.emit()
