"""Synthetic orthophotos with exact roof masks.

A scene is painted in metres: streets divide it into blocks and parcels, parcels hold buildings, gardens or fields, and
every object also writes its height, from which one sun casts all shadows. Labels follow the roof outline as a cadastre
draws it: a crown that hangs over a roof does not cut the label, and neither does a shadow. The file is long because
it is a catalogue: most of it is one short function for each kind of thing that an aerial image shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.transform import from_origin

from rotacube.errors import OutputUnwritable

_Floats = NDArray[np.floating[Any]]
_Rect = tuple[float, float, float, float]  # u0, v0, u1, v1 in metres

_COLOURS = {
    "soil": ((150, 122, 92), (128, 104, 82), (166, 142, 112), (142, 130, 112)),
    "grass": ((70, 88, 46), (88, 104, 56), (104, 108, 66)),
    "leaf": ((52, 76, 32), (70, 98, 38), (84, 104, 48), (104, 112, 50)),
    "paved": ((148, 144, 136), (132, 128, 122), (160, 148, 130)),
    "asphalt": ((116, 114, 112), (104, 103, 103)),
    "marks": ((196, 194, 184),),
    "concrete": ((176, 170, 158), (158, 154, 148), (190, 180, 162), (146, 142, 132), (172, 164, 156)),
    "metal": ((164, 170, 174), (142, 146, 146), (184, 176, 158), (200, 204, 206), (132, 138, 144)),
    "painted": ((76, 130, 178), (66, 114, 166), (170, 82, 76), (150, 72, 68), (94, 126, 110)),
    "tile": ((168, 96, 72), (148, 82, 64), (172, 112, 86)),
    "rust": ((132, 84, 60), (146, 98, 74), (112, 74, 58)),
    "car": ((226, 226, 222), (190, 192, 194), (54, 56, 60), (150, 36, 34), (40, 72, 128), (232, 228, 214)),
    "tank": ((40, 40, 42), (36, 138, 118), (222, 222, 216)),
    "glass": ((42, 54, 82),),
}


@dataclass(frozen=True)
class Scene:
    """One synthetic orthophoto.

    Attributes:
        image: RGB of shape (3, H, W); 0 where there is no data.
        mask: shape (H, W), 1 on roofs, else 0; 0 where there is no data.
        nodata: shape (H, W), True where there is no data.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    nodata: NDArray[np.bool_]


class _Setting(NamedTuple):
    """A neighbourhood: shares between 0 and 1, block and parcel sides in metres, jitter in radians, trees per are."""

    built: float
    flat: float
    block: float
    parcel: float
    fill: tuple[float, float]
    jitter: float
    field: float
    trees: float


_SETTINGS = (
    _Setting(0.82, 0.58, 42, 14, (0.75, 0.97), 0.03, 0.1, 0.3),  # town
    _Setting(0.72, 0.25, 46, 15, (0.62, 0.92), 0.08, 0.2, 0.7),  # suburb
    _Setting(0.14, 0.2, 70, 24, (0.4, 0.7), 0.3, 0.75, 0.8),  # rural
    _Setting(0.0, 0.0, 90, 36, (0.4, 0.7), 0.3, 0.7, 0.9),  # open land
)


class _Patch(NamedTuple):
    """A window of the canvas with its own axes u, v (metres from the patch's centre)."""

    window: tuple[slice, slice]
    u: _Floats
    v: _Floats

    def box(self, u: float, v: float, a: float, b: float) -> _Floats:
        """Depth in metres inside the box of half sizes a, b about (u, v); negative outside."""
        return _both(a - np.abs(self.u - u), b - np.abs(self.v - v))


def _both(*depths: _Floats) -> _Floats:
    """Depth inside the intersection."""
    return np.minimum.reduce(np.broadcast_arrays(*depths))  # type: ignore[no-any-return]


