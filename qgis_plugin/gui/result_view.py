"""The result's summary: area and share of each class."""

from __future__ import annotations

from qgis.PyQt.QtCore import QSize, Qt
from qgis.PyQt.QtGui import QColor, QIcon, QPainter, QPixmap
from qgis.PyQt.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from ..client.schema import JobResult
from ..i18n import tr
from ..layers import classes
from . import format as fmt
from .labels import note


class ResultView(QWidget):
    """A small table with a line below it; hidden until there is a result."""

    def __init__(self, parent=None):
        super().__init__(parent)
        heading = QLabel(f"<b>{tr('Result')}</b>")
        self.table = QTableWidget(0, 4)
        self.table.setObjectName("rotacubeResult")
        self.table.setHorizontalHeaderLabels([tr("Class"), tr("m²"), tr("ha"), tr("Share")])
        self.table.verticalHeader().hide()
        self.table.setShowGrid(False)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.table.setIconSize(QSize(12, 12))
        self.table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header = self.table.horizontalHeader()
        header.setHighlightSections(False)
        header.setMinimumSectionSize(58)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in range(4):
            self.table.horizontalHeaderItem(column).setTextAlignment(_alignment(column))
        self.note = note()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (heading, self.table, self.note):
            layout.addWidget(widget)
        self.hide()

    def show_result(self, result: JobResult) -> None:
        """Show a finished job's areas."""
        self.table.setRowCount(len(result.classes))
        for row, item in enumerate(result.classes):
            texts = [item.name, fmt.number(item.area_m2), fmt.hectares(item.area_m2), fmt.share(item.share)]
            for column, text in enumerate(texts):
                cell = QTableWidgetItem(text)
                cell.setTextAlignment(_alignment(column))
                if column == 0:
                    cell.setIcon(_swatch(classes.color(item)))
                    cell.setToolTip(tr("{} pixels").format(fmt.number(item.pixels)))
                self.table.setItem(row, column, cell)
        self.table.resizeRowsToContents()
        rows = sum(self.table.rowHeight(row) for row in range(min(8, self.table.rowCount())))
        frame = 2 * self.table.frameWidth()
        self.table.setFixedHeight(self.table.horizontalHeader().sizeHint().height() + rows + frame)
        text = tr("{width} × {height} pixels of {gsd}, mapped in {time} on {device}")
        self.note.setText(
            text.format(
                width=fmt.number(result.width),
                height=fmt.number(result.height),
                gsd=fmt.pixel_size(result.gsd),
                time=fmt.duration(result.seconds),
                device=fmt.device(result.device),
            )
        )
        self.show()


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
