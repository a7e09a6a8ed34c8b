"""What is no roof in drawn scenes: yards, streets, cars, trees, car parks, building sites and other bare ground."""

from __future__ import annotations

import math

import numpy as np

from rotacube.training.drawn.canvas import Canvas, Floats, Patch, Rect, Side, both, sides
from rotacube.training.drawn.roofs import building

Crown = tuple[complex, float]  # where a tree stands and its radius, in metres


def yard(canvas: Canvas, rect: Rect, kind: str, tidy: bool = False) -> None:
    """One parcel's ground: a "field" with furrows, "grass" with plants, "paved" or bare "soil"; walls and, unless it is
    `tidy`, rubble.
    """
    patch = canvas.strip(rect)
    if patch is None:
        return
    rng, fine, coarse = canvas.rng, canvas.fine[patch.window], canvas.coarse[patch.window]
    half_u, half_v = (rect[2] - rect[0]) / 2 - 0.2, (rect[3] - rect[1]) / 2 - 0.2
    bounds, texture = patch.box(0, 0, half_u, half_v) + 0.25 * fine, 1 + 0.12 * fine + 0.06 * coarse
    canvas.paint(patch, bounds, canvas.pick("soil" if kind == "field" else kind), texture)
    if kind == "field":
        period = max(rng.uniform(0.7, 1.6), 4 * canvas.gsd)
        wave = np.sin((patch.u if rng.random() < 0.5 else patch.v) * (2 * math.pi / period) + 0.8 * coarse)
        rows = 0.2 * (wave + 0.5 * fine - rng.uniform(-1, 1))
        canvas.paint(patch, both(bounds, rows), canvas.pick("leaf"), texture)
    elif kind == "grass":
        canvas.paint(patch, both(bounds, fine + coarse - rng.uniform(0, 1)), canvas.pick("leaf"), 0.9 + 0.28 * fine)
    if kind != "field" and not tidy:
        litter = 0.3 * (np.abs(fine[:, ::-1]) + 0.5 * coarse - rng.uniform(1.6, 3.2))
        canvas.paint(patch, both(bounds, litter), canvas.pick("concrete", "metal", "soil"), 1 + 0.25 * fine)
    if kind in ("soil", "grass") and rng.random() < 0.5:
        wall = 0.12 - np.abs(patch.box(0, 0, half_u, half_v))
        canvas.paint(patch, wall, canvas.pick("paved"), 1.0, rng.uniform(0.6, 1.8))


def street(canvas: Canvas, rect: Rect, width: float) -> None:
    """A street along the longer side of `rect`: asphalt with marks and footpaths when wide, else a lane."""
    patch = canvas.strip(rect)
    if patch is None:
        return
    long, wide = max(rect[2] - rect[0], rect[3] - rect[1]), width > 7
    along, across = (patch.u, patch.v) if rect[2] - rect[0] > width * 1.01 else (patch.v, patch.u)
    fine, coarse = canvas.fine[patch.window], canvas.coarse[patch.window]
    verge = both(width / 2 - np.abs(across), long / 2 - np.abs(along))
    surface = ("paved",) if wide else ("soil", "paved")
    canvas.paint(patch, verge + 0.35 * fine, canvas.pick(*surface), 1 + 0.06 * fine + 0.05 * coarse)
    wear = 1 + 0.05 * np.cos(across * (2 * math.pi / (3.2 if wide else 1.7))) + 0.05 * (fine + coarse)
    carriageway = verge - 1.6 + 0.1 * fine if wide else verge - width * 0.15 + 0.3 * fine
    canvas.paint(patch, carriageway, canvas.pick("asphalt") if wide else canvas.pick(*surface), wear)
    if wide:
        canvas.paint(patch, both(0.09 - np.abs(across), 1.0 - np.abs(along % 6.0 - 3)), canvas.pick("marks"))
        canvas.paint(patch, 0.08 - np.abs(verge - 1.7), canvas.pick("marks"), 1.0, 0.15)


