"""A report as a page of A4: the map is left what room there is."""

from __future__ import annotations

import math

import numpy as np

from rotacube.handout.content import Content, scale_bar
from rotacube.handout.figures import area_text, share_text, unit_of
from rotacube.handout.paper import EDGE, HEIGHT, INK, LEADING, PALE, POINT, WIDTH, Paper

ROOM = WIDTH - 2 * EDGE
SMALL, TEXT, HEAD, TITLE = 6.2, 7.5, 8.0, 16.0
"""Points of letters."""
ROW = 4.6
"""Millimetres of a row of the table."""
SWATCH = 2.8
NAME, INTERVAL, BAR = 47.0, 23.0, 30.0
"""Millimetres of a class's name, of an interval and of the bars in the table."""
LINES, NAMES = 4, (80.0, 60.0, 45.0, 36.0, 26.0)
"""Of the legend, and millimetres of names in it; the first that make no more lines."""
MARKS, GAP = 11.0, 4.0
"""Millimetres for scale bar and north arrow below the map, and between what follows."""
LEAST = 60.0
"""Millimetres that the map has at least."""


def pdf_of(content: Content) -> bytes:
    """The file's bytes."""
    paper = Paper()
    top = _title(paper, content)
    blocks = _Foot(paper, content)
    legend = _legend_lines(paper, content)
    below = MARKS + ROW * len(legend) + ROW * (len(content.rows) + 1) + 2 * GAP + blocks.height
    high = max(LEAST, HEIGHT - EDGE - top - below)
    top = _map(paper, content, top, high)
    top = _legend(paper, legend, top)
    top = _table(paper, content, top + GAP)
    blocks.write(top + GAP)
    return paper.pdf(content.title)


def _title(paper: Paper, content: Content) -> float:
    """Write the head of the page; where it ends."""
    paper.text(EDGE, EDGE + 5.5, paper.fitted(content.title, TITLE, ROOM, True), TITLE, bold=True)
    area = content.figures.area
    whole = f"{area / 1e4:,.2f} ha" if area >= 1e4 else f"{area:,.1f} m²"
    paper.text(EDGE, EDGE + 10.5, f"{whole} mapped · {content.date}", TEXT, colour=PALE)
    return EDGE + 13.5


def _map(paper: Paper, content: Content, top: float, high: float) -> float:
    """Draw the picture as large as its room is, with scale bar and north arrow below; where that ends."""
    picture = content.picture
    wide_m, high_m = picture.ground
    scale = min(ROOM / wide_m, high / high_m)  # millimetres a metre
    wide, tall = wide_m * scale, high_m * scale
    left, right, end = EDGE + (ROOM - wide) / 2, EDGE + (ROOM + wide) / 2, top + tall
    paper.image(left, top, wide, tall, picture.pixels)
    paper.line([(left, top), (right, top), (right, end), (left, end), (left, top)], 0.4, PALE)
    foot = end + 4.0
    length, label = scale_bar(50 / scale)
    bar = length * scale
    paper.box(EDGE, foot, bar / 2, 1.4, INK, INK)
    paper.box(EDGE + bar / 2, foot, bar / 2, 1.4, "#ffffff", INK)
    paper.text(EDGE, foot + 4.4, "0", SMALL, align="center")
    paper.text(EDGE + bar, foot + 4.4, label, SMALL, align="center")
    angle, middle = math.radians(picture.north), (WIDTH - EDGE - 4.0, foot + 1.2)

    def turned(x: float, y: float) -> tuple[float, float]:
        return (
            middle[0] + x * math.cos(angle) - y * math.sin(angle),
            middle[1] + x * math.sin(angle) + y * math.cos(angle),
        )

    paper.shape([turned(0, -3.4), turned(1.5, 2.2), turned(0, 1.0), turned(-1.5, 2.2)], INK)
    paper.text(middle[0] - 5.0, middle[1] + 1.0, "N", HEAD, bold=True, align="right")
    return end + MARKS


def _legend_lines(paper: Paper, content: Content) -> list[list[tuple[float, str, str]]]:
    """Of each line of the legend the places, colours and texts; names are as long as few lines let them be."""
    for longest in NAMES:
        found = _lines_of(paper, content, longest)
        if len(found) <= LINES:
            break
    return found


def _lines_of(paper: Paper, content: Content, longest: float) -> list[list[tuple[float, str, str]]]:
    """The legend with names of so many millimetres at most, and the share of each class."""
    lines: list[list[tuple[float, str, str]]] = [[]]
    x = EDGE
    for row in content.rows:
        text = f"{paper.fitted(row.name, TEXT, longest)}  {100 * row.share.best:.1f} %"
        wide = SWATCH + 1.4 + paper.length(text, TEXT)
        if lines[-1] and x + wide > WIDTH - EDGE:
            lines.append([])
            x = EDGE
        lines[-1].append((x, content.colour(row), text))
        x += wide + 6.0
    return lines


