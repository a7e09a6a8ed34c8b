"""Bars with their intervals, and a pie, of the area that each class covers; drawn in the colours of theme and map."""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Sequence

from qgis.PyQt.QtCore import QPointF, QRectF, QSize, QSizeF, Qt
from qgis.PyQt.QtGui import QColor, QFontMetricsF, QImage, QPainter, QPalette, QPen
from qgis.PyQt.QtWidgets import QSizePolicy, QWidget

from ..i18n import tr
from . import format as fmt

_LISTED = 8  # slices beside the pie; the smallest of more are one
_SMALL = 4000  # pixels of a picture's height that are drawn twice as fine


class Piece(NamedTuple):
    """An area in square metres, likely and between what; its colour, transparent for the background."""

    name: str
    color: QColor
    area: float
    low: Optional[float] = None
    high: Optional[float] = None


class Bar(NamedTuple):
    """Where a bar lies, and between which places its interval."""

    rect: QRectF
    low: Optional[float]
    high: Optional[float]


class _Chart(QWidget):
    """What both charts share."""

    def __init__(self, name: str):
        super().__init__()
        self._name = name
        self.pieces: List[Piece] = []
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # a screen reader says what has the focus

    def show_pieces(self, zone: str, pieces: Sequence[Piece]) -> None:
        """Draw other areas.

        Args:
            zone: what they are of.
            pieces: a class each.
        """
        self.pieces = list(pieces)
        self.setAccessibleName(f"{self._name}: {zone}")
        self.setAccessibleDescription("; ".join(f"{piece.name} {in_words(piece, self._hectares)}" for piece in pieces))
        self.setMinimumSize(self.least().toSize())
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        """No larger than needed."""
        return self.least().toSize()

    def least(self) -> QSizeF:
        """The size below which nothing can be read."""
        raise NotImplementedError

    def draw(self, painter: QPainter, area: QRectF) -> None:
        """Draw into an area."""
        raise NotImplementedError

    def paintEvent(self, _event) -> None:
        """The chart, and a line about it where it has the focus."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), self.palette().color(QPalette.ColorRole.Base))
        self.draw(painter, QRectF(self.rect()))
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(self.palette().color(QPalette.ColorRole.Highlight), 2))
            painter.drawRect(self.rect().adjusted(1, 1, -1, -1))
        painter.end()

    @property
    def _hectares(self) -> bool:
        return any(piece.area >= 10_000 for piece in self.pieces)

    @property
    def _em(self) -> float:
        return QFontMetricsF(self.font()).height()

    @property
    def _text(self) -> QColor:
        return self.palette().color(QPalette.ColorRole.Text)

    def _take(self, painter: QPainter, color: QColor) -> None:
        """A fill with a line about it that is seen whatever colour is below."""
        line = QColor(self._text)
        line.setAlpha(150)
        painter.setPen(QPen(line, 1))
        painter.setBrush(color)

    def _write(self, painter: QPainter, line: QRectF, name: str, words: str) -> None:
        """Words at the right end of a line, and as much of a name as has room at its left."""
        metrics = QFontMetricsF(self.font())
        painter.setPen(self._text)
        painter.drawText(line, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, words)
        room = line.width() - metrics.horizontalAdvance(words) - self._em
        name = metrics.elidedText(name, Qt.TextElideMode.ElideRight, max(room, 0))
        painter.drawText(line, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, name)


class BarChart(_Chart):
    """A bar a class from a common zero; a line across its end is the 95% interval."""

    def __init__(self):
        super().__init__(tr("Bar chart of areas"))
        self.setObjectName("rotacubeBars")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)

    def least(self) -> QSizeF:
        """Two lines a class."""
        return QSizeF(18 * self._em, (2.2 * len(self.pieces) + 0.8) * self._em)

    def bars(self, area: QRectF) -> List[Bar]:
        """Where the bars lie in an area."""
        em = self._em
        left, wide = area.left() + 0.6 * em, area.width() - 1.4 * em
        largest = max([max(piece.area, piece.high or 0) for piece in self.pieces], default=0) or 1.0

        def at(value: Optional[float]) -> Optional[float]:
            return None if value is None else left + wide * value / largest

        made = []
        for number, piece in enumerate(self.pieces):
            top = area.top() + (0.4 + 2.2 * number + 1.1) * em
            rect = QRectF(left, top, wide * piece.area / largest, 0.8 * em)
            made.append(Bar(rect, at(piece.low), at(piece.high)))
        return made

    def draw(self, painter: QPainter, area: QRectF) -> None:
        """Names and numbers above their bars."""
        painter.setFont(self.font())
        em = self._em
        left, wide = area.left() + 0.6 * em, area.width() - 1.2 * em
        for piece, bar in zip(self.pieces, self.bars(area)):
            painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
            self._take(painter, piece.color)
            painter.drawRect(bar.rect)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing, True)
            line = QRectF(left, bar.rect.top() - 1.1 * em, wide, em)
            self._write(painter, line, piece.name, in_words(piece, self._hectares))
            if bar.low is not None and bar.high is not None:
                self._draw_interval(painter, bar)

    def _draw_interval(self, painter: QPainter, bar: Bar) -> None:
        middle, end = bar.rect.center().y(), 0.25 * self._em
        for color, width in ((self.palette().color(QPalette.ColorRole.Base), 4.0), (self._text, 1.6)):
            painter.setPen(QPen(color, width, Qt.PenStyle.SolidLine, Qt.PenCapStyle.SquareCap))
            painter.drawLine(QPointF(bar.low, middle), QPointF(bar.high, middle))
            for x in (bar.low, bar.high):
                painter.drawLine(QPointF(x, middle - end), QPointF(x, middle + end))


class PieChart(_Chart):
    """What each class has of the whole, clockwise from the top, with a list of the largest."""

    def __init__(self):
        super().__init__(tr("Pie chart of areas"))
        self.setObjectName("rotacubePie")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def least(self) -> QSizeF:
        """The pie above its list."""
        return QSizeF(14 * self._em, (9 + 1.2 * len(self.slices())) * self._em)

    def slices(self) -> List[Piece]:
        """What is drawn: the classes that have an area, the smallest of many as one."""
        there = [piece for piece in self.pieces if piece.area > 0]
        if len(there) <= _LISTED:
            return there
        there.sort(key=lambda piece: -piece.area)
        rest = sum(piece.area for piece in there[_LISTED - 1 :])
        return [*there[: _LISTED - 1], Piece(tr("others"), QColor(128, 128, 128), rest)]

    def draw(self, painter: QPainter, area: QRectF) -> None:
        """The pie, and below it the list of its slices."""
        painter.setFont(self.font())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, True)
        slices, em = self.slices(), self._em
        total = sum(piece.area for piece in slices)
        if not total:
            painter.setPen(self._text)
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter, tr("No area"))
            return
        high = 1.2 * em * len(slices)
        side = min(area.width() - em, area.height() - high - 1.5 * em, 20 * em)
        pie = QRectF(area.center().x() - side / 2, area.top() + 0.5 * em, side, side)
        passed = 0.0
        for piece in slices:
            begin, end = (round(5760 * value / total) for value in (passed, passed + piece.area))
            self._take(painter, piece.color)
            if len(slices) == 1:
                painter.drawEllipse(pie)
            elif end > begin:
                painter.drawPie(pie, 1440 - end, end - begin)
            passed += piece.area
        self._list(
            painter, slices, total, QRectF(area.left() + em, pie.bottom() + 0.6 * em, area.width() - 2 * em, high)
        )

    def _list(self, painter: QPainter, slices: List[Piece], total: float, area: QRectF) -> None:
        em = self._em
        for number, piece in enumerate(slices):
            top = area.top() + 1.2 * em * number
            self._take(painter, piece.color)
            painter.drawRect(QRectF(area.left(), top + 0.15 * em, 0.7 * em, 0.7 * em))
            line = QRectF(area.left() + 1.2 * em, top, area.width() - 1.2 * em, em)
            self._write(painter, line, piece.name, fmt.share(piece.area / total))


def in_words(piece: Piece, hectares: bool) -> str:
    """An area and its interval, in hectares or square metres."""
    write, unit = (fmt.hectares, tr("ha")) if hectares else (fmt.square_metres, tr("m²"))
    if piece.low is None or piece.high is None:
        return f"{write(piece.area)} {unit}"
    return f"{write(piece.area)} {unit} ({write(piece.low)} – {write(piece.high)})"


def picture(title: str, caption: str, bars: BarChart, pie: PieChart) -> QImage:
    """Both charts side by side under a title and a line on what they show; all classes, fine enough for print."""
    em = QFontMetricsF(bars.font()).height()
    left, right = QSizeF(32 * em, bars.least().height()), QSizeF(18 * em, max(pie.least().height(), 16 * em))
    head = 3.2 * em
    size = QSizeF(left.width() + right.width(), head + max(left.height(), right.height()) + 0.5 * em)
    fine = 2 if size.height() < _SMALL else 1
    image = QImage(size.toSize() * fine, QImage.Format.Format_ARGB32)
    image.setDevicePixelRatio(fine)
    image.fill(bars.palette().color(QPalette.ColorRole.Base))
    painter = QPainter(image)
    font = bars.font()
    font.setBold(True)
    painter.setFont(font)
    painter.setPen(bars.palette().color(QPalette.ColorRole.Text))
    line = QRectF(0.6 * em, 0.4 * em, size.width() - 1.2 * em, 1.2 * em)
    painter.drawText(line, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, title)
    painter.setFont(bars.font())
    line.translate(0, 1.2 * em)
    painter.drawText(line, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, caption)
    bars.draw(painter, QRectF(QPointF(0, head), left))
    pie.draw(painter, QRectF(QPointF(left.width(), head), right))
    painter.end()
    return image