def _noise(rng: np.random.Generator, shape: tuple[int, int], cell: float, octaves: int = 1) -> _Floats:
    """Value noise of about unit variance with nodes `cell` pixels apart, plus octaves of finer noise."""
    cell = max(cell, 1.0)
    nodes: _Floats = 1.4 * rng.standard_normal([int(side / cell) + 2 for side in shape], dtype=np.float32)
    for axis in (0, 1):
        at = np.arange(shape[axis], dtype=np.float32) / cell
        low = at.astype(np.intp)
        share = np.expand_dims((at - low) ** 2 * (3 - 2 * (at - low)), 1 - axis).astype(np.float32)
        first = nodes.take(low, axis)
        nodes = first + (nodes.take(low + 1, axis) - first) * share
    return nodes if octaves == 1 else 0.8 * nodes + 0.6 * _noise(rng, shape, cell / 2, octaves - 1)


def _blur(image: _Floats, radius: int) -> _Floats:
    """Box mean over the last two axes, edges repeated."""
    width = 2 * radius + 1
    for axis in (-2, -1):
        pad = [(0, 0)] * image.ndim
        pad[axis] = (radius + 1, radius)
        sums = np.cumsum(np.pad(image, pad, mode="edge"), axis=axis, dtype=np.float64)
        low = np.arange(image.shape[axis])
        image = ((sums.take(low + width, axis) - sums.take(low, axis)) / width).astype(np.float32)
    return image


class _Canvas:
    """Colour, height and roof label of every pixel, and the sun that lights them."""

    def __init__(self, rng: np.random.Generator, height: int, width: int, gsd: float) -> None:
        self.rng, self.gsd, self.shape = rng, gsd, (height, width)
        self.rgb = np.zeros((3, height, width), np.float32)
        self.height = np.zeros(self.shape, np.float32)
        self.mask = np.zeros(self.shape, np.uint8)
        self.fine, self.coarse = _noise(rng, self.shape, 1.0 / gsd, 3), _noise(rng, self.shape, 14.0 / gsd, 4)
        azimuth = rng.uniform(0.35, 2.8)  # the sun stands in the southern half of the image
        self.sun = (math.cos(azimuth), math.sin(azimuth), math.tan(rng.uniform(0.66, 1.0)))
        self.reach = gsd * math.hypot(height, width) / 2
        # The streets' frame is w = t + bend t^2 with t the turned position: conformal, so that corners stay square.
        self.turn = complex(np.exp(1j * rng.uniform(0, 2 * math.pi)))
        self.bend = complex(rng.uniform(0.03, 0.1) / self.reach * np.exp(1j * rng.uniform(0, 2 * math.pi)))

    def pick(self, *names: str) -> _Floats:
        """One colour of the named ones, slightly varied."""
        colours = [colour for name in names for colour in _COLOURS[name]]
        shade = self.rng.uniform(0.88, 1.1) * np.asarray(colours[self.rng.integers(len(colours))])
        return (shade + self.rng.normal(0, 4, 3)).astype(np.float32)

    def place(self, w: Any) -> tuple[Any, Any]:
        """Positions (metres from the image's centre) of street coordinates w, and the derivatives there."""
        root = np.sqrt(1 + 4 * self.bend * w)
        return (root - 1) / (2 * self.bend) * self.turn, self.turn / root

    def _window(self, at: NDArray[np.complexfloating[Any, Any]]) -> tuple[tuple[slice, slice], NDArray[np.complex64]]:
        """The window that holds these positions, and the position of each of its pixels."""
        sides, axes = [], []
        for part, size in zip((at.imag, at.real), self.shape):
            ends = (part.min() / self.gsd + size / 2, part.max() / self.gsd + size / 2)
            low, high = np.clip(np.rint(ends), 0, size).astype(int)
            sides.append(slice(int(low), int(high)))
            axes.append(((np.arange(low, high) + 0.5 - size / 2) * self.gsd).astype(np.float32))
        return (sides[0], sides[1]), axes[1][None, :] + np.complex64(1j) * axes[0][:, None]

    def patch(self, centre: complex, angle: float, reach: float) -> _Patch | None:
        """The square about a position with straight axes; None outside the image."""
        window, z = self._window(centre + reach * np.array([-1 - 1j, 1 + 1j]))
        local = (z - np.complex64(centre)) * np.complex64(np.exp(-1j * angle))
        return _Patch(window, local.real, local.imag) if local.size else None

    def strip(self, rect: _Rect) -> _Patch | None:
        """The window about a rectangle of street coordinates, axes along the streets; None outside the image."""
        u, v = np.linspace(rect[0], rect[2], 9), np.linspace(rect[1], rect[3], 9)
        border = np.concatenate([u + 1j * v[0], u + 1j * v[-1], u[0] + 1j * v, u[-1] + 1j * v])
        window, z = self._window(self.place(border)[0])
        t = z / np.complex64(self.turn)
        w = t + np.complex64(self.bend) * t * t - np.complex64(complex(u[4], v[4]))
        return _Patch(window, w.real, w.imag) if w.size else None

    def paint(self, patch: _Patch, depth: _Floats, colour: _Floats, texture: Any = 1.0, lift: Any = None) -> None:
        """Cover where depth > 0, edges antialiased, with a colour times a texture; `lift` is the height in metres."""
        cover = np.clip(depth / self.gsd + 0.5, 0, 1).astype(np.float32)
        target = self.rgb[(slice(None), *patch.window)]
        target *= 1 - cover
        target += colour[:, None, None] * (cover * texture)
        if lift is not None:
            np.copyto(self.height[patch.window], np.asarray(lift, np.float32), where=depth > 0)

    def slope(self, rise: _Floats) -> _Floats:
        """Brightness of a surface of the given heights (metres) under the sun, 1 for level ground."""
        if min(rise.shape) < 2:
            return np.ones_like(rise)
        dy, dx = (np.clip(step, -0.8, 0.8) for step in np.gradient(rise, self.gsd))
        facing = (1 - (dx * self.sun[0] + dy * self.sun[1]) / self.sun[2]) / np.sqrt(1 + dx * dx + dy * dy)
        return 0.3 + 0.7 * np.maximum(facing, 0)  # type: ignore[no-any-return]


