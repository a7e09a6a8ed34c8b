"""Settings and diagnostics: which Python, which models, and what the backend says of itself."""

from __future__ import annotations

import os
from typing import Callable, Optional

from qgis.gui import QgsFileWidget
from qgis.PyQt.QtCore import Qt, QTimer, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QApplication,
    QFileDialog,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from ..client import environment
from ..client.examine import examine
from ..i18n import tr
from ..signals.background import Background
from .labels import note

CHECK_AFTER_MS = 400


class SettingsWidget(QWidget):
    """Two pages: settings, diagnostics. It asks about what they say when it is first on the screen.

    Signals:
        changed: the backend has to be started anew.
        setup_wanted: the managed environment is to be set up; the dock asks for the rest.
    """

    changed = pyqtSignal()
    setup_wanted = pyqtSignal()

    def __init__(self, diagnose: Callable[[], str], parent: Optional[QWidget] = None):
        super().__init__(parent)
        self._diagnose = diagnose
        self._background = Background(self)
        self._asked = ""
        self._typing = QTimer(self)
        self._typing.setSingleShot(True)
        self._typing.setInterval(CHECK_AFTER_MS)
        self._typing.timeout.connect(self._check_python)
        self.tabs = QTabWidget()
        self.tabs.addTab(self._settings_page(), tr("Settings"))
        self.tabs.addTab(self._diagnostics_page(), tr("Diagnostics"))
        self.tabs.currentChanged.connect(self.refresh)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.tabs)
        self._load()
        self._typing.stop()
        self._looked = False

    def showEvent(self, event) -> None:
        """Nobody is asked before there is somebody who reads the answer."""
        super().showEvent(event)
        if not self._looked:
            self.refresh()

    def refresh(self) -> None:
        """Ask anew what the backend says of itself."""
        self._looked = True
        self.report.setPlainText(self._diagnose())
        self._check_python()

    def close_down(self) -> None:
        """No answer is waited for any longer."""
        self._background.close()
        self._typing.stop()

    def apply(self) -> None:
        """Keep the settings."""
        before = [environment.setting(name) for name in ("python", "models")]
        self._store()
        if before != [environment.setting(name) for name in ("python", "models")]:
            self.changed.emit()

    def _settings_page(self) -> QWidget:
        self.python = QgsFileWidget()
        self.python.setObjectName("rotacubePython")
        self.python.setDialogTitle(tr("Choose the Python that runs the backend"))
        self.python.lineEdit().setPlaceholderText(tr("[managed environment]"))
        self.models = QLineEdit()
        self.models.setObjectName("rotacubeModels")
        self.models.setPlaceholderText(tr("[those that come with the backend]"))
        self.models.setToolTip(tr("More folders with models, separated by “{}”").format(os.pathsep))
        add = QPushButton(tr("Add…"))
        add.clicked.connect(self._add_model_folder)
        models = QWidget()
        row = QHBoxLayout(models)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.models)
        row.addWidget(add)
        self.python.lineEdit().textChanged.connect(self._python_typed)
        self.used = note()
        self.used.setObjectName("rotacubePythonUsed")
        use = QGroupBox(tr("Backend"))
        form = _form(use)
        form.addRow(tr("Python"), self.python)
        form.addRow("", self.used)
        form.addRow(tr("Model folders"), models)

        self.base = QgsFileWidget()
        self.base.setDialogTitle(tr("Choose a Python 3.11 or newer"))
        self.base.lineEdit().setPlaceholderText(tr("[the best one found]"))
        self.wheels = QLineEdit()
        self.wheels.setPlaceholderText(tr("[package index]"))
        self.wheels.setToolTip(tr("A wheel, or a folder or page of wheels: path or URL"))
        self.options = QLineEdit()
        self.options.setPlaceholderText("--index-url https://…")
        self.setup_button = QPushButton(tr("Set up backend…"))
        self.setup_button.setObjectName("rotacubeSetup")
        self.setup_button.clicked.connect(self._set_up)
        button_row = QHBoxLayout()
        button_row.addWidget(self.setup_button)
        button_row.addStretch(1)
        managed = QGroupBox(tr("Managed environment"))
        form = _form(managed)
        where = QLabel(str(environment.managed_folder()))
        where.setWordWrap(True)
        where.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        form.addRow(tr("Folder"), where)
        form.addRow(tr("Python to build on"), self.base)
        form.addRow(tr("Wheels"), self.wheels)
        form.addRow(tr("Options for pip"), self.options)
        form.addRow("", button_row)

        page = QWidget()
        column = QVBoxLayout(page)
        column.addWidget(use)
        column.addWidget(managed)
        column.addStretch(1)
        return page

    def _diagnostics_page(self) -> QWidget:
        self.report = QPlainTextEdit()
        self.report.setObjectName("rotacubeReport")
        self.report.setReadOnly(True)
        copy = QPushButton(tr("Copy"))
        copy.clicked.connect(lambda: QApplication.clipboard().setText(self.report.toPlainText()))
        again = QPushButton(tr("Refresh"))
        again.clicked.connect(self.refresh)
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(again)
        row.addWidget(copy)
        page = QWidget()
        column = QVBoxLayout(page)
        column.addWidget(self.report)
        column.addLayout(row)
        return page

    def _load(self) -> None:
        self.python.setFilePath(environment.setting("python"))
        self.models.setText(environment.setting("models"))
        self.base.setFilePath(environment.setting("base_python"))
        self.wheels.setText(environment.setting("wheels"))
        self.options.setText(environment.setting("pip_options"))

    def _store(self) -> None:
        environment.set_setting("python", self.python.filePath())
        environment.set_setting("models", self.models.text())
        environment.set_setting("base_python", self.base.filePath())
        environment.set_setting("wheels", self.wheels.text())
        environment.set_setting("pip_options", self.options.text())

    def _python_typed(self) -> None:
        self.used.setText(tr("Checking…"))
        self._typing.start()

    def _check_python(self) -> None:
        """Say what the Python in the field is worth, as soon as it has been asked."""
        path = self._asked = self.python.filePath().strip()
        if not path:
            self.used.setText(_python_in_use())
            return
        self.used.setText(tr("Checking…"))

        def answered(sentence: str) -> None:
            if path == self._asked:  # else something else has been typed since
                self.used.setText(sentence)

        self._background.call(lambda: examine(path), answered, lambda error: answered(error.message))

    def _add_model_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, tr("Choose a folder with models"))
        if folder:
            self.models.setText(os.pathsep.join(part for part in (self.models.text().strip(), folder) if part))

    def _set_up(self) -> None:
        self.apply()
        self.setup_wanted.emit()


def _form(parent: QWidget) -> QFormLayout:
    form = QFormLayout(parent)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
    form.setHorizontalSpacing(12)
    return form


def _python_in_use() -> str:
    """Which one it is where the field is empty."""
    environment_names = os.environ.get("ROTACUBE_PYTHON", "").strip()
    if not environment_names and not environment.managed_is_complete():
        return tr("None is named, and the managed environment is not set up.")
    if environment_names:
        python = environment.Python(environment_names, "ROTACUBE_PYTHON")
    else:
        python = environment.Python(
            str(environment.python_in(environment.managed_folder())), tr("the managed environment")
        )
    return tr("In use: {path}, from {origin}").format(path=python.path, origin=python.origin)
