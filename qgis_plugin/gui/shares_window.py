"""The window with a run's statistics: table, bars and pie of the whole map or a zone, to be read, copied and saved."""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional, Sequence

from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QColor, QPalette
from qgis.PyQt.QtWidgets import (
    QApplication,
    QCheckBox,
    QComboBox,
    QDialog,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from ..client.schema import ClassArea
from ..i18n import tr
from ..layers import classes, shares
from ..layers.shares import ClassShare, Measure, Shares
from . import format as fmt
from .chart import BarChart, Piece, PieChart, picture
from .labels import note
from .table import CopyTable

_TYPES = {shares.CSV: "CSV", shares.XLSX: "XLSX"}


class SharesWindow(QDialog):
    """Shows one file of statistics; it is deleted when it is closed.

    Args:
        name: the mask's.
        path: the file.
        content: what stands in it.
        known: the mask's classes, for their colours.
        parent: who owns the window.
    """

    def __init__(
        self, name: str, path: str, content: Shares, known: Sequence[ClassArea], parent: Optional[QWidget] = None
    ):
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setObjectName("rotacubeShares")
        self.setWindowTitle(tr("Statistics of {}").format(name))
        self._name, self._path, self._content = name, path, content
        self._colors = {item.id: classes.color(item) for item in known}
        self._build()
        self._show_zone()
        em = self.fontMetrics().height()
        self.resize(58 * em, 40 * em)

    def _build(self) -> None:
        self.zone = QComboBox()
        self.zone.setObjectName("rotacubeZone")
        self.zone.setAccessibleName(tr("Zone"))
        self.zone.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.zone.setMinimumContentsLength(24)
        self.zone.addItem(tr("Whole map"))
        self.zone.addItems([zone.name for zone in self._content.zones[1:]])
        self.zone.currentIndexChanged.connect(self._show_zone)
        self.background = QCheckBox(tr("Charts with the &background"))
        self.background.setObjectName("rotacubeChartBackground")
        self.background.setChecked(True)
        self.background.toggled.connect(self._show_zone)
        label = QLabel(tr("&Zone"))
        label.setBuddy(self.zone)
        self.legend = note()
        self.legend.setObjectName("rotacubeChartLegend")
        self.bars, self.pie = BarChart(), PieChart()
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.StyledPanel)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the chart in it has it
        scroll.viewport().setBackgroundRole(QPalette.ColorRole.Base)
        scroll.setWidget(self.bars)
        self.table = CopyTable([])
        self.table.setObjectName("rotacubeSharesTable")
        self.table.setWordWrap(False)
        self.assumptions = QPlainTextEdit(self._content.assumptions)
        self.assumptions.setObjectName("rotacubeAssumptions")
        self.assumptions.setAccessibleName(tr("What the intervals take for granted"))
        self.assumptions.setReadOnly(True)
        self.assumptions.setTabChangesFocus(True)
        self.assumptions.setMaximumHeight(4 * self.fontMetrics().height())
        self.assumptions.setVisible(bool(self._content.assumptions))
        self.said = QLabel()
        self.said.setObjectName("rotacubeSharesSaid")
        self.said.setWordWrap(True)
        self.said.setTextFormat(Qt.TextFormat.PlainText)

        top = QHBoxLayout()
        top.addWidget(label)
        top.addWidget(self.zone)
        top.addWidget(self.background)
        top.addStretch(1)
        charts = QHBoxLayout()
        charts.addWidget(scroll, 2)
        charts.addWidget(self.pie, 1)
        column = QVBoxLayout(self)
        column.addLayout(top)
        column.addLayout(charts, 3)
        column.addWidget(self.legend)
        column.addWidget(self.table, 2)
        column.addWidget(self.assumptions)
        column.addLayout(self._build_buttons())

    def _build_buttons(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.addWidget(self.said, 1)
        for text, name, act in (
            (tr("Copy &table"), "rotacubeCopyTable", self._copy_table),
            (tr("Copy &picture"), "rotacubeCopyPicture", self._copy_picture),
            (tr("&Save as…"), "rotacubeSaveShares", self._save),
            (tr("&Close"), "rotacubeCloseShares", self.close),
        ):
            button = QPushButton(text)
            button.setObjectName(name)
            button.setAutoDefault(False)  # Enter in the table is no click
            button.clicked.connect(act)
            row.addWidget(button)
        return row

    def _show_zone(self, *_about) -> None:
        zone = self._content.zones[self.zone.currentIndex()]
        name = self.zone.currentText()
        self.background.setVisible(any(item.class_id == classes.BACKGROUND for item in zone.classes))
        shown = [c for c in zone.classes if self.background.isChecked() or c.class_id != classes.BACKGROUND]
        pieces = [Piece(c.name, self._color(c), c.area.best, c.area.low, c.area.high) for c in shown]
        self.bars.show_pieces(name, pieces)
        self.pie.show_pieces(name, pieces)
        self._certain = any(item.area.low is not None for item in zone.classes)
        self.legend.setText(
            tr("Best estimates of the areas; the lines across the bars' ends, and from and to, are 95% intervals.")
            if self._certain
            else tr("Areas without intervals: the text below the table says why.")
        )
        self._fill_table(name, zone.classes)
        self.said.clear()

    def _fill_table(self, zone: str, rows: List[ClassShare]) -> None:
        columns = [tr("Class"), tr("m² mapped"), tr("m² best"), tr("m² from"), tr("m² to")]
        columns += [tr("Share mapped"), tr("Share best"), tr("Share from"), tr("Share to")]
        counted = any(item.roofs is not None for item in rows)
        if counted:
            columns += [tr("Roofs mapped"), tr("Roofs best"), tr("Roofs from"), tr("Roofs to")]
        self.table.set_columns(columns)
        header = self.table.horizontalHeader()
        header.setMaximumSectionSize(20 * self.fontMetrics().height())
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)  # names are not squeezed, it scrolls
        self.table.setAccessibleName(tr("Statistics of {}").format(zone))
        self.table.setRowCount(len(rows))
        for number, item in enumerate(rows):
            texts = [item.name, *_texts(item.area, fmt.square_metres), *_texts(item.share, fmt.share)]
            if counted:
                texts += _texts(item.roofs, fmt.number) if item.roofs is not None else [""] * 4
            self.table.set_row(number, texts, self._color(item))
        self.table.resizeRowsToContents()

    def _color(self, item: ClassShare) -> QColor:
        return self._colors.get(item.class_id, QColor(128, 128, 128))

    def _copy_table(self) -> None:
        self.table.copy()
        self.said.setText(tr("The table is copied."))

    def _copy_picture(self) -> None:
        title = f"{self._name}: {self.zone.currentText()}"
        caption = tr("Best estimates with 95% intervals") if self._certain else tr("Areas without intervals")
        QApplication.clipboard().setImage(picture(title, caption, self.bars, self.pie))
        self.said.setText(tr("The charts are copied as a picture."))

    def _save(self) -> None:
        types = {f"{_TYPES[suffix]} (*{suffix})": suffix for suffix in shares.formats()}
        path, chosen = QFileDialog.getSaveFileName(self, tr("Save the statistics as"), "", ";;".join(types))
        if not path:
            return
        if Path(path).suffix.lower() not in types.values():
            path += types.get(chosen, shares.CSV)
            if Path(path).exists():  # the dialog has asked about another name
                self.said.setText(tr("{} is there already. Choose it in the dialog, or another name.").format(path))
                return
        try:
            shares.save(self._path, path)
            self.said.setText(tr("All zones are saved in {}.").format(path))
        except shares.SharesError as error:
            self.said.setText(str(error))


def _texts(measure: Measure, write) -> List[str]:
    return ["–" if value is None else write(value) for value in measure]
