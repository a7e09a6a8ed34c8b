"""The directions that the walls of roofs follow: one axis a roof, common to those that touch and agree."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
QUARTER = math.pi / 2
AGREE = math.radians(4.0)
"""Roofs that touch share an axis when theirs differ by no more, and by what their size leaves open."""
BLUR = 1.2
"""Pixels by which the end of a wall may be wrong: over the size of a roof, the angle that it leaves open."""
OUTLIER = math.radians(20.0)


def off_axis(direction: NDArray[Any], axis: NDArray[Any]) -> Floats:
    """By how much directions leave the nearest of two perpendicular axes, -45 to 45 degrees; all in radians."""
    found: Floats = np.mod(direction - axis + QUARTER / 2, QUARTER) - QUARTER / 2
    return found


def axes_of(direction: Floats, length: Floats, sides: Ints, count: int) -> tuple[Floats, Ints]:
    """The axis of each roof, and which roofs share one.

    Args:
        direction: (S,) of the straight pieces of all outlines, radians.
        length: (S,) pixels.
        sides: (S, 2) the roofs on both sides, 0 to count - 1, or -1.
        count: roofs.

    Returns:
        (count,) radians, 0 to 90 degrees, and (count,) the number of the group that shares it.
    """
    roof = np.concatenate([sides[:, 0], sides[:, 1]])
    piece = np.concatenate([np.arange(len(length))] * 2)[roof >= 0]
    roof = roof[roof >= 0]
    pull = length[piece] ** 2
    turned = pull * np.exp(4j * direction[piece])
    total = _summed(roof, turned, count)
    near = np.abs(off_axis(direction[piece], np.angle(total)[roof] / 4)) < OUTLIER
    close = _summed(roof[near], turned[near], count)
    total = np.where(np.abs(close) > 0, close, total)
    size = np.sqrt(np.bincount(roof, pull, count))
    group = _joined(total, np.maximum(size, 1.0), sides[(sides >= 0).all(1)], count)
    joint = _summed(group, total, count)[group]
    return np.mod(np.angle(joint) / 4, QUARTER), group


def _summed(rows: Ints, values: NDArray[Any], count: int) -> NDArray[np.complex128]:
    found: NDArray[np.complex128] = np.bincount(rows, values.real, count) + 1j * np.bincount(rows, values.imag, count)
    return found


def _joined(pull: NDArray[np.complex128], size: Floats, pairs: Ints, count: int) -> Ints:
    """Groups of roofs that touch and agree: those that agree best are joined first, while their sums still agree."""
    group = np.arange(count)
    while True:
        keys = np.unique(pairs.min(1) * count + pairs.max(1))
        pairs = np.stack([keys // count, keys % count], 1)
        a, b = pairs.T
        extent = np.sqrt(np.bincount(group, size**2, count))
        axis = np.angle(_summed(group, pull, count)) / 4
        apart = np.abs(off_axis(axis[a], axis[b]))
        agree = (a != b) & (apart < AGREE + BLUR / np.minimum(extent[a], extent[b]))
        if not agree.any():
            return np.unique(group, return_inverse=True)[1].astype(np.int64)
        best = np.full(count, np.inf)
        np.minimum.at(best, pairs[agree].ravel(), np.repeat(apart[agree], 2))
        mutual = agree & (best[a] == apart) & (best[b] == apart)
        graph = coo_array((np.ones(mutual.sum()), (a[mutual], b[mutual])), shape=(count, count))
        number = connected_components(graph, directed=False)[1].astype(np.int64)
        group, pairs = number[group], number[pairs[a != b]]
