"""The set-up of the backend, in the dock: what it will do is said before, how far it is while it runs, what failed."""

from __future__ import annotations

import shutil
from typing import List, Optional

from qgis.PyQt.QtCore import Qt, QUrl, pyqtSignal
from qgis.PyQt.QtGui import QDesktopServices, QFontDatabase
from qgis.PyQt.QtWidgets import (
    QButtonGroup,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from ..client import environment, packages
from ..client.gpu import Gpu, find_gpu
from ..client.install import STEPS, BackendSetup, Progress
from ..i18n import tr
from ..signals.background import Background
from . import format as fmt
from .labels import note

LOG_LINES = 3000


class SetupPage(QWidget):
    """Asks, sets the managed environment up, and tells how it went.

    Signals:
        started: packages are about to be exchanged: nothing may run on them.
        completed: the environment is whole.
        left: the user wants to go back to the panel.
        settings_clicked: the user wants to name a Python instead.
    """

    started = pyqtSignal()
    completed = pyqtSignal()
    left = pyqtSignal()
    settings_clicked = pyqtSignal()

    def __init__(self, parent=None):
        super().__init__(parent)
        self.setObjectName("rotacubeSetupPage")
        self.setup: Optional[BackendSetup] = None
        self.asked_for = False
        self._builds: List[packages.Build] = [packages.CPU]
        self._background = Background(self)
        self._build_widgets()

    @property
    def busy(self) -> bool:
        """Whether a set-up is running."""
        return self.setup is not None

    def ask(self, may_leave: bool) -> None:
        """Say what a set-up would do and wait for the button; the computer is looked at anew.

        Args:
            may_leave: whether the user asked for this page, and may go back.
        """
        self.asked_for = may_leave
        self.back_button.setVisible(may_leave)
        if self.busy:
            return
        self._show("asking")
        self._background.call(find_gpu, self._offer)

    def start(self) -> None:
        """Begin; also after a failure."""
        if self.busy:
            return
        self.started.emit()
        self.log.clear()
        self.setup = BackendSetup(self.build(), self)
        self.setup.progressed.connect(self._progressed)
        self.setup.line.connect(self.log.appendPlainText)
        self.setup.done.connect(self._done)
        self._show("running")
        self.setup.start()

    def cancel(self) -> None:
        """Break a running set-up off; what has been downloaded is kept for the next one."""
        self._stop()
        self._show("asking")

    def close_down(self) -> None:
        """The plugin is being unloaded."""
        self._stop(wait=True)
        self._background.close()

    def build(self) -> packages.Build:
        """The chosen build."""
        return self._builds[1] if len(self._builds) > 1 and self.second.isChecked() else self._builds[0]

    def _stop(self, wait: bool = False) -> None:
        if self.setup is not None:
            self.setup.cancel(wait)
            self.setup = None

    def _build_widgets(self) -> None:
        self.heading = QLabel()
        self.what = _paragraph()
        self.gpu = _paragraph()
        self.first, self.second = QRadioButton(), QRadioButton()
        group = QButtonGroup(self)
        for button, name in ((self.first, "rotacubeSetupFirst"), (self.second, "rotacubeSetupSecond")):
            button.setObjectName(name)
            group.addButton(button)
            button.toggled.connect(self._sizes)
        self.sizes = _paragraph()
        self.error = _paragraph()
        self.error.setObjectName("rotacubeSetupError")
        self.error.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.step = _paragraph()
        self.step.setObjectName("rotacubeSetupStep")
        self.bar = QProgressBar()
        self.bar.setObjectName("rotacubeSetupProgress")
        self.bar.setTextVisible(False)
        self.bar.setMaximumHeight(10)
        self.amount = note()
        self.amount.setObjectName("rotacubeSetupAmount")
        self.button = QPushButton(tr("Set up backend"))
        self.button.setObjectName("rotacubeSetupButton")
        self.button.setDefault(True)
        self.button.clicked.connect(self.start)
        self.cancel_button = QPushButton(tr("Cancel"))
        self.cancel_button.setObjectName("rotacubeSetupCancel")
        self.cancel_button.clicked.connect(self.cancel)
        self.back_button = QPushButton(tr("Not now"))
        self.back_button.clicked.connect(self.left)
        self.other = QPushButton(tr("Use a Python that is there…"))
        self.other.setFlat(True)
        self.other.clicked.connect(self.settings_clicked)
        self.log_button = QPushButton(tr("Show the log"))
        self.log_button.setCheckable(True)
        self.file_button = QPushButton(tr("Open the log file"))
        self.file_button.clicked.connect(
            lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(str(environment.setup_log())))
        )
        self.log = QPlainTextEdit()
        self.log.setObjectName("rotacubeSetupLog")
        self.log.setReadOnly(True)
        self.log.setMaximumBlockCount(LOG_LINES)
        self.log.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.log.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.log.setMinimumHeight(160)
        self.log_button.toggled.connect(self._show_log)
        self.log.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 10, 10, 8)
        column.setSpacing(10)
        shown = (self.what, self.gpu, self.first, self.second, self.sizes, self.error, self.step, self.bar, self.amount)
        for widget in (self.heading, *shown):
            column.addWidget(widget)
        column.addLayout(_row(self.button, self.cancel_button, self.back_button))
        column.addLayout(_row(self.other))
        column.addLayout(_row(self.log_button, self.file_button))
        column.addWidget(self.log, 1)
        column.addStretch(0)
        self._parts = {
            "asking": (self.what, self.gpu, self.first, self.second, self.sizes, self.button, self.other),
            "running": (self.step, self.bar, self.amount, self.cancel_button, self.log_button),
            "failed": (self.error, self.button, self.other, self.log_button, self.file_button),
        }
        self._show("asking")
        self._offer(None)

    def _show(self, part: str) -> None:
        """One of the three looks of the page."""
        self._part = part
        everything = {widget for widgets in self._parts.values() for widget in widgets}
        for widget in everything:
            widget.setVisible(widget in self._parts[part])
        if part == "asking":
            self._choices_visible()
        self.log.setVisible(self.log_button.isChecked() and part != "asking")
        self.back_button.setEnabled(part != "running")
        heading = tr("The set-up failed") if part == "failed" else tr("Set up the backend")
        self.heading.setText(f"<b>{heading}</b>")
        self.button.setText(tr("Try again") if part == "failed" else tr("Set up backend"))
        (self.cancel_button if part == "running" else self.button).setFocus()

    def _show_log(self, wanted: bool) -> None:
        self.log.setVisible(wanted)
        self.log.horizontalScrollBar().setValue(0)
        self.log.verticalScrollBar().setValue(self.log.verticalScrollBar().maximum())

    def _offer(self, gpu: Optional[Gpu]) -> None:
        """What there is to choose, with its sizes."""
        self._builds = packages.choices(gpu)
        self.what.setText(
            tr(
                "The networks run outside of QGIS, in a Python environment of their own. "
                "One click downloads its packages (PyTorch, rasterio and others) and installs them. "
                "QGIS's own Python stays as it is."
            )
        )
        self.gpu.setText(_about(gpu))
        for button, build in zip((self.first, self.second), self._builds):
            label = tr("with CUDA, for the GPU") if build is packages.CUDA else tr("for the CPU")
            text = tr("{build}: {size} to download").format(build=label, size=fmt.size(build.download_bytes))
            button.setText(text[0].upper() + text[1:])
        self.first.setChecked(True)
        self._sizes()
        if self._part == "asking":
            self._choices_visible()

    def _choices_visible(self) -> None:
        chooses = len(self._builds) > 1 and not packages.user_decides()
        self.first.setVisible(chooses)
        self.second.setVisible(chooses)

    def _sizes(self) -> None:
        build, folder = self.build(), environment.managed_folder()
        text = tr("About {download} to download, {disk} on disk, in {folder} ({free} are free there).")
        text = text.format(
            download=fmt.size(build.download_bytes), disk=fmt.size(build.disk_bytes), folder=folder, free=_free(folder)
        )
        if packages.user_decides():
            text += " " + tr("The packages come from where the settings or pip's own variables say; sizes may differ.")
        self.sizes.setText(text)

    def _progressed(self, progress: Progress) -> None:
        step = tr("Step {n} of {all}: {title}").format(n=progress.step, all=STEPS, title=progress.title)
        self.step.setText(step)
        amount = progress.amount
        if amount is None or not amount.total:
            self.bar.setRange(0, 0)
            self.amount.setText("" if amount is None else amount.file)
            return
        self.bar.setRange(0, 1000)
        self.bar.setValue(int(1000 * amount.done / amount.total))
        show = fmt.size if amount.in_bytes else fmt.number
        text = tr("{done} of {total} · {share}") if amount.in_bytes else tr("{done} of {total} packages · {share}")
        parts = [
            text.format(done=show(amount.done), total=show(amount.total), share=fmt.per_cent(amount.done, amount.total))
        ]
        if progress.seconds_left is not None:
            parts.append(tr("{time} left").format(time=fmt.duration(progress.seconds_left)))
        elif amount.file:
            parts.append(amount.file.partition("-")[0])
        self.amount.setText(" · ".join(parts))

    def _done(self, ok: bool, text: str) -> None:
        self._stop()
        if ok:
            self._show("asking")
            self.completed.emit()
            return
        self.error.setText(text + "\n\n" + tr("Log: {}").format(environment.setup_log()))
        self._show("failed")


def _paragraph() -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    return label


def _row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setSpacing(6)
    for widget in widgets:
        row.addWidget(widget)
    row.addStretch(1)
    return row


def _about(gpu: Optional[Gpu]) -> str:
    if gpu is None:
        return tr("No NVIDIA GPU was found: the CPU computes.")
    if gpu.is_usable:
        return tr("{gpu} was found (driver {driver}).").format(gpu=gpu.name, driver=gpu.driver)
    text = tr(
        "{gpu} was found, but its driver {driver} is too old for CUDA 13. Renew it first, or let the CPU compute."
    )
    return text.format(gpu=gpu.name, driver=gpu.driver)


def _free(folder) -> str:
    for place in (folder, *folder.parents):
        try:
            return fmt.size(shutil.disk_usage(place).free)
        except OSError:
            continue
    return "?"
