"""The plugin as QGIS handles it: loaded, unloaded, loaded again; its dialogs; sources and outputs."""

import os
import sys

import pytest
import qgis_plugin
from fixtures import FAKE, make_raster, wait
from osgeo import gdal
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsMapSettings,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsSettings,
)
from qgis.PyQt.QtCore import QSize, Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication, QDockWidget
from qgis_plugin import paths
from qgis_plugin.client import environment, install
from qgis_plugin.gui import format as fmt
from qgis_plugin.gui.dock import RotacubeDock
from qgis_plugin.gui.settings_dialog import SettingsDialog
from qgis_plugin.layers import output, source


@pytest.fixture
def python_of_the_fake(tmp_path, monkeypatch):
    """A "Python" that runs the stand-in instead of the backend, whatever script it is given."""
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nshift\nexec "{sys.executable}" "{FAKE}" "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("ROTACUBE_PYTHON", str(script))


def gone(pid):
    try:
        os.kill(pid, 0)
    except OSError:
        return True
    return False


def test_load_and_unload_twice(iface, python_of_the_fake):
    first = load_and_unload(iface)
    second = load_and_unload(iface)
    assert first != second


def load_and_unload(iface):
    plugin = qgis_plugin.classFactory(iface)
    plugin.initGui()
    assert len(iface.toolbar) == len(iface.menu) == 1
    assert not plugin.action.icon().isNull()
    plugin.action.trigger()
    wait(lambda: plugin.dock.model_picker.current() is not None)
    assert plugin.action.isChecked() and plugin.dock.isVisible()
    plugin.action.trigger()
    assert not plugin.dock.isVisible()
    plugin.action.trigger()
    plugin.dock.settings_clicked.emit()
    assert "Backend's Python" in plugin.settings.report.toPlainText()
    assert "stand-in" in plugin.settings.report.toPlainText()
    pid = plugin.supervisor.pid
    plugin.unload()
    QTest.qWait(50)
    QApplication.processEvents()
    assert gone(pid)
    assert not iface.toolbar and not iface.menu
    assert not iface.window.findChildren(QDockWidget)
    return pid


def test_unload_without_having_been_opened(iface):
    plugin = qgis_plugin.classFactory(iface)
    plugin.initGui()
    plugin.unload()
    assert not iface.toolbar


def test_unload_in_mid_run(iface, python_of_the_fake, monkeypatch, tmp_path):
    monkeypatch.setenv("FAKE_MODE", "slow")
    layer = QgsRasterLayer(make_raster(tmp_path / "r.tif"), "r")
    QgsProject.instance().addMapLayer(layer)
    plugin = qgis_plugin.classFactory(iface)
    plugin.initGui()
    plugin.action.trigger()
    wait(lambda: plugin.dock.model_picker.current() is not None)
    QTest.mouseClick(plugin.dock.run_button, Qt.MouseButton.LeftButton)
    wait(lambda: plugin.controller.live is not None and plugin.controller.live.count() >= 1)
    pid, items = plugin.supervisor.pid, len(iface.canvas.scene().items())
    plugin.unload()
    assert gone(pid)
    QTest.qWait(600)
    assert len(iface.canvas.scene().items()) == items - 1


def test_first_use_without_a_backend_says_what_to_do(iface, monkeypatch, tmp_path):
    monkeypatch.setenv("ROTACUBE_HOME", str(tmp_path / "nothing"))
    monkeypatch.delenv("ROTACUBE_PYTHON", raising=False)
    plugin = qgis_plugin.classFactory(iface)
    plugin.initGui()
    plugin.action.trigger()
    wait(lambda: iface.messages())
    assert "Set up backend" in iface.messages()[0]
    plugin.unload()


def test_settings_are_kept(qgis_app):
    dialog = SettingsDialog(lambda: "report")
    changes = []
    dialog.changed.connect(lambda: changes.append(1))
    dialog.models.setText("/models/a:/models/b")
    dialog.accept()
    assert changes == [1] and environment.setting("models") == "/models/a:/models/b"
    SettingsDialog(lambda: "report").accept()
    assert QgsSettings().value("rotacube/models") == "/models/a:/models/b"


