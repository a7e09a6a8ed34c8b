"""The dock, the dialogs, and numbers as they are shown."""

import csv
import re

import pytest
from fixtures import MODEL
from qgis.core import QgsSettings
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QKeySequence
from qgis.PyQt.QtTest import QSignalSpy, QTest
from qgis.PyQt.QtWidgets import QAbstractButton, QApplication, QFileDialog, QLabel, QToolButton
from qgis_plugin.client import environment
from qgis_plugin.client.schema import BackendError, ClassArea, JobResult
from qgis_plugin.gui import advice
from qgis_plugin.gui import format as fmt
from qgis_plugin.gui.dock import RotacubeDock
from qgis_plugin.gui.result_view import ResultView
from qgis_plugin.gui.settings_dialog import SettingsDialog
from qgis_plugin.notify import Notifier


def test_numbers():
    assert fmt.duration(59.2) == "01:00" and fmt.duration(3725) == "1:02:05" and fmt.duration(0) == "00:00"
    assert fmt.progress(3, 10, 65) == "tile 3 of 10, 01:05 left" and fmt.progress(3, 10, None) == "tile 3 of 10"
    assert fmt.resolution(0.3) == "30 cm" and fmt.resolution(0.075) == "7.5 cm" and fmt.resolution(2.5) == "2.5 m"
    assert fmt.pixel_size((0.301, 0.299)) == "30 cm" and fmt.pixel_size((0.15, 0.16)) == "15 × 16 cm"
    assert fmt.pixel_size((0.9, 1.1)) == "90 cm × 1.1 m" and fmt.pixel_size((0.099, 0.101)) == "9.9 × 10 cm"
    assert fmt.hectares(12346) == "1.235" and fmt.share(0.4567) == "45.7 %"


def test_typed_paths_are_not_confirmed(qgis_app):
    dock = RotacubeDock()
    QTest.keyClicks(dock.output.lineEdit(), "/tmp/a.tif")
    assert dock.output_text() == "/tmp/a.tif" and not dock.output_was_confirmed()
    dock.output.setFilePath("/tmp/b.tif")
    assert dock.output_was_confirmed()
    QTest.keyClicks(dock.output.lineEdit(), "f")
    assert not dock.output_was_confirmed()


def test_advice_is_what_can_be_done_in_the_dock():
    text = "'fake-rooftop' needs 3 bands (red, green, blue); 'r.tif' has 1. Choose another raster, or name the bands "
    error = BackendError("raster_bands", text + "yourself: one may stand for several.", 400)
    told = advice.sentence(error, MODEL)
    assert told.startswith(
        "“Rooftops (stand-in)” needs 3 bands (red, green, blue); 'r.tif' has 1. Choose another layer"
    )
    assert "Symbology" in told and "yourself" not in told and "fake-rooftop" not in told
    error = BackendError("raster_network", "It makes requests. Allow them with --allow-network.", 400)
    assert advice.sentence(error, MODEL) == "It makes requests."
    plain = BackendError("disk", "The disk of /x has 3 MB left. Free some space.")
    assert advice.sentence(plain, None) == plain.message


@pytest.fixture
def view(qgis_app):
    """A view with a result of three classes, on the screen."""
    made = ResultView()
    names = ("background", "building", "<b>roof & tree")
    areas = [ClassArea(n, name, "#e2572b", 1000 * n, 90.5 * n, n / 3) for n, name in enumerate(names)]
    result = JobResult([], 320, 256, (0.3, 0.3), areas, 0, 12.3, "cpu", ["-10000 looks like <nodata>."])
    made.show_result("roofs & more", "ortho – Rooftops", result)
    made.resize(340, 300)
    made.show()
    yield made, result
    made.deleteLater()


def test_table_is_read_and_copied_by_keyboard(view):
    shown, _ = view
    table, clipboard = shown.table, QApplication.clipboard()
    table.setFocus()
    QTest.keySequence(table, QKeySequence(QKeySequence.StandardKey.Copy))
    whole = clipboard.text().split("\n")
    assert whole[0] == "Class\tm²\tha\tShare" and whole[2].split("\t")[0] == "building" and len(whole) == 4
    table.setCurrentCell(1, 0)
    QTest.keyClick(table, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    QTest.keyClick(table, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    assert clipboard.text() == "building\t91" or clipboard.text() == "building\t90"
    assert "roofs &amp; more" in shown.title.text() and "<nodata>" in shown.note.text()
    assert table.accessibleName() == "Areas of roofs & more"


def test_table_is_saved_as_csv(view, tmp_path, monkeypatch):
    shown, result = view
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *about: (str(tmp_path / "areas"), ""))
    QTest.mouseClick(shown.save_button, Qt.MouseButton.LeftButton)
    with (tmp_path / "areas.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == [item.name for item in result.classes]
    assert [float(row["area_m2"]) for row in rows] == [item.area_m2 for item in result.classes]
    refused = QSignalSpy(shown.not_saved)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *about: (str(tmp_path / "no" / "areas.csv"), ""))
    QTest.mouseClick(shown.save_button, Qt.MouseButton.LeftButton)
    assert len(refused) == 1 and "cannot be written" in refused[0][0]


def test_last_row_is_whole_in_another_theme(view):
    table = view[0].table
    table.setStyleSheet("QTableWidget { font-size: 23px; padding: 3px }")
    QApplication.processEvents()
    QTest.qWait(50)
    rect = table.visualItemRect(table.item(2, 0))
    assert rect.bottom() <= table.viewport().rect().bottom() + 1


def test_letters_are_given_once_and_not_those_of_qgis_menus(qgis_app):
    dock = RotacubeDock()
    texts = [widget.text() for kind in (QLabel, QAbstractButton) for widget in dock.findChildren(kind)]
    letters = [match.lower() for text in texts if "<" not in text for match in re.findall("&([A-Za-z])", text)]
    assert len(letters) >= 7 and len(set(letters)) == len(letters)
    assert not set(letters) & set("jevlsporwdmch")


def test_everything_that_takes_the_focus_has_a_name(qgis_app):
    dock = RotacubeDock()
    for widget in (dock.layer_combo, dock.model_picker.combo, dock.output.lineEdit(), dock.bar):
        assert widget.accessibleName()
    for button in dock.findChildren(QToolButton):
        assert button.accessibleName() or button.text() or button.toolTip() or not button.objectName()


def test_message_longer_than_the_bar_is_cut_to_a_line(iface):
    text = "The output's folder /somewhere/far/away does not exist. " * 4
    Notifier(iface).warning(text)
    Notifier(iface).ask(text, "Do it", lambda: None)
    for item in iface.bar.items():
        assert item.text().endswith("…") and item.toolTip() == text
        assert iface.bar.fontMetrics().horizontalAdvance(item.text()) < iface.bar.width()
    Notifier(iface).info("Short.")
    assert iface.bar.items()[0].text() == "Short."


def test_settings_are_kept(qgis_app):
    dialog = SettingsDialog(lambda: "report")
    changes = []
    dialog.changed.connect(lambda: changes.append(1))
    dialog.models.setText("/models/a:/models/b")
    dialog.accept()
    assert changes == [1] and environment.setting("models") == "/models/a:/models/b"
    SettingsDialog(lambda: "report").accept()
    assert QgsSettings().value("rotacube/models") == "/models/a:/models/b"
