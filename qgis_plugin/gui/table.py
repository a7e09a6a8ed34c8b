"""Tables that are read, walked through with the arrows, and copied for spreadsheets."""

from __future__ import annotations

from typing import Sequence

from qgis.PyQt.QtCore import QSize, Qt
from qgis.PyQt.QtGui import QColor, QIcon, QKeySequence, QPainter, QPixmap
from qgis.PyQt.QtWidgets import QAbstractItemView, QApplication, QHeaderView, QTableWidget, QTableWidgetItem


class CopyTable(QTableWidget):
    """A table of texts: the first column leads, numbers follow.

    Args:
        columns: their headers.
    """

    def __init__(self, columns: Sequence[str]):
        super().__init__(0, 0)
        self.verticalHeader().hide()
        self.setShowGrid(False)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setTabKeyNavigation(False)  # Tab leads on to the next widget, arrows from cell to cell
        self.setIconSize(QSize(12, 12))
        self.horizontalHeader().setHighlightSections(False)
        self.set_columns(columns)

    def set_columns(self, columns: Sequence[str]) -> None:
        """Other columns, without rows yet."""
        self.setRowCount(0)
        self.setColumnCount(len(columns))
        self.setHorizontalHeaderLabels(columns)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        if columns:  # Qt falls over where there is no section
            header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in range(len(columns)):
            self.horizontalHeaderItem(column).setTextAlignment(_alignment(column))

    def set_row(self, row: int, texts: Sequence[str], color: QColor, tooltip: str = "") -> None:
        """Fill a row; its first cell shows the colour."""
        for column, text in enumerate(texts):
            cell = QTableWidgetItem(text)
            cell.setTextAlignment(_alignment(column))
            if column == 0:
                cell.setIcon(_swatch(color))
                cell.setToolTip(tooltip)
            self.setItem(row, column, cell)

    def copy(self) -> None:
        """Put the selected cells on the clipboard, or the whole table with its header."""
        cells = {(index.row(), index.column()) for index in self.selectedIndexes()}
        lines = []
        if not cells:
            cells = {(row, column) for row in range(self.rowCount()) for column in range(self.columnCount())}
            lines.append("\t".join(self.horizontalHeaderItem(column).text() for column in range(self.columnCount())))
        for row in sorted({row for row, _ in cells}):
            columns = sorted(column for line, column in cells if line == row)
            lines.append("\t".join(self.item(row, column).text() for column in columns))
        QApplication.clipboard().setText("\n".join(lines))

    def keyPressEvent(self, event) -> None:
        """Ctrl+C copies."""
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy()
            event.accept()
            return
        super().keyPressEvent(event)


def _alignment(column: int) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignLeft if column == 0 else Qt.AlignmentFlag.AlignRight
    return side | Qt.AlignmentFlag.AlignVCenter


def _swatch(color: QColor) -> QIcon:
    pixmap = QPixmap(12, 12)
    pixmap.fill(color)
    painter = QPainter(pixmap)
    painter.setPen(QColor(128, 128, 128))
    painter.drawRect(0, 0, 11, 11)
    painter.end()
    return QIcon(pixmap)
