"""Statistics in a window: table, bars and pie of each zone, to be copied and saved."""

import csv
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from osgeo import ogr
from qgis.PyQt.QtCore import QRectF, Qt
from qgis.PyQt.QtGui import QColor
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication, QFileDialog, QPushButton
from qgis_plugin.algorithms.grid import TreatmentGrid
from qgis_plugin.client.schema import ClassArea
from qgis_plugin.gui.chart import BarChart, Piece, PieChart, picture
from qgis_plugin.gui.shares_window import SharesWindow
from qgis_plugin.layers import further, shares

RED, BLUE = "#e2572b", "#2b6ee2"
KNOWN = [
    ClassArea(0, "background", "#000000", 600, 600.0, 0.6),
    ClassArea(1, "oak", RED, 300, 300.0, 0.3),
    ClassArea(2, "elm", BLUE, 100, 100.0, 0.1),
]
HEADER = (
    "zone,class_id,class,pixels,area_m2,area_best_m2,area_low_m2,area_high_m2,"
    "share,share_best,share_low,share_high,count,count_best,count_low,count_high,assumptions"
)
ROWS = (
    "whole map,0,background,600,600.0,580.0,500.0,650.0,0.6,0.58,0.5,0.65,,,,,Errors are as on validation.",
    "whole map,1,oak,300,300.0,320.0,240.0,400.0,0.3,0.32,0.24,0.4,7,8,5,11,",
    "whole map,2,elm,100,100.0,100.0,50.0,150.0,0.1,0.1,0.05,0.15,,,,,",
    "Füssen,0,background,100,100.0,100.0,,,1.0,1.0,,,,,,,",
    "Füssen,1,oak,0,0.0,0.0,,,0.0,0.0,,,,,,,",
    "Füssen,2,elm,0,0.0,0.0,,,0.0,0.0,,,,,,,",
)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "town_statistics.csv"
    path.write_text("\n".join([HEADER, *ROWS, ROWS[3].replace("100.0", "50.0")]) + "\n", encoding="utf-8-sig")
    return str(path)


@pytest.fixture
def window(qgis_app, file):
    made = SharesWindow("town", file, shares.read(file), KNOWN)
    made.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
    made.show()
    yield made
    made.close()
    made.deleteLater()
    QApplication.processEvents()


def texts(table):
    return [
        [table.item(row, column).text() for column in range(table.columnCount())] for row in range(table.rowCount())
    ]


def test_a_file_may_have_further_columns(file):
    known = shares.read(file)
    path = Path(file)
    head, *rows = path.read_text(encoding="utf-8-sig").splitlines()
    more = [row.rpartition(",")[0] + ",0.75,0.7,0.6,0.8," + row.rpartition(",")[2] for row in rows]
    head = head.replace(
        "assumptions", "vegetated_share,vegetated_share_best,vegetated_share_low,vegetated_share_high,assumptions"
    )
    path.write_text("\n".join([head, *more]) + "\n", encoding="utf-8-sig")
    assert shares.read(file) == known


def press(window, name):
    QTest.mouseClick(window.findChild(QPushButton, name), Qt.MouseButton.LeftButton)


def count(image, color):
    wanted = QColor(color).rgb()
    return sum(image.pixel(x, y) == wanted for y in range(0, image.height(), 2) for x in range(0, image.width(), 2))


def test_a_file_has_the_whole_map_and_zones_also_of_one_name(file):
    content = shares.read(file)
    assert [(zone.name, len(zone.classes)) for zone in content.zones] == [
        ("whole map", 3),
        ("Füssen", 3),
        ("Füssen", 1),
    ]
    assert content.assumptions == "Errors are as on validation."
    oak = content.zones[0].classes[1]
    assert oak.area == (300, 320, 240, 400) and oak.share == (0.3, 0.32, 0.24, 0.4) and oak.roofs == (7, 8, 5, 11)
    assert content.zones[1].classes[0].area == (100, 100, None, None)