def _yard(canvas: _Canvas, rect: _Rect, kind: str) -> None:
    """One parcel's ground: a "field" with furrows, "grass" with plants, "paved" or bare "soil"; rubble, walls."""
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
        canvas.paint(patch, _both(bounds, rows), canvas.pick("leaf"), texture)
    elif kind == "grass":
        canvas.paint(patch, _both(bounds, fine + coarse - rng.uniform(0, 1)), canvas.pick("leaf"), 0.9 + 0.28 * fine)
    if kind != "field":
        litter = 0.3 * (np.abs(fine[:, ::-1]) + 0.5 * coarse - rng.uniform(1.6, 3.2))
        canvas.paint(patch, _both(bounds, litter), canvas.pick("concrete", "metal", "soil"), 1 + 0.25 * fine)
    if kind in ("soil", "grass") and rng.random() < 0.5:
        wall = 0.12 - np.abs(patch.box(0, 0, half_u, half_v))
        canvas.paint(patch, wall, canvas.pick("paved"), 1.0, rng.uniform(0.6, 1.8))


def _street(canvas: _Canvas, rect: _Rect, width: float) -> None:
    """A street along the longer side of `rect`: asphalt with marks and footpaths when wide, else a lane."""
    patch = canvas.strip(rect)
    if patch is None:
        return
    long, wide = max(rect[2] - rect[0], rect[3] - rect[1]), width > 7
    along, across = (patch.u, patch.v) if rect[2] - rect[0] > width * 1.01 else (patch.v, patch.u)
    fine, coarse = canvas.fine[patch.window], canvas.coarse[patch.window]
    verge = _both(width / 2 - np.abs(across), long / 2 - np.abs(along))
    surface = ("paved",) if wide else ("soil", "paved")
    canvas.paint(patch, verge + 0.35 * fine, canvas.pick(*surface), 1 + 0.06 * fine + 0.05 * coarse)
    wear = 1 + 0.05 * np.cos(across * (2 * math.pi / (3.2 if wide else 1.7))) + 0.05 * (fine + coarse)
    carriageway = verge - 1.6 + 0.1 * fine if wide else verge - width * 0.15 + 0.3 * fine
    canvas.paint(patch, carriageway, canvas.pick("asphalt") if wide else canvas.pick(*surface), wear)
    if wide:
        canvas.paint(patch, _both(0.09 - np.abs(across), 1.0 - np.abs(along % 6.0 - 3)), canvas.pick("marks"))
        canvas.paint(patch, 0.08 - np.abs(verge - 1.7), canvas.pick("marks"), 1.0, 0.15)