def car(canvas: Canvas, centre: complex, angle: float) -> None:
    """A parked or driving car of about 4.2 m x 1.8 m."""
    patch = canvas.patch(centre, angle, 3.2)
    if patch is not None:
        a, b, body = canvas.rng.uniform(1.8, 2.5), canvas.rng.uniform(0.8, 0.95), canvas.pick("car")
        corners = a + b - 0.4 - np.abs(patch.u) - np.abs(patch.v)
        canvas.paint(patch, both(patch.box(0, 0, a, b), corners), body, 1.0, 1.0)
        canvas.paint(patch, patch.box(-0.2, 0, a * 0.62, b * 0.82), canvas.pick("glass"), 1.0, 1.4)
        canvas.paint(patch, patch.box(-0.25, 0, a * 0.36, b * 0.78), body, 1.0, 1.5)


def traffic(canvas: Canvas, rect: Rect, width: float) -> None:
    """Cars along a street, more of them on a wide one."""
    rng, long, across = canvas.rng, rect[2] - rect[0], rect[3] - rect[1]
    along = 1.0 if long > across else 1j
    for _ in range(rng.poisson(max(long, across) / (16 if width > 7 else 45))):
        lane = rng.choice((-1, 1)) * (width / 4 if width > 5 else 0.3)
        step = complex(rng.uniform(-0.5, 0.5) * max(long, across), lane) * along
        centre, grow = canvas.place(complex(rect[0] + rect[2], rect[1] + rect[3]) / 2 + step)
        car(canvas, complex(centre), float(np.angle(grow * along)))


def tree(canvas: Canvas, centre: complex, radius: float, share: int = 6) -> None:
    """A crown of irregular outline; left out where one part in `share` of it would hide roofs."""
    rng, patch = canvas.rng, canvas.patch(centre, 0.0, radius * 1.5)
    if patch is None:
        return
    fine, bearing = canvas.fine[patch.window], np.arctan2(patch.v, patch.u)
    lobes = sum(rng.uniform(0.3, 1) / k * np.cos(k * bearing + rng.uniform(0, 6.3)) for k in (2, 3, 5, 7))
    depth = radius * (1 + 0.16 * lobes) - np.hypot(patch.u, patch.v) + 0.2 * radius**0.5 * fine
    if (canvas.ids[patch.window][depth > 0] > 0).sum() * share < (depth > 0).sum():
        dome = np.sqrt(np.maximum(depth, 0) * radius) * 0.8 + 0.25 * fine
        top = np.maximum(canvas.height[patch.window], rng.uniform(0.4, 0.9) * radius + dome)
        canvas.paint(patch, depth, canvas.pick("leaf"), canvas.slope(dome) * (0.95 + 0.16 * fine), top)


def parked(canvas: Canvas, side: Side, s0: float, s1: float, t: float, share: float) -> None:
    """A line of cars parked along a street, `share` of the places taken."""
    for s in np.arange(s0 + 3, s1 - 2, 5.4):
        if canvas.rng.random() < share:
            centre, grow = canvas.place(side.at(s + canvas.rng.normal(0, 0.3), t + canvas.rng.normal(0, 0.1)))
            turned = side.axis * canvas.rng.choice((-1, 1))
            car(canvas, complex(centre), float(np.angle(grow * turned)) + canvas.rng.normal(0, 0.02))


def lorry(canvas: Canvas, centre: complex, angle: float) -> None:
    """A lorry, a bus or a trailer: as large and as bright as a small roof, but none."""
    patch, rng = canvas.patch(centre, angle, 8.0), canvas.rng
    if patch is not None:
        a, top = rng.uniform(3, 6.5), rng.uniform(2.6, 3.6)
        seams = 1 - 0.06 * (np.abs((patch.u + 9) % 1.5 - 0.75) < 0.1)
        canvas.paint(patch, patch.box(0, 0, a, 1.25), canvas.pick("lorry"), seams, top)
        if rng.random() < 0.7:
            canvas.paint(patch, patch.box(a + 1.3, 0, 1.0, 1.15), canvas.pick("lorry", "car"), 1.0, 2.4)
            canvas.paint(patch, patch.box(a + 2.1, 0, 0.25, 1.0), canvas.pick("glass"))