@pytest.mark.parametrize("content", [None, "", "a,b\n1,2\n", HEADER + "\n", HEADER + "\nwhole map,x,oak,1\n"])
def test_a_file_that_is_gone_or_changed_is_told_in_a_sentence(tmp_path, content):
    path = tmp_path / "s.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(shares.SharesError, match=r"s\.csv .*\.$"):
        shares.read(str(path))


def test_the_table_follows_the_zone(window):
    assert texts(window.table)[1] == [
        *("oak", "300", "320", "240", "400"),
        *("30.0 %", "32.0 %", "24.0 %", "40.0 %", "7", "8", "5", "11"),
    ]
    assert window.table.columnWidth(0) > window.table.fontMetrics().boundingRect("background").width()
    assert window.assumptions.toPlainText() == "Errors are as on validation." and "95%" in window.legend.text()
    window.zone.setCurrentIndex(1)
    assert texts(window.table)[0] == ["background", "100", "100", "–", "–", "100.0 %", "100.0 %", "–", "–"]
    assert "without intervals" in window.legend.text()
    assert "Füssen" in window.bars.accessibleName() and "Füssen" in window.table.accessibleName()


def test_what_is_drawn_is_also_told_and_reached_with_tab(window):
    assert "oak 320 m² (240 – 400)" in window.bars.accessibleDescription()
    window.background.setChecked(False)
    assert "background" not in window.pie.accessibleDescription() and len(texts(window.table)) == 3
    window.zone.setFocus()
    reached = set()
    for _ in range(12):
        QTest.keyClick(window.focusWidget(), Qt.Key.Key_Tab)
        reached.add(window.focusWidget())
    wanted = {window.bars, window.pie, window.table, window.assumptions, window.background, window.zone}
    assert wanted | set(window.findChildren(QPushButton)) <= reached
    assert all(widget.accessibleName() for widget in (window.bars, window.pie, window.table, window.assumptions))


def test_bars_and_their_intervals_are_in_proportion(qgis_app):
    chart = BarChart()
    chart.show_pieces(
        "", [Piece("a", QColor(RED), 300, 200, 400), Piece("b", QColor(BLUE), 100), Piece("c", QColor(), 0)]
    )
    one, two, none = chart.bars(QRectF(10, 20, 500, 300))
    assert one.rect.width() == pytest.approx(3 * two.rect.width()) and none.rect.width() == 0
    assert one.rect.left() == two.rect.left() and two.low is None
    length = one.rect.width() / 300
    assert one.low - one.rect.left() == pytest.approx(200 * length)
    assert one.high - one.rect.left() == pytest.approx(400 * length) and one.high < 510
    assert one.rect.bottom() < two.rect.top()


def test_the_picture_has_the_colours_of_the_map_in_proportion(qgis_app):
    bars, pie = BarChart(), PieChart()
    for chart in (bars, pie):
        chart.show_pieces("", [Piece("oak", QColor(RED), 300), Piece("elm", QColor(BLUE), 100)])
    image = picture("town", "", bars, pie)
    assert image.devicePixelRatio() == 2
    assert count(image, RED) / count(image, BLUE) == pytest.approx(3, rel=0.1)


def test_many_classes_are_all_bars_and_the_small_ones_one_slice(qgis_app):
    pie = PieChart()
    pie.show_pieces("", [Piece(str(n), QColor(RED), n) for n in range(41)])
    assert len(pie.slices()) == 8 and pie.slices()[-1].area == sum(range(34))
    bars = BarChart()
    bars.show_pieces("", pie.pieces)
    assert bars.minimumHeight() >= bars.bars(QRectF(0, 0, 400, 10))[-1].rect.bottom()
    pie.show_pieces("", [])
    assert not picture("", "", bars, pie).isNull(), "nothing at all can be drawn, too"


