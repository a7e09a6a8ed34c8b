"""Rivers, canals, ponds and the sea in drawn scenes: smooth and dark as some roofs, but none."""

from __future__ import annotations

import math

import numpy as np

from rotacube.training.drawn.canvas import Canvas, Patch, Rect, both
from rotacube.training.drawn.ground import Crown, yard


def water(canvas: Canvas, rect: Rect) -> list[Crown]:
    """A block of water between banks, boats on it; the trees beside it."""
    rng = canvas.rng
    yard(canvas, rect, str(rng.choice(["grass", "soil", "paved"], p=(0.6, 0.2, 0.2))), tidy=True)
    patch = canvas.strip(rect)
    if patch is None:
        return []
    fine, coarse = canvas.fine[patch.window], canvas.coarse[patch.window]
    half_u, half_v = (rect[2] - rect[0]) / 2, (rect[3] - rect[1]) / 2
    walled = rng.random() < 0.4  # a canal or a basin: its banks are straight
    rough = 0.05 * fine if walled else rng.uniform(1, 4) * coarse + 0.3 * fine
    depth = patch.box(0, 0, half_u, half_v) - rng.uniform(0, 6) + rough
    if walled:
        canvas.paint(patch, depth + rng.uniform(0.3, 1.5), canvas.pick("concrete", "paved", "timber"), 1 + 0.05 * fine)
    colour, angle = canvas.pick("river"), rng.uniform(0, math.pi)
    across = patch.u * math.cos(angle) + patch.v * math.sin(angle)
    swell = np.sin(across * (2 * math.pi / rng.uniform(1.5, 8)) + coarse)
    ripples = 1 + rng.uniform(0, 0.05) * swell + rng.uniform(0, 0.08) * fine + rng.uniform(0, 0.1) * coarse
    canvas.paint(patch, depth, colour * rng.uniform(1.0, 1.25), ripples, -1.0)
    canvas.paint(patch, depth - rng.uniform(1, 6), colour, ripples)
    if rng.random() < 0.35:  # the sun on the waves
        glints = both(depth - 1, 0.2 * (fine + 0.7 * coarse - rng.uniform(1.6, 2.6)))
        canvas.paint(patch, glints, canvas.pick("marks"), 1 + 0.1 * fine)
    if not walled and rng.random() < 0.5:  # reeds and lilies
        reeds = both(depth, 3 - depth, 0.4 * (fine + coarse - rng.uniform(0, 1.5)))
        canvas.paint(patch, reeds, canvas.pick("leaf"), 0.9 + 0.25 * fine, 1.0)
    for _ in range(rng.poisson(half_u * half_v / 500)):
        _boat(canvas, patch, rng.uniform(-0.85, 0.85) * half_u, rng.uniform(-0.85, 0.85) * half_v)
    banks = rng.choice((rect[1], rect[3]), int(rng.integers(8)))
    places = [canvas.place(complex(rect[0] + rng.uniform(0, 2) * half_u, float(bank)))[0] for bank in banks]
    return [(complex(place), float(rng.uniform(1.2, 3.6))) for place in places]


def _boat(canvas: Canvas, patch: Patch, u: float, v: float) -> None:
    """A hull with a cabin or without; now and then as long as a barge."""
    rng = canvas.rng
    a = rng.uniform(8, 16) if rng.random() < 0.15 else rng.uniform(1.5, 5)
    b = a * rng.uniform(0.15, 0.3)
    turn = rng.uniform(0, math.pi)
    along = (patch.u - u) * math.cos(turn) + (patch.v - v) * math.sin(turn)
    across = (patch.v - v) * math.cos(turn) - (patch.u - u) * math.sin(turn)
    hull = both(a - np.abs(along), b * np.minimum(1, (a - along) / (0.8 * a)) - np.abs(across))
    canvas.paint(patch, hull, canvas.pick("car", "lorry", "timber"), 1.0, 0.8)
    inner = both(0.5 * a - np.abs(along + 0.2 * a), 0.6 * b - np.abs(across))
    canvas.paint(patch, inner, canvas.pick("car", "glass", "timber"), 1.0, 1.6)
