"""A result's summary: area and share of each class, to be read, copied and saved."""

from __future__ import annotations

import csv
from typing import Optional

from qgis.PyQt.QtCore import QEvent, QSize, Qt, pyqtSignal
from qgis.PyQt.QtGui import QColor, QIcon, QKeySequence, QPainter, QPixmap
from qgis.PyQt.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ..client.schema import JobResult
from ..i18n import tr
from ..layers import classes
from . import format as fmt
from .labels import note

_LINES = 8  # more classes scroll


class ResultView(QWidget):
    """A small table with a title above and notes below it; hidden until there is a result."""

    not_saved = pyqtSignal(str)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._result: Optional[JobResult] = None
        self.title = QLabel()
        self.title.setObjectName("rotacubeResultTitle")
        self.title.setWordWrap(True)
        self.table = _Table()
        self.copy_button = self._button(tr("Copy"), tr("Copy the table for a spreadsheet"), "rotacubeResultCopy")
        self.copy_button.clicked.connect(self.table.copy)
        self.save_button = self._button(tr("Save as CSV…"), tr("Save pixels, areas and shares"), "rotacubeResultSave")
        self.save_button.clicked.connect(self._save)
        self.note = note()
        self.note.setObjectName("rotacubeResultNote")
        self.note.setTextFormat(Qt.TextFormat.PlainText)
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        buttons.addWidget(self.copy_button)
        buttons.addWidget(self.save_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.title)
        layout.addWidget(self.table)
        layout.addLayout(buttons)
        layout.addWidget(self.note)
        self.hide()

    def show_result(self, name: str, title: str, result: JobResult) -> None:
        """Show a job's areas.

        Args:
            name: the mask's.
            title: what was mapped, and with what.
            result: what the job left.
        """
        self._result = result
        self.title.setText(f"<b>{_escaped(name)}</b><br>{_escaped(title)}")
        self.table.show_classes(result)
        self.table.setAccessibleName(tr("Areas of {}").format(name))
        text = tr("{width} × {height} pixels of {gsd}, mapped in {time} on {device}")
        text = text.format(
            width=fmt.number(result.width),
            height=fmt.number(result.height),
            gsd=fmt.pixel_size(result.gsd),
            time=fmt.duration(result.seconds),
            device=fmt.device(result.device),
        )
        self.note.setText("\n".join([text, *result.notes]))
        self.show()

    def clear(self) -> None:
        """There is no result to show."""
        self._result = None
        self.hide()

    def _button(self, text: str, tooltip: str, name: str) -> QToolButton:
        button = QToolButton()
        button.setObjectName(name)
        button.setText(text)
        button.setToolTip(tooltip)
        button.setAutoRaise(True)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        return button

    def _save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, tr("Save the areas as"), "", tr("CSV") + " (*.csv)")
        if not path:
            return
        if not path.lower().endswith(".csv"):
            path += ".csv"
        try:
            write_csv(path, self._result)
        except OSError as error:
            text = tr("{path} cannot be written ({why}). Choose another place for the table.")
            self.not_saved.emit(text.format(path=path, why=error.strerror or error))


def write_csv(path: str, result: JobResult) -> None:
    """Pixels, areas in square metres and shares of each class, with numbers as programs read them.

    Raises:
        OSError: if nothing can be written there.
    """
    with open(path, "w", encoding="utf-8-sig", newline="") as file:  # the signature tells spreadsheets what it is
        table = csv.writer(file)
        table.writerow(["id", "class", "pixels", "area_m2", "share"])
        for item in result.classes:
            table.writerow([item.id, item.name, item.pixels, item.area_m2, item.share])


class _Table(QTableWidget):
    """Classes with their areas; as high as its rows, whatever the theme makes of them."""

    def __init__(self):
        super().__init__(0, 4)
        self.setObjectName("rotacubeResult")
        self.setHorizontalHeaderLabels([tr("Class"), tr("m²"), tr("ha"), tr("Share")])
        self.verticalHeader().hide()
        self.setShowGrid(False)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setTabKeyNavigation(False)  # Tab leads on to the next widget, arrows from cell to cell
        self.setIconSize(QSize(12, 12))
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setMinimumSectionSize(58)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in range(4):
            self.horizontalHeaderItem(column).setTextAlignment(_alignment(column))

    def show_classes(self, result: JobResult) -> None:
        """One row a class."""
        self.setRowCount(len(result.classes))
        for row, item in enumerate(result.classes):
            texts = [item.name, fmt.square_metres(item.area_m2), fmt.hectares(item.area_m2), fmt.share(item.share)]
            for column, text in enumerate(texts):
                cell = QTableWidgetItem(text)
                cell.setTextAlignment(_alignment(column))
                if column == 0:
                    cell.setIcon(_swatch(classes.color(item)))
                    cell.setToolTip(tr("{} pixels").format(fmt.number(item.pixels)))
                self.setItem(row, column, cell)
        self._fit()

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

    def changeEvent(self, event) -> None:
        """Another theme or font has rows of another height."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.StyleChange, QEvent.Type.FontChange, QEvent.Type.ApplicationFontChange):
            self._fit()

    def _fit(self) -> None:
        self.resizeRowsToContents()
        rows = sum(self.rowHeight(row) for row in range(min(_LINES, self.rowCount())))
        frame = 2 * self.frameWidth()
        self.setFixedHeight(self.horizontalHeader().sizeHint().height() + rows + frame)


def _alignment(column: int) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignLeft if column == 0 else Qt.AlignmentFlag.AlignRight
    return side | Qt.AlignmentFlag.AlignVCenter


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _swatch(color: QColor) -> QIcon:
    pixmap = QPixmap(12, 12)
    pixmap.fill(color)
    painter = QPainter(pixmap)
    painter.setPen(QColor(128, 128, 128))
    painter.drawRect(0, 0, 11, 11)
    painter.end()
    return QIcon(pixmap)
