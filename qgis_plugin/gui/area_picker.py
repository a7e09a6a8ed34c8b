"""The choice of what is mapped: the whole layer, what the map shows, or what lies in polygons."""

from __future__ import annotations

from typing import Optional

from qgis.core import QgsVectorLayer
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QButtonGroup, QHBoxLayout, QRadioButton, QVBoxLayout, QWidget

from ..i18n import tr
from .labels import note
from .polygon_picker import PolygonPicker


class AreaPicker(QWidget):
    """Three buttons, of which one holds, and what belongs to the polygons."""

    changed = pyqtSignal()

    def __init__(self, parent: Optional[QWidget] = None):
        super().__init__(parent)
        self.whole = QRadioButton(tr("Whole layer"))
        self.whole.setObjectName("rotacubeAreaLayer")
        self.view = QRadioButton(tr("Map v&iew"))
        self.view.setObjectName("rotacubeAreaCanvas")
        self.view.setToolTip(tr("What the map canvas shows when Run is pressed"))
        self.drawn = QRadioButton(tr("Polygons"))
        self.drawn.setObjectName("rotacubeAreaPolygons")
        self.drawn.setToolTip(tr("What lies in the polygons of a layer; outside is no data"))
        self.polygons = PolygonPicker()
        self.note = note(tr("The map is turned: the upright box around what it shows is mapped."))
        self.note.setObjectName("rotacubeAreaNote")
        self._map_turned = False
        self._group = QButtonGroup(self)
        for button in (self.whole, self.view, self.drawn):
            self._group.addButton(button)
        self.whole.setChecked(True)
        self.polygons.hide()
        self._lay_out()
        self._describe()
        self._layers_changed()
        self.polygons.layers_changed.connect(self._layers_changed)
        self.polygons.selected.toggled.connect(self.changed)
        self.drawn.toggled.connect(self.polygons.setVisible)
        self.view.toggled.connect(self._describe)
        self._group.buttonToggled.connect(self.changed)

    def within(self) -> Optional[QgsVectorLayer]:
        """The polygons outside of which all is nodata; None where they are not wanted."""
        return self.polygons.layer() if self.drawn.isChecked() else None

    def set_map_turned(self, degrees: float) -> None:
        """Say what a turned map view means for the area."""
        self._map_turned = degrees % 360 != 0
        self._describe()

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        row = QHBoxLayout()
        row.setSpacing(14)
        row.addWidget(self.whole)
        row.addWidget(self.view)
        row.addStretch(1)
        column.addLayout(row)
        column.addWidget(self.drawn)
        column.addWidget(self.polygons)
        column.addWidget(self.note)

    def _layers_changed(self) -> None:
        """Polygons can be chosen where there are any."""
        there = self.polygons.layer() is not None
        self.drawn.setEnabled(there)
        if not there and self.drawn.isChecked():
            self.whole.setChecked(True)
        self.changed.emit()

    def _describe(self) -> None:
        self.note.setVisible(self._map_turned and self.view.isChecked())
