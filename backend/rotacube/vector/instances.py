"""Single roofs out of what a network says of every pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.measure import label
from skimage.segmentation import watershed

Floats = NDArray[np.float32]
SMOOTH = 1.5
"""Pixels: two dents in the depth of one roof are no two roofs."""
SPECK = 3
"""Pixels: a smaller seed is noise."""


def separate_roofs(
    roof: NDArray[np.bool_],
    depth: Floats | None = None,
    border: Floats | None = None,
    *,
    seed: float = 0.5,
    weight: float = 1.0,
    smallest: int = 1,
) -> NDArray[np.int32]:
    """Number the roofs of a mask: a seeded watershed on how deep a pixel lies in its roof.

    Seeds are the connected pixels that are deep and not on a border; each grows over the mask down to where it meets
    the next one. A piece of the mask without a seed is one roof. Without depth each connected piece is one roof.

    Args:
        roof: (H, W).
        depth: (H, W), 0 at a roof's edge to 1 in its middle.
        border: (H, W), the probability that a pixel lies between roofs that touch.
        seed: the depth, smoothed over two pixels, from which on a pixel is a seed.
        weight: by how much a likely border takes from the depth: 0 nothing, 1 all of it.
        smallest: pixels of the smallest roof; smaller pieces are no roofs.

    Returns:
        (H, W), a number a roof from 1 on, 0 elsewhere.

    >>> row = np.array([[0.2, 0.6, 1, 1, 1, 0.1, 0.1, 1, 1, 1, 0.6, 0.2]], np.float32).repeat(9, 0)
    >>> separate_roofs(row > 0, row, seed=0.6)[4]
    array([1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2], dtype=int32)
    """
    if depth is None:
        ids: NDArray[np.int32] = label(roof, connectivity=1).astype(np.int32)
    else:
        inner = gaussian_filter(depth if border is None else depth * (1 - weight * border), SMOOTH)
        seeds: NDArray[np.int32] = label((inner > seed) & roof, connectivity=1).astype(np.int32)
        seeds = _without_small(seeds, SPECK)
        pieces = label(roof, connectivity=1)
        seeded = np.zeros(int(pieces.max()) + 1, bool)
        seeded[pieces[seeds > 0]] = True
        alone = np.where(seeded[pieces], 0, pieces)
        seeds[alone > 0] = alone[alone > 0] + seeds.max()
        ids = watershed(-inner, seeds, mask=roof).astype(np.int32)
    return _numbered(_without_small(ids, smallest))


def _without_small(ids: NDArray[np.int32], smallest: int) -> NDArray[np.int32]:
    if smallest > 1:
        ids[np.bincount(ids.ravel())[ids] < smallest] = 0
    return ids


def _numbered(ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """The same roofs, numbered without gaps in the order of their first pixels."""
    order = np.unique(ids.ravel(), return_index=True)
    numbers = np.zeros(int(ids.max()) + 1, np.int32)
    present = [number for _, number in sorted(zip(order[1], order[0], strict=True)) if number]
    numbers[present] = np.arange(1, len(present) + 1)
    found: NDArray[np.int32] = numbers[ids]
    return found
