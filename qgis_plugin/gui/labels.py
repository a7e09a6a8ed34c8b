"""Small widgets that several parts of the GUI use."""

from __future__ import annotations

from html import escape

from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QColor, QPalette
from qgis.PyQt.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QScrollArea, QWidget

CONTRAST = 4.5
"""Of text that is to be read, with what is behind it (WCAG 2.1, 1.4.3)."""


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


def link(address: str, text: str, on: QWidget) -> str:
    """A link in rich text, in a colour that can be read on a widget in light and dark themes."""
    return f'<a href="{address}" style="color: {link_color(on.palette()).name()}">{escape(text)}</a>'


def link_color(palette: QPalette) -> QColor:
    """The palette's colour of links; as much nearer to that of texts as it takes to be read: themes forget links."""
    link, text = (palette.color(role) for role in (QPalette.ColorRole.Link, QPalette.ColorRole.WindowText))
    behind = palette.color(QPalette.ColorRole.Window)
    for step in range(10):
        share = step / 10
        color = QColor.fromRgbF(*(a + (b - a) * share for a, b in zip(link.getRgbF()[:3], text.getRgbF()[:3])))
        if contrast(color, behind) >= CONTRAST:
            return color
    return QColor(text.rgb())


def contrast(one: QColor, other: QColor) -> float:
    """How far two colours are apart in brightness, 1 to 21 (WCAG 2.1)."""
    brighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def _luminance(color: QColor) -> float:
    """Relative luminance of sRGB, 0 to 1."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color.getRgbF()[:3]]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear))


def scrolling(page: QWidget) -> QScrollArea:
    """A page that scrolls up and down where it is higher than its room; it is as wide as it needs."""
    scroll = QScrollArea()
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    scroll.setWidgetResizable(True)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setWidget(page)
    scroll.setMinimumWidth(page.minimumSizeHint().width() + scroll.verticalScrollBar().sizeHint().width())
    return scroll


def push_button(text: str, name: str, act) -> QPushButton:
    """A button that does something when it is clicked, and not by Enter in a field."""
    button = QPushButton(text)
    button.setObjectName(name)
    button.setAutoDefault(False)
    button.clicked.connect(act)
    return button


def in_row(*buttons: QPushButton, at_end: bool = False) -> QHBoxLayout:
    """Buttons beside each other, at the beginning of their line or at its end."""
    row = QHBoxLayout()
    for button in buttons:
        row.addWidget(button)
    row.insertStretch(0 if at_end else -1, 1)
    return row
