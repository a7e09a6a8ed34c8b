"""Large roofs: the halls of industry, trade and sport, wider than what a network sees at once, among paved yards."""

from __future__ import annotations

import math

import numpy as np

from rotacube.training.drawn.canvas import Canvas, Floats, Patch, Rect, both, sides
from rotacube.training.drawn.ground import Crown, lorry, parked, surface, yard
from rotacube.training.drawn.roofs import Look, building, cover, lengthwise, number, outline, sheets


def halls(canvas: Canvas, rect: Rect) -> list[Crown]:
    """A block with one to three halls on paved ground, lorries and cars about them; its trees."""
    rng = canvas.rng
    yard(canvas, rect, "grass", tidy=True)
    verge = rng.uniform(0.5, 6)
    inner = (rect[0] + verge, rect[1] + verge, rect[2] - verge, rect[3] - verge)
    long = inner[2] - inner[0] > inner[3] - inner[1]
    side = sides(inner)[0 if long else 1]
    deep = inner[3] - inner[1] if long else inner[2] - inner[0]
    if deep < 20 or surface(canvas, inner, str(rng.choice(["asphalt", "concrete", "paved"]))) is None:
        return []
    cuts = np.linspace(0, side.length, int(rng.integers(1, 4)) + 1)
    for s0, s1 in zip(cuts, cuts[1:]):
        share = rng.uniform(0.5, 0.97, 2)
        a, b = share[0] * (s1 - s0) / 2, share[1] * deep / 2
        slack = complex((s1 - s0) / 2 - a, deep / 2 - b)
        middle = complex((s0 + s1) / 2, deep / 2)
        middle += complex(rng.uniform(-0.9, 0.9) * slack.real, rng.uniform(-0.9, 0.9) * slack.imag)
        centre, grow = canvas.place(side.at(middle.real, middle.imag))
        angle, scale = float(np.angle(grow * side.axis)), float(abs(grow))
        _hall(canvas, complex(centre), angle, float(a) * scale, float(b) * scale)
    for s, t in zip(rng.uniform(0.03, 0.97, 12) * side.length, rng.uniform(0.03, 0.97, 12) * deep):
        centre, grow = canvas.place(side.at(float(s), float(t)))
        if rng.random() < 0.5 and not _covered(canvas, complex(centre), 9.0):
            lorry(canvas, complex(centre), float(np.angle(grow * side.axis)) + rng.choice((0, math.pi / 2)))
    for edge in sides(inner):
        parked(canvas, edge, 3, edge.length - 3, 1.6, rng.choice((0.0, 0.3, 0.7)))
    around = sides(rect)
    spots = [edge.at(float(rng.uniform(0, 1)) * edge.length, verge * 0.4) for edge in (*around, around[0])]
    return [(complex(canvas.place(spot)[0]), float(rng.uniform(1.2, 3))) for spot in spots if rng.random() < 0.5]


def _covered(canvas: Canvas, centre: complex, reach: float) -> bool:
    """Whether a roof is near, or the image ends."""
    patch = canvas.patch(centre, 0.0, reach)
    return patch is None or bool((canvas.ids[patch.window] > 0).any())


def _hall(canvas: Canvas, centre: complex, angle: float, a: float, b: float) -> None:
    """A hall of half sizes a, b, perhaps with an office before it."""
    rng = canvas.rng
    a, b, angle = lengthwise(a, b, angle)
    patch = canvas.patch(centre, angle, math.hypot(a, b) + 1)
    if patch is None:
        return
    depth = outline(rng, patch, a, b)[1] if rng.random() < 0.4 else patch.box(0, 0, a, b)
    if (canvas.ids[patch.window][depth > 0] > 0).any():
        return
    number(canvas, patch, depth)
    eaves = rng.uniform(4.5, 11)
    kind = rng.choice(["flat", "spans", "saw"], p=(0.45, 0.45, 0.1))
    if kind == "flat":
        colour = canvas.pick("felt", "felt", "concrete", "slate", "metal")
        cover(canvas, patch, depth, depth, Look("felt", colour, eaves, 0.0), a, b)
        _lights(canvas, patch, depth, 2 * b, a)
    elif kind == "spans":
        _spans(canvas, patch, depth, a, b, eaves)
    else:
        _saw(canvas, patch, depth, b, eaves)
    if rng.random() < 0.2:
        _panels(canvas, patch, depth, a, b)
    for _ in range(rng.poisson(a * b / 90)):  # fans and vents
        box = patch.box(rng.uniform(-0.95, 0.95) * a, rng.uniform(-0.95, 0.95) * b, *rng.uniform(0.3, 1.2, 2))
        top = eaves + rng.uniform(1.0, 2.5)
        canvas.paint(patch, both(box, depth - 0.5), canvas.pick("metal", "tank", "concrete"), 1.0, top)
    if rng.random() < 0.4:
        turned = complex(np.exp(1j * angle))
        half = rng.uniform(4, 9, 2)
        beside = centre + turned * complex(rng.uniform(-0.7, 0.7) * a, rng.choice((-1, 1)) * (b + half[1]))
        building(canvas, beside, angle, float(half[0]), float(half[1]), 1.0)


