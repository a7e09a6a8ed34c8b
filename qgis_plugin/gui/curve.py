"""The loss of a training, step by step: each step faint, their running mean as a line."""

from __future__ import annotations

from typing import List, Tuple

from qgis.PyQt.QtCore import QPointF, QRectF, QSize, Qt
from qgis.PyQt.QtGui import QColor, QFontMetricsF, QPainter, QPalette, QPen, QPolygonF
from qgis.PyQt.QtWidgets import QSizePolicy, QWidget

from ..i18n import tr
from . import format as fmt

_MEAN = 25  # steps


class LossCurve(QWidget):
    """Grows with every step; from zero, so that what seems to fall does."""

    def __init__(self):
        super().__init__()
        self.setObjectName("rotacubeLoss")
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # a screen reader says what has the focus
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName(tr("Loss of the training"))
        self.points: List[Tuple[int, float]] = []
        self._steps = 1

    def begin(self, steps: int) -> None:
        """Empty it for a training of so many steps."""
        self.points, self._steps = [], max(1, steps)
        self.setAccessibleDescription("")
        self.update()

    def add(self, step: int, loss: float) -> None:
        """A step is done."""
        self.points.append((step, loss))
        text = tr("{loss} after step {done} of {total}")
        text = text.format(loss=fmt.number(self.mean()[-1], 3), done=step, total=self._steps)
        self.setAccessibleDescription(text)
        self.setToolTip(text)
        self.update()

    def mean(self) -> List[float]:
        """The mean of each step's loss and of those before it, as many as make it smooth."""
        losses = [loss for _, loss in self.points]
        sums = [0.0]
        for loss in losses:
            sums.append(sums[-1] + loss)
        return [(sums[n] - sums[max(0, n - _MEAN)]) / min(n, _MEAN) for n in range(1, len(sums))]

    def sizeHint(self) -> QSize:
        """Some lines of text high."""
        em = self.fontMetrics().height()
        return QSize(30 * em, 9 * em)

    def minimumSizeHint(self) -> QSize:
        """Below that nothing is seen."""
        return self.sizeHint() / 2

    def paintEvent(self, _event) -> None:
        """Axes with their ends, the steps, and their mean."""
        painter = QPainter(self)
        palette, metrics = self.palette(), QFontMetricsF(self.font())
        text, line = palette.color(QPalette.ColorRole.Text), palette.color(QPalette.ColorRole.Highlight)
        em = metrics.height()
        painter.fillRect(self.rect(), palette.color(QPalette.ColorRole.Base))
        plot = QRectF(self.rect()).adjusted(3.2 * em, 0.7 * em, -em, -1.6 * em)
        painter.setPen(QPen(_faint(text, 110), 1))
        painter.drawLine(plot.bottomLeft(), plot.bottomRight())
        painter.drawLine(plot.topLeft(), plot.bottomLeft())
        painter.setPen(text)
        right, left = Qt.AlignmentFlag.AlignRight, Qt.AlignmentFlag.AlignLeft
        below = QRectF(plot.left(), plot.bottom() + 0.3 * em, plot.width(), em)
        painter.drawText(below, left, tr("step 0"))
        painter.drawText(below, right, fmt.number(self._steps))
        if not self.points:
            painter.drawText(plot, Qt.AlignmentFlag.AlignCenter, tr("The loss appears with the first step."))
        else:
            self._draw(painter, plot, line, text)
        painter.end()

    def _draw(self, painter: QPainter, plot: QRectF, line: QColor, text: QColor) -> None:
        em, right = QFontMetricsF(self.font()).height(), Qt.AlignmentFlag.AlignRight
        mean = self.mean()
        top = 1.15 * max(max(mean), sorted(loss for _, loss in self.points)[int(0.98 * (len(self.points) - 1))])
        beside = QRectF(0, plot.top() - 0.5 * em, plot.left() - 0.4 * em, em)
        painter.drawText(beside, right, fmt.number(top, 2))
        beside.moveTop(plot.bottom() - 0.5 * em)
        painter.drawText(beside, right, "0")

        def at(step: float, loss: float) -> QPointF:
            high = min(1.0, max(0.0, loss / top)) if top > 0 else 0.0
            return QPointF(plot.left() + plot.width() * step / self._steps, plot.bottom() - plot.height() * high)

        painter.setRenderHint(QPainter.RenderHint.Antialiasing, True)
        painter.setPen(QPen(_faint(text, 70), 2))
        painter.drawPoints(QPolygonF([at(*point) for point in self.points]))
        painter.setPen(QPen(line, 2))
        painter.drawPolyline(QPolygonF([at(step, loss) for (step, _), loss in zip(self.points, mean)]))
        painter.setPen(text)
        painter.drawText(plot, right, tr("loss {}").format(fmt.number(mean[-1], 3)))


def _faint(color: QColor, alpha: int) -> QColor:
    made = QColor(color)
    made.setAlpha(alpha)
    return made
