"""Resampling along the axes: nodata neither bleeds nor creeps, and a part is the crop of the whole to the bit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WIDEN = 1.5
"""From this many source pixels a target pixel on, several are averaged into one; below it, two are blended."""


@dataclass(frozen=True)
class Taps:
    """Which source pixels a run of target pixels along one axis is made of.

    Attributes:
        first: the first source pixel of them all.
        length: how many source pixels they span.
        index: (taps, targets), from `first`.
        weight: (taps, targets), float32, each column summing to one.
        inside: (targets,), whether the target's centre lies on the source.
    """

    first: int
    length: int
    index: NDArray[np.intp]
    weight: NDArray[np.float32]
    inside: NDArray[np.bool_]


def taps_of(start: int, stop: int, scale: float, size: int) -> Taps:
    """Bilinear taps of the target pixels `start` to `stop`, the kernel widened where pixels shrink.

    They depend on the target pixel alone, not on the run that it is asked for in.

    Args:
        start: the first target pixel; 0 begins where the source begins.
        stop: behind the last target pixel.
        scale: source pixels a target pixel.
        size: pixels of the source.
    """
    centre = (np.arange(start, stop) + 0.5) * scale
    reach = scale if scale > WIDEN else 1.0
    index = np.floor(centre - 0.5 - reach).astype(np.int64) + 1 + np.arange(math.ceil(2 * reach))[:, None]
    weight = np.clip(1 - np.abs(index + 0.5 - centre) / reach, 0, None)
    weight[(index < 0) | (index >= size)] = 0
    total = weight.sum(0)
    weight = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
    first = int(np.clip(index[0, 0], 0, size - 1))
    last = int(np.clip(index[-1, -1], 0, size - 1))
    local = np.clip(index, first, last) - first
    return Taps(first, last - first + 1, local, weight.astype(np.float32), (centre > 0) & (centre < size))


def resample(
    values: NDArray[np.float32], valid: NDArray[np.bool_], rows: Taps, columns: Taps
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Values at target pixels, of valid source pixels alone.

    A target pixel is valid where valid source pixels carry at least half of its weight.

    Args:
        values: (bands, H, W) of the source from `rows.first` and `columns.first` on, finite.
        valid: (H, W).
        rows: which source rows the target's are made of.
        columns: likewise.

    Returns:
        (bands, rows, columns), and their validity.
    """
    inside = rows.inside[:, None] & columns.inside
    if valid.all():
        return _along(values, rows, columns), inside
    weights = valid.astype(np.float32)
    weight = _along(weights[None], rows, columns)[0]
    blended = _along(values * weights, rows, columns)
    seen = weight >= 0.5
    # Where nothing is missing the value is what it is in a window without nodata, to the bit.
    np.divide(blended, weight, out=blended, where=seen & (weight < 1 - 1e-5))
    return blended, seen & inside


def _along(values: NDArray[np.float32], rows: Taps, columns: Taps) -> NDArray[np.float32]:
    """Tap by tap, in one order for every window."""
    down = np.zeros((values.shape[0], rows.index.shape[1], values.shape[2]), np.float32)
    for index, weight in zip(rows.index, rows.weight, strict=True):
        down += values[:, index] * weight[:, None]
    out = np.zeros((*down.shape[:2], columns.index.shape[1]), np.float32)
    for index, weight in zip(columns.index, columns.weight, strict=True):
        out += np.take(down, index, axis=2) * weight
    return out