def _spans(canvas: Canvas, patch: Patch, depth: Floats, a: float, b: float, eaves: float) -> None:
    """Gables side by side, of sheets of one colour, with translucent ones among them."""
    rng, fine, coarse = canvas.rng, canvas.fine[patch.window], canvas.coarse[patch.window]
    span = 2 * b / max(1, round(2 * b / rng.uniform(12, 30)))
    across = (patch.v + b) % span
    rise = rng.uniform(0.06, 0.22) * np.minimum(across, span - across)
    shade = canvas.slope(rise)
    if rng.random() < 0.4:
        sheets(canvas, patch, depth, shade, eaves + rise)
    else:
        ribs = 1 + 0.04 * np.sin(patch.u * (2 * math.pi / max(0.45, 3 * canvas.gsd)))
        colour = canvas.pick("metal", "painted", "felt", "slate", "concrete")
        canvas.paint(patch, depth, colour, shade * ribs * (1 + 0.03 * fine + 0.04 * coarse), eaves + rise)
    if rng.random() < 0.75:
        _lights(canvas, patch, depth, span, a)
    if rng.random() < 0.5:  # gutters between the spans
        gutter = both(0.3 - np.minimum(across, span - across), depth)
        canvas.paint(patch, gutter, canvas.pick("metal", "slate"), rng.uniform(0.6, 1.1))


def _lights(canvas: Canvas, patch: Patch, depth: Floats, span: float, a: float) -> None:
    """Bands of roof lights at even distances: across a span, or in a row along it; bright, or dark from above."""
    rng = canvas.rng
    if rng.random() < 0.4:
        return
    step, wide = rng.uniform(4, 14), rng.uniform(0.35, 1.3)
    along = np.abs((patch.u + a) % step - step / 2)
    across = np.abs((patch.v + 100 * span) % span - span / 2)
    ends = span * rng.uniform(0.1, 0.48) if rng.random() < 0.7 else wide
    bands = both(wide - along, ends - across, depth - 0.8)
    bright = rng.random() < 0.7
    canvas.paint(patch, bands, canvas.pick("lorry", "marks") if bright else canvas.pick("glass", "slate"))


def _saw(canvas: Canvas, patch: Patch, depth: Floats, b: float, eaves: float) -> None:
    """A saw-tooth roof: slopes, and glass that looks north between them."""
    rng = canvas.rng
    step = rng.uniform(5, 10)
    across = (patch.v + b) % step
    rise = rng.uniform(0.25, 0.5) * across
    slope = canvas.slope(rise) * (1 + 0.04 * canvas.fine[patch.window])
    canvas.paint(patch, depth, canvas.pick("metal", "tile", "slate", "felt"), slope, eaves + rise)
    canvas.paint(patch, both(depth - 0.3, 0.12 * step - across), canvas.pick("glass", "metal"))


def _panels(canvas: Canvas, patch: Patch, depth: Floats, a: float, b: float) -> None:
    """Rows of solar panels over a part of the roof."""
    rng = canvas.rng
    pitch = rng.uniform(1.2, 2.6)
    rows = 0.42 * pitch - np.abs((patch.v + 100 * pitch) % pitch - pitch / 2)
    gaps = np.abs((patch.u + 1000) % 12 - 6) < 5.6
    half = rng.uniform(0.2, 0.8) * a, rng.uniform(0.3, 0.85) * b
    part = patch.box(rng.uniform(-0.2, 0.2) * a, rng.uniform(-0.1, 0.1) * b, *half)
    frame = 1 + 0.5 * ((patch.u + 1000) % 1.05 < 0.08)
    canvas.paint(patch, both(part, rows, depth - 1.0, np.where(gaps, 1.0, -1.0)), canvas.pick("glass"), frame)
