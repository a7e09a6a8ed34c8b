"""The choice of what is mapped: the whole layer, the map view, what lies in polygons, what is drawn on the map."""

from __future__ import annotations

from typing import Optional

from qgis.core import QgsVectorLayer
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QButtonGroup, QGridLayout, QHBoxLayout, QPushButton, QRadioButton, QVBoxLayout, QWidget

from ..i18n import tr
from ..layers.drawn import NOTHING, Drawn
from . import format as fmt
from .labels import note
from .polygon_picker import PolygonPicker


class AreaPicker(QWidget):
    """Four buttons, of which one holds, and what belongs to the polygons and to what is drawn.

    Signals:
        changed: something else is mapped.
        draw_clicked: whether somebody wants to draw on the map, or no longer.
    """

    changed = pyqtSignal()
    draw_clicked = pyqtSignal(bool)

    def __init__(self, parent: Optional[QWidget] = None):
        super().__init__(parent)
        self.whole = QRadioButton(tr("Whole layer"))
        self.whole.setObjectName("rotacubeAreaLayer")
        self.view = QRadioButton(tr("Map v&iew"))
        self.view.setObjectName("rotacubeAreaCanvas")
        self.view.setToolTip(tr("What the map canvas shows when Run is pressed"))
        self.in_polygons = QRadioButton(tr("Polygons"))
        self.in_polygons.setObjectName("rotacubeAreaPolygons")
        self.in_polygons.setToolTip(tr("What lies in the polygons of a layer; outside is no data"))
        self.polygons = PolygonPicker()
        self.note = note(tr("The map is turned: the upright box around what it shows is mapped."))
        self.note.setObjectName("rotacubeAreaNote")
        self._build_drawing()
        self._map_turned = False
        self._group = QButtonGroup(self)
        for button in (self.whole, self.view, self.in_polygons, self.by_hand):
            self._group.addButton(button)
        self.whole.setChecked(True)
        self.polygons.hide()
        self.drawing.hide()
        self._lay_out()
        self._describe()
        self._layers_changed()
        self.polygons.layers_changed.connect(self._layers_changed)
        self.polygons.selected.toggled.connect(self.changed)
        self.in_polygons.toggled.connect(self.polygons.setVisible)
        self.by_hand.toggled.connect(self._by_hand)
        self.view.toggled.connect(self._describe)
        self._group.buttonToggled.connect(self.changed)

    def within(self) -> Optional[QgsVectorLayer]:
        """The polygons outside of which all is nodata; None where they are not wanted."""
        return self.polygons.layer() if self.in_polygons.isChecked() else None

    def drawn(self) -> Optional[Drawn]:
        """What is drawn on the map, which may be nothing yet; None where it is not wanted."""
        return self._drawn if self.by_hand.isChecked() else None

    def set_drawn(self, drawn: Drawn, square_metres: float) -> None:
        """An area was drawn; `NOTHING` forgets it."""
        self._drawn, self._area = drawn, square_metres
        self._describe_drawing()
        self.changed.emit()

    def set_drawing(self, begun: bool) -> None:
        """Whether the map takes corners now."""
        self.draw_button.setChecked(begun)
        self._describe_drawing()

    def set_map_turned(self, degrees: float) -> None:
        """Say what a turned map view means for the area."""
        self._map_turned = degrees % 360 != 0
        self._describe()

    def _build_drawing(self) -> None:
        self._drawn, self._area = NOTHING, 0.0
        self.by_hand = QRadioButton(tr("Drawn on the map"))
        self.by_hand.setObjectName("rotacubeAreaDrawn")
        self.by_hand.setToolTip(tr("A rectangle or a polygon that you draw on the map"))
        self.draw_button = QPushButton()
        self.draw_button.setObjectName("rotacubeDraw")
        self.draw_button.setCheckable(True)
        self.draw_button.setToolTip(
            tr(
                "Drag a rectangle on the map, or click the corners of a polygon: right click or Enter ends it, "
                "Backspace takes the last corner back, Esc cancels"
            )
        )
        self.draw_note = note()
        self.draw_note.setObjectName("rotacubeDrawNote")
        self.drawing = QWidget()
        row = QHBoxLayout(self.drawing)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.draw_button)
        row.addWidget(self.draw_note, 1)
        self.draw_button.clicked.connect(self.draw_clicked)
        self._describe_drawing()

    def _by_hand(self, wanted: bool) -> None:
        self.drawing.setVisible(wanted)
        if wanted and self._drawn is NOTHING and self.isEnabled():
            self.draw_clicked.emit(True)

    def _describe_drawing(self) -> None:
        nothing = self._drawn is NOTHING
        self.draw_button.setText(tr("Draw") if nothing else tr("Draw anew"))
        self.draw_button.setAccessibleName(tr("Draw the area on the map"))
        self.draw_button.setAccessibleDescription(self.draw_button.toolTip())
        if self.draw_button.isChecked():
            text = tr("Drag a rectangle, or click corners and end with a right click.")
        elif nothing:
            text = tr("Nothing is drawn yet.")
        else:
            text = (tr("Rectangle, {} ha") if self._drawn.upright else tr("Polygon, {} ha")).format(
                fmt.hectares(self._area)
            )
        self.draw_note.setText(text)

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        grid = QGridLayout()
        grid.setHorizontalSpacing(14)
        grid.setVerticalSpacing(2)
        for number, button in enumerate((self.whole, self.view, self.in_polygons, self.by_hand)):
            grid.addWidget(button, number // 2, number % 2)
        grid.setColumnStretch(2, 1)
        column.addLayout(grid)
        column.addWidget(self.polygons)
        column.addWidget(self.drawing)
        column.addWidget(self.note)

    def _layers_changed(self) -> None:
        """Polygons can be chosen where there are any."""
        there = self.polygons.layer() is not None
        self.in_polygons.setEnabled(there)
        if not there and self.in_polygons.isChecked():
            self.whole.setChecked(True)
        self.changed.emit()

    def _describe(self) -> None:
        self.note.setVisible(self._map_turned and self.view.isChecked())