def _car(canvas: _Canvas, centre: complex, angle: float) -> None:
    """A parked or driving car of about 4.2 m x 1.8 m."""
    patch = canvas.patch(centre, angle, 3.2)
    if patch is not None:
        a, b, body = canvas.rng.uniform(1.8, 2.5), canvas.rng.uniform(0.8, 0.95), canvas.pick("car")
        corners = a + b - 0.4 - np.abs(patch.u) - np.abs(patch.v)
        canvas.paint(patch, _both(patch.box(0, 0, a, b), corners), body, 1.0, 1.0)
        canvas.paint(patch, patch.box(-0.2, 0, a * 0.62, b * 0.82), canvas.pick("glass"), 1.0, 1.4)
        canvas.paint(patch, patch.box(-0.25, 0, a * 0.36, b * 0.78), body, 1.0, 1.5)


def _tree(canvas: _Canvas, centre: complex, radius: float) -> None:
    """A crown of irregular outline; left out where a sixth of it would hide roofs."""
    rng, patch = canvas.rng, canvas.patch(centre, 0.0, radius * 1.5)
    if patch is None:
        return
    fine, bearing = canvas.fine[patch.window], np.arctan2(patch.v, patch.u)
    lobes = sum(rng.uniform(0.3, 1) / k * np.cos(k * bearing + rng.uniform(0, 6.3)) for k in (2, 3, 5, 7))
    depth = radius * (1 + 0.16 * lobes) - np.hypot(patch.u, patch.v) + 0.2 * radius**0.5 * fine
    if canvas.mask[patch.window][depth > 0].sum() * 6 < (depth > 0).sum():
        dome = np.sqrt(np.maximum(depth, 0) * radius) * 0.8 + 0.25 * fine
        top = np.maximum(canvas.height[patch.window], rng.uniform(0.4, 0.9) * radius + dome)
        canvas.paint(patch, depth, canvas.pick("leaf"), canvas.slope(dome) * (0.95 + 0.16 * fine), top)


def _outline(rng: np.random.Generator, patch: _Patch, a: float, b: float) -> tuple[bool, _Floats]:
    """Whether it is a plain rectangle, and the depth (metres) inside the outline of half sizes a >= b."""
    patch = patch._replace(u=patch.u * float(rng.choice((-1, 1))), v=patch.v * float(rng.choice((-1, 1))))
    form, p, q = rng.random(), rng.uniform(0.3, 0.5), rng.uniform(0.3, 0.5)
    whole, bar = patch.box(0, 0, a, b), patch.box(0, -b * (1 - q), a, b * q)
    if form < 0.05:  # polygon
        turns = rng.uniform(0, 6.3) + np.linspace(0, 2 * math.pi, int(rng.integers(6, 10)))[:-1]
        return False, _both(*(b * rng.uniform(0.85, 1.1) - patch.u * np.cos(k) - patch.v * np.sin(k) for k in turns))
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
        return False, _both(whole, -patch.box(0, 0, a * 0.4, b * 0.38))
    return True, whole