def test_models_reach_the_backend(qgis_app, monkeypatch):
    monkeypatch.setenv("ROTACUBE_PYTHON", sys.executable)
    environment.set_setting("models", "/models/a")
    launch = environment.launch()
    assert launch.env["ROTACUBE_MODELS"] == "/models/a"
    assert launch.command == [sys.executable, str(paths.launch_script()), "serve", "--port", "0", "--parent-pipe"]
    assert "ROTACUBE_TOKEN" not in launch.command


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda tmp: None, "Choose a raster layer first"),
        (lambda tmp: QgsRasterLayer(str(tmp / "none.tif"), "none"), "is broken"),
        (lambda tmp: QgsRasterLayer(make_raster(tmp / "bare.tif", crs=None), "bare"), "no coordinate reference system"),
        (lambda tmp: QgsRasterLayer(vsimem(tmp), "memory"), "memory only"),
        (lambda tmp: removed(tmp), "is gone"),
    ],
)
def test_sources_that_are_refused(qgis_app, tmp_path, make, words):
    with pytest.raises(source.SourceRefused, match=words):
        source.from_layer(make(tmp_path))


def vsimem(tmp):
    gdal.Translate("/vsimem/r.tif", make_raster(tmp / "r.tif"))
    return "/vsimem/r.tif"


def removed(tmp):
    layer = QgsRasterLayer(make_raster(tmp / "r.tif"), "r")
    (tmp / "r.tif").unlink()
    return layer


def test_sources_that_are_taken(qgis_app, tmp_path):
    path = make_raster(tmp_path / "r.tif")
    assert source.from_layer(QgsRasterLayer(path, "r")).path == path
    assert source.from_layer(QgsRasterLayer(path + "|option:NUM_THREADS=1", "r")).path == path
    gdal.BuildVRT(str(tmp_path / "r.vrt"), [path])
    assert source.from_layer(QgsRasterLayer(str(tmp_path / "r.vrt"), "r")).path == str(tmp_path / "r.vrt")
    gdal.Translate(str(tmp_path / "r.gpkg"), path, format="GPKG", creationOptions=["RASTER_TABLE=t"])
    subdataset = f"GPKG:{tmp_path / 'r.gpkg'}:t"
    assert source.from_layer(QgsRasterLayer(subdataset, "r")).path == subdataset


def test_bounds_from_a_map_of_the_world_and_a_turned_map(qgis_app, tmp_path):
    origin = source.from_layer(QgsRasterLayer(make_raster(tmp_path / "r.tif"), "r"))
    settings = QgsMapSettings()
    settings.setOutputSize(QSize(800, 600))
    settings.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:3857"))
    settings.setExtent(QgsRectangle(-2e7, -2e7, 2e7, 2e7))
    whole = origin.extent
    wanted = (whole.xMinimum(), whole.yMinimum(), whole.xMaximum(), whole.yMaximum())
    assert source.canvas_bounds(settings, origin, QgsProject.instance()) == pytest.approx(wanted, abs=1e-6)
    settings.setDestinationCrs(origin.crs)
    settings.setExtent(whole.buffered(-20))
    straight = source.canvas_bounds(settings, origin, QgsProject.instance())
    settings.setRotation(30)
    turned = source.canvas_bounds(settings, origin, QgsProject.instance())
    assert turned[0] < straight[0] and turned[3] > straight[3]


def test_outputs(qgis_app, tmp_path):
    def resolve(text, replace=False, layers=()):
        return output.resolve(text, "my layer/x", str(tmp_path / "source.tif"), layers, replace)

    make_raster(tmp_path / "source.tif")
    assert resolve("").endswith("my_layer_x_mask.tif")
    assert resolve(str(tmp_path / "mask")) == str(tmp_path / "mask.tif")
    for text, words in (
        ("mask.tif", "whole path"),
        (str(tmp_path / "mask.png"), "end in .tif"),
        (str(tmp_path / "no" / "mask.tif"), "does not exist"),
        (str(tmp_path / "source.tif"), "is the raster that is to be mapped"),
    ):
        with pytest.raises(output.OutputRefused, match=words):
            resolve(text, replace=True)
    (tmp_path / "old.tif").write_text("old")
    with pytest.raises(output.OutputExists):
        resolve(str(tmp_path / "old.tif"))
    assert resolve(str(tmp_path / "old.tif"), replace=True) == str(tmp_path / "old.tif")


