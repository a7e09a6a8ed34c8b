"""A result's summary: area and share of each class, to be read, copied and saved."""

from __future__ import annotations

import csv
from typing import Optional

from qgis.PyQt.QtCore import QEvent, Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from ..client.schema import MASK, JobResult
from ..i18n import tr
from ..layers import classes, shares
from . import format as fmt
from .labels import note
from .shares_window import SharesWindow
from .table import CopyTable

_GRID = "rotacube:treatmentgrid"
_LINES = 8  # more classes scroll


class ResultView(QWidget):
    """A small table with a title above and notes below it; hidden until there is a result."""

    failed = pyqtSignal(str)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._name = ""
        self._result: Optional[JobResult] = None
        self.title = QLabel()
        self.title.setObjectName("rotacubeResultTitle")
        self.title.setWordWrap(True)
        self.table = _Table()
        self.charts_button = self._button(
            tr("Charts…"), tr("Statistics with their intervals, of the whole map and of zones"), "rotacubeResultCharts"
        )
        self.charts_button.clicked.connect(self._show_charts)
        self.grid_button = self._button(
            tr("Grid…"), tr("A treatment grid: cells where a class passes a share"), "rotacubeResultGrid"
        )
        self.grid_button.clicked.connect(self._ask_for_grid)
        self.copy_button = self._button(tr("Copy"), tr("Copy the table for a spreadsheet"), "rotacubeResultCopy")
        self.copy_button.clicked.connect(self.table.copy)
        self.save_button = self._button(tr("Save as CSV…"), tr("Save pixels, areas and shares"), "rotacubeResultSave")
        self.save_button.clicked.connect(self._save)
        self.note = note()
        self.note.setObjectName("rotacubeResultNote")
        self.note.setTextFormat(Qt.TextFormat.PlainText)
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        buttons.addWidget(self.charts_button)
        buttons.addWidget(self.grid_button)
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
        self._name, self._result = name, result
        self.charts_button.setVisible(bool(shares.path_of(result)))
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

    def _show_charts(self) -> None:
        path = shares.path_of(self._result)
        try:
            window = SharesWindow(self._name, path, shares.read(path), self._result.classes, self)
        except shares.SharesError as error:
            self.failed.emit(str(error))
            return
        window.show()

    def _ask_for_grid(self) -> None:
        """The algorithm's own dialog, with this mask."""
        try:
            import processing  # a plugin of QGIS's, which a person may have turned off
        except ImportError:
            self.failed.emit(tr("Processing is turned off. Turn it on under Plugins > Manage and Install Plugins."))
            return
        processing.execAlgorithmDialog(_GRID, {"INPUT": self._result.product(MASK).path})

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
            self.failed.emit(text.format(path=path, why=error.strerror or error))


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


class _Table(CopyTable):
    """Classes with their areas; as high as its rows, whatever the theme makes of them."""

    def __init__(self):
        super().__init__([tr("Class"), tr("m²"), tr("ha"), tr("Share")])
        self.setObjectName("rotacubeResult")
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.horizontalHeader().setMinimumSectionSize(58)

    def show_classes(self, result: JobResult) -> None:
        """One row a class."""
        self.setRowCount(len(result.classes))
        for row, item in enumerate(result.classes):
            texts = [item.name, fmt.square_metres(item.area_m2), fmt.hectares(item.area_m2), fmt.share(item.share)]
            self.set_row(row, texts, classes.color(item), tr("{} pixels").format(fmt.number(item.pixels)))
        self._fit()

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


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
