"""The canvas that scenes are painted on: colour, height and roof number of every pixel, and the sun that lights them.

Shapes are depths: metres inside an outline, negative outside, so that edges are antialiased and shapes combine by
minimum and maximum. Textures come from value noise. `photograph` turns the painted canvas into an aerial image.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Rect = tuple[float, float, float, float]  # u0, v0, u1, v1 in metres

COLOURS = {
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
    "red tile": ((150, 84, 62), (134, 72, 56), (120, 66, 54), (164, 98, 70), (142, 92, 74)),
    "slate": ((88, 90, 96), (104, 104, 106), (74, 74, 80), (112, 104, 98), (96, 84, 78)),
    "felt": ((92, 92, 92), (112, 110, 108), (78, 80, 84), (150, 146, 138), (186, 184, 178), (132, 124, 112)),
    "timber": ((154, 128, 88), (128, 106, 78), (112, 100, 84)),
    "court": ((92, 124, 96), (152, 86, 70), (84, 106, 142), (120, 112, 108)),
    "lorry": ((222, 222, 218), (206, 208, 210), (62, 92, 142), (150, 60, 50), (186, 176, 150)),
    "water": ((96, 88, 74), (70, 72, 70)),
    "river": ((44, 56, 60), (62, 72, 66), (98, 92, 66), (36, 46, 58), (70, 92, 92), (120, 108, 80), (30, 38, 36)),
}


class Patch(NamedTuple):
    """A window of the canvas with its own axes u, v (metres from the patch's centre)."""

    window: tuple[slice, slice]
    u: Floats
    v: Floats

    def box(self, u: float, v: float, a: float, b: float) -> Floats:
        """Depth in metres inside the box of half sizes a, b about (u, v); negative outside."""
        return both(a - np.abs(self.u - u), b - np.abs(self.v - v))


class Side(NamedTuple):
    """One side of a block, seen from its street: s runs along it and t inwards, both in street metres."""

    origin: complex
    axis: complex
    length: float

    def at(self, s: float, t: float) -> complex:
        """The street coordinates of a position."""
        return self.origin + self.axis * complex(s, t)

    def rect(self, s0: float, s1: float, t0: float, t1: float) -> Rect:
        """The rectangle of street coordinates."""
        a, b = self.at(s0, t0), self.at(s1, t1)
        return min(a.real, b.real), min(a.imag, b.imag), max(a.real, b.real), max(a.imag, b.imag)


def sides(rect: Rect) -> tuple[Side, Side, Side, Side]:
    """The four sides of a block in turn: each ends where the next one begins."""
    u0, v0, u1, v1 = rect
    u, v = u1 - u0, v1 - v0
    return Side(u0 + 1j * v0, 1, u), Side(u1 + 1j * v0, 1j, v), Side(u1 + 1j * v1, -1, u), Side(u0 + 1j * v1, -1j, v)


def both(*depths: Floats) -> Floats:
    """Depth inside the intersection."""
    return np.minimum.reduce(np.broadcast_arrays(*depths))  # type: ignore[no-any-return]


def noise(rng: np.random.Generator, shape: tuple[int, int], cell: float, octaves: int = 1) -> Floats:
    """Value noise of about unit variance with nodes `cell` pixels apart, plus octaves of finer noise."""
    cell = max(cell, 1.0)
    nodes: Floats = 1.4 * rng.standard_normal([int(side / cell) + 2 for side in shape], dtype=np.float32)
    for axis in (0, 1):
        at = np.arange(shape[axis], dtype=np.float32) / cell
        low = at.astype(np.intp)
        share = np.expand_dims((at - low) ** 2 * (3 - 2 * (at - low)), 1 - axis).astype(np.float32)
        first = nodes.take(low, axis)
        nodes = first + (nodes.take(low + 1, axis) - first) * share
    return nodes if octaves == 1 else 0.8 * nodes + 0.6 * noise(rng, shape, cell / 2, octaves - 1)


def blur(image: Floats, radius: int) -> Floats:
    """Box mean over the last two axes, edges repeated."""
    width = 2 * radius + 1
    for axis in (-2, -1):
        pad = [(0, 0)] * image.ndim
        pad[axis] = (radius + 1, radius)
        sums = np.cumsum(np.pad(image, pad, mode="edge"), axis=axis, dtype=np.float64)
        low = np.arange(image.shape[axis])
        image = ((sums.take(low + width, axis) - sums.take(low, axis)) / width).astype(np.float32)
    return image


class Canvas:
    """Colour, height and roof number of every pixel, and the sun that lights them."""

    def __init__(self, rng: np.random.Generator, height: int, width: int, gsd: float) -> None:
        self.rng, self.gsd, self.shape = rng, gsd, (height, width)
        self.rgb = np.zeros((3, height, width), np.float32)
        self.height = np.zeros(self.shape, np.float32)
        self.ids, self.roofs = np.zeros(self.shape, np.int32), 0
        self.fine, self.coarse = noise(rng, self.shape, 1.0 / gsd, 3), noise(rng, self.shape, 14.0 / gsd, 4)
        azimuth = rng.uniform(0.35, 2.8)  # the sun stands in the southern half of the image
        self.sun = (math.cos(azimuth), math.sin(azimuth), math.tan(rng.uniform(0.66, 1.0)))
        self.reach = gsd * math.hypot(height, width) / 2
        # The streets' frame is w = t + bend t^2 with t the turned position: conformal, so that corners stay square.
        self.turn = complex(np.exp(1j * rng.uniform(0, 2 * math.pi)))
        self.bend = complex(rng.uniform(0.03, 0.1) / self.reach * np.exp(1j * rng.uniform(0, 2 * math.pi)))

    def pick(self, *names: str) -> Floats:
        """One colour of the named ones, slightly varied."""
        colours = [colour for name in names for colour in COLOURS[name]]
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

    def patch(self, centre: complex, angle: float, reach: float) -> Patch | None:
        """The square about a position with straight axes; None outside the image."""
        window, z = self._window(centre + reach * np.array([-1 - 1j, 1 + 1j]))
        local = (z - np.complex64(centre)) * np.complex64(np.exp(-1j * angle))
        return Patch(window, local.real, local.imag) if local.size else None

    def strip(self, rect: Rect) -> Patch | None:
        """The window about a rectangle of street coordinates, axes along the streets; None outside the image."""
        u, v = np.linspace(rect[0], rect[2], 9), np.linspace(rect[1], rect[3], 9)
        border = np.concatenate([u + 1j * v[0], u + 1j * v[-1], u[0] + 1j * v, u[-1] + 1j * v])
        window, z = self._window(self.place(border)[0])
        t = z / np.complex64(self.turn)
        w = t + np.complex64(self.bend) * t * t - np.complex64(complex(u[4], v[4]))
        return Patch(window, w.real, w.imag) if w.size else None

    def lot(self, side: Side, s0: float, s1: float, t0: float, t1: float, margin: float = 0.0) -> Patch | None:
        """The window about a rectangle beside a street, u along it and v away from it; None outside the image."""
        patch = self.strip(side.rect(s0 - margin, s1 + margin, t0 - margin, t1 + margin))
        if patch is None:
            return None
        x, y = side.axis.real, side.axis.imag
        return Patch(patch.window, patch.u * x + patch.v * y, patch.v * x - patch.u * y)

    def paint(self, patch: Patch, depth: Floats, colour: Floats, texture: Any = 1.0, lift: Any = None) -> None:
        """Cover where depth > 0, edges antialiased, with a colour times a texture; `lift` is the height in metres."""
        cover = np.clip(depth / self.gsd + 0.5, 0, 1).astype(np.float32)
        target = self.rgb[(slice(None), *patch.window)]
        target *= 1 - cover
        target += colour[:, None, None] * (cover * texture)
        if lift is not None:
            np.copyto(self.height[patch.window], np.asarray(lift, np.float32), where=depth > 0)

    def slope(self, rise: Floats) -> Floats:
        """Brightness of a surface of the given heights (metres) under the sun, 1 for level ground."""
        if min(rise.shape) < 2:
            return np.ones_like(rise)
        dy, dx = (np.clip(step, -0.8, 0.8) for step in np.gradient(rise, self.gsd))
        facing = (1 - (dx * self.sun[0] + dy * self.sun[1]) / self.sun[2]) / np.sqrt(1 + dx * dx + dy * dy)
        return 0.3 + 0.7 * np.maximum(facing, 0)  # type: ignore[no-any-return]


def cast_shadows(canvas: Canvas) -> Floats:
    """Share of the sun that is blocked: the horizon towards it, by steps over the height map that double."""
    horizon, step, (rows, cols), (x, y, tangent) = canvas.height.copy(), 1, canvas.shape, canvas.sun
    while step * canvas.gsd * tangent < float(canvas.height.max()):
        dy, dx = round(-step * y), round(-step * x)
        target = horizon[max(dy, 0) : max(rows + dy, 0), max(dx, 0) : max(cols + dx, 0)]
        source = horizon[max(-dy, 0) : max(rows - dy, 0), max(-dx, 0) : max(cols - dx, 0)]
        np.maximum(target, source - step * canvas.gsd * tangent, out=target)
        step *= 2
    return blur((horizon - canvas.height > 0.3).astype(np.float32), 1)


def photograph(canvas: Canvas) -> NDArray[np.uint8]:
    """Shadows, little sky light in narrow lanes, lens blur, colour cast and sensor noise."""
    rng, shadow = canvas.rng, cast_shadows(canvas)
    sky = 1 - np.clip(blur(canvas.height, max(1, round(2.0 / canvas.gsd))) - canvas.height, 0, 8) / 16
    image = canvas.rgb * (sky * (1 + 0.05 * noise(rng, canvas.shape, 0.25 / canvas.gsd)))
    for band, dark in zip(image, (0.66, 0.62, 0.55)):  # shadows are lit by the blue sky
        band *= (1 - dark * shadow) * rng.uniform(0.97, 1.03)
    image = rng.uniform(0.95, 1.2) * (0.7 * image + 0.3 * blur(image, 1))
    image += 0.14 * (image.mean(0) - image)  # haze
    image += 2.5 * rng.standard_normal(image.shape, dtype=np.float32)
    return np.asarray(np.clip(np.rint(image), 1, 255), np.uint8)