def surface(canvas: Canvas, rect: Rect, kind: str) -> Patch | None:
    """An even ground with patches of repair, stains and cracks; its window, None outside the image."""
    patch, rng = canvas.strip(rect), canvas.rng
    if patch is None:
        return None
    fine, coarse = canvas.fine[patch.window], canvas.coarse[patch.window]
    half_u, half_v = (rect[2] - rect[0]) / 2, (rect[3] - rect[1]) / 2
    bounds, texture = patch.box(0, 0, half_u, half_v) + 0.05 * fine, 1 + 0.035 * fine + 0.06 * coarse
    colour = canvas.pick(kind)
    canvas.paint(patch, bounds, colour, texture)
    for _ in range(rng.poisson(half_u * half_v / 150)):  # repairs
        at = rng.uniform(-1, 1) * half_u, rng.uniform(-1, 1) * half_v
        piece = both(patch.box(*at, rng.uniform(0.5, 6), rng.uniform(0.4, 2.5)), bounds)
        canvas.paint(patch, piece, colour * rng.uniform(0.82, 1.12), texture)
    if kind == "asphalt":  # cracks where it is worn
        crack = both(0.05 - 0.9 * np.abs(fine + 0.5 * coarse), bounds, 0.4 * (coarse - rng.uniform(0.2, 1.5)))
        canvas.paint(patch, crack - 0.25 * canvas.gsd, colour * 0.8)
    canvas.paint(patch, both(bounds, 0.25 * (fine - coarse - 2.6)), colour * 0.75, texture)
    return patch


def _bays(canvas: Canvas, side: Side, s0: float, s1: float, t: float, inward: int, taken: float) -> None:
    """A row of bays of 2.5 m x 5 m from the line at t on, their lines and the cars in them."""
    rng, t0, t1 = canvas.rng, min(t, t + 5.0 * inward), max(t, t + 5.0 * inward)
    patch = canvas.lot(side, s0, s1, t0, t1, 0.3)
    if patch is None:
        return
    count = int((s1 - s0) / 2.5)
    half, worn = count * 1.25, rng.uniform(0.5, 1.0) + 0.12 * canvas.fine[patch.window]
    along = patch.u + (s1 - s0) / 2  # from the first line on
    lines = both(0.07 - np.abs((along + 1.25) % 2.5 - 1.25), 2.5 - np.abs(patch.v), half + 0.1 - np.abs(along - half))
    head = both(0.07 - np.abs(patch.v + inward * 2.5), half - np.abs(along - half))
    canvas.paint(patch, np.maximum(lines, head), canvas.pick("marks"), worn)
    for bay in range(count):
        if rng.random() < taken:
            middle = side.at(s0 + 2.5 * bay + 1.25 + rng.normal(0, 0.1), t + inward * (2.5 + rng.normal(0, 0.2)))
            centre, grow = canvas.place(middle)
            turned = side.axis * 1j * rng.choice((-1, 1))
            car(canvas, complex(centre), float(np.angle(grow * turned)) + rng.normal(0, 0.03))


def car_park(canvas: Canvas, rect: Rect) -> list[Crown]:
    """A block of asphalt with bays, cars, islands and a verge, perhaps with a kiosk at its end; its trees."""
    rng, crowns = canvas.rng, list[Crown]()
    yard(canvas, rect, "grass", tidy=True)
    verge = rng.uniform(0.5, 4)
    inner = (rect[0] + verge, rect[1] + verge, rect[2] - verge, rect[3] - verge)
    edge = canvas.strip(inner) if min(inner[2] - inner[0], inner[3] - inner[1]) > 5 else None
    if edge is None:
        return []
    canvas.paint(edge, edge.box(0, 0, (inner[2] - inner[0]) / 2, (inner[3] - inner[1]) / 2), canvas.pick("concrete"))
    ground = (inner[0] + 0.25, inner[1] + 0.25, inner[2] - 0.25, inner[3] - 0.25)
    kind = "asphalt" if rng.random() < 0.85 else "paved"
    surface(canvas, ground, kind)
    long = ground[2] - ground[0] > ground[3] - ground[1]
    side = sides(ground)[0 if long else 1]
    depth = ground[3] - ground[1] if long else ground[2] - ground[0]
    lanes, taken, island = max(1, int(depth / 16.3)), rng.uniform(0.15, 0.95), rng.random() < 0.6
    module = depth / lanes
    s0, s1 = 6.0, side.length - 6.0
    for lane in range(lanes if s1 - s0 > 5 and module > 15.5 else 0):
        t = lane * module + (module - 16) / 2
        full = taken * rng.uniform(0.6, 1.1)
        _bays(canvas, side, s0, s1, t, 1, full)
        _bays(canvas, side, s0, s1, t + 16, -1, full)
        _arrow(canvas, side, rng.uniform(s0, s1), t + 8)
        for s in (s0 - 1.6, s1 + 1.1) if island else ():
            for at in (t + 2.5, t + 13.5):
                crowns += _island(canvas, side, s, at)
    for _ in range(rng.poisson(1.2)):
        centre, grow = canvas.place(side.at(rng.uniform(0.1, 0.9) * side.length, rng.choice((0.04, 0.96)) * depth))
        lorry(canvas, complex(centre), float(np.angle(grow * side.axis)))
    if rng.random() < 0.5:
        centre, grow = canvas.place(side.at(rng.choice((2.9, side.length - 2.9)), rng.uniform(0.2, 0.8) * depth))
        building(
            canvas, complex(centre), float(np.angle(grow * side.axis)), rng.uniform(1.5, 2.4), rng.uniform(2, 8), 0.6
        )
    for _ in range(int(rng.integers(0, 14))):  # on the verge
        edge_side = sides(rect)[rng.integers(4)]
        centre, _ = canvas.place(edge_side.at(rng.uniform(0, 1) * edge_side.length, verge * 0.4))
        crowns.append((complex(centre), float(rng.uniform(1.2, 3.4))))
    return crowns


