"""Messages to the user: a sentence in the message bar, details in the QGIS log under "Rotacube".

A message is of a kind. Those of one kind replace each other, and are withdrawn when they no longer hold.
"""

from __future__ import annotations

from typing import Dict

from qgis.core import QgsMessageLog
from qgis.gui import QgsMessageBar, QgsMessageBarItem
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QPushButton

from .compat import Level, is_alive

RUN, BACKEND = "run", "backend"  # kinds: what became of a run or of the wish for one, how the backend is
INTERRUPTED, ROOFS = "interrupted", "roofs"  # kinds: what an earlier backend has left, roofs by click
LEARNING, FRAMES = "learning", "frames"  # kinds: a model that is taught, drone frames that are mapped
TITLE = "Rotacube"
BUTTONS = 380  # pixels of a message bar that title and buttons take
FITS = 70  # letters that a message bar shows at once; longer texts get a button "Show more"


def log(text: str, level=Level.Info) -> None:
    """Write a line to the QGIS log panel."""
    QgsMessageLog.logMessage(text, TITLE, level, False)


class Notifier:
    """The message bar, with the log behind it."""

    def __init__(self, iface):
        self._iface = iface
        self._shown: Dict[str, QgsMessageBarItem] = {}

    def info(self, text: str, kind: str = RUN) -> None:
        """Say something that asks for nothing."""
        self._push(text, "", Level.Info, 6, kind)

    def success(self, text: str, kind: str = RUN) -> None:
        """Say that something has been done."""
        self._push(text, "", Level.Success, 10, kind)

    def warning(self, text: str, details: str = "", kind: str = RUN) -> None:
        """Say what the user should know or change."""
        self._push(text, details, Level.Warning, 0, kind)

    def error(self, text: str, details: str = "", kind: str = RUN) -> None:
        """Say what went wrong and what to do; it stays until it is closed or no longer holds."""
        self._push(text, details, Level.Critical, 0, kind)

    def repeat(self, text: str, details: str = "", kind: str = RUN) -> None:
        """Say once more what was said before; it stays until it is closed."""
        self._push(text, details, Level.Info, 0, kind)

    def ask(self, text: str, button: str, action, level=Level.Warning, kind: str = RUN, other=None) -> None:
        """Offer something: a message with a button that does it, and perhaps another: its text and its action."""
        self.withdraw(kind)
        bar = self._iface.messageBar()
        item = bar.createMessage(TITLE, _in_a_line(bar, text))
        item.setToolTip(text)
        self._button(item, "rotacubeMessageButton", button, action, kind)
        if other is not None:
            self._button(item, "rotacubeMessageOther", *other, kind)
        bar.pushWidget(item, level, 0)
        self._shown[kind] = item
        log(text, level)

    def _button(self, item: QgsMessageBarItem, name: str, text: str, action, kind: str) -> None:
        def act():
            self.withdraw(kind)
            action()

        push = QPushButton(text, item)
        push.setObjectName(name)
        push.clicked.connect(act)
        item.layout().addWidget(push)

    def withdraw(self, kind: str = "") -> None:
        """Take back what no longer holds: of a kind, or everything."""
        for each in [kind] if kind else list(self._shown):
            item = self._shown.pop(each, None)
            if is_alive(item):
                self._iface.messageBar().popWidget(item)

    def _push(self, text: str, details: str, level, seconds: int, kind: str) -> None:
        log(f"{text}\n{details}" if details else text, level)
        self.withdraw(kind)
        bar = self._iface.messageBar()
        if details or len(text) > FITS:
            bar.pushMessage(TITLE, _in_a_line(bar, text), f"{text}\n\n{details}".rstrip(), level, seconds)
        else:
            bar.pushMessage(TITLE, text, level, seconds)
        item = bar.currentItem()
        item.setToolTip(text)
        self._shown[kind] = item


def _in_a_line(bar: QgsMessageBar, text: str) -> str:
    """As much of a text as a message bar shows at once beside its buttons: it scrolls what is longer, one line high."""
    width = max(bar.width() - BUTTONS, 300)
    return bar.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, width)
