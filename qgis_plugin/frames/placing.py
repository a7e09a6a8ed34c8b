"""What is asked of how frames lie on the ground: its elevation or a terrain model, the lens, whether it is refined."""

from __future__ import annotations

from typing import Optional

from qgis.gui import QgsFileWidget, QgsMapLayerComboBox
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QFormLayout, QWidget

from ..client import environment
from ..compat import RASTER_LAYERS
from ..i18n import tr
from ..layers import source
from .order import Placing

_NO_GROUND = -1000.0  # metres: below any ground


class PlacingPicker(QWidget):
    """A few rows; all but the layer survive in the settings.

    Signals:
        changed: the footprints are others.
    """

    changed = pyqtSignal()

    def __init__(self, parent: Optional[QWidget] = None):
        super().__init__(parent)
        self.ground = QDoubleSpinBox()
        self.ground.setRange(_NO_GROUND, 9000)
        self.ground.setSuffix(" m")
        self.ground.setSpecialValueText(tr("[frames say their height above it]"))
        self.ground.setValue(_NO_GROUND)
        self.terrain = QgsMapLayerComboBox()
        self.terrain.setFilters(RASTER_LAYERS)
        self.terrain.setAllowEmptyLayer(True)
        self.terrain.setCurrentIndex(0)
        self.terrain.setToolTip(tr("Elevations above the sea; the ground is flat if none is chosen"))
        self.terrain.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.terrain.setMinimumContentsLength(24)
        self.calibration = QgsFileWidget()
        self.calibration.setFilter(tr("OpenCV's calibration") + " (*.json)")
        self.calibration.lineEdit().setPlaceholderText(tr("[what the frames' tags say]"))
        self.refine = QCheckBox(tr("Bring &together what neighbouring frames both show"))
        self.refine.setToolTip(tr("Refines the frames' positions and directions; takes seconds a frame"))
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        for label, widget, name in (
            (tr("&Ground above the sea"), self.ground, "Ground"),
            (tr("T&errain model"), self.terrain, "Terrain"),
            (tr("Lens calibratio&n"), self.calibration, "Calibration"),
            ("", self.refine, "Refine"),
        ):
            form.addRow(label, widget)
            widget.setObjectName(f"rotacubeFrames{name}")
            widget.setAccessibleName((label or self.refine.text()).replace("&", ""))
        form.labelForField(self.calibration).setBuddy(self.calibration.lineEdit())
        self.calibration.lineEdit().setAccessibleName(self.calibration.accessibleName())
        self._recall()
        for signal in (self.ground.valueChanged, self.terrain.layerChanged, self.calibration.fileChanged):
            signal.connect(self._tell)

    def placing(self) -> Placing:
        """What is chosen.

        Raises:
            SourceRefused: the terrain model is no file that the backend could open.
        """
        layer = self.terrain.currentLayer()
        return Placing(
            self.ground.value() if self.ground.value() > _NO_GROUND else None,
            source.from_layer(layer).path if layer is not None else "",
            self.calibration.filePath().strip(),
            self.refine.isChecked(),
        )

    def remember(self) -> None:
        """Keep what is chosen for the next time."""
        environment.set_setting("frames/ground", str(self.ground.value()))
        environment.set_setting("frames/calibration", self.calibration.filePath())
        environment.set_setting("frames/refine", "yes" if self.refine.isChecked() else "")

    def _recall(self) -> None:
        self.ground.setValue(float(environment.setting("frames/ground") or _NO_GROUND))
        self.calibration.setFilePath(environment.setting("frames/calibration"))
        self.refine.setChecked(bool(environment.setting("frames/refine")))

    def _tell(self, *_about) -> None:
        self.changed.emit()