def _arrow(canvas: Canvas, side: Side, s: float, t: float) -> None:
    """The arrow of a one-way aisle."""
    patch = canvas.lot(side, s - 2, s + 2, t - 1, t + 1)
    if patch is not None:
        shaft, head = patch.box(-0.5, 0, 1.2, 0.1), both(patch.u - 0.5, 1.6 - patch.u - 2 * np.abs(patch.v))
        canvas.paint(patch, np.maximum(shaft, head), canvas.pick("marks"), 0.9)


def _island(canvas: Canvas, side: Side, s: float, t: float) -> list[Crown]:
    """A kerbed island with plants at the end of a row of bays, perhaps with a tree."""
    rng, patch = canvas.rng, canvas.lot(side, s - 1.2, s + 1.2, t - 2.5, t + 2.5, 0.3)
    if patch is None:
        return []
    depth = both(patch.box(0, 0, 1.1, 2.4), 2.75 - np.abs(patch.u) - np.abs(patch.v))
    canvas.paint(patch, depth, canvas.pick("concrete"), 1.0, 0.15)
    canvas.paint(patch, depth - 0.2, canvas.pick("grass", "soil", "leaf"), 1 + 0.2 * canvas.fine[patch.window], 0.2)
    centre, _ = canvas.place(side.at(s, t))
    return [(complex(centre), float(rng.uniform(1.2, 2.8)))] if rng.random() < 0.7 else []


def works(canvas: Canvas, rect: Rect) -> list[Crown]:
    """A block of bare ground: a building site, a depot, a yard of concrete slabs or a hard court; its trees."""
    rng, middle = canvas.rng, complex(rect[0] + rect[2], rect[1] + rect[3]) / 2
    inner = (rect[0] + 0.8, rect[1] + 0.8, rect[2] - 0.8, rect[3] - 0.8)
    half_u, half_v = (inner[2] - inner[0]) / 2, (inner[3] - inner[1]) / 2
    yard(canvas, rect, "grass" if rng.random() < 0.5 else "soil")
    kind = str(rng.choice(["site", "depot", "slabs", "court"], p=(0.4, 0.2, 0.28, 0.12)))
    patch = surface(canvas, inner, {"site": "soil", "depot": "soil", "slabs": "concrete", "court": "asphalt"}[kind])
    if patch is None:
        return []
    bounds = patch.box(0, 0, half_u, half_v)
    if kind in ("site", "depot"):
        _earth(canvas, patch, bounds)
    elif kind == "slabs":
        _slabs(canvas, patch, bounds)
    else:
        _courts(canvas, patch, half_u, half_v)
    spots = middle + (rng.uniform(-0.85, 0.85, 24) * half_u + 1j * rng.uniform(-0.85, 0.85, 24) * half_v)
    places, grows = canvas.place(spots)
    angles = np.angle(grows) + rng.choice((0, math.pi / 2), 24) + rng.normal(0, 0.15, 24)
    tasks = {"site": (_heap, _heap, _footing, _stack, _stack, lorry), "depot": (_stack, _stack, lorry, car, _heap),
             "slabs": (lorry, car, _stack), "court": ()}[kind]  # fmt: skip
    for centre, angle in zip(places[:20], angles[:20]) if tasks else ():
        if rng.random() < 0.6:
            tasks[rng.integers(len(tasks))](canvas, complex(centre), float(angle))
    if kind != "court" and rng.random() < 0.7:
        building(canvas, complex(places[20]), float(angles[20]), rng.uniform(2, 6), rng.uniform(1.3, 4), 0.2)
    return [(complex(at), float(rng.uniform(1, 3))) for at in places[21:] if kind != "court" and rng.random() < 0.3]