def _sheets(canvas: _Canvas, patch: _Patch, depth: _Floats, shade: _Floats, lift: Any) -> None:
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
    canvas.paint(patch, _both(depth, 0.3 * worn), canvas.pick("rust"), texture * (0.85 + 0.35 * age))


def _pitched(canvas: _Canvas, patch: _Patch, plain: bool, depth: _Floats, b: float) -> None:
    """A gable, hip, lean-to, cone or pyramid of sheets or tiles."""
    rng = canvas.rng
    style = rng.choice(["gable", "lean", "hip"], p=(0.55, 0.2, 0.25)) if plain else "hip"
    rise = rng.uniform(0.2, 0.55) * {"gable": b - np.abs(patch.v), "lean": 0.4 * (patch.v + b)}.get(style, depth)
    shade, top = canvas.slope(rise), rise + rng.uniform(2.5, 4.0) + (2.8 if rng.random() < 0.25 else 0)
    if rng.random() < 0.88:
        _sheets(canvas, patch, depth, shade, top)
    else:
        rows = 1 + 0.08 * np.sin(patch.v * (2 * math.pi / max(0.4, 3 * canvas.gsd))) + 0.09 * canvas.fine[patch.window]
        canvas.paint(patch, depth, canvas.pick("tile"), shade * rows, top)
    if style == "gable":
        canvas.paint(patch, _both(0.14 - np.abs(patch.v), depth), canvas.pick("metal", "tile"))


def _flat(canvas: _Canvas, patch: _Patch, depth: _Floats, a: float, b: float) -> None:
    """A concrete terrace with parapet, potted plants, stair house or shed, tanks and a solar panel."""
    rng, fine, coarse = canvas.rng, canvas.fine[patch.window], canvas.coarse[patch.window]
    top, stains = float(rng.choice((3.2, 6.2, 9.2, 12.0), p=(0.25, 0.4, 0.25, 0.1))), np.maximum(coarse + fine - 1.2, 0)
    texture = 1 + 0.05 * fine + 0.07 * coarse - 0.08 * stains
    canvas.paint(patch, depth, canvas.pick("concrete"), texture, top)
    if rng.random() < 0.3:  # tiled part of the terrace
        check = (np.floor(patch.u / 0.6) + np.floor(patch.v / 0.6)) % 2
        part = _both(depth, patch.u - rng.uniform(-0.6, 0.6) * a)
        canvas.paint(patch, part, canvas.pick("tile", "concrete"), texture * (1 + 0.12 * check))
    canvas.paint(patch, _both(depth, 0.3 - depth), canvas.pick("concrete"), 1.15 * texture, top + rng.uniform(0.5, 1.1))
    pots = _both(depth - 0.3, 1.1 - depth, 0.5 * (fine + coarse - rng.uniform(0.9, 2.4)))
    canvas.paint(patch, pots, canvas.pick("leaf"), 1 + 0.2 * fine, top + 0.8)
    for _ in range(int(rng.integers(1, 4))):  # stair house or shed
        half_u, half_v = rng.uniform(0.15, 0.5) * a, rng.uniform(0.2, 0.5) * b
        u, v = rng.uniform(-1, 1) * (a - half_u), rng.uniform(-1, 1) * (b - half_v)
        room, raised = _both(patch.box(u, v, half_u, half_v), depth - 0.05), top + rng.uniform(0.6, 2.8)
        if rng.random() < 0.6:
            _sheets(canvas, patch, room, np.ones_like(depth), raised)
        else:
            canvas.paint(patch, room, canvas.pick("concrete"), texture, raised)
    for _ in range(int(rng.integers(0, 5))):
        u, v, radius = rng.uniform(-0.85, 0.85) * a, rng.uniform(-0.85, 0.85) * b, rng.uniform(0.45, 0.75)
        tank = _both(radius - np.hypot(patch.u - u, patch.v - v), depth - 0.2)
        canvas.paint(patch, tank, canvas.pick("tank"), 1.0, top + 2.2)
        canvas.paint(patch, tank - 0.6 * radius, canvas.pick("metal"))
    if rng.random() < 0.3:
        u, v = rng.uniform(-0.6, 0.6) * a, rng.uniform(-0.6, 0.6) * b
        frame = np.maximum(np.abs(patch.u - u) % 1.0, (np.abs(patch.v - v) + 0.4) % 0.8 + 0.2) > 0.9
        panel = _both(patch.box(u, v, 1.5, 0.8), depth - 0.4)
        canvas.paint(patch, panel, canvas.pick("glass"), 1 + 1.2 * frame, top + 0.7)


