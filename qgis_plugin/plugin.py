"""The plugin as QGIS sees it: it wires actions, the dock and the backend together, and takes all of it away again."""

from __future__ import annotations

from typing import Optional

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QIcon

from . import i18n, paths
from .algorithms.provider import RotacubeProvider
from .client import environment
from .client.supervisor import Supervisor
from .compat import QAction, is_alive
from .controller import Controller
from .frames.by_folder import MapFrames
from .gui.diagnostics import report
from .gui.dock import RotacubeDock
from .gui.options_page import OptionsPages
from .gui.settings_dialog import SettingsDialog
from .i18n import tr
from .learning.by_polygons import TeachByPolygons
from .roofs.by_click import SHORTCUT, RoofsByClick


class RotacubePlugin:
    """Made by `classFactory`. It owns the backend, which starts when the dock is first on the screen."""

    def __init__(self, iface):
        self.iface = iface
        self.action: Optional[QAction] = None
        self.dock: Optional[RotacubeDock] = None
        self.supervisor: Optional[Supervisor] = None
        self.controller: Optional[Controller] = None
        self.roofs: Optional[RoofsByClick] = None
        self.teaching: Optional[TeachByPolygons] = None
        self.frames: Optional[MapFrames] = None
        self.settings: Optional[SettingsDialog] = None
        self.provider: Optional[RotacubeProvider] = None
        self.options: Optional[OptionsPages] = None

    def initProcessing(self) -> None:
        """Add the algorithms (qgis_process calls this alone, without a window)."""
        if self.provider is None:
            i18n.install(paths.resource("i18n"))
            self.provider = RotacubeProvider()
            QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self) -> None:
        """Add action and dock; start nothing yet (QGIS calls this, and then puts docks back where they were)."""
        i18n.install(paths.resource("i18n"))
        self.initProcessing()
        self.supervisor = Supervisor(environment.launch, environment.log_folder(), tr)
        icon = QIcon(paths.resource("icons", "rotacube.svg"))
        self.action = QAction(icon, tr("Rotacube"), self.iface.mainWindow())
        self.action.setObjectName("rotacubeAction")
        self.action.setToolTip(tr("Map rooftops in a raster layer (Rotacube)"))
        self.action.setCheckable(True)
        self.iface.addToolBarIcon(self.action)
        self.iface.rasterMenu().addAction(self.action)  # a submenu of the plugin's own would stay when it is unloaded
        self._make_dock()

    def unload(self) -> None:
        """Take everything away and end the backend (QGIS and Plugin Reloader call this)."""
        if self.settings is not None and is_alive(self.settings):
            self.settings.close()
            self.settings.deleteLater()
        if self.options is not None:
            self.iface.unregisterOptionsWidgetFactory(self.options)
        if self.roofs is not None:
            for remove in (self.iface.removeToolBarIcon, self.iface.rasterMenu().removeAction):
                remove(self.roofs.action)
            self.iface.unregisterMainWindowAction(self.roofs.action)
            self.roofs.close()
            self.roofs.deleteLater()
        for window in (self.teaching, self.frames):
            if window is not None:
                self.iface.rasterMenu().removeAction(window.action)
                window.close()
                window.deleteLater()
        if self.controller is not None:
            self.controller.close()
            self.controller.deleteLater()
        if self.supervisor is not None:
            self.supervisor.stop()
        if is_alive(self.dock):
            self.iface.removeDockWidget(self.dock)
            self.dock.deleteLater()
        if is_alive(self.action):
            self.iface.unregisterMainWindowAction(self.action)
            self.iface.removeToolBarIcon(self.action)
            self.iface.rasterMenu().removeAction(self.action)
            self.action.deleteLater()
        if self.provider is not None:
            QgsApplication.processingRegistry().removeProvider(self.provider)
        self.action = self.provider = self.dock = self.supervisor = self.controller = self.roofs = self.settings = None
        self.teaching = self.frames = self.options = None
        i18n.remove()

    def _make_dock(self) -> None:
        self.dock = RotacubeDock(self.iface.mainWindow())
        self.controller = Controller(self.iface, self.dock, self.supervisor)
        self.dock.settings_clicked.connect(self._show_settings)
        self.options = OptionsPages(self._report, self.controller.restart_backend, self.controller.set_up_backend)
        self.iface.registerOptionsWidgetFactory(self.options)
        self.iface.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, self.dock)
        self.dock.hide()
        self.dock.setToggleVisibilityAction(self.action)
        self.roofs = RoofsByClick(self.iface, self.dock, self.supervisor)
        self.iface.addToolBarIcon(self.roofs.action)
        self.iface.rasterMenu().addAction(self.roofs.action)
        self.iface.registerMainWindowAction(self.roofs.action, SHORTCUT)  # so that it can be changed in the settings
        self.iface.registerMainWindowAction(self.action, "")
        self.teaching = TeachByPolygons(self.iface, self.dock.model_picker.current_name)
        self.teaching.learned.connect(self.controller.models_changed)
        self.dock.model_picker.teach_clicked.connect(self.teaching.show)
        self.iface.rasterMenu().addAction(self.teaching.action)
        self.frames = MapFrames(self.iface, self.dock.model_picker.current_name)
        self.iface.rasterMenu().addAction(self.frames.action)

    def _report(self) -> str:
        return report(self.supervisor, self.controller.info)

    def _show_settings(self) -> None:
        if is_alive(self.settings):
            self.settings.raise_()
            return
        self.settings = SettingsDialog(self._report, self.iface.mainWindow())
        self.settings.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.settings.changed.connect(self.controller.restart_backend)
        self.settings.setup_wanted.connect(self.controller.set_up_backend)
        self.settings.show()
