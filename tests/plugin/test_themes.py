"""What is read in light and dark themes, and calls that later versions of QGIS have no more."""

import warnings

import pytest
from qgis.core import QgsGeometry, QgsRectangle
from qgis.PyQt.QtGui import QColor, QPalette
from qgis_plugin.gui.labels import CONTRAST, contrast, link_color
from qgis_plugin.roofs import known, shapes


def palette(link, text, window):
    made = QPalette()
    for role, color in (("Link", link), ("WindowText", text), ("Window", window)):
        made.setColor(getattr(QPalette.ColorRole, role), QColor(color))
    return made


def test_contrast_is_that_of_the_standard():
    assert contrast(QColor("#000000"), QColor("#ffffff")) == pytest.approx(21)
    assert contrast(QColor("#777777"), QColor("#ffffff")) == pytest.approx(4.48, abs=0.005)  # as WCAG's checkers say


@pytest.mark.parametrize(
    ("link", "text", "window"),
    [("#0000ff", "#000000", "#efefef"), ("#0000ff", "#dddddd", "#323232"), ("#0000ff", "#b1b1b1", "#2d2d2d")],
)
def test_links_can_be_read(link, text, window):
    assert contrast(link_color(palette(link, text, window)), QColor(window)) >= CONTRAST


def test_a_themes_own_link_stays_as_it_is():
    assert link_color(palette("#2d9cdb", "#fcfcfc", "#101010")).name() == "#2d9cdb"


def test_the_docks_links_follow_the_theme(desk):
    d = desk()
    d.ready()
    picker = d.dock.model_picker
    light = picker.facts.text()
    d.dock.setPalette(palette("#0000ff", "#dddddd", "#323232"))
    dark = picker.facts.text()
    assert dark != light and link_color(picker.palette()).name() in dark
    assert contrast(link_color(picker.palette()), QColor("#323232")) >= CONTRAST


def test_no_call_that_is_deprecated():
    square = QgsGeometry.fromRect(QgsRectangle(0, 0, 4, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        parts = shapes.cut(square, QgsGeometry.fromWkt("LINESTRING(1 -1, 1 5)"))
        batch = known.Batch([known.Roof(None, square, square), known.Roof(None, square, parts[0])])
        empty = known.Batch([])
    assert sorted(part.area() for part in parts) == pytest.approx([4, 12])
    assert batch.bounds == QgsRectangle(0, 0, 4, 4) and not list(empty.meeting(QgsRectangle(0, 0, 9, 9)))
