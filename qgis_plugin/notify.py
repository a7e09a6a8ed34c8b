"""Messages to the user: a sentence in the message bar, details in the QGIS log under "Rotacube"."""

from __future__ import annotations

from qgis.core import QgsMessageLog
from qgis.gui import QgsMessageBar
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QPushButton

from .compat import Level, is_alive

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
        self._question = None

    def info(self, text: str) -> None:
        """Say something that asks for nothing."""
        self._push(text, "", Level.Info, 6)

    def success(self, text: str) -> None:
        """Say that something has been done."""
        self._push(text, "", Level.Success, 10)

    def warning(self, text: str, details: str = "") -> None:
        """Say what the user should know or change."""
        self._push(text, details, Level.Warning, 0)

    def error(self, text: str, details: str = "") -> None:
        """Say what went wrong and what to do; it stays until it is closed."""
        self._push(text, details, Level.Critical, 0)

    def ask(self, text: str, button: str, action, level=Level.Warning) -> None:
        """Offer something: a message with a button that does it."""
        self.withdraw_question()
        bar = self._iface.messageBar()
        item = bar.createMessage(TITLE, _in_a_line(bar, text))
        item.setToolTip(text)
        push = QPushButton(button, item)
        push.setObjectName("rotacubeMessageButton")

        def act():
            self.withdraw_question()
            action()

        push.clicked.connect(act)
        item.layout().addWidget(push)
        bar.pushWidget(item, level, 0)
        self._question = item
        log(text, level)

    def withdraw_question(self) -> None:
        """Take an offer back that is no longer asked for."""
        if is_alive(self._question):
            self._iface.messageBar().popWidget(self._question)
        self._question = None

    def _push(self, text: str, details: str, level, seconds: int) -> None:
        log(f"{text}\n{details}" if details else text, level)
        bar = self._iface.messageBar()
        if details or len(text) > FITS:
            bar.pushMessage(TITLE, _in_a_line(bar, text), f"{text}\n\n{details}".rstrip(), level, seconds)
        else:
            bar.pushMessage(TITLE, text, level, seconds)
        bar.currentItem().setToolTip(text)


def _in_a_line(bar: QgsMessageBar, text: str) -> str:
    """As much of a text as a message bar shows at once beside its buttons: it scrolls what is longer, one line high."""
    width = max(bar.width() - BUTTONS, 300)
    return bar.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, width)