def test_numbers():
    assert fmt.duration(59.2) == "01:00" and fmt.duration(3725) == "1:02:05" and fmt.duration(0) == "00:00"
    assert fmt.progress(3, 10, 65) == "tile 3 of 10, 01:05 left" and fmt.progress(3, 10, None) == "tile 3 of 10"
    assert fmt.resolution(0.3) == "30 cm" and fmt.resolution(0.075) == "7.5 cm" and fmt.resolution(2.5) == "2.5 m"
    assert fmt.hectares(12346) == "1.235" and fmt.share(0.4567) == "45.7 %"


def test_typed_paths_are_not_confirmed(qgis_app):
    dock = RotacubeDock()
    QTest.keyClicks(dock.output.lineEdit(), "/tmp/a.tif")
    assert dock.output_text() == "/tmp/a.tif" and not dock.output_was_confirmed()
    dock.output.setFilePath("/tmp/b.tif")
    assert dock.output_was_confirmed()
    QTest.keyClicks(dock.output.lineEdit(), "f")
    assert not dock.output_was_confirmed()


@pytest.mark.parametrize(
    ("wheels", "last"),
    [
        (
            "https://somewhere/rotacube-0.1.0-py3-none-any.whl#sha256=1",
            "https://somewhere/rotacube-0.1.0-py3-none-any.whl#sha256=1",
        ),
        ("/wheels", f"rotacube=={paths.version()}"),
        ("", str(paths.root())),
    ],
)
def test_what_is_installed(qgis_app, wheels, last):
    assert install.what_to_install(wheels)[-1] == last


def run_setup(script, monkeypatch):
    environment.set_setting("base_python", str(script))
    job = install.BackendSetup()
    lines, ends = [], []
    job.line.connect(lines.append)
    job.done.connect(lambda ok, text: ends.append((ok, text)))
    job.start()
    wait(lambda: ends, 30)
    return lines, ends[0]


def fake_python(tmp_path, pip):
    """A Python that answers the probe, "makes" an environment by copying itself, and runs `pip` as it is told."""
    script = tmp_path / "fakepython"
    script.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = -c ]; then echo 3.11; exit 0; fi\n'
        'if [ "$2" = venv ]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; exit 0; fi\n'
        f"{pip}\n"
    )
    script.chmod(0o755)
    return script


def test_set_up(qgis_app, tmp_path, monkeypatch):
    monkeypatch.setenv("ROTACUBE_HOME", str(tmp_path / "home"))
    lines, (ok, text) = run_setup(fake_python(tmp_path, 'echo "Collecting torch"; exit 0'), monkeypatch)
    assert ok and "set up" in text and "Collecting torch" in lines
    assert environment.managed_is_complete()
    assert environment.find_python().path == str(tmp_path / "home" / "env" / "bin" / "python")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "disk is full"),
        ("Failed to establish a new connection: [Errno -3]", "cannot be reached"),
        ("ERROR: No matching distribution found for torch", "was not found"),
        ("something else", "log above says why"),
    ],
)
def test_set_up_that_fails_says_why(qgis_app, tmp_path, monkeypatch, said, words):
    monkeypatch.setenv("ROTACUBE_HOME", str(tmp_path / "home"))
    _, (ok, text) = run_setup(fake_python(tmp_path, f'echo "{said}"; exit 1'), monkeypatch)
    assert not ok and "could not be installed" in text and words in text
    assert not environment.managed_is_complete()


def test_set_up_without_a_python(qgis_app, tmp_path, monkeypatch):
    monkeypatch.setenv("ROTACUBE_HOME", str(tmp_path / "home"))
    script = tmp_path / "old"
    script.write_text("#!/bin/sh\necho 3.8\n")
    script.chmod(0o755)
    _, (ok, text) = run_setup(script, monkeypatch)
    assert not ok and "No Python 3.10 or newer" in text


def test_set_up_can_be_cancelled(qgis_app, tmp_path, monkeypatch):
    monkeypatch.setenv("ROTACUBE_HOME", str(tmp_path / "home"))
    environment.set_setting("base_python", str(fake_python(tmp_path, "exec sleep 60")))
    job = install.BackendSetup()
    titles = []
    job.title.connect(titles.append)
    job.start()
    wait(lambda: any("packages" in title for title in titles))
    job.cancel()
    assert not environment.managed_is_complete()
