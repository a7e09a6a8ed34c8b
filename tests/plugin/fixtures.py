"""What the plugin's tests share: a small QGIS window, rasters, the stand-in backend."""

import os
import sys
import time
from pathlib import Path

import fake_backend
import numpy as np
import pytest
from osgeo import gdal, osr
from qgis.core import QgsProject, QgsRasterLayer, QgsSettings
from qgis.gui import QgsGui, QgsLayerTreeMapCanvasBridge, QgsMapCanvas, QgsMessageBar
from qgis.PyQt.QtCore import QObject, Qt, pyqtSignal
from qgis.PyQt.QtTest import QSignalSpy, QTest
from qgis.PyQt.QtWidgets import QApplication, QMainWindow, QMenu, QVBoxLayout, QWidget
from qgis_plugin import history
from qgis_plugin.client.environment import clean_environment
from qgis_plugin.client.http import Client
from qgis_plugin.client.schema import ModelInfo, parse
from qgis_plugin.client.supervisor import Launch, Supervisor
from qgis_plugin.controller import Controller
from qgis_plugin.gui.dock import RotacubeDock
from qgis_plugin.layers import results

gdal.UseExceptions()
FAKE = Path(fake_backend.__file__)


MODEL = parse(ModelInfo, fake_backend.MODEL)


class Iface(QObject):
    """As much of QgisInterface as the plugin uses, around a real window, canvas and message bar."""

    currentLayerChanged = pyqtSignal(object)

    def __init__(self):
        super().__init__()
        self.window = QMainWindow()
        self.window.resize(1200, 800)
        centre = QWidget()
        layout = QVBoxLayout(centre)
        self.bar = QgsMessageBar()
        self.canvas = QgsMapCanvas()
        layout.addWidget(self.bar)
        layout.addWidget(self.canvas)
        self.window.setCentralWidget(centre)
        self.bridge = QgsLayerTreeMapCanvasBridge(QgsProject.instance().layerTreeRoot(), self.canvas, self.canvas)
        self.toolbar, self.registered, self.options = [], [], []
        self.menu, self.active = QMenu(self.window), None
        self.window.show()

    def setActiveLayer(self, layer):
        self.active = layer
        self.currentLayerChanged.emit(layer)

    def mainWindow(self):
        return self.window

    def mapCanvas(self):
        return self.canvas

    def messageBar(self):
        return self.bar

    def addToolBarIcon(self, action):
        self.toolbar.append(action)

    def removeToolBarIcon(self, action):
        self.toolbar.remove(action)

    def activeLayer(self):
        return self.active

    def registerMainWindowAction(self, action, shortcut):
        self.registered.append(action)
        return QgsGui.shortcutsManager().registerAction(action, shortcut)

    def unregisterMainWindowAction(self, action):
        self.registered.remove(action)
        return QgsGui.shortcutsManager().unregisterAction(action)

    def registerOptionsWidgetFactory(self, factory):
        self.options.append(factory)

    def unregisterOptionsWidgetFactory(self, factory):
        self.options.remove(factory)

    def rasterMenu(self):
        return self.menu

    def addDockWidget(self, area, dock):
        self.window.addDockWidget(area, dock)
        dock.show()

    def removeDockWidget(self, dock):
        self.window.removeDockWidget(dock)

    def messages(self):
        """The whole texts in the message bar, the latest first."""
        return [item.toolTip() or item.text() for item in self.bar.items()]


def wait(condition, seconds=60):
    """Let Qt work until the condition holds."""
    spent = 0
    while not condition():
        assert spent < seconds * 1000, "waited in vain"
        QTest.qWait(20)
        spent += 20


