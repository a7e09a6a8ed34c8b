"""Which values become 0 and 1: the card's rule for 8 bits, else percentiles of full-resolution pixels of the file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rotacube.raster.grid import Box

PATCH = 64
"""Side of a patch that is sampled, pixels."""
ENOUGH = 100_000
"""Valid pixels that make a sample."""
WHOLE = 2**22
"""Up to this many pixels a raster is its own sample."""
LATTICES = (16, 48, 144)
"""Patches along each side of the raster: the next is tried where the one before met too little that is valid."""
FILL_SHARE = 0.005
"""From this share of the sample on, one value in every band can be undeclared nodata."""
_BLOCK = 16

Read = Callable[[Box], tuple[NDArray[np.generic], NDArray[np.bool_]]]


@dataclass(frozen=True)
class Radiometry:
    """Per band, the values that become 0 and 1 before the card's mean and std: arrays (bands, 1, 1) float64.

    Attributes:
        fills: values that stand in every band of many pixels as undeclared nodata does, and their shares; they are left
            out of the percentiles.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    fills: tuple[tuple[float, float], ...] = ()

    def scale(self, values: NDArray[np.generic]) -> NDArray[np.float32]:
        """Values (bands, H, W) stretched, not clipped."""
        if values.dtype.itemsize <= 2:
            low, high = self.low.astype(np.float32), self.high.astype(np.float32)
            return (values.astype(np.float32) - low) / (high - low)
        stretched: NDArray[np.float32] = ((values.astype(np.float64) - self.low) / (self.high - self.low)).astype(
            np.float32
        )
        return stretched


def judge(dtypes: Sequence[str], scale: float, height: int, width: int, read: Read) -> Radiometry | None:
    """The radiometry of a raster; None where it holds no valid pixel.

    Args:
        dtypes: of the bands.
        scale: the card's, of 8-bit values.
        height: of the raster, pixels.
        width: of the raster, pixels.
        read: gives the bands (n, H, W) and the validity of a window at full resolution.
    """
    low, high = np.zeros(len(dtypes)), np.full(len(dtypes), float(scale))
    stretched = [n for n, dtype in enumerate(dtypes) if dtype != "uint8"]
    if not stretched:
        return Radiometry(low[:, None, None], high[:, None, None])
    sample = _sample(height, width, read)
    if sample is None:
        return None
    values, block = sample
    fills = _fills(values, block)
    kept = np.ones(values.shape[1], bool)
    for value, _ in fills:
        kept &= ~(values == value).all(0)
    for n in stretched:
        low[n], high[n] = np.percentile(values[n, kept].astype(np.float64), (2, 98))
        if not high[n] > low[n]:
            high[n] = low[n] + max(1.0, abs(low[n]) * 1e-6)
    return Radiometry(low[:, None, None], high[:, None, None], tuple(fills))


def _sample(height: int, width: int, read: Read) -> tuple[NDArray[np.generic], NDArray[np.int64]] | None:
    """Valid pixels (bands, n), and for each the number of the block that it lies in; None where there is none.

    The whole of a small raster; of a large one square patches, one in each cell of a lattice, the same whatever
    part of it is mapped. Overviews are never read: how they were made, and when, changes what they show.
    """
    if height * width <= WHOLE:
        return _gather([Box(0, 0, height, width)], read)
    for lattice in LATTICES:
        sample = _gather(_patches(height, width, lattice), read)
        if sample is not None and sample[0].shape[1] >= ENOUGH:
            return sample
    step = 1024
    return _gather((Box(t, c, t + step, c + step) for t in range(0, height, step) for c in range(0, width, step)), read)


def _patches(height: int, width: int, lattice: int) -> Iterator[Box]:
    rows, columns = min(lattice, math.ceil(height / PATCH)), min(lattice, math.ceil(width / PATCH))
    for i in range(rows):
        for j in range(columns):
            # Each at another place of its cell, by a sequence that covers the cell evenly.
            n = i * columns + j
            down, right = n * 0.7548776662 % 1, n * 0.5698402910 % 1
            top = min(max(0, int((i + down) * height / rows) - PATCH // 2), max(0, height - PATCH))
            left = min(max(0, int((j + right) * width / columns) - PATCH // 2), max(0, width - PATCH))
            yield Box(top, left, min(height, top + PATCH), min(width, left + PATCH))


def _gather(boxes: Iterator[Box] | list[Box], read: Read) -> tuple[NDArray[np.generic], NDArray[np.int64]] | None:
    parts, blocks, count, taken = [], [], 0, 0
    for box in boxes:
        values, valid = read(box)
        if not valid.any():
            continue
        rows, columns = (np.arange(n) // _BLOCK for n in valid.shape)
        numbers = rows[:, None] * (columns[-1] + 1) + columns + count
        count = int(numbers[-1, -1]) + 1
        parts.append(values[:, valid])
        blocks.append(numbers[valid])
        taken += parts[-1].shape[1]
        if taken > 4 * WHOLE:  # a pass over all of a raster in which the lattices met next to nothing
            break
    return (np.concatenate(parts, 1), np.concatenate(blocks)) if parts else None


def _fills(values: NDArray[np.generic], block: NDArray[np.int64]) -> list[tuple[float, float]]:
    """Values that look like nodata which nobody declared, and their shares of the sample.

    Such a value stands in every band of a pixel, is the lowest or the highest that there is, and either fills blocks or
    lies apart from all others by more than they span.
    """
    found: list[tuple[float, float]] = []
    kept = np.ones(values.shape[1], bool)
    for _ in range(3):
        rest = values[:, kept]
        if not rest.size:
            break
        picked = None
        for extreme in (rest.min(), rest.max()):
            hit = (rest == extreme).all(0)
            share = float(hit.sum()) / values.shape[1]
            if share < FILL_SHARE or hit.all():
                continue
            others = rest[:, ~hit]
            span = float(others.max()) - float(others.min())
            gap = min(abs(float(others.min()) - float(extreme)), abs(float(others.max()) - float(extreme)))
            sizes = np.bincount(block[kept])
            full = np.bincount(block[kept][hit], minlength=len(sizes)) == np.maximum(sizes, 1)
            blocks = float(sizes[full].sum()) / values.shape[1]
            if gap > span or blocks >= FILL_SHARE:
                picked = (float(extreme), share, hit)
                break
        if picked is None:
            break
        found.append(picked[:2])
        kept[np.flatnonzero(kept)[picked[2]]] = False
    return found
