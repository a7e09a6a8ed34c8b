"""The dock, the dialogs, and numbers as they are shown."""

import base64
import csv
import dataclasses
import re
import sys
import time

import pytest
from fixtures import MODEL, wait
from qgis.core import QgsApplication, QgsSettings
from qgis.PyQt.QtCore import QLocale, Qt
from qgis.PyQt.QtGui import QKeySequence
from qgis.PyQt.QtTest import QSignalSpy, QTest
from qgis.PyQt.QtWidgets import QAbstractButton, QApplication, QFileDialog, QLabel, QMessageBox, QToolButton
from qgis_plugin import i18n
from qgis_plugin.client import environment, examine
from qgis_plugin.client.schema import BackendError, ClassArea, JobResult
from qgis_plugin.gui import advice
from qgis_plugin.gui import format as fmt
from qgis_plugin.gui.dock import RotacubeDock
from qgis_plugin.gui.model_picker import ModelPicker
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
    assert fmt.square_metres(0.351) == "0.35" and fmt.hectares(35) == "0.00350" and fmt.resolution(0.0025) == "0.25 cm"


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
    refused = QSignalSpy(shown.failed)
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
    dialog.page.models.setText("/models/a:/models/b")
    dialog.accept()
    assert changes == [1] and environment.setting("models") == "/models/a:/models/b"
    SettingsDialog(lambda: "report").accept()
    assert QgsSettings().value("rotacube/models") == "/models/a:/models/b"


def a_python(path, answer, before=""):
    path.write_text(f"#!/bin/sh\n{before}\ncat <<'END'\n{answer}\nEND\n")
    path.chmod(0o755)
    return path


def test_python_is_checked_while_it_is_typed(qgis_app, tmp_path):
    good = a_python(tmp_path / "good", '{"python": "3.12", "torch": "2.13.0", "missing": []}')
    slow = a_python(tmp_path / "slow", '{"python": "3.12", "torch": null, "missing": ["torch"]}', "sleep 2")
    dialog = SettingsDialog(lambda: "report")
    edit = dialog.page.python.lineEdit()
    assert "not set up" in dialog.page.used.text()
    QTest.keyClicks(edit, str(slow))
    wait(lambda: dialog.page._asked == str(slow))  # it is being asked
    before = time.monotonic()
    edit.clear()
    QTest.keyClicks(edit, str(good))
    assert dialog.page.used.text() == "Checking…" and time.monotonic() - before < 1.5
    wait(lambda: "it can run the backend" in dialog.page.used.text())
    QTest.qWait(2500)
    assert dialog.page.used.text() == "This is Python 3.12 with PyTorch 2.13.0: it can run the backend."
    QTest.keyClicks(edit, "x")
    wait(lambda: "There is no file" in dialog.page.used.text())
    dialog.reject()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ('{"python": "3.8", "torch": null, "missing": ["torch"]}', "This is Python 3.8; 3.11 or newer is needed."),
        (
            '{"python": "3.11", "torch": null, "missing": ["torch", "rich"]}',
            "lacks what the backend needs: torch, rich.",
        ),
        ("hello", "is no Python that answers."),
    ],
)
def test_a_python_that_cannot_run_the_backend(answer, sentence, tmp_path):
    assert examine.examine(str(a_python(tmp_path / "python", answer))).endswith(sentence)


def test_a_real_python_is_understood(qgis_app):
    assert examine.examine(sys.executable).startswith("This is Python 3.")


def test_accuracy_and_licence_are_in_sight(qgis_app):
    picker = ModelPicker()
    accuracy = {"banepa iou": 0.6802, "kampala iou": 0.5299, "kampala f1": 0.6927, "banepa roofs f1": 0.5}
    accuracy.update({"banepa roofs f1 low": 0.41, "banepa roofs f1 high": 0.582})
    picker.set_models([dataclasses.replace(MODEL, accuracy=accuracy, licence="CC BY 4.0 <b>")])
    assert picker.facts.text().startswith("single roofs F1 0.50, IoU 0.53–0.68 · CC BY 4.0 &lt;b&gt; · <a href")
    assert not picker.facts.isHidden() and picker.notice.isHidden()
    taught = QSignalSpy(picker.teach_clicked)
    picker.facts.linkActivated.emit("#teach")
    assert len(taught) == 1 and not picker.findChildren(QMessageBox)
    picker.facts.linkActivated.emit("#details")
    box = picker.findChild(QMessageBox)
    for part in (
        "<th>&nbsp;kampala</th>",
        '<nobr>f1</nobr></td><td align="right"></td><td align="right">0.69</td>',
        '<nobr>roofs f1</nobr></td><td align="right">0.50<br>(0.41\u2060–\u20600.58)</td>',
        "Trained on",
    ):
        assert part in box.text()
    box.close()
    picker.set_models([dataclasses.replace(MODEL, notice="For research only.")])
    assert picker.notice.text() == "For research only." and not picker.notice.isHidden()
    plants = {"peanut mean iou": 0.8, "potato mean iou": 0.5, "peanut weed recall": 0.7}
    picker.set_models([dataclasses.replace(MODEL, accuracy=plants)])
    assert picker.facts.text().startswith("mean IoU 0.50–0.80")
    picker.set_models([dataclasses.replace(MODEL, accuracy={}, licence="")])
    assert picker.facts.text().startswith("<a href")
    picker.set_waiting("not yet")
    assert picker.facts.isHidden()


GERMAN = (  # of one text, "Run": "Los"; made with lrelease
    "PLhkGMrvnJXNIRy/YKG93acAAAACZGVCAAAACAAAWb4AAAAAaQAAACYDAAAABgBMAG8AcwgAAAAABgAAAANSdW4HAAAACFJvdGFjdWJlAYgAAAACAQE="
)


@pytest.fixture
def german(monkeypatch):
    """QGIS in German, as Austria writes it."""
    monkeypatch.setattr(QgsApplication, "locale", staticmethod(lambda: "de_AT"))
    before = QLocale()
    QLocale.setDefault(QLocale("de_DE"))
    yield
    i18n.remove()
    QLocale.setDefault(before)


def test_texts_and_numbers_are_in_one_language(german, tmp_path):
    i18n.install(str(tmp_path))
    assert i18n.tr("Run") == "Run" and fmt.hectares(12346) == "1.235" and fmt.number(1234) == "1,234"
    (tmp_path / "rotacube_de.qm").write_bytes(base64.b64decode(GERMAN))
    i18n.install(str(tmp_path))
    assert i18n.tr("Run") == "Los" and fmt.hectares(12346) == "1,235" and fmt.number(1234) == "1.234"
    i18n.remove()
    assert i18n.tr("Run") == "Run" and fmt.hectares(12346) == "1.235"


def test_a_damaged_translation_leaves_english(german, tmp_path):
    (tmp_path / "rotacube_de.qm").write_bytes(b"nothing")
    i18n.install(str(tmp_path))
    assert i18n.tr("Run") == "Run" and fmt.hectares(12346) == "1.235"
