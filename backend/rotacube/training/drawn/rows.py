"""Roofs that touch: terraces, perimeter blocks around a courtyard and rows that stand back to back."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from rotacube.training.drawn.canvas import Canvas, Rect, Side, both, sides
from rotacube.training.drawn.ground import Crown, parked, street, yard
from rotacube.training.drawn.roofs import Look, building, cover, number

KERB = -2.7  # where cars are parked, in metres from the edge of the block


class _House(NamedTuple):
    """A house in a row, from s0 to s1 along the street and from t0 to t1 behind it, in metres; `ridge` is the share of
    its depth at which the ridge lies, `hip` says which of its ends slope.
    """

    s0: float
    s1: float
    t0: float
    t1: float
    look: Look
    ridge: float = 0.5
    hip: tuple[bool, bool] = (False, False)

    @property
    def half(self) -> tuple[float, float]:
        """Half its width and half its depth."""
        return (self.s1 - self.s0) / 2, (self.t1 - self.t0) / 2


def _look(canvas: Canvas, kind: str) -> Look:
    """A look of the kind: "tiles", "sheets", "felt" or "terrace"."""
    rng = canvas.rng
    if kind == "tiles":
        colour = canvas.pick("red tile" if rng.random() < 0.6 else "slate")
        return Look("tile", colour, rng.uniform(4.5, 6.5), rng.uniform(0.45, 0.9))
    if kind == "felt":
        return Look("felt", canvas.pick("felt"), float(rng.choice((3.0, 5.8, 6.2, 9.0))), 0.0)
    return Look(kind, canvas.pick("metal"), rng.uniform(2.8, 4.2), rng.uniform(0.15, 0.4))


def _varied(canvas: Canvas, look: Look, before: Look | None, much: bool) -> Look:
    """The look of the next house: like its neighbours' but for its age, or, with `much`, of its own height and slope;
    never quite the tone of the house before it.
    """
    rng = canvas.rng
    if much:
        kind = "tiles" if look.cover == "tile" else look.cover
        kind = kind if rng.random() < 0.85 else str(rng.choice(["tiles", "felt", "sheets"]))
        look = _look(canvas, kind)._replace(eaves=look.eaves)
        look = look._replace(eaves=look.eaves + float(rng.choice((-1.5, -0.4, 0, 0.4, 0.8, 2.7))))
    colour = look.colour * rng.uniform(0.82, 1.18)
    if before is not None and np.abs(colour - before.colour).mean() < 0.12 * before.colour.mean():
        colour = before.colour * (0.82 if before.colour.mean() > look.colour.mean() else 1.2)
    return look._replace(colour=colour)


def _undercoat(canvas: Canvas, side: Side, left: _House, right: _House) -> None:
    """Roof colour under the border of two houses, so that no ground shines through their soft edges."""
    t0, t1, reach = max(left.t0, right.t0), min(left.t1, right.t1), 3 * canvas.gsd
    patch = canvas.lot(side, left.s1 - reach, left.s1 + reach, t0, t1) if t0 < t1 else None
    if patch is not None:
        canvas.paint(patch, patch.box(0, 0, reach, (t1 - t0) / 2 - canvas.gsd), left.look.colour)


def _party_wall(canvas: Canvas, side: Side, left: _House, right: _House, raised: bool) -> None:
    """The wall between two houses where it shows: a parapet above both roofs, or a line of mortar."""
    rng, t0, t1 = canvas.rng, max(left.t0, right.t0), min(left.t1, right.t1)
    patch = canvas.lot(side, left.s1 - 0.5, left.s1 + 0.5, t0, t1, 0.3) if t0 < t1 else None
    if patch is None:
        return
    half = rng.uniform(0.14, 0.22) if raised else 0.09
    line = patch.box(0, 0, half, (t1 - t0) / 2)
    if raised:
        top = canvas.height[patch.window] + 0.35
        canvas.paint(patch, line, canvas.pick("concrete", "paved", "metal", "tile"), 1.0, top)
    else:
        tone = rng.choice((0.6, 1.3))
        canvas.paint(patch, line, np.minimum(left.look.colour, right.look.colour) * tone, 0.95)


def _claim(canvas: Canvas, side: Side, house: _House) -> int:
    """Number a house; 0 when it lies outside the image."""
    patch = canvas.lot(side, house.s0, house.s1, house.t0, house.t1)
    return 0 if patch is None else number(canvas, patch, patch.box(0, 0, *house.half))


def _house(canvas: Canvas, side: Side, house: _House) -> None:
    """Cover a house."""
    patch = canvas.lot(side, house.s0, house.s1, house.t0, house.t1, 0.5)
    if patch is None:
        return
    (a, b), ridge = house.half, house.ridge
    depth = patch.box(0, 0, a, b)
    run = both((patch.v + b) * (0.5 / ridge), (b - patch.v) * (0.5 / (1 - ridge)))
    for end, sign in zip(house.hip, (1, -1)):
        run = both(run, a + sign * patch.u) if end else run
    cover(canvas, patch, depth, run, house.look, a, b)
    if house.look.cover in ("tile", "sheets"):
        crest = both(0.15 - np.abs(patch.v - b * (2 * ridge - 1)), depth, run - 0.8 * b)
        canvas.paint(patch, crest, house.look.colour * canvas.rng.uniform(0.75, 1.2))


def _annexe(canvas: Canvas, side: Side, house: _House, roof: int, long: float) -> None:
    """A lower part behind a house, with its number; left out where another roof stands."""
    rng, (a, _) = canvas.rng, house.half
    width = 2 * a * (rng.uniform(0.4, 0.65) if rng.random() < 0.8 else 1.0)
    s0 = house.s0 if rng.random() < 0.5 else house.s1 - width
    patch = canvas.lot(side, s0, s0 + width, house.t1, house.t1 + long, 0.5)
    if patch is None or roof == 0:
        return
    depth = patch.box(0, 0, width / 2, long / 2)
    if (canvas.ids[patch.window][depth > 0] > 0).any():
        return
    number(canvas, patch, depth, roof)
    look = _look(canvas, str(rng.choice(["felt", "tiles", "sheets"], p=(0.5, 0.3, 0.2))))._replace(eaves=2.6, pitch=0.3)
    if look.cover == "tile" and house.look.cover == "tile":
        look = look._replace(colour=house.look.colour * rng.uniform(0.85, 1.1))
    # It begins under the house, which is painted later, so that no ground shows between the two.
    under = both(np.maximum(depth, both(0.5 + depth, -patch.v)), width / 2 - np.abs(patch.u))
    cover(canvas, patch, under, long / 2 - patch.v, look, width / 2, long / 2)


def _row(canvas: Canvas, side: Side, houses: list[_House], raised: float, annexe: tuple[float, float, float]) -> None:
    """Houses wall to wall, with parapets by probability `raised`; share, least and most metres of their annexes."""
    rng, pairs = canvas.rng, list(zip(houses, houses[1:]))
    numbers = [_claim(canvas, side, house) for house in houses]
    for house, roof in zip(houses, numbers):
        if rng.random() < annexe[0] and annexe[1] < annexe[2]:
            _annexe(canvas, side, house, roof, rng.uniform(*annexe[1:]))
    for left, right in pairs:
        _undercoat(canvas, side, left, right)
    for house in houses:
        _house(canvas, side, house)
    parapets = rng.random() < raised
    for left, right in pairs:
        if left.look.cover != "terrace" or right.look.cover != "terrace":
            _party_wall(canvas, side, left, right, parapets)


def _gardens(canvas: Canvas, side: Side, house: _House, land: float) -> None:
    """The ground before and behind a terraced house, with a paved part and a hedge."""
    rng, tidy, kinds = canvas.rng, canvas.rng.random() < 0.75, ["grass", "paved", "soil"]
    yard(canvas, side.rect(house.s0, house.s1, 0.0, house.t0), str(rng.choice(kinds)), tidy)
    back = str(rng.choice(kinds, p=(0.6, 0.25, 0.15)))
    yard(canvas, side.rect(house.s0, house.s1, house.t1, land), back, tidy)
    if rng.random() < 0.6:
        yard(canvas, side.rect(house.s0, house.s1, house.t1, house.t1 + rng.uniform(1.5, 4)), "paved", tidy)
    if rng.random() < 0.4:
        hedge = canvas.lot(side, house.s0, house.s1, house.t1, land, 0.3)
        if hedge is not None:
            fine = canvas.fine[hedge.window]
            depth = both(0.45 - np.abs(hedge.u - (house.s1 - house.s0) / 2) + 0.15 * fine,
                         (land - house.t1) / 2 - np.abs(hedge.v))  # fmt: skip
            canvas.paint(hedge, depth, canvas.pick("leaf"), 0.9 + 0.2 * fine, rng.uniform(0.9, 2.0))


def _widths(canvas: Canvas, length: float, width: float, spread: float) -> list[float]:
    """Cut a length into houses of about this width."""
    count = max(1, round(length / width))
    shares = canvas.rng.uniform(1 - spread, 1 + spread, count)
    return [float(share) for share in shares / shares.sum() * length]


def _terrace(canvas: Canvas, side: Side, s: float, widths: list[float], land: float) -> None:
    """One run of houses with its gardens; all alike, each its own, or with flat roofs."""
    rng = canvas.rng
    kind = str(rng.choice(["estate", "street", "sheets", "terrace", "felt"], p=(0.38, 0.24, 0.08, 0.18, 0.12)))
    look = _look(canvas, "tiles" if kind in ("estate", "street") else kind)
    depth, front = min(rng.uniform(7, 11), land - 5), rng.choice((0.3, rng.uniform(1.5, 5)))
    ridge, fall = rng.uniform(0.42, 0.58), float(rng.choice((0, 0, 0.2, 0.4)))
    step = float(rng.choice((0, 0, rng.uniform(0.6, 2.0)))) if kind != "street" else 0.0
    every, hip = int(rng.integers(1, 4)), bool(rng.random() < 0.3)
    houses: list[_House] = []
    for index, width in enumerate(widths):
        own = _varied(canvas, look, houses[-1].look if houses else None, kind == "street")
        own = own._replace(eaves=own.eaves + fall * index)
        shift = step * (index // every % 2)
        back = front + shift + depth + (rng.normal(0, 0.5) if kind != "estate" else 0)
        ends = (hip and index == 0, hip and index == len(widths) - 1)
        lean = ridge if kind != "street" else rng.uniform(0.38, 0.62)
        houses.append(_House(s, s + width, front + shift, float(min(back, land - 1)), own, lean, ends))
        s += width
    for house in houses:
        _gardens(canvas, side, house, land)
    room = land - max(house.t1 for house in houses) - 1.5
    _row(canvas, side, houses, 0.5, (rng.choice((0.0, 0.3, 0.8)), 1.8, min(4.5, room)))
    for house in houses:
        if rng.random() < 0.25:
            centre, grow = canvas.place(
                side.at(rng.uniform(house.s0 + 1.5, house.s1 - 1.5), land - rng.uniform(1.2, 2))
            )
            building(canvas, complex(centre), float(np.angle(grow)), rng.uniform(1, 1.8), rng.uniform(0.9, 1.4), 0.0)


def _trees(canvas: Canvas, side: Side, t: float, share: float) -> list[Crown]:
    """Trees along a line beside a row, some over its eaves; `share` of the places taken."""
    rng, crowns = canvas.rng, list[Crown]()
    for s in np.arange(2.0, side.length, 6.0):
        if rng.random() < share:
            centre, _ = canvas.place(side.at(s + rng.normal(0, 1.5), t + rng.normal(0, 0.8)))
            crowns.append((complex(centre), float(rng.uniform(1.2, 3.4))))
    return crowns


def _divided(canvas: Canvas, side: Side, across: float) -> list[Crown]:
    """A block too deep for two rows, with a street through its middle."""
    half = canvas.rng.uniform(4, 4.8)
    street(canvas, side.rect(0, side.length, across / 2 - half, across / 2 + half), 2 * half)
    near, far = (0.0, across / 2 - half), (across / 2 + half, across)
    return [crown for part in (near, far) for crown in terraces(canvas, side.rect(0, side.length, *part))]


def terraces(canvas: Canvas, rect: Rect) -> list[Crown]:
    """A block of terraces of 3 to 12 houses along its long sides, gardens between them; its trees."""
    rng, four = canvas.rng, sides(rect)
    first = 0 if four[0].length > four[1].length else 1
    across = four[1 - first].length
    if across > 42:
        return _divided(canvas, four[first], across)
    yard(canvas, rect, str(rng.choice(["grass", "paved"])), tidy=True)
    if across < 12:
        return []  # too narrow for a house and its gardens
    rows = (four[first], four[first + 2]) if across > 23 else (four[first + 2 * int(rng.integers(2))],)
    land, crowns = across / len(rows), list[Crown]()
    for side in rows:
        s, width, spread = rng.uniform(0.3, 2), rng.uniform(4.4, 7.6), rng.choice((0.0, 0.15))
        while side.length - s > 3 * width:
            count, room = int(rng.integers(3, 13)), int((side.length - s - 0.3) / width)
            count = min(room, 12) if room - count < 4 else count
            _terrace(canvas, side, s, _widths(canvas, count * width, width, spread), land)
            s += count * width + rng.uniform(1.2, 5)
        parked(canvas, side, 0, side.length, KERB, rng.uniform(0.2, 0.8))
        crowns += _trees(canvas, side, -1.0, rng.choice((0.0, 0.25)))
        crowns += _trees(canvas, side, rng.uniform(10.5, 14), 0.3)
    return crowns


def _corner(canvas: Canvas, side: Side, arms: tuple[float, float], deep: float, chamfer: float, look: Look) -> None:
    """The L-shaped building where a side begins: one arm along it, the other along the side before, both `deep`."""
    patch = canvas.lot(side, 0.0, arms[0], 0.0, arms[1], 0.5)
    if patch is None:
        return
    s, t = patch.u + arms[0] / 2, patch.v + arms[1] / 2
    cut = (s + t - chamfer) * math.sqrt(0.5)
    along, behind = both(s, t, deep - t, arms[0] - s), both(s, t, deep - s, arms[1] - t)
    depth = both(np.maximum(along, behind), cut)
    run = both(np.maximum(both(s, t, deep - t), both(s, t, deep - s)), cut)
    number(canvas, patch, depth)
    cover(canvas, patch, depth, run, look, *(arm / 2 for arm in arms))


def _front(canvas: Canvas, side: Side, s0: float, s1: float, deep: float, look: Look, much: bool) -> list[_House]:
    """The buildings of one side of a block between its corners."""
    rng, houses, s = canvas.rng, list[_House](), s0
    for width in _widths(canvas, s1 - s0, rng.uniform(9, 17), 0.3) if s1 - s0 > 4 else [s1 - s0]:
        own = _varied(canvas, look, houses[-1].look if houses else None, much)
        own = own._replace(eaves=own.eaves + float(rng.choice((-1.2, 0.0, 0.0, 0.6, 1.4))))
        houses.append(_House(s, s + width, 0.0, deep + float(rng.normal(0, 0.7)), own, rng.uniform(0.44, 0.56)))
        s += width
    return houses


def _perimeter(canvas: Canvas, rect: Rect, deep: float) -> list[Crown]:
    """Buildings wall to wall along all four sides, their wings, and the courtyard that they enclose."""
    rng, four, crowns = canvas.rng, sides(rect), list[Crown]()
    inner = (rect[0] + deep, rect[1] + deep, rect[2] - deep, rect[3] - deep)
    _courtyard(canvas, inner)
    kind = str(rng.choice(["tiles", "felt", "terrace"], p=(0.6, 0.2, 0.2)))
    base, much = _look(canvas, kind), rng.random() < 0.7
    base = base._replace(eaves=rng.uniform(9, 15), pitch=min(base.pitch, 0.7))
    spare = min(side.length for side in four) / 2 - deep - 2
    arms = [deep + rng.uniform(0.5, max(0.6, min(6, spare)), 2) for _ in four]
    chamfer = float(rng.choice((0.0, 4.0)))
    rows: list[list[_House]] = []
    for side, (ahead, _), (_, back) in zip(four, arms, arms[1:] + arms[:1]):
        rows.append(_front(canvas, side, ahead, side.length - back, deep, base, much))
    looks = [_varied(canvas, base, row[0].look, False) for row in rows]
    for side, row, arm, look, after in zip(four, rows, arms, looks, looks[1:] + looks[:1]):
        start, end = _House(0, arm[0], 0, deep, look), _House(row[-1].s1, side.length, 0, deep, after)
        _undercoat(canvas, side, start, row[0])
        _undercoat(canvas, side, row[-1], end)
    for side, row, arm, look, after in zip(four, rows, arms, looks, looks[1:] + looks[:1]):
        _corner(canvas, side, (arm[0], arm[1]), deep, chamfer, look)
        gate = int(rng.integers(1, len(row) - 1)) if len(row) > 2 and rng.random() < 0.12 else len(row)
        for part in (row[:gate], row[gate + 1 :]):
            _row(canvas, side, part, 0.6, (0.35, 3.0, min(9.0, spare - 3)))
        for left, right in (_House(0, arm[0], 0, deep, look), row[0]), (row[-1], _House(0, 0, 0, deep, after)):
            _party_wall(canvas, side, left, right, bool(rng.random() < 0.6))
        parked(canvas, side, 0, side.length, KERB, rng.uniform(0.3, 0.9))
        crowns += _trees(canvas, side, -1.2, rng.choice((0.0, 0.2)))
    return crowns + _courtyard_things(canvas, inner)


def _courtyard(canvas: Canvas, rect: Rect) -> None:
    """The ground of a courtyard, divided among its owners."""
    rng, kinds, tidy = canvas.rng, ["grass", "paved", "soil"], canvas.rng.random() < 0.6
    yard(canvas, rect, str(rng.choice(kinds)), tidy)
    u = rect[0] + rng.uniform(0.3, 0.7) * (rect[2] - rect[0])
    v = rect[1] + rng.uniform(0.3, 0.7) * (rect[3] - rect[1])
    for u0, u1 in ((rect[0], u), (u, rect[2])):
        for v0, v1 in ((rect[1], v), (v, rect[3])):
            if rng.random() < 0.6:
                yard(canvas, (u0, v0, u1, v1), str(rng.choice(kinds)), tidy)


def _courtyard_things(canvas: Canvas, rect: Rect) -> list[Crown]:
    """What stands in a courtyard: cars along its walls, a building behind, sheds, trees over the eaves."""
    rng, crowns = canvas.rng, list[Crown]()
    half = complex(rect[2] - rect[0], rect[3] - rect[1]) / 2
    middle = complex(rect[0], rect[1]) + half
    for side in sides(rect):
        parked(canvas, side, 2, side.length - 2, rng.uniform(4, 6), rng.choice((0.0, 0.4)))
        crowns += _trees(canvas, side, rng.uniform(0.5, 2.5), 0.25)
    if min(half.real, half.imag) > 9 and rng.random() < 0.5:
        centre, grow = canvas.place(middle)
        a, b = (min(side - rng.uniform(5, 7), 11.0) for side in (half.real, half.imag))
        building(canvas, complex(centre), float(np.angle(grow)), a, b, 0.5)
    for _ in range(int(rng.integers(0, 5))):
        at = complex(rng.uniform(-0.8, 0.8) * half.real, rng.uniform(-0.8, 0.8) * half.imag)
        centre, grow = canvas.place(middle + at)
        building(canvas, complex(centre), float(np.angle(grow)), rng.uniform(1.3, 3), rng.uniform(1.2, 2.2), 0.2)
    return crowns


def _back_to_back(canvas: Canvas, rect: Rect) -> list[Crown]:
    """Two rows that fill a block and touch along its middle, but for light wells; dense old towns stand so."""
    rng, four, crowns = canvas.rng, sides(rect), list[Crown]()
    first = 0 if four[0].length > four[1].length else 1
    half = four[1 - first].length / 2
    yard(canvas, rect, str(rng.choice(["paved", "soil"])))
    kinds = rng.choice(["terrace", "felt", "sheets", "tiles"], 2, p=(0.55, 0.15, 0.2, 0.1))
    for side, middle in ((four[first], half * 1.1), (four[first + 2], half * 0.9)):
        houses: list[_House] = []
        s = 0.0
        for width in _widths(canvas, side.length, rng.uniform(5, 10), 0.35):
            kind = str(kinds[int(rng.random() < 0.3)])
            own = _varied(canvas, _look(canvas, kind), houses[-1].look if houses else None, False)
            own = own._replace(eaves=own.eaves + float(rng.choice((0, 0.5, 3.0))))
            back = middle - (rng.uniform(1.5, 4) if rng.random() < 0.2 else 0.0)
            houses.append(_House(s, s + width, float(rng.choice((0, 0, 0.6))), back, own))
            s += width
        _row(canvas, side, houses, 0.5, (0.0, 0.0, 0.0))
        parked(canvas, side, 0, side.length, KERB, rng.uniform(0.1, 0.6))
        crowns += _trees(canvas, side, -1.2, 0.1)
    return crowns


def blocks(canvas: Canvas, rect: Rect) -> list[Crown]:
    """A block of buildings that share walls, around a courtyard where there is room for one; its trees."""
    across, deep = min(rect[2] - rect[0], rect[3] - rect[1]), canvas.rng.uniform(9, 12.5)
    if across < 12:
        yard(canvas, rect, "paved")
        return []
    return _perimeter(canvas, rect, deep) if across > 2 * deep + 9 else _back_to_back(canvas, rect)
