"""The dock: what to map, with what, where to; how far it is; what was found. It shows and asks, and decides nothing."""

from __future__ import annotations

from typing import Iterable, Optional

from qgis.core import QgsApplication, QgsReferencedRectangle
from qgis.gui import QgsDockWidget, QgsFileWidget
from qgis.PyQt.QtCore import Qt, QTimer, QUrl, pyqtSignal
from qgis.PyQt.QtGui import QDesktopServices
from qgis.PyQt.QtWidgets import (
    QApplication,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from .. import paths
from ..client.schema import Estimate
from ..i18n import tr
from ..layers.further import STATISTICS
from ..run import Order
from . import format as fmt
from .area_picker import AreaPicker
from .further_picker import FurtherPicker
from .jobs_view import JobsView
from .labels import note
from .layer_picker import LayerPicker
from .model_picker import ModelPicker
from .result_view import ResultView
from .run_settings import RunSettings
from .setup_page import SetupPage


class RotacubeDock(QgsDockWidget):
    """The plugin's dock."""

    run_clicked = pyqtSignal()
    cancel_clicked = pyqtSignal()
    settings_clicked = pyqtSignal()
    first_shown = pyqtSignal()
    order_changed = pyqtSignal()

    def __init__(self, parent=None):
        super().__init__(tr("Rotacube"), parent)
        self.setObjectName("RotacubeDock")
        self.setAllowedAreas(Qt.DockWidgetArea.LeftDockWidgetArea | Qt.DockWidgetArea.RightDockWidgetArea)
        self._shown_before = False
        self._look = QTimer(self)
        self._look.setSingleShot(True)
        self._look.timeout.connect(self._tell_shown)
        self._path_from_dialog = ""
        self._queueing = False
        self._again = QTimer(self)
        self._again.setSingleShot(True)
        self._again.timeout.connect(self._let_run)
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
        area = shown if self.area.view.isChecked() else None
        return Order(
            self.layer_picker.current(),
            model,
            self.output_text(),
            area,
            self.area.within(),
            self.area.polygons.selected_only(),
            self.further.kinds(),
            drawn=self.area.drawn(),
            black_is_nodata=self.layer_picker.black_is_nodata(),
            threshold=self.settings.threshold(),
            smallest=self.settings.smallest(),
            grid=self.settings.grid(),
            turns=self.settings.turns(),
            zone_field=self.settings.zone_field(),
            replace=self.output_was_confirmed(),
            any_resolution=self.layer_picker.any_resolution(),
        )

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
        """Ready for the first run."""
        self._take_orders(tr("R&un"), "")
        self._let_run()
        self._pass_focus((self.cancel_button, self.progress_label), self.run_button)
        self.cancel_button.setEnabled(False)
        self.cancel_button.setText(tr("Ca&ncel"))
        self.bar.hide()
        self.progress_label.hide()

    def set_busy(self, text: str) -> None:
        """A run has begun; there is no tile yet."""
        self.bar.setRange(0, 0)
        self.bar.show()
        self.progress_label.setText(text)
        self.progress_label.show()
        self.cancel_button.setText(tr("Ca&ncel"))
        self.cancel_button.setEnabled(True)

    def set_sending(self) -> None:
        """A run has been asked for; nothing more is taken until the backend has answered."""
        target = self.jobs.list if self._queueing else self.cancel_button
        self._pass_focus((self.run_button, *self._inputs), target)
        self._set_inputs_enabled(False)
        self._again.stop()
        self.run_button.setEnabled(False)

    def set_queueing(self) -> None:
        """Ready for a run after the one that goes on."""
        self._take_orders(tr("Q&ueue"), tr("Runs when those before it are done"))
        self._again.start(QApplication.doubleClickInterval())  # a double click asks for one run, not for two

    def set_progress(self, done: int, total: int, seconds_left: Optional[float]) -> None:
        """So many tiles are done."""
        self.bar.setRange(0, max(1, total))
        self.bar.setValue(done)
        self.progress_label.setText(fmt.progress(done, total, seconds_left))

    def set_step(self, what: str, share: float) -> None:
        """All tiles are done, and so much of what comes then."""
        self.bar.setRange(0, 100)
        self.bar.setValue(round(100 * share))
        self.progress_label.setText(fmt.step(what, share))

    def set_cancelling(self) -> None:
        """The cancel is on its way."""
        self._wait(tr("Cancelling…"))

    def set_opening(self) -> None:
        """The mask is written and about to be shown: there is nothing left to cancel."""
        self._wait(tr("Opening the mask…"))

    def offer_force(self) -> None:
        """The backend does not react to the cancel: offer its end."""
        self.cancel_button.setText(tr("Stop the backe&nd"))
        self.cancel_button.setEnabled(True)
        self._pass_focus((self.progress_label,), self.cancel_button)

    def show_estimate(self, found: Optional[Estimate], seconds: Optional[float] = None) -> None:
        """What the run would come to, with the time that it would take if it is known; None while nobody knows."""
        self.estimate.setText("" if found is None else fmt.estimate(found, seconds))

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

    def showEvent(self, event) -> None:
        """Tell once that the dock is on the screen; QGIS shows new docks for a moment before it puts them back."""
        super().showEvent(event)
        if not self._shown_before:
            self._look.start(0)

    def _tell_shown(self) -> None:
        if self.isVisible() and not self._shown_before:
            self._shown_before = True
            self.first_shown.emit()

    def _build(self) -> None:
        self.layer_picker = LayerPicker()
        self.layer_combo = self.layer_picker.combo
        self.model_picker = ModelPicker()
        self.model_picker.combo.setAccessibleName(tr("Model"))
        self.model_picker.combo.currentIndexChanged.connect(self._model_changed)
        self.area = AreaPicker()
        self._build_output()
        self.further = FurtherPicker()
        self.settings = RunSettings()
        self.area.changed.connect(self._zones_changed)
        self.further.changed.connect(self._zones_changed)
        self._zones_changed()
        self.layer_combo.layerChanged.connect(self.settings.set_layer)
        self.settings.set_layer(self.layer_picker.current())
        for signal in (
            self.layer_combo.layerChanged,
            self.settings.grid_box.currentIndexChanged,
            self.layer_picker.anyway.toggled,
            self.area.changed,
            self.further.changed,
            self.output.fileChanged,
        ):
            signal.connect(self.order_changed)
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        form.setHorizontalSpacing(10)
        form.setVerticalSpacing(8)
        # the letters are those that QGIS's own menus leave free
        for text, widget, buddy in (
            (tr("La&yer"), self.layer_picker, self.layer_combo),
            (tr("Model"), self.model_picker, self.model_picker.combo),
            (tr("&Area"), self.area, self.area.whole),
            (tr("Mas&k"), self.output, self.output.lineEdit()),
            (tr("And"), self.further, self.further),
        ):
            label = QLabel(text)
            label.setBuddy(buddy)
            form.addRow(label, widget)
        form.addRow(self.settings)
        self._inputs = (self.layer_picker, self.model_picker, self.area, self.output, self.further, self.settings)

        self.estimate = note()
        self.estimate.setObjectName("rotacubeEstimate")
        self.estimate.setMinimumHeight(self.estimate.fontMetrics().height())  # the buttons stay where they are
        self.bar = QProgressBar()
        self.bar.setObjectName("rotacubeProgress")
        self.bar.setAccessibleName(tr("Progress"))
        self.bar.setTextVisible(False)
        self.bar.setMaximumHeight(10)
        self.progress_label = QLabel()
        self.progress_label.setObjectName("rotacubeProgressText")
        self.jobs = JobsView()
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
        column.addWidget(self.estimate)
        column.addLayout(self._build_buttons())
        column.addWidget(self.bar)
        column.addWidget(self.progress_label)
        column.addWidget(self.jobs)
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

    def _build_output(self) -> None:
        self.output = QgsFileWidget()
        self.output.setObjectName("rotacubeOutput")
        self.output.setStorageMode(QgsFileWidget.StorageMode.SaveFile)
        self.output.setDialogTitle(tr("Save the mask as"))
        self.output.setFilter(tr("GeoTIFF") + " (*.tif *.tiff)")
        self.output.lineEdit().setAccessibleName(tr("File of the mask"))
        self.output.lineEdit().setPlaceholderText(tr("[temporary file]"))
        self._typing = False
        self.output.lineEdit().textEdited.connect(self._output_typed)
        self.output.fileChanged.connect(self._output_changed)

    def _build_buttons(self) -> QHBoxLayout:
        self.run_button = QPushButton(QgsApplication.getThemeIcon("/mActionStart.svg"), tr("R&un"))
        self.run_button.setObjectName("rotacubeRun")
        self.run_button.clicked.connect(self.run_clicked)
        self.cancel_button = QPushButton(tr("Ca&ncel"))
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
        button.setAccessibleName(tooltip)
        button.setAutoRaise(True)
        return button

    def _wait(self, text: str) -> None:
        self._pass_focus((self.cancel_button,), self.progress_label)
        self.cancel_button.setEnabled(False)
        self.progress_label.setText(text)

    def _pass_focus(self, origins: Iterable[QWidget], target: QWidget) -> None:
        """Where a widget that is about to be disabled has the focus, Qt gives it to the next one: say which."""
        focused = self.window().focusWidget()
        if focused is not None and any(origin is focused or origin.isAncestorOf(focused) for origin in origins):
            target.setFocus()

    def _model_changed(self) -> None:
        self.layer_picker.set_model(self.model_picker.current())
        self.further.set_model(self.model_picker.current())
        self.settings.set_model(self.model_picker.current())
        self.order_changed.emit()

    def _zones_changed(self) -> None:
        """Statistics are counted in the polygons that are mapped."""
        kinds = self.further.kinds()
        self.settings.set_kinds(kinds)
        self.settings.set_zones(self.area.within() if STATISTICS in kinds else None)

    def _take_orders(self, text: str, tooltip: str) -> None:
        self._queueing = bool(tooltip)
        self.run_button.setText(text)
        self.run_button.setToolTip(tooltip)
        self._set_inputs_enabled(True)

    def _let_run(self) -> None:
        self._again.stop()
        self.run_button.setEnabled(True)

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