def _building(canvas: _Canvas, centre: complex, angle: float, a: float, b: float, flat: float) -> None:
    """One building of half sizes a, b with its label; left out where roofs already stand."""
    rng = canvas.rng
    if a < b:
        a, b, angle = b, a, angle + math.pi / 2
    patch = canvas.patch(centre, angle, math.hypot(a, b) + 1)
    if patch is None:
        return
    plain, depth = _outline(rng, patch, a, b)
    roof = depth > 0
    if canvas.mask[patch.window][roof].sum() > 0.05 * roof.sum():
        return
    canvas.mask[patch.window] |= roof
    if b > 2.2 and a < 14 and rng.random() < flat:
        _flat(canvas, patch, depth, a, b)
    else:
        _pitched(canvas, patch, plain, depth, b)


def _cut(canvas: _Canvas, rect: _Rect, limit: float, widths: tuple[float, ...]) -> Iterator[tuple[_Rect, float]]:
    """Cut by gaps of the given widths (level by level, the last one repeated) until below `limit` metres.

    Yields (rectangle, width): width 0 for what remains between the gaps, else the gap itself.
    """
    u0, v0, u1, v1 = rect
    if abs(complex(min(max(0.0, u0), u1), min(max(0.0, v0), v1))) > canvas.reach * 1.15:
        return  # outside the image
    if max(u1 - u0, v1 - v0) < limit * canvas.rng.uniform(0.8, 1.3):
        yield rect, 0.0
        return
    share, half = canvas.rng.uniform(0.36, 0.64), widths[0] * canvas.rng.uniform(0.4, 0.6)
    if u1 - u0 > v1 - v0:
        cut = u0 + share * (u1 - u0)
        gap, parts = (cut - half, v0, cut + half, v1), ((u0, v0, cut - half, v1), (cut + half, v0, u1, v1))
    else:
        cut = v0 + share * (v1 - v0)
        gap, parts = (u0, cut - half, u1, cut + half), ((u0, v0, u1, cut - half), (u0, cut + half, u1, v1))
    if half:
        yield gap, 2 * half
    for part in parts:
        yield from _cut(canvas, part, limit, widths[1:] or widths)


def _parcel(canvas: _Canvas, rect: _Rect, setting: _Setting, field: bool) -> None:
    """One parcel: its ground, perhaps a building and a shed."""
    rng = canvas.rng
    _yard(canvas, rect, "field" if field else str(rng.choice(["grass", "paved", "soil"], p=(0.35, 0.35, 0.3))))
    if field or rng.random() > setting.built:
        return
    half = np.array([rect[2] - rect[0], rect[3] - rect[1]]) / 2
    middle = complex(rect[0] + rect[2], rect[1] + rect[3]) / 2
    fill = rng.uniform(*setting.fill, 2)
    centre, grow = canvas.place(middle + complex(*((1 - fill) * half * rng.uniform(-0.8, 0.8, 2))))
    angle, (a, b) = float(np.angle(grow)) + rng.normal(0, setting.jitter), (fill * half * abs(grow)).tolist()
    _building(canvas, complex(centre), angle, a, b, setting.flat)
    if rng.random() < 0.5:
        at, _ = canvas.place(middle + complex(*(rng.choice((-0.7, 0.7), 2) * half)))
        _building(canvas, complex(at), angle, rng.uniform(1.4, 3), rng.uniform(1.2, 2.2), 0.0)


