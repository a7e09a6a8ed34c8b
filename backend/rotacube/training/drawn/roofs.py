"""The roofs of drawn scenes: their outlines and what covers them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from rotacube.training.drawn.canvas import Canvas, Floats, Patch, both


def outline(rng: np.random.Generator, patch: Patch, a: float, b: float) -> tuple[bool, Floats]:
    """Whether it is a plain rectangle, and the depth (metres) inside the outline of half sizes a >= b."""
    patch = patch._replace(u=patch.u * float(rng.choice((-1, 1))), v=patch.v * float(rng.choice((-1, 1))))
    form, p, q = rng.random(), rng.uniform(0.3, 0.5), rng.uniform(0.3, 0.5)
    whole, bar = patch.box(0, 0, a, b), patch.box(0, -b * (1 - q), a, b * q)
    if form < 0.05:  # polygon
        turns = rng.uniform(0, 6.3) + np.linspace(0, 2 * math.pi, int(rng.integers(6, 10)))[:-1]
        return False, both(*(b * rng.uniform(0.85, 1.1) - patch.u * np.cos(k) - patch.v * np.sin(k) for k in turns))
    if form < 0.07:
        return False, b - np.hypot(patch.u, patch.v)
    if form < 0.22:  # L
        return False, np.maximum(bar, patch.box(-a * (1 - p), 0, a * p, b))
    if b > 3.5 and form < 0.29:  # T
        return False, np.maximum(bar, patch.box(a * (p - 0.4), 0, a * p, b))
    if b > 3.5 and form < 0.36:  # U
        wings = patch.box(-a * 0.7, 0, a * 0.3, b), patch.box(a * 0.68, 0, a * 0.32, b)
        return False, np.maximum(bar, np.maximum(*wings))
    if b > 3.5 and form < 0.4:  # courtyard
        return False, both(whole, -patch.box(0, 0, a * 0.4, b * 0.38))
    return True, whole


def sheets(canvas: Canvas, patch: Patch, depth: Floats, shade: Floats, lift: Any) -> None:
    """Corrugated metal: ribs along v, sheets of differing age, rust."""
    rng, fine, coarse = canvas.rng, canvas.fine[patch.window], canvas.coarse[patch.window]
    kind = "painted" if rng.random() < 0.35 else "metal"
    aged = kind == "metal" and rng.random() < 0.6
    row, column = (patch.v / rng.uniform(2, 3.5)).astype(np.intp), np.floor(patch.u / 0.9).astype(np.intp)
    age = rng.random((32, 32), dtype=np.float32)[row % 32, column % 32]
    ribs = 1 + 0.07 * np.sin(patch.u * (2 * math.pi / max(0.45, 3 * canvas.gsd)))
    texture = shade * ribs * (1 + (0.24 if aged else 0.06) * (age - 0.5)) * (1 + 0.035 * fine + 0.03 * coarse)
    canvas.paint(patch, depth, canvas.pick(kind), texture, lift)
    worn = age + 0.22 * fine + 0.1 * coarse - (rng.uniform(0.2, 0.9) if aged else 1.05)
    canvas.paint(patch, both(depth, 0.3 * worn), canvas.pick("rust"), texture * (0.85 + 0.35 * age))


def pitched(canvas: Canvas, patch: Patch, plain: bool, depth: Floats, b: float) -> None:
    """A gable, hip, lean-to, cone or pyramid of sheets or tiles."""
    rng = canvas.rng
    style = rng.choice(["gable", "lean", "hip"], p=(0.55, 0.2, 0.25)) if plain else "hip"
    rise = rng.uniform(0.2, 0.55) * {"gable": b - np.abs(patch.v), "lean": 0.4 * (patch.v + b)}.get(style, depth)
    shade, top = canvas.slope(rise), rise + rng.uniform(2.5, 4.0) + (2.8 if rng.random() < 0.25 else 0)
    if rng.random() < 0.88:
        sheets(canvas, patch, depth, shade, top)
    else:
        rows = 1 + 0.08 * np.sin(patch.v * (2 * math.pi / max(0.4, 3 * canvas.gsd))) + 0.09 * canvas.fine[patch.window]
        canvas.paint(patch, depth, canvas.pick("tile"), shade * rows, top)
    if style == "gable":
        canvas.paint(patch, both(0.14 - np.abs(patch.v), depth), canvas.pick("metal", "tile"))


def roof_terrace(canvas: Canvas, patch: Patch, depth: Floats, a: float, b: float) -> None:
    """A concrete terrace with parapet, potted plants, stair house or shed, tanks and a solar panel."""
    rng, fine, coarse = canvas.rng, canvas.fine[patch.window], canvas.coarse[patch.window]
    top, stains = float(rng.choice((3.2, 6.2, 9.2, 12.0), p=(0.25, 0.4, 0.25, 0.1))), np.maximum(coarse + fine - 1.2, 0)
    texture = 1 + 0.05 * fine + 0.07 * coarse - 0.08 * stains
    canvas.paint(patch, depth, canvas.pick("concrete"), texture, top)
    if rng.random() < 0.3:  # tiled part of the terrace
        check = (np.floor(patch.u / 0.6) + np.floor(patch.v / 0.6)) % 2
        part = both(depth, patch.u - rng.uniform(-0.6, 0.6) * a)
        canvas.paint(patch, part, canvas.pick("tile", "concrete"), texture * (1 + 0.12 * check))
    canvas.paint(patch, both(depth, 0.3 - depth), canvas.pick("concrete"), 1.15 * texture, top + rng.uniform(0.5, 1.1))
    pots = both(depth - 0.3, 1.1 - depth, 0.5 * (fine + coarse - rng.uniform(0.9, 2.4)))
    canvas.paint(patch, pots, canvas.pick("leaf"), 1 + 0.2 * fine, top + 0.8)
    for _ in range(int(rng.integers(1, 4))):  # stair house or shed
        half_u, half_v = rng.uniform(0.15, 0.5) * a, rng.uniform(0.2, 0.5) * b
        u, v = rng.uniform(-1, 1) * (a - half_u), rng.uniform(-1, 1) * (b - half_v)
        room, raised = both(patch.box(u, v, half_u, half_v), depth - 0.05), top + rng.uniform(0.6, 2.8)
        if rng.random() < 0.6:
            sheets(canvas, patch, room, np.ones_like(depth), raised)
        else:
            canvas.paint(patch, room, canvas.pick("concrete"), texture, raised)
    for _ in range(int(rng.integers(0, 5))):
        u, v, radius = rng.uniform(-0.85, 0.85) * a, rng.uniform(-0.85, 0.85) * b, rng.uniform(0.45, 0.75)
        tank = both(radius - np.hypot(patch.u - u, patch.v - v), depth - 0.2)
        canvas.paint(patch, tank, canvas.pick("tank"), 1.0, top + 2.2)
        canvas.paint(patch, tank - 0.6 * radius, canvas.pick("metal"))
    if rng.random() < 0.3:
        u, v = rng.uniform(-0.6, 0.6) * a, rng.uniform(-0.6, 0.6) * b
        frame = np.maximum(np.abs(patch.u - u) % 1.0, (np.abs(patch.v - v) + 0.4) % 0.8 + 0.2) > 0.9
        panel = both(patch.box(u, v, 1.5, 0.8), depth - 0.4)
        canvas.paint(patch, panel, canvas.pick("glass"), 1 + 1.2 * frame, top + 0.7)


def lengthwise(a: float, b: float, angle: float) -> tuple[float, float, float]:
    """Half sizes, the longer one first, and the direction of that one."""
    return (a, b, angle) if a >= b else (b, a, angle + math.pi / 2)


def building(canvas: Canvas, centre: complex, angle: float, a: float, b: float, flat: float) -> None:
    """One building of half sizes a, b with its label; left out where roofs already stand."""
    rng = canvas.rng
    a, b, angle = lengthwise(a, b, angle)
    patch = canvas.patch(centre, angle, math.hypot(a, b) + 1)
    if patch is None:
        return
    plain, depth = outline(rng, patch, a, b)
    roof = depth > 0
    if (canvas.ids[patch.window][roof] > 0).sum() > 0.05 * roof.sum():
        return
    canvas.roofs += 1
    canvas.ids[patch.window][roof] = canvas.roofs
    if b > 2.2 and a < 14 and rng.random() < flat:
        roof_terrace(canvas, patch, depth, a, b)
    else:
        pitched(canvas, patch, plain, depth, b)


class Look(NamedTuple):
    """What covers a roof in a row: "tile", "sheets", "felt" (a flat roof) or "terrace" (a flat roof that is lived on),
    its colour, the height of its eaves in metres and how steeply it rises.
    """

    cover: str
    colour: Floats
    eaves: float
    pitch: float


def number(canvas: Canvas, patch: Patch, depth: Floats, roof: int | None = None) -> int:
    """Give what lies inside and is no roof yet the next number, or that of a roof which it belongs to."""
    inside = (depth > 0) & (canvas.ids[patch.window] == 0)
    if roof is None:
        canvas.roofs += int(inside.any())
        roof = canvas.roofs
    canvas.ids[patch.window][inside] = roof
    return roof


def cover(canvas: Canvas, patch: Patch, depth: Floats, run: Floats, look: Look, a: float, b: float) -> None:
    """Cover an outline of half sizes a, b; `run` is the distance in metres from the eaves, by which a roof rises."""
    if look.cover == "terrace":
        roof_terrace(canvas, patch, depth, a, b)
    elif look.cover == "felt":
        _felt(canvas, patch, depth, look, a, b)
    else:
        rise = look.pitch * run
        if look.cover == "sheets":
            sheets(canvas, patch, depth, canvas.slope(rise), look.eaves + rise)
        else:
            _tiles(canvas, patch, depth, run, look)
        _fittings(canvas, patch, depth, look.eaves + rise, look, a, b)


def _tiles(canvas: Canvas, patch: Patch, depth: Floats, run: Floats, look: Look) -> None:
    """Tiles or slates in courses, in places newer ones, moss and a gutter."""
    rng, fine, coarse = canvas.rng, canvas.fine[patch.window], canvas.coarse[patch.window]
    rise, course = look.pitch * run, max(0.36, 3 * canvas.gsd)
    row, column = np.floor(run / course).astype(np.intp), np.floor(patch.u / 0.6).astype(np.intp)
    age = rng.random((32, 32), dtype=np.float32)[row % 32, column % 32]
    worn = 1 + 0.05 * np.sin(run * (2 * math.pi / course)) + rng.uniform(0.03, 0.16) * (age - 0.5) + 0.04 * fine
    texture = canvas.slope(rise) * worn * (1 + 0.03 * coarse)
    canvas.paint(patch, depth, look.colour, texture, look.eaves + rise)
    moss = both(depth, 0.3 * (0.7 * fine + 0.7 * coarse - rng.uniform(0.9, 2.6)))
    canvas.paint(patch, moss, 0.7 * look.colour + 0.3 * canvas.pick("leaf"), texture)
    if rng.random() < 0.5:  # gutter
        canvas.paint(patch, both(depth, 0.14 - run), canvas.pick("metal", "slate"))


def _fittings(canvas: Canvas, patch: Patch, depth: Floats, top: Floats, look: Look, a: float, b: float) -> None:
    """Chimneys, windows, dormers and solar panels on a pitched roof whose ridge runs along u."""
    rng, inside = canvas.rng, depth - 0.3
    lift = top + 0.1

    def spot() -> tuple[float, float]:
        return rng.uniform(-0.75, 0.75) * a, rng.choice((-1, 1)) * rng.uniform(0.3, 0.65) * b

    for _ in range(rng.poisson(0.15 * a) if look.cover == "tile" else 0):  # dormer
        u, v = spot()
        half_u, half_v = rng.uniform(0.7, 1.5), rng.uniform(0.8, 1.4)
        body = both(patch.box(u, v, half_u, half_v), inside)
        gable = 1.0 if rng.random() < 0.4 else canvas.slope(0.6 * (half_u - np.abs(patch.u - u)))
        colour = look.colour * rng.uniform(0.85, 1.1) if rng.random() < 0.5 else canvas.pick("felt", "metal")
        canvas.paint(patch, body, colour, gable, look.eaves + look.pitch * (b - abs(v) + half_v))
    for _ in range(rng.poisson(0.25 * a)):  # roof window
        pane = both(patch.box(*spot(), 0.4, 0.55), inside)
        canvas.paint(patch, pane + 0.1, canvas.pick("slate"), 0.8)
        canvas.paint(patch, pane, canvas.pick("glass"), rng.uniform(0.9, 1.9))
    if rng.random() < 0.13:
        (u, v), columns = spot(), int(rng.integers(2, 6))
        half_u, half_v = min(0.5 * columns, a - 0.4), min(0.84 * int(rng.integers(1, 3)), 0.4 * b)
        frame = ((patch.u - u + 20) % 1.0 < 0.1) | ((patch.v - v + 16.8) % 1.68 < 0.1)
        panel = both(patch.box(np.clip(u, half_u - a, a - half_u), v, half_u, half_v), inside)
        canvas.paint(patch, panel, canvas.pick("glass"), canvas.slope(top) * (0.95 + 0.7 * frame), lift)
    for _ in range(rng.poisson(0.2 * a) if look.cover == "tile" else 0):  # chimney
        stack = both(patch.box(rng.uniform(-1, 1) * a, rng.normal(0, 0.2) * b, 0.35, rng.uniform(0.4, 0.9)), depth)
        canvas.paint(patch, stack, canvas.pick("tile", "concrete"), 1.0, float(look.eaves + look.pitch * b + 1.2))
        canvas.paint(patch, stack - 0.2, canvas.pick("asphalt"), 0.5)


def _felt(canvas: Canvas, patch: Patch, depth: Floats, look: Look, a: float, b: float) -> None:
    """A flat roof of felt, gravel or a pale membrane: seams, wet places, a rim, roof lights and machines."""
    rng, fine, coarse = canvas.rng, canvas.fine[patch.window], canvas.coarse[patch.window]
    axis, width = (patch.u if rng.random() < 0.5 else patch.v), max(1.0, 5 * canvas.gsd)
    seams = 1 + 0.07 * (np.abs(axis % width - width / 2) < 0.5 * canvas.gsd)
    texture = seams * (1 + 0.03 * fine + 0.05 * coarse)
    canvas.paint(patch, depth, look.colour, texture, look.eaves)
    wet = both(depth - 0.4, 0.5 * (coarse + 0.4 * fine - rng.uniform(0.4, 2)))
    canvas.paint(patch, wet, look.colour * rng.uniform(0.8, 1.12), texture)
    if rng.random() < 0.08:
        canvas.paint(patch, depth - 0.5, canvas.pick("grass"), 1 + 0.15 * fine, look.eaves + 0.1)
    rim = rng.uniform(0.15, 0.4)
    canvas.paint(patch, both(depth, rim - depth), canvas.pick("metal", "concrete", "felt"), 1.0, look.eaves + 0.5)
    for _ in range(rng.poisson(0.03 * a * b)):
        u, v, half = rng.uniform(-0.8, 0.8) * a, rng.uniform(-0.8, 0.8) * b, rng.uniform(0.3, 1.0)
        box = both(patch.box(u, v, half, half * rng.uniform(0.6, 1.6)), depth - 0.5)
        kind = str(rng.choice(["tank", "metal", "concrete", "glass"]))
        canvas.paint(patch, box, canvas.pick(kind), 1.0, look.eaves + rng.uniform(0.3, 1.6))
    if a * b > 25 and rng.random() < 0.5:  # lift or stairs
        u, v = rng.uniform(-0.6, 0.6) * a, rng.uniform(-0.5, 0.5) * b
        house = both(patch.box(u, v, rng.uniform(1, 2), rng.uniform(1, 2)), depth - 0.3)
        canvas.paint(patch, house, look.colour * rng.uniform(0.9, 1.2), texture, look.eaves + 2.4)