def _earth(canvas: Canvas, patch: Patch, bounds: Floats) -> None:
    """Wheel tracks, wet hollows, puddles and weeds on bare soil."""
    rng, fine, coarse = canvas.rng, canvas.fine[patch.window], canvas.coarse[patch.window]
    texture = 1 + 0.08 * fine + 0.05 * coarse
    canvas.paint(patch, both(bounds, 2 * (coarse + 0.3 * fine - rng.uniform(0, 1))), canvas.pick("soil"), texture)
    canvas.paint(patch, both(bounds, fine - coarse - rng.uniform(1.2, 2.2)), canvas.pick("grass"), 1 + 0.2 * fine)
    extent = float(np.abs(patch.u).max() + np.abs(patch.v).max()) / 2
    for _ in range(int(rng.integers(2, 7))):
        radius, bearing = rng.uniform(15, 120), rng.uniform(0, 2 * math.pi)
        reach = radius + rng.uniform(-0.7, 0.7) * extent
        circle = np.hypot(patch.u - reach * np.cos(bearing), patch.v - reach * np.sin(bearing)) - radius
        rut = both(0.28 - np.abs(np.abs(circle + 0.15 * coarse) - 0.9) + 0.12 * fine, bounds)
        canvas.paint(patch, rut, canvas.pick("soil") * rng.uniform(0.72, 1.1), texture)
    for colour, level in (("soil", 0.0), ("water", 0.35)):
        wet = both(bounds, 1.5 * (-coarse + 0.15 * fine - 1.5 - level))
        canvas.paint(patch, wet, canvas.pick(colour) * 0.8, 1.0 if level else texture)


def _slabs(canvas: Canvas, patch: Patch, bounds: Floats) -> None:
    """Concrete cast in bays: each has its tone, the joints are dark, oil and rust stain it."""
    rng, fine, coarse = canvas.rng, canvas.fine[patch.window], canvas.coarse[patch.window]
    size_u, size_v, colour = rng.uniform(3, 7), rng.uniform(3, 7), canvas.pick("concrete")
    tones = rng.normal(1, 0.05, (16, 16)).astype(np.float32)
    row, column = (np.floor(axis / size).astype(np.intp) % 16 for axis, size in ((patch.v, size_v), (patch.u, size_u)))
    canvas.paint(patch, bounds, colour, tones[row, column] * (1 + 0.04 * fine + 0.06 * coarse))
    joint = np.maximum(*(0.05 - np.abs((axis + size / 2) % size - size / 2)
                         for axis, size in ((patch.u, size_u), (patch.v, size_v))))  # fmt: skip
    canvas.paint(patch, both(bounds, joint), colour * 0.62)
    canvas.paint(patch, both(bounds, 0.6 * (fine + coarse - 2.4)), canvas.pick("rust", "soil", "asphalt"), 0.9)
    canvas.paint(patch, both(bounds, joint + 0.12, 0.3 * (fine - 0.9)), canvas.pick("leaf"), 1 + 0.2 * fine)