def until(condition, seconds=60):
    """Wait for the condition while Qt stands still."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def gone(pid):
    """Whether a process has ended."""
    try:
        os.kill(pid, 0)
    except OSError:
        return True
    return False


def started(supervisor):
    """A supervisor whose backend is up."""
    supervisor.wait_ready()
    return supervisor


def make_raster(path, width=320, height=256, crs=32645, origin=(335000.0, 3058000.0), size=0.3, seed=1):
    """A small georeferenced RGB raster with bright boxes on it."""
    rng = np.random.default_rng(seed)
    data = rng.integers(60, 100, (3, height, width)).astype("uint8")
    for _ in range(12):
        x, y = rng.integers(0, max(1, width - 50)), rng.integers(0, max(1, height - 50))
        data[:, y : y + 40, x : x + 45] = rng.integers(150, 240, (3, 1, 1))
    out = gdal.GetDriverByName("GTiff").Create(str(path), width, height, 3, gdal.GDT_Byte)
    out.SetGeoTransform((origin[0], size, 0, origin[1], 0, -size))
    if crs:
        reference = osr.SpatialReference()
        reference.ImportFromEPSG(crs)
        out.SetSpatialRef(reference)
    for band in range(3):
        out.GetRasterBand(band + 1).WriteArray(data[band])
    out = None
    return str(path)


@pytest.fixture
def iface(qgis_app):
    """A window as QGIS has it."""
    made = Iface()
    yield made
    QgsProject.instance().clear()
    made.window.close()
    made.window.deleteLater()
    QApplication.processEvents()


@pytest.fixture(autouse=True)
def clean_settings(qgis_app, tmp_path_factory, monkeypatch):
    QgsSettings().remove("rotacube")
    profile = tmp_path_factory.mktemp("profile")
    monkeypatch.setattr(history, "in_profile", lambda: profile)
    yield
    QgsSettings().remove("rotacube")


@pytest.fixture
def fake():
    """Gives a launcher of the stand-in backend in a mode."""

    def launcher(mode="", **variables):
        env = {**clean_environment(os.environ), "FAKE_MODE": mode, **variables}
        return lambda: Launch([sys.executable, str(FAKE), "serve", "--port", "0", "--parent-pipe"], env)

    return launcher


@pytest.fixture
def supervisor(fake, tmp_path):
    """Gives supervisors of stand-ins and stops them afterwards."""
    made = []

    def make(mode="", timeout=120, **variables):
        made.append(Supervisor(fake(mode, **variables), tmp_path / "logs", start_timeout_s=timeout))
        return made[-1]

    yield make
    for item in made:
        item.stop()


class Desk:
    """Dock, controller and backend on one window, with a layer to map."""

    def __init__(self, iface, supervisor, tmp_path):
        self.iface, self.supervisor, self.tmp = iface, supervisor, tmp_path
        self.raster = make_raster(tmp_path / "ortho.tif")
        self.layer = QgsRasterLayer(self.raster, "ortho", "gdal")
        QgsProject.instance().addMapLayer(self.layer)
        QgsProject.instance().setCrs(self.layer.crs())
        iface.canvas.setDestinationCrs(self.layer.crs())
        iface.canvas.setExtent(self.layer.extent())
        self.dock = RotacubeDock(iface.window)
        for box in self.dock.further.boxes.values():
            box.setChecked(False)
        self.controller = Controller(iface, self.dock, supervisor)
        iface.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, self.dock)
        self.added = QSignalSpy(self.controller.mask_added)

    def ready(self):
        wait(lambda: self.dock.model_picker.current() is not None)

    def type_output(self, path):
        edit = self.dock.output.lineEdit()
        edit.clear()
        QTest.keyClicks(edit, str(path))

    def click(self, button):
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)

    def run(self):
        self.click(self.dock.run_button)

    def until_idle(self, seconds=60):
        wait(lambda: not self.controller.busy, seconds)

    def masks(self):
        group = QgsProject.instance().layerTreeRoot().findGroup("Rotacube")
        layers = [node.layer() for node in group.findLayers()] if group else []
        return [layer for layer in layers if results.is_mask(layer)]


@pytest.fixture
def desk(iface, supervisor, tmp_path):
    """Gives a desk with a stand-in in a mode."""
    made = []

    def make(mode="", **more):
        made.append(Desk(iface, supervisor(mode, **more), tmp_path))
        return made[-1]

    yield make
    for item in made:
        item.controller.close()
        item.supervisor.stop()
        item.dock.close()
        item.dock.deleteLater()


@pytest.fixture
def sent(monkeypatch):
    """The requests that were sent."""
    requests, original = [], Client.submit
    monkeypatch.setattr(Client, "submit", lambda self, request: (requests.append(request), original(self, request))[1])
    return requests


@pytest.fixture
def asked(monkeypatch):
    """The requests of which an estimate was asked for."""
    requests, original = [], Client.estimate
    monkeypatch.setattr(
        Client, "estimate", lambda self, request: (requests.append(request), original(self, request))[1]
    )
    return requests


@pytest.fixture
def raster(tmp_path):
    """A small raster's path."""
    return make_raster(tmp_path / "raster.tif")


@pytest.fixture
def town(iface, supervisor, tmp_path):
    """Gives the tool of roofs by click on a raster, with a stand-in in a mode."""
    from roof_desk import RoofDesk

    made = []

    def make(mode="", **more):
        made.append(RoofDesk(iface, supervisor(mode, **more), tmp_path))
        return made[-1]

    yield make
    for item in made:
        item.close()
