"""Rotacube's page in QGIS's own options: the settings of the dialog, in another place."""

from __future__ import annotations

from typing import Callable, Optional

from qgis.gui import QgsOptionsPageWidget, QgsOptionsWidgetFactory
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QDialog, QVBoxLayout, QWidget

from .. import paths
from ..i18n import tr
from .settings_widget import SettingsWidget


class OptionsPages(QgsOptionsWidgetFactory):
    """Makes the page each time that QGIS shows its options.

    Args:
        diagnose: gives what the backend says of itself.
        changed: called when the backend has to be started anew.
        setup_wanted: called when the managed environment is to be set up.
    """

    def __init__(self, diagnose: Callable[[], str], changed: Callable[[], None], setup_wanted: Callable[[], None]):
        super().__init__(tr("Rotacube"), QIcon(paths.resource("icons", "rotacube.svg")))
        self._diagnose, self._changed, self._setup_wanted = diagnose, changed, setup_wanted

    def createWidget(self, parent: Optional[QWidget] = None) -> QgsOptionsPageWidget:
        """The page (QGIS calls this)."""
        page = _Page(self._diagnose, parent)
        page.settings.changed.connect(self._changed)
        page.settings.setup_wanted.connect(page.leave)
        page.settings.setup_wanted.connect(self._setup_wanted)
        return page


class _Page(QgsOptionsPageWidget):
    """The settings, kept when QGIS keeps its own."""

    def __init__(self, diagnose: Callable[[], str], parent: Optional[QWidget] = None):
        super().__init__(parent)
        self.setObjectName("RotacubeOptions")
        self.settings = SettingsWidget(diagnose)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.settings)

    def apply(self) -> None:
        """Keep the settings (QGIS calls this)."""
        self.settings.apply()

    def leave(self) -> None:
        """Close QGIS's options, with what else was changed in them kept: the dock asks for the rest."""
        window = self.window()
        if isinstance(window, QDialog):
            window.accept()