def _legend(paper: Paper, lines: list[list[tuple[float, str, str]]], top: float) -> float:
    for number, line in enumerate(lines):
        foot = top + ROW * number + 3.2
        for x, colour, text in line:
            _swatch(paper, x, foot, colour)
            paper.text(x + SWATCH + 1.4, foot, text, TEXT)
    return top + ROW * len(lines)


def _swatch(paper: Paper, x: float, foot: float, colour: str) -> None:
    """The colour of a class."""
    paper.box(x, foot - SWATCH + 0.4, SWATCH, SWATCH, colour, PALE)


def _table(paper: Paper, content: Content, top: float) -> float:
    """Write areas and shares, and draw the bars with their intervals; where that ends."""
    whole, most = content.figures.area, content.longest_bar
    unit = unit_of(whole)
    sure = any(row.share.high is not None for row in content.rows)
    name = NAME if sure else NAME + 2 * INTERVAL
    # Without intervals their columns are left to the names.
    wide = [(20.0, True), (20.0, True), (INTERVAL, sure), (13.0, True), (INTERVAL, sure)]
    ends = [EDGE + name + end for end in np.cumsum([width * there for width, there in wide])]
    bar, room = WIDTH - EDGE - BAR, BAR
    foot = top + 3.0
    paper.text(EDGE, foot, "Class", TEXT, bold=True)
    heads = (f"mapped, {unit}", f"estimate, {unit}", "95 % interval", "share, %", "95 % interval")
    for end, head, (_, there) in zip(ends, heads, wide, strict=True):
        paper.text(end, foot, head if there else "", SMALL, bold=True, align="right")
    paper.text(bar, foot, "0", SMALL, colour=PALE)
    paper.text(bar + room, foot, f"{100 * most:g} %", SMALL, colour=PALE, align="right")
    paper.line([(EDGE, foot + 1.3), (WIDTH - EDGE, foot + 1.3)], 0.6)
    for row in content.rows:
        foot += ROW
        colour = content.colour(row)
        _swatch(paper, EDGE, foot, colour)
        paper.text(EDGE + SWATCH + 1.4, foot, paper.fitted(row.name, TEXT, name - SWATCH - 3.0), TEXT)
        texts = (*area_text(row.area, whole), *share_text(row.share))
        for end, text, (_, there) in zip(ends, texts, wide, strict=True):
            paper.text(end, foot, text if there else "", SMALL if "to" in text else TEXT, align="right")
        middle = foot - 1.0
        paper.box(bar, middle - 1.3, room * row.share.best / most, 2.6, colour, PALE)
        if row.share.low is not None and row.share.high is not None:
            low, high = (bar + room * end / most for end in (row.share.low, row.share.high))
            paper.line([(low, middle), (high, middle)], 0.9)
            for end in (low, high):
                paper.line([(end, middle - 0.9), (end, middle + 0.9)], 0.9)
    paper.line([(bar, top + 4.3), (bar, foot + 1.2)], 0.5, PALE)
    return foot + 1.4


class _Foot:
    """How the map came about, how sure its figures are, and the model's terms, measured before they are written."""

    def __init__(self, paper: Paper, content: Content) -> None:
        self._paper = paper
        half = (ROOM - 6.0) / 2
        self._settings = [(name, paper.lines(text, SMALL, half - 24.0, 2)) for name, text in content.settings]
        texts = [("How sure the figures are", content.figures.said, 7), *((n, t, 3) for n, t in content.terms)]
        self._texts = [(name, paper.lines(text, SMALL, ROOM, most)) for name, text, most in texts if text]
        self._step = SMALL * POINT * LEADING
        split = self._split()
        self._sides = self._settings[:split], self._settings[split:]
        self._columns = max(sum(len(lines) for _, lines in side) for side in self._sides)
        count = sum(len(lines) + 1.5 for _, lines in self._texts)
        self.height = (self._columns + 2.5 + count) * self._step + 1.0

    def _split(self) -> int:
        """How many settings stand in the left column, so that both are about as high."""
        sizes = [len(lines) for _, lines in self._settings]
        return min(range(len(sizes) + 1), key=lambda n: abs(sum(sizes[:n]) - sum(sizes[n:]) - 0.1))

    def write(self, top: float) -> None:
        """Write all from a height on."""
        paper, step = self._paper, self._step
        foot = top + step
        paper.text(EDGE, foot, "How the map came about", HEAD - 0.8, bold=True)
        for x, side in zip((EDGE, EDGE + (ROOM + 6.0) / 2), self._sides, strict=True):
            y = foot + 1.3 * step
            for name, lines in side:
                paper.text(x, y, name, SMALL, colour=PALE)
                for line in lines:
                    paper.text(x + 24.0, y, line, SMALL)
                    y += step
        foot += (self._columns + 1.5) * step
        for name, lines in self._texts:
            paper.text(EDGE, foot + 0.3 * step, name, HEAD - 0.8, bold=True)
            for number, line in enumerate(lines, 1):
                paper.text(EDGE, foot + (number + 0.3) * step, line, SMALL)
            foot += (len(lines) + 1.5) * step
