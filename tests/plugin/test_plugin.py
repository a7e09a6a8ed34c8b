"""The plugin as QGIS handles it: loaded, unloaded, loaded again."""

import sys

import pytest
import qgis_plugin
from fixtures import FAKE, gone, make_raster, wait
from qgis.core import QgsProject, QgsRasterLayer
from qgis.gui import QgsGui
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication, QDialog, QDockWidget, QMenu, QVBoxLayout
from qgis_plugin.client import environment
from qgis_plugin.client.supervisor import READY, STOPPED


@pytest.fixture
def python_of_the_fake(tmp_path, monkeypatch):
    """A "Python" that runs the stand-in instead of the backend, whatever script it is given."""
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nshift\nexec "{sys.executable}" "{FAKE}" "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("ROTACUBE_PYTHON", str(script))


def test_load_and_unload_ten_times(iface, python_of_the_fake):
    assert len({load_and_unload(iface) for _ in range(10)}) == 10


def load_and_unload(iface):
    plugin = qgis_plugin.classFactory(iface)
    plugin.initGui()
    assert len(iface.toolbar) == 2 and len(iface.menu.actions()) == 4
    assert not plugin.action.icon().isNull() and not plugin.roofs.action.icon().isNull()
    assert iface.registered == [plugin.roofs.action, plugin.action]
    plugin.action.trigger()
    wait(lambda: plugin.dock.model_picker.current() is not None)
    assert plugin.action.isChecked() and plugin.dock.isVisible()
    plugin.action.trigger()
    assert not plugin.dock.isVisible()
    plugin.action.trigger()
    plugin.dock.settings_clicked.emit()
    assert "Backend's Python" in plugin.settings.page.report.toPlainText()
    assert "stand-in" in plugin.settings.page.report.toPlainText()
    pid = plugin.supervisor.pid
    plugin.unload()
    QTest.qWait(50)
    QApplication.processEvents()
    assert gone(pid)
    assert not iface.toolbar and not iface.menu.actions() and not iface.registered and not iface.options
    assert not iface.menu.findChildren(QMenu)  # nor an empty one that nobody sees
    assert not iface.window.findChildren(QDockWidget)
    return pid


def test_keys_are_changed_where_qgis_changes_them(iface):
    manager, before = QgsGui.shortcutsManager(), len(QgsGui.shortcutsManager().listActions())
    plugin = qgis_plugin.classFactory(iface)
    plugin.initGui()
    take = plugin.roofs.action
    assert take.shortcut().toString() == "Ctrl+Alt+K" and take.toolTip().endswith("(Ctrl+Alt+K)")
    assert take.toolTip().count("Ctrl") == 1 and plugin.action.shortcut().isEmpty()
    manager.setKeySequence(take, "Ctrl+Alt+J")
    plugin.unload()
    again = qgis_plugin.classFactory(iface)
    again.initGui()
    assert again.roofs.action.shortcut().toString() == "Ctrl+Alt+J" and "Ctrl+Alt+J" in again.roofs.action.toolTip()
    manager.setKeySequence(again.roofs.action, "Ctrl+Alt+K")
    again.unload()
    assert len(manager.listActions()) == before


@pytest.fixture
def options(iface, python_of_the_fake):
    """The plugin, and its page in a dialog as QGIS's options are."""
    plugin = qgis_plugin.classFactory(iface)
    plugin.initGui()
    plugin.supervisor.wait_ready()
    dialog = QDialog(iface.window)
    (factory,) = iface.options
    page = factory.createWidget(dialog)
    QVBoxLayout(dialog).addWidget(page)
    dialog.accepted.connect(page.apply)
    yield plugin, dialog, page
    dialog.deleteLater()
    plugin.unload()


def test_settings_are_a_page_of_qgis_options(iface, options):
    plugin, dialog, page = options
    assert iface.options[0].title() == "Rotacube" and not iface.options[0].icon().isNull()
    assert page.settings.report.toPlainText() == ""  # nobody reads it yet
    dialog.show()
    wait(lambda: "Backend's Python" in page.settings.report.toPlainText())
    pid = plugin.supervisor.pid
    QTest.keyClicks(page.settings.models, "/models/here")
    dialog.accept()
    assert environment.setting("models") == "/models/here"
    wait(lambda: gone(pid) and plugin.supervisor.state == READY)  # it reads its models anew


def test_what_is_not_kept_in_qgis_options_is_forgotten(options):
    plugin, dialog, page = options
    dialog.show()
    pid = plugin.supervisor.pid
    QTest.keyClicks(page.settings.models, "/models/here")
    dialog.reject()
    assert environment.setting("models") == "" and plugin.supervisor.pid == pid


def test_the_set_up_is_asked_for_from_qgis_options(options):
    plugin, dialog, page = options
    dialog.show()
    QTest.mouseClick(page.settings.setup_button, Qt.MouseButton.LeftButton)
    assert not dialog.isVisible() and plugin.dock.setup_page.isVisible()


def test_unload_without_having_been_opened(iface):
    plugin = qgis_plugin.classFactory(iface)
    plugin.initGui()
    QTest.qWait(50)
    assert plugin.supervisor.state == STOPPED and not plugin.dock.isVisible()
    plugin.unload()
    assert not iface.toolbar


def test_dock_comes_back_where_it_was(iface, python_of_the_fake):
    plugin = qgis_plugin.classFactory(iface)
    plugin.initGui()
    plugin.action.trigger()
    wait(lambda: plugin.dock.model_picker.current() is not None)
    iface.window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, plugin.dock)
    state = iface.window.saveState()
    plugin.unload()
    QTest.qWait(50)
    again = qgis_plugin.classFactory(iface)
    again.initGui()
    iface.window.restoreState(state)  # as QGIS does when its plugins are loaded
    assert again.dock.isVisible() and again.action.isChecked()
    assert iface.window.dockWidgetArea(again.dock) == Qt.DockWidgetArea.LeftDockWidgetArea
    wait(lambda: again.dock.model_picker.current() is not None)
    again.unload()


def test_dock_that_was_closed_stays_closed(iface, python_of_the_fake):
    plugin = qgis_plugin.classFactory(iface)
    plugin.initGui()
    state = iface.window.saveState()
    plugin.unload()
    QTest.qWait(50)
    again = qgis_plugin.classFactory(iface)
    again.initGui()
    iface.window.restoreState(state)
    QTest.qWait(50)
    assert not again.dock.isVisible() and not again.action.isChecked() and again.supervisor.state == STOPPED
    again.unload()


def test_backend_lives_without_the_dock(iface, python_of_the_fake):
    plugin = qgis_plugin.classFactory(iface)
    plugin.initGui()
    plugin.supervisor.wait_ready()
    pid = plugin.supervisor.pid
    plugin.action.trigger()
    wait(lambda: plugin.dock.model_picker.current() is not None)
    assert plugin.supervisor.pid == pid
    plugin.unload()
    assert gone(pid)


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
    wait(lambda: plugin.dock.setup_page.isVisible())
    page = plugin.dock.setup_page
    assert page.button.text() == "Set up backend" and page.button.isVisible() and not plugin.dock.run_button.isVisible()
    assert "GB on disk" in page.sizes.text() and str(tmp_path / "nothing" / "env") in page.sizes.text()
    assert not iface.messages()
    plugin.unload()
