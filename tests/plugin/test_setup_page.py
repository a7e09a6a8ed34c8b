"""The set-up's page in the dock: before, while and after a set-up; and messages that no longer hold."""

import fake_python
import pytest
import qgis_plugin
from fixtures import wait
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtTest import QTest
from qgis_plugin.client import environment, packages
from qgis_plugin.client.gpu import Gpu
from qgis_plugin.client.install import Progress
from qgis_plugin.client.pip_output import Amount
from qgis_plugin.notify import BACKEND, RUN, Notifier


@pytest.fixture
def plugin(iface, monkeypatch, tmp_path):
    """The plugin of a new user, its dock open."""
    monkeypatch.setenv("ROTACUBE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("qgis_plugin.gui.setup_page.find_gpu", lambda: None)
    made = qgis_plugin.classFactory(iface)
    made.initGui()
    made.action.trigger()
    wait(lambda: made.dock.setup_page.isVisible())
    yield made
    made.unload()


def click(button):
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def build_on(script):
    environment.set_setting("base_python", str(script))


def test_nothing_is_run_before_the_button(plugin, tmp_path):
    build_on(fake_python.make(tmp_path))
    QTest.qWait(300)
    assert not plugin.dock.setup_page.busy and not (tmp_path / "calls").exists()


def test_failure_is_told_with_the_log_and_tried_again(plugin, tmp_path, iface):
    page = plugin.dock.setup_page
    build_on(fake_python.make(tmp_path, 'echo "No space left on device"; exit 1'))
    click(page.button)
    assert page.busy and page.cancel_button.isVisible() and not page.button.isVisible()
    wait(lambda: not page.busy)
    assert "disk is full" in page.error.text() and str(environment.setup_log()) in page.error.text()
    assert page.button.text() == "Try again" and page.file_button.isVisible() and not page.log.isVisible()
    click(page.log_button)
    assert page.log.isVisible() and "No space left" in page.log.toPlainText()
    assert iface.messages() == []
    (tmp_path / "calls").unlink()
    build_on(fake_python.make(tmp_path))
    click(page.button)
    wait(lambda: not page.busy)
    wait(lambda: plugin.dock.run_button.isVisible() or iface.messages())  # its "backend" says nothing
    assert environment.managed_is_complete() and "The backend is set up." in iface.messages()[-1]


def test_cancel_asks_again(plugin, tmp_path):
    page = plugin.dock.setup_page
    build_on(fake_python.make(tmp_path, "exec sleep 60"))
    click(page.button)
    wait(lambda: page.step.text().startswith("Step 3 of 5"))
    click(page.cancel_button)
    assert not page.busy and page.button.isVisible() and page.button.text() == "Set up backend"


def test_unload_in_mid_set_up_ends_it(plugin, tmp_path):
    page = plugin.dock.setup_page
    build_on(fake_python.make(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 60"))
    click(page.button)
    wait(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    process = page.setup._process
    page.close_down()
    assert process.state() == process.ProcessState.NotRunning


def test_percent_and_time(plugin):
    page = plugin.dock.setup_page
    page._progressed(Progress(3, "Downloading", Amount(120_000_000, 278_000_000, True, "torch-2.whl"), 81.0))
    assert page.step.text() == "Step 3 of 5: Downloading"
    assert page.amount.text() == "120 MB of 278 MB · 43 % · 01:21 left" and page.bar.value() == 431
    page._progressed(Progress(4, "Installing", Amount(44_000_000, 273_000_000, True, "torch")))
    assert page.amount.text() == "44 MB of 273 MB · 16 % · torch"
    page._progressed(Progress(4, "Installing", Amount(3, 36, False)))
    assert page.amount.text() == "3 of 36 packages · 8 %"
    page._progressed(Progress(5, "Checking"))
    assert page.amount.text() == "" and page.bar.maximum() == 0


def test_cuda_or_cpu_is_chosen_with_its_size(plugin):
    page = plugin.dock.setup_page
    assert "No NVIDIA GPU" in page.gpu.text() and not page.first.isVisible() and "340 MB" in page.sizes.text()
    page._offer(Gpu("NVIDIA RTX 3060", "580.65"))
    assert page.first.isVisible() and page.build() is packages.CUDA and "3.1 GB to download" in page.sizes.text()
    page.second.click()
    assert page.build() is packages.CPU and "340 MB to download" in page.sizes.text()
    page._offer(Gpu("NVIDIA GTX 1060", "470.82"))
    assert page.build() is packages.CPU and "too old" in page.gpu.text()


def test_settings_lead_to_the_page_and_back(plugin):
    page = plugin.dock.setup_page
    plugin._show_settings()
    click(plugin.settings.page.setup_button)
    assert page.isVisible() and page.back_button.isVisible()
    click(page.back_button)
    assert plugin.dock.run_button.isVisible()
    click(plugin.dock.run_button)  # there still is nothing to run
    wait(lambda: page.isVisible())
    assert not plugin.controller.busy


def test_messages_of_a_kind_replace_each_other_and_go(iface):
    notify = Notifier(iface)
    for number in range(3):
        notify.error(f"The backend is not running ({number}).", kind=BACKEND)
        notify.warning(f"This cannot be mapped ({number}).")
    assert iface.messages() == ["This cannot be mapped (2).", "The backend is not running (2)."]
    notify.withdraw(BACKEND)
    assert iface.messages() == ["This cannot be mapped (2)."]
    notify.ask("It is there already.", "Replace it", lambda: None)
    assert iface.messages() == ["It is there already."]
    iface.bar.clearWidgets()
    QTest.qWait(50)
    notify.withdraw(RUN)
    notify.withdraw()
    assert iface.messages() == []


def test_a_message_about_the_backend_goes_when_it_starts_again(desk):
    d = desk("fail_start")
    d.controller.start_backend()
    wait(lambda: d.iface.messages())
    first = d.iface.messages()
    d.run()
    wait(lambda: not d.controller.busy)
    assert d.iface.messages() == first and len(first) == 1
