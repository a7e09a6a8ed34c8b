"""The list of runs in the dock: what waits, what is being made, what has ended, and what can be done about each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Optional, Tuple

from qgis.PyQt.QtCore import QEvent, Qt, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QToolButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from ..i18n import tr

OPEN, FOLDER, RESUME, MESSAGE = "open", "folder", "resume", "message"
CANCEL, DISCARD, REMOVE = "cancel", "discard", "remove"
"""What can be done about a run: Enter does the first unless it ends something, Delete removes."""
_KEY = Qt.ItemDataRole.UserRole
_LINES = 5  # more runs scroll
NOW, LEFT, PAST = 0, 1, 2
"""Of the runs of this session the latest comes first; what was left, and what was done, before it stand below them."""


@dataclass(frozen=True)
class Row:
    """A run as it is shown: its name, how it stands, what can be done about it, in the order of the buttons."""

    name: str
    text: str
    actions: Tuple[str, ...]
    tooltip: str = ""
    rank: int = NOW


class JobsView(QWidget):
    """A small list with buttons below it; hidden while there is no run to show.

    Signals:
        asked: the run's key, and what is to be done about it.
    """

    asked = pyqtSignal(str, str)

    def __init__(self, parent: Optional[QWidget] = None):
        super().__init__(parent)
        self._rows: Dict[str, Row] = {}
        self._items: Dict[str, QTreeWidgetItem] = {}
        self.list = _List(self)  # Tab comes to it before it comes to the buttons
        self.list.currentItemChanged.connect(self._offer)
        self.list.key_pressed.connect(self._pressed)
        self.list.itemDoubleClicked.connect(lambda *_: self._ask_first())
        title = QLabel(tr("Runs"))
        title.setBuddy(self.list)
        row = QHBoxLayout()
        row.addWidget(title)
        row.addStretch(1)
        self.buttons: Dict[str, QToolButton] = {}
        for action, text in (
            (OPEN, tr("Open")),
            (FOLDER, tr("Folder")),
            (RESUME, tr("Resume")),
            (MESSAGE, tr("Message")),
            (CANCEL, tr("Cancel")),
            (DISCARD, tr("Discard")),
            (REMOVE, tr("Remove")),
        ):
            self.buttons[action] = self._button(action, text)
            row.addWidget(self.buttons[action])
        self.buttons[OPEN].setToolTip(tr("Show the result; it is added where the project has it no longer"))
        self.buttons[FOLDER].setToolTip(tr("Open the folder with the run's files"))
        self.buttons[REMOVE].setToolTip(tr("Take the run off this list; its files stay"))
        self.buttons[DISCARD].setToolTip(tr("Remove what the run has left"))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(row)
        column.addWidget(self.list)
        self.hide()

    def show_row(self, key: str, row: Row) -> None:
        """Show a run, or how it stands now; a new one comes where its rank puts it."""
        self._rows[key] = row
        item = self._items.get(key)
        if item is None:
            item = self._items[key] = QTreeWidgetItem()
            item.setData(0, _KEY, key)
            above = 0 if row.rank == NOW else sum(row.rank >= other.rank for other in self._rows.values()) - 1
            self.list.insertTopLevelItem(above, item)
            if row.rank == NOW or self.list.currentItem() is None:
                self.list.setCurrentItem(item)
        for column, text in enumerate((row.name, row.text)):
            item.setText(column, text)
            item.setToolTip(column, row.tooltip or f"{row.name}: {row.text}")
        item.setTextAlignment(1, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._fit()
        if item is self.list.currentItem():
            self._offer()

    def remove_row(self, key: str) -> None:
        """Show a run no longer."""
        item = self._items.pop(key, None)
        if item is not None:
            del self._rows[key]
            self.list.takeTopLevelItem(self.list.indexOfTopLevelItem(item))
            self._fit()
            self._offer()

    def choose(self, key: str) -> None:
        """Make a run the current one."""
        self.list.setCurrentItem(self._items[key])

    def current(self) -> str:
        """The current run's key; empty where there is none."""
        item = self.list.currentItem()
        return "" if item is None else item.data(0, _KEY)

    def _button(self, action: str, text: str) -> QToolButton:
        button = QToolButton()
        button.setObjectName(f"rotacubeJob_{action}")
        button.setText(text)
        button.setAutoRaise(True)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        button.clicked.connect(lambda: self._ask(action))
        button.hide()
        return button

    def _offer(self, *_about) -> None:
        """Show the buttons that the current run allows; the focus does not leave the list with one that goes."""
        row = self._rows.get(self.current())
        allowed = row.actions if row is not None else ()
        for action, button in self.buttons.items():
            if action not in allowed and button.hasFocus():
                self.list.setFocus()
            button.setVisible(action in allowed)

    def _ask(self, action: str) -> None:
        row = self._rows.get(self.current())
        if row is not None and action in row.actions:
            self.asked.emit(self.current(), action)

    def _ask_first(self) -> None:
        row = self._rows.get(self.current())
        first = row.actions[0] if row is not None and row.actions else ""
        if first in (OPEN, RESUME, MESSAGE):
            self._ask(first)

    def _pressed(self, key: int) -> None:
        if key == Qt.Key.Key_Delete:
            self._ask(REMOVE)
        else:
            self._ask_first()

    def _fit(self) -> None:
        self.setVisible(bool(self._rows))
        self.list.fit(_LINES)


class _List(QTreeWidget):
    """Two columns, as high as its rows; Enter and Delete are told of."""

    key_pressed = pyqtSignal(int)

    def __init__(self, parent: QWidget):
        super().__init__(parent)
        self.setObjectName("rotacubeJobs")
        self.setAccessibleName(tr("Runs"))
        self.setColumnCount(2)
        self.setHeaderHidden(True)
        self.setRootIsDecorated(False)
        self.setUniformRowHeights(True)
        self.setAllColumnsShowFocus(True)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setTabKeyNavigation(False)
        self.setExpandsOnDoubleClick(False)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header = self.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        header.setMinimumSectionSize(60)

    def fit(self, lines: int) -> None:
        """As high as its rows, but no more than so many."""
        height = max(self.sizeHintForRow(0), self.fontMetrics().height()) * min(lines, max(1, self.topLevelItemCount()))
        self.setFixedHeight(height + 2 * self.frameWidth() + 2)

    def keyPressEvent(self, event) -> None:
        """Enter and Delete are for whoever owns the list."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Delete):
            self.key_pressed.emit(event.key())
            event.accept()
            return
        super().keyPressEvent(event)

    def changeEvent(self, event) -> None:
        """Another theme or font has rows of another height."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.StyleChange, QEvent.Type.FontChange, QEvent.Type.ApplicationFontChange):
            self.fit(_LINES)