def _courts(canvas: Canvas, patch: Patch, half_u: float, half_v: float) -> None:
    """Courts for ball games, side by side, with their lines."""
    rng = canvas.rng
    a, b = (7.5, 14.0) if half_v > half_u else (14.0, 7.5)
    floor, play, marks = canvas.pick("court"), canvas.pick("court"), canvas.pick("marks")
    across, up = max(1, int(half_u / (a + 2))), max(1, int(half_v / (b + 2)))
    for u in (np.arange(across) - (across - 1) / 2) * 2 * (a + 2):
        for v in (np.arange(up) - (up - 1) / 2) * 2 * (b + 2):
            worn = 1 + 0.04 * canvas.fine[patch.window] + 0.04 * canvas.coarse[patch.window]
            court, middle = patch.box(u, v, a, b), np.hypot(patch.u - u, patch.v - v)
            canvas.paint(patch, court + 1.8, floor, worn)
            canvas.paint(patch, court, play, worn)
            halves = np.minimum(np.abs(patch.v - v) if b > a else np.abs(patch.u - u), np.abs(middle - 1.8))
            lines = np.maximum(0.06 - np.abs(court), both(0.06 - halves, court))
            canvas.paint(patch, lines, marks, 0.95 + 0.1 * rng.random())


def _heap(canvas: Canvas, centre: complex, angle: float) -> None:
    """A heap of soil, sand or gravel."""
    rng, radius = canvas.rng, canvas.rng.uniform(1.2, 5)
    patch = canvas.patch(centre, angle, radius * 2)
    if patch is not None:
        fine, long = canvas.fine[patch.window], rng.uniform(1, 1.7)
        depth = radius - np.hypot(patch.u / long, patch.v) + 0.12 * radius * canvas.coarse[patch.window] + 0.08 * fine
        rise = 0.6 * np.minimum(np.maximum(depth, 0), 0.8 * radius) + 0.04 * fine
        canvas.paint(patch, depth, canvas.pick("soil", "paved"), canvas.slope(rise) * (1 + 0.08 * fine), rise)


def _footing(canvas: Canvas, centre: complex, angle: float) -> None:
    """A slab on the ground with the first courses of its walls: the plan of a house, but no roof."""
    rng, a, b = canvas.rng, canvas.rng.uniform(4, 8), canvas.rng.uniform(3.5, 6)
    patch = canvas.patch(centre, angle, math.hypot(a, b) + 1)
    if patch is not None:
        fine, depth = canvas.fine[patch.window], patch.box(0, 0, a, b)
        floor = canvas.pick("concrete", "soil")
        canvas.paint(patch, depth + 0.4, canvas.pick("soil") * 0.85, 1 + 0.1 * fine)
        canvas.paint(patch, depth, floor, 1 + 0.06 * fine + 0.05 * canvas.coarse[patch.window])
        rooms = [np.abs(patch.u - rng.uniform(-0.5, 0.5) * a), np.abs(patch.v - rng.uniform(-0.4, 0.4) * b)]
        walls = both(depth, 0.13 - both(np.abs(depth - 0.13), *rooms))
        canvas.paint(patch, walls, canvas.pick("concrete", "tile"), 1.0, rng.uniform(0.4, 1.2))


def _stack(canvas: Canvas, centre: complex, angle: float) -> None:
    """Bricks on pallets, timber or pipes in rows."""
    rng, patch = canvas.rng, canvas.patch(centre, angle, 6.0)
    if patch is None:
        return
    fine, columns, rows = canvas.fine[patch.window], int(rng.integers(1, 6)), int(rng.integers(1, 4))
    if rng.random() < 0.5:
        pitch = 1.5
        u, v = (patch.u + columns * pitch / 2) % pitch - pitch / 2, (patch.v + rows * pitch / 2) % pitch - pitch / 2
        pallet = both(0.55 - np.abs(u), 0.5 - np.abs(v), patch.box(0, 0, columns * pitch / 2, rows * pitch / 2))
        canvas.paint(patch, pallet, canvas.pick("tile", "concrete", "timber"), 1 + 0.06 * fine, rng.uniform(0.6, 1.4))
    else:
        a, b = rng.uniform(1.5, 4.5), rng.uniform(0.5, 1.6)
        pieces = 1 + 0.16 * np.sin(patch.v * (2 * math.pi / max(0.35, 3 * canvas.gsd))) + 0.05 * fine
        canvas.paint(
            patch, patch.box(0, 0, a, b), canvas.pick("timber", "metal", "rust"), pieces, rng.uniform(0.4, 1.1)
        )
