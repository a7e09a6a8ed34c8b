"""A sheet of A4 to draw on, in millimetres from its upper left corner; Matplotlib writes it as PDF."""

from __future__ import annotations

import io
import warnings

from matplotlib import font_manager, rc_context
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon, Rectangle
from matplotlib.textpath import text_to_path

from rotacube.errors import printable
from rotacube.raster.picture import Bytes

WIDTH, HEIGHT, EDGE = 210.0, 297.0, 15.0
"""Of the sheet, and what is left free about all."""
POINT = 25.4 / 72
"""Millimetres."""
LEADING = 1.28
"""Of lines, in heights of letters."""
INK, PALE = "#1d1d1b", "#6f6f6b"
_SCRIPTS = ("Noto Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", "Nirmala UI")
"""Fonts that have what DejaVu lacks; those that a system has are asked."""


class Paper:
    """What is drawn; `pdf` gives it."""

    def __init__(self) -> None:
        installed = {font.name for font in font_manager.fontManager.ttflist}
        self._families = ["DejaVu Sans", *(name for name in _SCRIPTS if name in installed)]
        self._figure = Figure(figsize=(WIDTH / 25.4, HEIGHT / 25.4))
        FigureCanvasPdf(self._figure)
        self._axes = self._figure.add_axes((0, 0, 1, 1))
        self._axes.set_xlim(0, WIDTH)
        self._axes.set_ylim(HEIGHT, 0)
        self._axes.axis("off")

    def text(
        self, x: float, y: float, text: str, size: float, *, bold: bool = False, colour: str = INK, align: str = "left"
    ) -> None:
        """Write a line whose letters stand on y."""
        self._axes.text(
            x,
            y,
            printable(text),
            fontproperties=self._font(size, bold),
            color=colour,
            ha=align,
            va="baseline",
            parse_math=False,
        )

    def length(self, text: str, size: float, bold: bool = False) -> float:
        """How long a line is."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # letters that no font has
            wide, _, _ = text_to_path.get_text_width_height_descent(printable(text), self._font(size, bold), False)
        return float(wide) * POINT

    def fitted(self, text: str, size: float, room: float, bold: bool = False) -> str:
        """As much of a text as fits on a line."""
        if self.length(text, size, bold) <= room:
            return text
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            fits = self.length(f"{text[:middle].rstrip()}…", size, bold) <= room
            low, high = (middle, high) if fits else (low, middle - 1)
        return f"{text[:low].rstrip()}…"

    def lines(self, text: str, size: float, room: float, most: int) -> list[str]:
        """A text in lines; what is longer than `most` of them ends in an ellipsis."""
        found: list[str] = []
        for word in text.split():
            longer = f"{found[-1]} {word}" if found else word
            if found and self.length(longer, size) <= room:
                found[-1] = longer
            else:
                found.append(word)
        kept = found[:most]
        if len(found) > most:
            kept[-1] += " …"
        return [self.fitted(line, size, room) for line in kept]

    def box(self, x: float, y: float, wide: float, high: float, fill: str, edge: str = "none") -> None:
        """A rectangle, by its upper left corner."""
        self._axes.add_patch(Rectangle((x, y), wide, high, facecolor=fill, edgecolor=edge, linewidth=0.4))

    def line(self, points: list[tuple[float, float]], thick: float = 0.5, colour: str = INK) -> None:
        """A line through points, so many points thick."""
        self._axes.add_line(Line2D(*zip(*points, strict=True), color=colour, linewidth=thick, solid_capstyle="butt"))

    def shape(self, points: list[tuple[float, float]], fill: str) -> None:
        """A polygon."""
        self._axes.add_patch(Polygon(points, facecolor=fill, edgecolor=INK, linewidth=0.6))

    def image(self, x: float, y: float, wide: float, high: float, pixels: Bytes) -> None:
        """A picture (H, W, 3), by its upper left corner."""
        self._axes.imshow(
            pixels, extent=(x, x + wide, y + high, y), aspect="auto", interpolation="none", interpolation_stage="data"
        )
        self._axes.set_xlim(0, WIDTH)
        self._axes.set_ylim(HEIGHT, 0)

    def pdf(self, title: str) -> bytes:
        """A PDF with its fonts in it."""
        stream = io.BytesIO()  # on a full disk Matplotlib fails in ways of its own
        with warnings.catch_warnings(), rc_context({"pdf.fonttype": 42}):
            warnings.simplefilter("ignore")
            self._figure.savefig(stream, format="pdf", metadata={"Title": printable(title), "CreationDate": None})
        return stream.getvalue()

    def _font(self, size: float, bold: bool) -> FontProperties:
        return FontProperties(family=self._families, size=size, weight="bold" if bold else "normal")
