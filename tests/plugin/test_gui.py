"""The dock, the dialogs, and numbers as they are shown."""

from qgis.core import QgsSettings
from qgis.PyQt.QtTest import QTest
from qgis_plugin.client import environment
from qgis_plugin.gui import format as fmt
from qgis_plugin.gui.dock import RotacubeDock
from qgis_plugin.gui.settings_dialog import SettingsDialog


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


def test_settings_are_kept(qgis_app):
    dialog = SettingsDialog(lambda: "report")
    changes = []
    dialog.changed.connect(lambda: changes.append(1))
    dialog.models.setText("/models/a:/models/b")
    dialog.accept()
    assert changes == [1] and environment.setting("models") == "/models/a:/models/b"
    SettingsDialog(lambda: "report").accept()
    assert QgsSettings().value("rotacube/models") == "/models/a:/models/b"
