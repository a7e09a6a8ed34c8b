"""Settings and diagnostics in a window of their own."""

from __future__ import annotations

from typing import Callable, Optional

from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QDialog, QDialogButtonBox, QVBoxLayout, QWidget

from ..i18n import tr
from .settings_widget import SettingsWidget


class SettingsDialog(QDialog):
    """The settings, kept with OK.

    Signals:
        changed, setup_wanted: as the widget has them; with the wish for a set-up the window closes.
    """

    changed = pyqtSignal()
    setup_wanted = pyqtSignal()

    def __init__(self, diagnose: Callable[[], str], parent: Optional[QWidget] = None):
        super().__init__(parent)
        self.setObjectName("RotacubeSettings")
        self.setWindowTitle(tr("Rotacube: settings"))
        self.resize(620, 470)
        self.page = SettingsWidget(diagnose)
        self.page.changed.connect(self.changed)
        self.page.setup_wanted.connect(self._set_up)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(self.page)
        layout.addWidget(buttons)
        self.page.refresh()

    def done(self, result: int) -> None:
        """No answer is waited for any longer."""
        self.page.close_down()
        super().done(result)

    def accept(self) -> None:
        """Keep the settings."""
        self.page.apply()
        super().accept()

    def _set_up(self) -> None:
        super().accept()
        self.setup_wanted.emit()