def _traffic(canvas: _Canvas, rect: _Rect, width: float) -> None:
    """Cars along a street, more of them on a wide one."""
    rng, long, across = canvas.rng, rect[2] - rect[0], rect[3] - rect[1]
    along = 1.0 if long > across else 1j
    for _ in range(rng.poisson(max(long, across) / (16 if width > 7 else 45))):
        lane = rng.choice((-1, 1)) * (width / 4 if width > 5 else 0.3)
        step = complex(rng.uniform(-0.5, 0.5) * max(long, across), lane) * along
        centre, grow = canvas.place(complex(rect[0] + rect[2], rect[1] + rect[3]) / 2 + step)
        _car(canvas, complex(centre), float(np.angle(grow * along)))


def _populate(canvas: _Canvas, setting: _Setting) -> None:
    """Ground, streets, blocks with their parcels, cars and trees."""
    rng, town = canvas.rng, setting.built > 0.5
    everything = _Patch((slice(None), slice(None)), canvas.fine, canvas.fine)
    for name, depth in (("soil", np.ones_like(canvas.fine)), ("grass", canvas.coarse + 0.4 * canvas.fine)):
        canvas.paint(everything, depth, canvas.pick(name), 1 + 0.13 * canvas.fine + 0.05 * canvas.coarse)
    u0, v0, u1, v1 = (canvas.reach * rng.uniform(1.3, 2.0, 4)).tolist()
    streets = []
    widths = (11, 5.5, 5.5, 4, 2.8) if town else (4.5, 3.5, 3)
    for rect, width in _cut(canvas, (-u0, -v0, u1, v1), setting.block, widths):
        if width:
            streets.append((rect, width))
            _street(canvas, rect, width)
            continue
        field, hall = rng.random() < setting.field, town and rng.random() < 0.06
        size = 200.0 if hall else setting.parcel * rng.uniform(0.75, 1.4) * (2.2 if field else 1)
        for parcel, _ in _cut(canvas, rect, size, (0,)):
            _parcel(canvas, parcel, setting, field)
    for rect, width in streets if town else ():
        _traffic(canvas, rect, width)
    extent = canvas.gsd * np.array(canvas.shape[::-1])
    for _ in range(rng.poisson(extent.prod() / 100 * setting.trees)):
        at = rng.uniform(-0.5, 0.5, 2) * extent
        for _ in range(int(rng.integers(1, 4))):
            _tree(canvas, complex(*(at + rng.normal(0, 2.5, 2))), rng.uniform(0.8, 3.6))


def _shadow(canvas: _Canvas) -> _Floats:
    """Share of the sun that is blocked: the horizon towards it, by steps over the height map that double."""
    horizon, step, (rows, cols), (x, y, tangent) = canvas.height.copy(), 1, canvas.shape, canvas.sun
    while step * canvas.gsd * tangent < float(canvas.height.max()):
        dy, dx = round(-step * y), round(-step * x)
        target = horizon[max(dy, 0) : max(rows + dy, 0), max(dx, 0) : max(cols + dx, 0)]
        source = horizon[max(-dy, 0) : max(rows - dy, 0), max(-dx, 0) : max(cols - dx, 0)]
        np.maximum(target, source - step * canvas.gsd * tangent, out=target)
        step *= 2
    return _blur((horizon - canvas.height > 0.3).astype(np.float32), 1)