def test_table_and_picture_are_copied(window):
    press(window, "rotacubeCopyTable")
    lines = QApplication.clipboard().text().split("\n")
    assert len(lines) == 4 and lines[0].startswith("Class\tm² mapped\t") and lines[2].startswith("oak\t300\t320\t")
    press(window, "rotacubeCopyPicture")
    assert count(QApplication.clipboard().image(), RED) > 100
    assert "picture" in window.said.text()


@pytest.mark.parametrize("suffix", shares.formats())
def test_what_is_saved_is_read_back(window, file, tmp_path, monkeypatch, suffix):
    target = tmp_path / f"out{suffix}"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target), ""))
    press(window, "rotacubeSaveShares")
    assert str(target) in window.said.text()
    if suffix == shares.CSV:
        with target.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert rows[3]["zone"] == "Füssen" and float(rows[1]["area_best_m2"]) == 320
    else:
        source = ogr.Open(str(target))
        layer = source.GetLayer(0)
        kinds = {field.GetName(): field.GetType() for field in layer.schema}
        rows = [row.items() for row in layer]
        assert list(kinds) == HEADER.split(",") and kinds["area_best_m2"] in (ogr.OFTReal, ogr.OFTInteger)
        assert rows[3]["zone"] == "Füssen" and rows[1]["area_high_m2"] == 400 and rows[3]["area_low_m2"] is None
    assert len(rows) == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([target.name, Path(file).name])


def test_nothing_is_replaced_unasked_or_half_written(window, file, tmp_path, monkeypatch):
    (tmp_path / "mine.csv").write_text("mine")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "mine"), "CSV (*.csv)"))
    press(window, "rotacubeSaveShares")
    assert "there already" in window.said.text() and (tmp_path / "mine.csv").read_text() == "mine"
    for suffix in shares.formats():
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, s=suffix: (str(tmp_path / f"no/where{s}"), ""))
        press(window, "rotacubeSaveShares")
        assert "cannot be written" in window.said.text()
    Path(file).unlink()
    for suffix in shares.formats():
        with pytest.raises(shares.SharesError):
            shares.save(file, str(tmp_path / f"late{suffix}"))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.csv"]


def test_the_dock_offers_charts_where_a_run_made_statistics(desk, tmp_path):
    d = desk()
    d.ready()
    for kinds, offered in (((), False), ((further.STATISTICS,), True)):
        for kind, box in d.dock.further.boxes.items():
            box.setChecked(kind in kinds)
        d.type_output(tmp_path / f"mask{len(kinds)}.tif")
        d.run()
        d.until_idle()
        assert d.dock.result.charts_button.isVisible() == offered
    d.click(d.dock.result.charts_button)
    (window,) = d.dock.findChildren(SharesWindow)
    assert window.isVisible() and texts(window.table)[0][:3] == ["building", "40", "42"]
    assert window.bars.pieces[0].color == QColor(d.dock.result._result.classes[1].color)
    window.close()
    (tmp_path / "mask1_statistics.csv").unlink()
    d.click(d.dock.result.charts_button)
    assert any("cannot be read" in text for text in d.iface.messages())


def test_the_dock_opens_the_grid_s_dialog_with_the_mask(desk, tmp_path, monkeypatch):
    d, opened = desk(), []
    d.ready()
    d.type_output(tmp_path / "mask.tif")
    d.run()
    d.until_idle()
    general = SimpleNamespace(execAlgorithmDialog=lambda name, given: opened.append((name, given)))
    monkeypatch.setitem(sys.modules, "processing", general)
    d.click(d.dock.result.grid_button)
    assert opened == [(f"rotacube:{TreatmentGrid.NAME}", {"INPUT": str(tmp_path / "mask.tif")})]
    monkeypatch.setitem(sys.modules, "processing", None)  # a person has turned it off
    d.click(d.dock.result.grid_button)
    assert any("Processing is turned off" in text for text in d.iface.messages())
