"""The dock: what to map, with what, where to; how far it is; what was found. It shows and asks, and decides nothing."""

from __future__ import annotations

import contextlib
from typing import Optional

from qgis.core import QgsApplication, QgsReferencedRectangle
from qgis.gui import QgsDockWidget, QgsFileWidget, QgsMapLayerComboBox
from qgis.PyQt.QtCore import Qt, QUrl, pyqtSignal
from qgis.PyQt.QtGui import QDesktopServices
from qgis.PyQt.QtWidgets import (
    QButtonGroup,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QRadioButton,
    QScrollArea,
    QSizePolicy,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from .. import paths
from ..client.schema import JobResult
from ..compat import RASTER_LAYERS
from ..i18n import tr
from ..run import Order
from . import format as fmt
from .model_picker import ModelPicker
from .result_view import ResultView
from .setup_page import SetupPage


class RotacubeDock(QgsDockWidget):
    """The plugin's dock."""

    run_clicked = pyqtSignal()
    cancel_clicked = pyqtSignal()
    settings_clicked = pyqtSignal()
    first_shown = pyqtSignal()

    def __init__(self, parent=None):
        super().__init__(tr("Rotacube"), parent)
        self.setObjectName("RotacubeDock")
        self.setAllowedAreas(Qt.DockWidgetArea.LeftDockWidgetArea | Qt.DockWidgetArea.RightDockWidgetArea)
        self._shown_before = False
        self._path_from_dialog = ""
        self._build()
        self.set_idle()
        self.show_status(tr("The backend starts with this panel."))

    def order(self, shown: QgsReferencedRectangle) -> Optional[Order]:
        """What the user wants; None while there is no model.

        Args:
            shown: the area that the map canvas shows.
        """
        model = self.model_picker.current()
        if model is None:
            return None
        area = None if self.area_layer.isChecked() else shown
        return Order(self.layer_combo.currentLayer(), model, self.output_text(), area, self.output_was_confirmed())

    def output_text(self) -> str:
        """The output path as it stands in the field."""
        return self.output.filePath()

    def output_was_confirmed(self) -> bool:
        """Whether the path comes from the save dialog, which asks before it gives the name of a file that exists."""
        return bool(self.output_text()) and self._path_from_dialog == self.output_text()

    def forget_confirmation(self) -> None:
        """The agreement to overwrite holds for one run."""
        self._path_from_dialog = ""

    def set_idle(self) -> None:
        """Ready for the next run."""
        self._set_inputs_enabled(True)
        self.run_button.setEnabled(True)
        self.cancel_button.setEnabled(False)
        self.cancel_button.setText(tr("Cancel"))
        self.bar.hide()
        self.progress_label.hide()

    def set_busy(self, text: str) -> None:
        """A run has begun; there is no tile yet."""
        self._set_inputs_enabled(False)
        self.run_button.setEnabled(False)
        self.cancel_button.setEnabled(True)
        self.result.hide()
        self.bar.setRange(0, 0)
        self.bar.show()
        self.progress_label.setText(text)
        self.progress_label.show()

    def set_progress(self, done: int, total: int, seconds_left: Optional[float]) -> None:
        """So many tiles are done."""
        self.bar.setRange(0, max(1, total))
        self.bar.setValue(done)
        self.progress_label.setText(fmt.progress(done, total, seconds_left))

    def set_cancelling(self) -> None:
        """The cancel is on its way."""
        self.cancel_button.setEnabled(False)
        self.progress_label.setText(tr("Cancelling…"))

    def offer_force(self) -> None:
        """The backend does not react to the cancel: offer its end."""
        self.cancel_button.setText(tr("Stop the backend"))
        self.cancel_button.setEnabled(True)

    def show_setup(self, may_leave: bool = False) -> None:
        """The set-up in place of the form."""
        self.setup_page.ask(may_leave)
        self.pages.setCurrentWidget(self.setup_page)

    def show_main(self) -> None:
        """The form in place of the set-up."""
        self.pages.setCurrentIndex(0)

    def show_status(self, text: str, tooltip: str = "") -> None:
        """The line at the bottom."""
        self.status.setText(text)
        self.status.setToolTip(tooltip)

    def show_result(self, result: JobResult) -> None:
        """The summary of a finished job."""
        self.result.show_result(result)

    def showEvent(self, event) -> None:
        """Tell once that the dock is on the screen."""
        super().showEvent(event)
        if not self._shown_before:
            self._shown_before = True
            self.first_shown.emit()

    def _build(self) -> None:
        self.layer_combo = QgsMapLayerComboBox()
        self.layer_combo.setObjectName("rotacubeLayer")
        self.layer_combo.setFilters(RASTER_LAYERS)
        self.layer_combo.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        with contextlib.suppress(AttributeError):  # QGIS 3.26 and newer
            self.layer_combo.setShowCrs(False)
        self.model_picker = ModelPicker()
        self._build_area()
        self._build_output()
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        form.setHorizontalSpacing(10)
        form.setVerticalSpacing(8)
        form.addRow(tr("Layer"), self.layer_combo)
        form.addRow(tr("Model"), self.model_picker)
        form.addRow(tr("Area"), self.area)
        form.addRow(tr("Mask"), self.output)
        self._inputs = (self.layer_combo, self.model_picker, self.area, self.output)

        self.bar = QProgressBar()
        self.bar.setObjectName("rotacubeProgress")
        self.bar.setTextVisible(False)
        self.bar.setMaximumHeight(10)
        self.progress_label = QLabel()
        self.progress_label.setObjectName("rotacubeProgressText")
        self.result = ResultView()
        self.status = QLabel()
        self.status.setObjectName("rotacubeStatus")
        self.status.setWordWrap(True)
        self.status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        line = QFrame()
        line.setFrameShape(QFrame.Shape.HLine)
        line.setFrameShadow(QFrame.Shadow.Sunken)

        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(10, 10, 10, 8)
        column.setSpacing(10)
        column.addLayout(form)
        column.addLayout(self._build_buttons())
        column.addWidget(self.bar)
        column.addWidget(self.progress_label)
        column.addWidget(self.result)
        column.addStretch(1)
        column.addWidget(line)
        column.addWidget(self.status)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(content)
        area.setMinimumWidth(340)
        self.setup_page = SetupPage()
        self.setup_page.settings_clicked.connect(self.settings_clicked)
        self.setup_page.left.connect(self.show_main)
        self.pages = QStackedWidget()
        self.pages.addWidget(area)
        self.pages.addWidget(self.setup_page)
        self.setWidget(self.pages)

    def _build_area(self) -> None:
        self.area_layer = QRadioButton(tr("Whole layer"))
        self.area_layer.setObjectName("rotacubeAreaLayer")
        self.area_canvas = QRadioButton(tr("Map view"))
        self.area_canvas.setObjectName("rotacubeAreaCanvas")
        self.area_canvas.setToolTip(tr("What the map canvas shows when Run is pressed"))
        self.area_layer.setChecked(True)
        self.area = QWidget()
        self._area_group = QButtonGroup(self)
        row = QHBoxLayout(self.area)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(14)
        for button in (self.area_layer, self.area_canvas):
            self._area_group.addButton(button)
            row.addWidget(button)
        row.addStretch(1)

    def _build_output(self) -> None:
        self.output = QgsFileWidget()
        self.output.setObjectName("rotacubeOutput")
        self.output.setStorageMode(QgsFileWidget.StorageMode.SaveFile)
        self.output.setDialogTitle(tr("Save the mask as"))
        self.output.setFilter(tr("GeoTIFF") + " (*.tif *.tiff)")
        self.output.lineEdit().setPlaceholderText(tr("[temporary file]"))
        self._typing = False
        self.output.lineEdit().textEdited.connect(self._output_typed)
        self.output.fileChanged.connect(self._output_changed)

    def _build_buttons(self) -> QHBoxLayout:
        self.run_button = QPushButton(QgsApplication.getThemeIcon("/mActionStart.svg"), tr("Run"))
        self.run_button.setObjectName("rotacubeRun")
        self.run_button.clicked.connect(self.run_clicked)
        self.cancel_button = QPushButton(tr("Cancel"))
        self.cancel_button.setObjectName("rotacubeCancel")
        self.cancel_button.clicked.connect(self.cancel_clicked)
        settings = self._tool("/mActionOptions.svg", tr("Settings and diagnostics"), "rotacubeSettings")
        settings.clicked.connect(self.settings_clicked)
        help_button = self._tool("/mActionHelpContents.svg", tr("Help"), "rotacubeHelp")
        help_button.clicked.connect(lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(paths.help_page())))
        row = QHBoxLayout()
        row.setSpacing(6)
        row.addWidget(self.run_button, 2)
        row.addWidget(self.cancel_button, 1)
        row.addSpacing(6)
        row.addWidget(settings)
        row.addWidget(help_button)
        return row

    def _tool(self, icon: str, tooltip: str, name: str) -> QToolButton:
        button = QToolButton()
        button.setObjectName(name)
        button.setIcon(QgsApplication.getThemeIcon(icon))
        button.setToolTip(tooltip)
        button.setAutoRaise(True)
        return button

    def _set_inputs_enabled(self, enabled: bool) -> None:
        for widget in self._inputs:
            widget.setEnabled(enabled)

    def _output_typed(self) -> None:
        self._path_from_dialog = ""
        self._typing = True

    def _output_changed(self, path: str) -> None:
        if not self._typing:
            self._path_from_dialog = path
        self._typing = False
