"""The set-up of the managed environment, with its log shown as it grows."""

from __future__ import annotations

from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtGui import QFontDatabase
from qgis.PyQt.QtWidgets import QDialog, QDialogButtonBox, QLabel, QPlainTextEdit, QProgressBar, QVBoxLayout

from ..client import environment
from ..client.install import BackendSetup
from ..i18n import tr


class SetupDialog(QDialog):
    """Runs the set-up from the moment it opens."""

    completed = pyqtSignal()

    def __init__(self, parent=None):
        super().__init__(parent)
        self.setWindowTitle(tr("Set up Rotacube's backend"))
        self.resize(640, 420)
        place = QLabel(tr("Into {}").format(environment.managed_folder()))
        place.setWordWrap(True)
        self.title = QLabel()
        self.title.setWordWrap(True)
        self.bar = QProgressBar()
        self.bar.setRange(0, 0)
        self.bar.setTextVisible(False)
        self.bar.setMaximumHeight(10)
        self.log = QPlainTextEdit()
        self.log.setReadOnly(True)
        self.log.setMaximumBlockCount(5000)
        self.log.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        for widget in (place, self.title, self.bar, self.log, self.buttons):
            layout.addWidget(widget)
        self.setup = BackendSetup(self)
        self.setup.title.connect(self.title.setText)
        self.setup.line.connect(self.log.appendPlainText)
        self.setup.done.connect(self._done)

    def start(self) -> None:
        """Show the dialog and begin."""
        self.show()
        self.setup.start()

    def done(self, result: int) -> None:
        """Closing breaks a running set-up off."""
        self.setup.cancel()
        super().done(result)

    def _done(self, ok: bool, text: str) -> None:
        self.bar.setRange(0, 1)
        self.bar.setValue(1 if ok else 0)
        self.title.setText(f"<b>{text}</b>")
        self.log.appendPlainText(text)
        self.buttons.setStandardButtons(QDialogButtonBox.StandardButton.Close)
        if ok:
            self.completed.emit()
