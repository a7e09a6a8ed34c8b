"""Small widgets that several parts of the GUI use."""

from __future__ import annotations

from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QPalette
from qgis.PyQt.QtWidgets import QFrame, QLabel, QScrollArea, QWidget


def note(text: str = "") -> QLabel:
    """A line of explanation: wrapped, and paler than the text around it in light and dark themes."""
    label = QLabel(text)
    label.setWordWrap(True)
    palette = label.palette()
    color = palette.color(QPalette.ColorRole.WindowText)
    color.setAlpha(165)
    palette.setColor(QPalette.ColorGroup.Active, QPalette.ColorRole.WindowText, color)
    palette.setColor(QPalette.ColorGroup.Inactive, QPalette.ColorRole.WindowText, color)
    label.setPalette(palette)
    return label


def scrolling(page: QWidget) -> QScrollArea:
    """A page that scrolls up and down where it is higher than its room; it is as wide as it needs."""
    scroll = QScrollArea()
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    scroll.setWidgetResizable(True)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setWidget(page)
    scroll.setMinimumWidth(page.minimumSizeHint().width() + scroll.verticalScrollBar().sizeHint().width())
    return scroll
