"""The strip on the map while roofs are taken: what goes on, how sure a roof must be, and which keys do what."""

from __future__ import annotations

from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import QEvent, Qt, QTimer, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QSizePolicy,
    QSlider,
    QToolButton,
    QVBoxLayout,
)

from ..compat import is_alive
from ..i18n import tr

MARGIN = 10  # pixels to the canvas's edges
WIDEST = 820
LOWEST, HIGHEST = 5, 95  # per cent
CALM_MS = 80  # after the last move of the slider


class Strip(QFrame):
    """A panel at the lower edge of the canvas."""

    threshold_changed = pyqtSignal(float)
    brush_toggled = pyqtSignal(bool)
    closed = pyqtSignal()

    def __init__(self, canvas: QgsMapCanvas):
        super().__init__(canvas)
        self._canvas = canvas
        self._told = None
        self.setObjectName("rotacubeStrip")
        self.setAccessibleName(tr("Take roofs"))
        self.setAutoFillBackground(True)  # in the palette's colours, dark or light
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.status = QLabel()
        self.status.setObjectName("rotacubeStripStatus")
        self.status.setAccessibleName(tr("What Rotacube is doing"))
        self.status.setTextFormat(Qt.TextFormat.PlainText)
        self.status.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.bar = QProgressBar()
        self.bar.setRange(0, 0)
        self.bar.setTextVisible(False)
        self.bar.setFixedSize(60, 6)
        self.bar.setAccessibleName(tr("Working"))
        keep = self.bar.sizePolicy()
        keep.setRetainSizeWhenHidden(True)
        self.bar.setSizePolicy(keep)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setObjectName("rotacubeConfidence")
        self.slider.setRange(LOWEST, HIGHEST)
        self.slider.setPageStep(10)
        self.slider.setFixedWidth(150)
        self.slider.setAccessibleName(tr("Confidence from which on a pixel is roof, in per cent"))
        self.slider.setToolTip(tr("Lower finds more and larger roofs, higher only those that are sure (keys - and +)"))
        name = QLabel(tr("&Confidence"))
        name.setBuddy(self.slider)
        self.value = QLabel()
        self.value.setMinimumWidth(self.value.fontMetrics().horizontalAdvance("100 %"))
        self.brush = QToolButton()
        self.brush.setObjectName("rotacubeBrush")
        self.brush.setText(tr("Brush"))
        self.brush.setCheckable(True)
        self.brush.setToolTip(tr("Drag to mend edges, without Alt (key B); [ and ] change its size"))
        self.brush.toggled.connect(self.brush_toggled)
        leave = QToolButton()
        leave.setText("✕")
        leave.setAutoRaise(True)
        leave.setToolTip(tr("Stop taking roofs"))
        leave.setAccessibleName(leave.toolTip())
        leave.clicked.connect(self.closed)
        self.keys = QLabel(
            " · ".join(
                (
                    tr("Click takes"),
                    tr("Shift-click joins"),
                    tr("Ctrl-click removes"),
                    tr("Ctrl-drag splits"),
                    tr("drag takes all in a box"),
                    tr("Alt-drag mends an edge"),
                    tr("Ctrl+Z undoes"),
                    tr("Esc cancels"),
                )
            )
        )
        self.keys.setObjectName("rotacubeStripKeys")
        self.keys.setWordWrap(True)
        small = self.keys.font()
        small.setPointSizeF(small.pointSizeF() * 0.9)
        self.keys.setFont(small)
        row = QHBoxLayout()
        row.setSpacing(8)
        for widget, stretch in ((self.status, 1), (self.bar, 0), (name, 0), (self.slider, 0), (self.value, 0)):
            row.addWidget(widget, stretch)
        row.addWidget(self.brush)
        row.addWidget(leave)
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 6, 6, 6)
        column.setSpacing(3)
        column.addLayout(row)
        column.addWidget(self.keys)
        self._calm = QTimer(self)
        self._calm.setSingleShot(True)
        self._calm.setInterval(CALM_MS)
        self._calm.timeout.connect(lambda: self.threshold_changed.emit(self.slider.value() / 100))
        self._back = QTimer(self)
        self._back.setSingleShot(True)
        self._back.timeout.connect(lambda: self.status.setText(self._lasting))
        self._lasting = ""
        self.slider.valueChanged.connect(self._moved)
        self.set_threshold(0.5)
        canvas.installEventFilter(self)
        self.hide()

    def tell(self, text: str, busy: bool = False) -> None:
        """Say how things stand."""
        self._lasting = text
        if not self._back.isActive():
            self.status.setText(text)
        self.bar.setVisible(busy)

    def remark(self, text: str) -> None:
        """Say something for a few seconds."""
        self.status.setText(text)
        self._back.start(4000)

    def set_threshold(self, threshold: float) -> None:
        """Where the slider stands; nothing is cut anew."""
        self.slider.blockSignals(True)
        self.slider.setValue(round(100 * threshold))
        self.slider.blockSignals(False)
        self._say_value()

    def step(self, per_cent: int) -> None:
        """Move the slider."""
        self.slider.setValue(self.slider.value() + per_cent)

    def show_up(self) -> None:
        """Appear at the lower edge."""
        self._place()
        self.show()
        self.raise_()

    def remove(self) -> None:
        """Go for good."""
        self._calm.stop()
        self._back.stop()
        if is_alive(self._canvas):
            self._canvas.removeEventFilter(self)
        self.hide()
        self.deleteLater()

    def eventFilter(self, watched, event) -> bool:
        """Follow the canvas's size."""
        if event.type() == QEvent.Type.Resize and is_alive(self._canvas):
            self._place()
        return False

    def _place(self) -> None:
        width = max(240, min(WIDEST, self._canvas.width() - 2 * MARGIN))
        self.setFixedWidth(width)
        inner = width - 16
        self.keys.setVisible(self._canvas.height() > 220)
        height = self.layout().heightForWidth(width) if self.layout().hasHeightForWidth() else self.sizeHint().height()
        self.keys.setMinimumHeight(self.keys.heightForWidth(inner))
        self.resize(width, height)
        self.move((self._canvas.width() - width) // 2, self._canvas.height() - self.height() - MARGIN)

    def _moved(self) -> None:
        self._say_value()
        self._calm.start()

    def _say_value(self) -> None:
        self.value.setText(f"{self.slider.value()} %")