def _photograph(canvas: _Canvas) -> NDArray[np.uint8]:
    """Shadows, little sky light in narrow lanes, lens blur, colour cast and sensor noise."""
    rng, shadow = canvas.rng, _shadow(canvas)
    sky = 1 - np.clip(_blur(canvas.height, max(1, round(2.0 / canvas.gsd))) - canvas.height, 0, 8) / 16
    image = canvas.rgb * (sky * (1 + 0.05 * _noise(rng, canvas.shape, 0.25 / canvas.gsd)))
    for band, dark in zip(image, (0.66, 0.62, 0.55)):  # shadows are lit by the blue sky
        band *= (1 - dark * shadow) * rng.uniform(0.97, 1.03)
    image = rng.uniform(0.95, 1.2) * (0.7 * image + 0.3 * _blur(image, 1))
    image += 0.14 * (image.mean(0) - image)  # haze
    image += 2.5 * rng.standard_normal(image.shape, dtype=np.float32)
    return np.asarray(np.clip(np.rint(image), 1, 255), np.uint8)


def draw_scene(seed: int, height: int, width: int, gsd: float = 0.15, *, nodata_corner: bool = False) -> Scene:
    """Draw one scene; the same arguments give the same scene.

    Of twenty seeds about twelve give a dense town, four a suburb, three farmland with few houses, one no house at all.

    Args:
        seed: decides everything that is drawn.
        height: rows.
        width: columns.
        gsd: ground sample distance in metres per pixel.
        nodata_corner: leave a slanted corner without data, as at the edge of a flight.

    Raises:
        ValueError: the size or the ground sample distance is not positive.
    """
    if height < 1 or width < 1 or gsd <= 0:
        raise ValueError(f"A scene needs a positive size and ground sample distance, not {height}x{width} at {gsd} m.")
    rng = np.random.default_rng(seed)
    setting = _SETTINGS[rng.choice(4, p=(0.6, 0.2, 0.15, 0.05))]
    canvas = _Canvas(rng, height, width, gsd)
    _populate(canvas, setting)
    image = _photograph(canvas)
    rows, cols = np.ogrid[:height, :width]
    nodata = rows / height + (1 - rng.uniform(0, 0.2)) * cols / width < (rng.uniform(0.25, 0.5) if nodata_corner else 0)
    image[:, nodata], canvas.mask[nodata] = 0, 0
    return Scene(image, canvas.mask, nodata)


def write_scene(
    path: str | Path, scene: Scene, *, crs: str = "EPSG:32645", origin: tuple[float, float] = (353000.0, 3060000.0),
    gsd: float = 0.15, labels: str | Path | None = None, jpeg: bool = False,
) -> None:  # fmt: skip
    """Write a scene as a tiled RGB GeoTIFF, with an internal mask where some of it has no data.

    Args:
        path: the image to write.
        scene: what `draw_scene` returned.
        crs: projected coordinate reference system in metres.
        origin: easting and northing of the upper left corner.
        gsd: metres per pixel, the same that the scene was drawn with.
        labels: where to write the roof mask (one band, 0 and 1), if wanted.
        jpeg: lossy JPEG of quality 90 instead of DEFLATE.

    Raises:
        OutputUnwritable: a file cannot be written.
    """
    profile = {"driver": "GTiff", "dtype": "uint8", "width": scene.mask.shape[1], "height": scene.mask.shape[0],
               "crs": crs, "transform": from_origin(*origin, gsd, gsd), "tiled": True}  # fmt: skip
    lossy = {"compress": "JPEG", "jpeg_quality": 90, "photometric": "YCBCR"}
    packing = lossy if jpeg else {"compress": "DEFLATE", "predictor": 2, "photometric": "RGB"}
    try:
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            with rasterio.open(path, "w", count=3, **profile, **packing) as target:
                target.write(scene.image)
                if scene.nodata.any():
                    target.write_mask(~scene.nodata)
            if labels is not None:
                with rasterio.open(labels, "w", count=1, compress="DEFLATE", **profile) as target:
                    target.write(scene.mask, 1)
    except (RasterioError, OSError) as error:
        raise OutputUnwritable(f"The scene cannot be written to {path}: {error}") from error
