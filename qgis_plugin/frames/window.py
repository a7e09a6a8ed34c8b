"""The window in which drone frames are mapped: which, with what, where to; how it goes, and what came of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional

from qgis.gui import QgsCollapsibleGroupBox, QgsFileWidget
from qgis.PyQt.QtCore import Qt, QTimer, QUrl, pyqtSignal
from qgis.PyQt.QtGui import QDesktopServices, QGuiApplication
from qgis.PyQt.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QProgressBar,
    QVBoxLayout,
    QWidget,
)

from ..client import cards, environment
from ..client.schema import ModelInfo
from ..compat import is_alive
from ..gui import format as fmt
from ..gui.labels import in_row, note, push_button, scrolling
from ..gui.result_view import ResultView
from ..i18n import tr
from ..layers.flights import Flight
from ..layers.source import SourceRefused
from .order import FramesOrder, folder_among
from .placing import PlacingPicker
from .summary import fitting, summary

_TYPING_MS = 600
_LISTED = 3  # frames that are left out are shown without scrolling


class FramesWindow(QDialog):
    """Asks, and shows; it decides nothing. Takes a folder, or frames of it, that are dropped on it.

    Signals:
        flight_chosen: another folder, or another way to place its frames.
        run_clicked, cancel_clicked, resume_clicked, anew_clicked: the buttons; anew is without what is there already.
        closed: the window was.
    """

    flight_chosen = pyqtSignal()
    run_clicked = pyqtSignal()
    cancel_clicked = pyqtSignal()
    resume_clicked = pyqtSignal()
    anew_clicked = pyqtSignal()
    closed = pyqtSignal()

    def __init__(self, parent: Optional[QWidget] = None):
        super().__init__(parent)
        self.setObjectName("rotacubeFrames")
        self.setWindowTitle(tr("Map drone frames"))
        self.setAcceptDrops(True)
        self.flight: Optional[Flight] = None
        self._report = ""
        self._build_inputs()
        self._build_progress()
        self.page = QWidget()
        shown = QVBoxLayout(self.page)
        shown.setContentsMargins(0, 0, 0, 0)
        shown.addWidget(
            note(
                tr(
                    "One map of a drone's photos, without an orthomosaic: each is placed by the position, height and "
                    "direction in its tags, mapped by itself, and where frames overlap they vote. For flat ground and "
                    "a camera that looked down. Drop the folder of the flight here, or choose it."
                )
            )
        )
        shown.addWidget(self.inputs)
        shown.addWidget(self.result)
        shown.addStretch(1)
        column = QVBoxLayout(self)
        self.scroll = scrolling(self.page)
        column.addWidget(self.scroll, 1)
        column.addWidget(self.said)
        column.addLayout(self._build_answers())
        column.addWidget(self.bar)
        column.addLayout(self._build_buttons())
        self._typing = QTimer(self)
        self._typing.setSingleShot(True)
        self._typing.setInterval(_TYPING_MS)
        self._typing.timeout.connect(self.flight_chosen)
        self.folder.fileChanged.connect(self._folder_changed)
        self.placing.changed.connect(self._typing.start)
        self.model.currentIndexChanged.connect(self._describe)
        self._recall()
        self.set_idle()
        self.resize(36 * self.fontMetrics().height(), 38 * self.fontMetrics().height())

    # what is asked

    def folder_path(self) -> str:
        """The folder of the frames; empty where none is named."""
        return self.folder.filePath().strip()

    def order(self) -> Optional[FramesOrder]:
        """What the fields say; None where they do not say all, which is said then."""
        folder, model = self.folder_path(), self.model.currentData()
        output = self.output.filePath().strip() or self._beside()
        complaint = ""
        if not folder:
            complaint = tr("Choose the folder with the drone's frames (.jpg), or drop it here.")
        elif model is None:
            complaint = tr("There is no model. Name a folder with models in Rotacube's settings.")
        elif not os.path.isabs(output):
            complaint = tr("Give the output folder's whole path: “{}” has none.").format(output)
        if complaint:
            self.say(complaint)
            return None
        try:
            placing = self.placing.placing()
        except SourceRefused as error:
            self.say(str(error))
            return None
        return FramesOrder(
            folder,
            output,
            model.name,
            placing,
            self.gsd.value() / 100 or None,
            **{name: box.isChecked() for name, box in self.boxes.items()},
        )

    def offer_models(self, chosen: str = "") -> None:
        """List the models that are installed; the one used last is chosen, or one of that name."""
        chosen = environment.setting("frames/model") or chosen
        self.model.clear()
        for model in cards.installed():
            self.model.addItem(model.title, model)
        names = [self.model.itemData(n).name for n in range(self.model.count())]
        self.model.setCurrentIndex(names.index(chosen) if chosen in names else 0)

    def remember(self) -> None:
        """Keep what the fields say for the next time."""
        model = self.model.currentData()
        for name, value in (
            ("folder", self.folder_path()),
            ("output", self.output.filePath()),
            ("model", "" if model is None else model.name),
            ("gsd", str(self.gsd.value())),
            *((name, "yes" if box.isChecked() else "") for name, box in self.boxes.items()),
        ):
            environment.set_setting(f"frames/{name}", value)
        self.placing.remember()

    def _recall(self) -> None:
        """What was kept; the folder's signal asks for a look at it."""
        self.output.setFilePath(environment.setting("frames/output"))
        self.gsd.setValue(float(environment.setting("frames/gsd") or 0))
        for name, box in self.boxes.items():
            box.setChecked(bool(environment.setting(f"frames/{name}")))
        last = environment.setting("frames/folder")
        self.folder.setFilePath(last if os.path.isdir(last) else "")

    # what is shown

    def set_idle(self) -> None:
        """Nothing is being mapped."""
        self.inputs.setEnabled(True)
        self.run.setEnabled(True)
        self.cancel.setEnabled(False)
        self.bar.hide()

    def set_looking(self) -> None:
        """The frames are being looked at; a run may be asked for meanwhile."""
        self.cancel.setEnabled(True)
        self.bar.setRange(0, 0)
        self.bar.show()
        self.show_flight(None, tr("Looking at the frames…"))

    def set_busy(self) -> None:
        """They are being mapped."""
        self.result.clear()
        self.show_report.hide()
        self.inputs.setEnabled(False)
        self.run.setEnabled(False)
        self.cancel.setEnabled(True)
        self.cancel.setFocus()
        self.bar.setRange(0, 0)
        self.bar.show()
        self.say(tr("Starting…"))

    def set_cancelling(self) -> None:
        """It will end within seconds."""
        self.cancel.setEnabled(False)
        self.bar.setRange(0, 0)
        if not self.run.isEnabled():
            self.say(tr("Cancelling…"))

    def set_step(self, looks: bool, what: str, done: float, total: float, seconds_left: Optional[float]) -> None:
        """How far the look, or the run, is."""
        self.bar.setRange(0, 1000)
        self.bar.setValue(round(1000 * done / max(1e-9, total)))
        text = fmt.frames(what, done, total, seconds_left)
        (self.summary.setText if looks else self.say)(text[:1].upper() + text[1:])

    def say(self, text: str) -> None:
        """A line about how the run goes, or what is wrong with it."""
        self.said.setText(text)
        self.said.setVisible(bool(text))
        self.resume.hide()
        self.anew.hide()

    def ask(self, text: str, anew: str, resume: bool) -> None:
        """Something lies where the map goes: is it gone on with, if it can be, or dropped?"""
        self.say(text)
        self.anew.setText(anew)
        self.anew.show()
        self.resume.setVisible(resume)
        (self.resume if resume else self.anew).setFocus()

    def show_flight(self, flight: Optional[Flight], why: str = "") -> None:
        """What the frames are; None where that is not known, perhaps with the reason."""
        self.flight = flight
        self.left_out.clear()
        left_out = flight.left_out if flight is not None else []
        self.left_out.addItems([f"{name}: {why}" if name not in why else why for name, why in left_out])
        self.left_out.addItems(flight.notes if flight is not None else [])
        self.left_out.setVisible(self.left_out.count() > 0)
        self.summary.setText(why if flight is None else summary(flight))
        self.summary.setVisible(bool(self.summary.text()))
        self._describe()
        QTimer.singleShot(0, self._grow)

    def show_result(self, name: str, title: str, result) -> None:
        """It is mapped: the shares of the classes."""
        self.result.show_result(name, title, result)
        QTimer.singleShot(0, self._grow)

    def offer_report(self, report: str) -> None:
        """It is done: the page, where there is one."""
        self._report = report
        self.show_report.setVisible(bool(report))

    # Qt

    def dragEnterEvent(self, event) -> None:
        """A folder, or a frame of it, may be dropped (Qt calls this)."""
        if self.inputs.isEnabled() and folder_among(url.toLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event) -> None:
        """It was (Qt calls this)."""
        self.folder.setFilePath(folder_among(url.toLocalFile() for url in event.mimeData().urls()))
        event.acceptProposedAction()

    def hideEvent(self, event) -> None:
        """Closed, by whatever way (Qt calls this)."""
        super().hideEvent(event)
        if not event.spontaneous():
            self.closed.emit()

    # within

    def _build_inputs(self) -> None:
        self.folder, self.output = QgsFileWidget(), QgsFileWidget()
        for widget in (self.folder, self.output):
            widget.setStorageMode(QgsFileWidget.StorageMode.GetDirectory)
        self.folder.setDialogTitle(tr("Folder of drone frames"))
        self.output.setDialogTitle(tr("Folder of the map"))
        self.summary = QLabel()
        self.summary.setObjectName("rotacubeFramesSummary")
        self.summary.setWordWrap(True)
        self.summary.setTextFormat(Qt.TextFormat.PlainText)
        self.summary.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.left_out = QListWidget()
        self.left_out.setWordWrap(True)
        self.left_out.setMaximumHeight(2 * _LISTED * self.fontMetrics().height())
        self.placing, self.gsd = PlacingPicker(), QDoubleSpinBox()
        self.gsd.setRange(0, 100_000)
        self.gsd.setDecimals(1)
        self.gsd.setSuffix(" cm")
        self.gsd.setSpecialValueText(tr("[the model's]"))
        self.model, self.model_note = QComboBox(), note()
        self.model_note.setObjectName("rotacubeFramesModelNote")
        self.model.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.model.setMinimumContentsLength(24)
        self.boxes = {
            "any_resolution": QCheckBox(tr("Map frames far from the model's resolution an&yway")),
            "kmz": QCheckBox(tr("Also for Google Eart&h (KMZ)")),
            "report": QCheckBox(tr("&Also a report of one page (PDF)")),
        }
        self.inputs = QWidget()
        form = QFormLayout(self.inputs)
        form.setContentsMargins(0, 0, 0, 0)
        for label, widget, name in (
            (tr("&Frames"), self.folder, "Folder"),
            ("", self.summary, ""),
            ("", self.left_out, "LeftOut"),
            (tr("&Model"), self.model, "Model"),
            ("", self.model_note, ""),
            (tr("Map's &pixels"), self.gsd, "Gsd"),
            ("", self.boxes["any_resolution"], "AnyResolution"),
            (tr("&Output folder"), self.output, "Output"),
            ("", self.boxes["kmz"], "Kmz"),
            ("", self.boxes["report"], "AsReport"),
        ):
            form.addRow(label, widget)
            if name:
                widget.setObjectName(f"rotacubeFrames{name}")
                widget.setAccessibleName(label.replace("&", ""))
        self.left_out.setAccessibleName(tr("Frames that are left out, and what else to know of them"))
        for box in self.boxes.values():
            box.setAccessibleName(box.text().replace("&", ""))
        more = QgsCollapsibleGroupBox(tr("How they lie on the ground"))
        more.setObjectName("rotacubeFramesMore")
        more.setCollapsed(True)
        QVBoxLayout(more).addWidget(self.placing)
        more.collapsedStateChanged.connect(lambda *_about: QTimer.singleShot(0, self._grow))
        form.insertRow(3, more)
        for widget in (self.folder, self.output):  # the edit has the focus
            form.labelForField(widget).setBuddy(widget.lineEdit())
            widget.lineEdit().setAccessibleName(widget.accessibleName())

    def _build_progress(self) -> None:
        self.said = QLabel()
        self.said.setObjectName("rotacubeFramesSaid")
        self.said.setWordWrap(True)
        self.said.setTextFormat(Qt.TextFormat.PlainText)
        self.said.hide()
        self.bar = QProgressBar()
        self.bar.setObjectName("rotacubeFramesBar")
        self.bar.setAccessibleName(tr("Progress"))
        self.result = ResultView()
        self.result.failed.connect(self.say)

    def _build_answers(self) -> QHBoxLayout:
        self.resume = push_button(tr("Go on &with it"), "rotacubeFramesResume", self.resume_clicked)
        self.anew = push_button("", "rotacubeFramesAnew", self.anew_clicked)
        for button in (self.resume, self.anew):
            button.hide()
        return in_row(self.resume, self.anew)

    def _build_buttons(self) -> QHBoxLayout:
        self.run = push_button(tr("&Run"), "rotacubeFramesRun", self.run_clicked)
        self.show_report = push_button(tr("&Show report"), "rotacubeFramesReport", self._open_report)
        self.show_report.hide()
        self.cancel = push_button(tr("&Cancel"), "rotacubeFramesCancel", self.cancel_clicked)
        close = push_button(tr("C&lose"), "rotacubeFramesClose", self.close)
        return in_row(self.show_report, self.run, self.cancel, close, at_end=True)

    def _open_report(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(self._report))

    def _beside(self) -> str:
        folder = Path(self.folder_path())
        return str(folder.with_name(f"{folder.name}_map")) if folder.name else ""

    def _grow(self, *_about) -> None:
        """As high as what is shown needs, as far as the screen is; the rest scrolls."""
        if not is_alive(self):
            return
        window, view = self.windowHandle(), self.scroll.viewport()
        screen = window.screen() if window is not None else QGuiApplication.primaryScreen()
        lacking = self.page.layout().totalHeightForWidth(view.width()) - view.height()
        most = screen.availableGeometry().bottom() - self.y()
        self.resize(self.width(), max(self.height(), min(self.height() + lacking, most)))
        if self.result.isVisible():
            self.scroll.ensureWidgetVisible(self.result, 0, 0)

    def _folder_changed(self) -> None:
        self.output.lineEdit().setPlaceholderText(self._beside())
        self._typing.start()

    def _describe(self, *_about) -> None:
        """What the model finds, and whether it fits the frames."""
        model: Optional[ModelInfo] = self.model.currentData()
        if model is None:
            self.model_note.clear()
            return
        self.model_note.setText(fitting(model, self.flight))
