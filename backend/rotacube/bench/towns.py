"""Made towns of which every wall is known: label rasters of rotated houses, with outlines as rough as a network's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Rect = tuple[float, float, float, float]


def raster(side: int, houses: list[Rect], degrees: float, noise: float = 0.0, seed: int = 0) -> NDArray[np.int32]:
    """Houses (u0, u1, v0, v1) about the middle, turned; the first that claims a pixel has it.

    Args:
        side: pixels of the raster.
        houses: in pixels.
        degrees: from the x axis to the y axis.
        noise: pixels by which outlines wander.
        seed: of the noise.
    """
    rng, turn = np.random.default_rng(seed), np.deg2rad(degrees)
    y, x = np.mgrid[:side, :side] + 0.5 - side / 2
    if noise:
        for part in (x, y):
            wander = gaussian_filter(rng.standard_normal((side, side)), 2)
            part += noise / wander.std() * wander
    u, v = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    ids = np.zeros((side, side), np.int32)
    for number, (u0, u1, v0, v1) in enumerate(houses, 1):
        ids[(u >= u0) & (u < u1) & (v >= v0) & (v < v1) & (ids == 0)] = number
    return ids


def terrace(count: int = 6, wide: float = 42.0, deep: float = 62.0, step: float = 0.0) -> list[Rect]:
    """A row of houses that share their walls; every second one stands back by a step."""
    left = -count * wide / 2
    return [
        (left + n * wide, left + (n + 1) * wide, -deep / 2 + step * (n % 2), deep / 2 + step * (n % 2))
        for n in range(count)
    ]


def block(side: float = 190.0, deep: float = 48.0, count: int = 3) -> list[Rect]:
    """Houses about a courtyard."""
    half, wide = side / 2, side / count
    inner = (side - 2 * deep) / (count - 1)
    houses = []
    for n in range(count):
        houses.append((-half + n * wide, -half + (n + 1) * wide, -half, -half + deep))
        houses.append((-half + n * wide, -half + (n + 1) * wide, half - deep, half))
    for n in range(count - 1):
        houses.append((-half, -half + deep, -half + deep + n * inner, -half + deep + (n + 1) * inner))
        houses.append((half - deep, half, -half + deep + n * inner, -half + deep + (n + 1) * inner))
    return houses
