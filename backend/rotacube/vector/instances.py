"""Single roofs out of what a network says of every pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.measure import label

Floats = NDArray[np.float32]
SMOOTH = 1.5
"""Pixels: two dents in the depth of one roof are no two roofs."""


def separate_roofs(
    roof: NDArray[np.bool_],
    depth: Floats | None = None,
    border: Floats | None = None,
    *,
    saddle: float = 0.2,
    weight: float = 0.5,
    smallest: int = 1,
) -> NDArray[np.int32]:
    """Number the roofs of a mask: a watershed on how deep a pixel lies in its roof, whose shallow saddles are no walls.

    Each peak of the depth has a basin: the pixels from which steepest ascent ends on it. From the highest saddle on,
    two neighbours become one unless the saddle lies well below the lower of their peaks (its dynamics; Grimaud, "A new
    measure of contrast: the dynamics", 1992).
    Where a network knows no depth, all of a roof is as deep, but for its border; without either each connected piece is
    one roof.

    Args:
        roof: (H, W).
        depth: (H, W), 0 at a roof's edge to 1 in its middle.
        border: (H, W), the probability that a pixel lies between roofs that touch.
        saddle: by how much the depth, smoothed over two pixels, falls between two roofs.
        weight: by how much a likely border takes from the depth: 0 nothing, 1 all of it.
        smallest: pixels of the smallest roof; smaller pieces are no roofs.

    Returns:
        (H, W), a number a roof from 1 on, 0 elsewhere.

    >>> row = np.array([[0.2, 0.6, 1, 1, 1, 0.1, 0.1, 1, 1, 1, 0.6, 0.2]], np.float32).repeat(9, 0)
    >>> separate_roofs(row > 0, row, saddle=0.1)[4]
    array([1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2], dtype=int32)
    """
    if depth is None and border is None:
        ids: NDArray[np.int32] = label(roof, connectivity=1).astype(np.int32)
    else:
        whole = np.ones(roof.shape, np.float32) if depth is None else depth
        inner = gaussian_filter(whole if border is None else whole * (1 - weight * border), SMOOTH)
        ids = _without_saddles(*_basins(inner, roof), saddle)
    return _numbered(_without_small(ids, smallest))


def without_unsure(
    ids: NDArray[np.int32], chance: NDArray[Any], least: float, spared: NDArray[np.integer] | None = None
) -> NDArray[np.int32]:
    """Roofs whose pixels are likely enough; the others are none, and the numbers stay as they are.

    What a network calls roof with little to spare is more often a piece of something else than a roof.

    Args:
        ids: (H, W), a number a roof, 0 elsewhere.
        chance: (H, W), the probability of roof, in any unit.
        least: its mean over a roof, in that unit.
        spared: numbers that stay in any case.
    """
    count = int(ids.max(initial=0)) + 1
    size = np.bincount(ids.ravel(), minlength=count)
    kept = np.bincount(ids.ravel(), chance.ravel(), count) >= least * size
    if spared is not None:
        kept[spared] = True
    found: NDArray[np.int32] = np.where(kept[ids], ids, 0)
    return found


def _basins(height: Floats, roof: NDArray[np.bool_]) -> tuple[NDArray[np.int32], Floats, Floats]:
    """The basins of a height within a mask.

    Pixels that are equally high may have several basins, which no saddle parts.

    Args:
        height: (H, W).
        roof: (H, W).

    Returns:
        (H, W), the number of each pixel's basin from 1 on, 0 outside; (H, W), the height within, -1 outside; the height
        of each basin's peak by its number.
    """
    inner = np.full((roof.shape[0] + 2, roof.shape[1] + 2), -1, np.float32)  # nothing beside a pixel is left out
    inner[1:-1, 1:-1] = np.where(roof, height, -1)
    flat = inner.ravel()
    at = np.flatnonzero(flat >= 0)
    place = np.zeros(flat.size, np.int32)
    place[at] = np.arange(len(at), dtype=np.int32)
    highest, ahead = flat[at], np.arange(len(at), dtype=np.int32)
    for step in (-inner.shape[1], -1, 1, inner.shape[1]):
        beside = flat[at + step]
        up = beside > highest
        highest[up] = beside[up]
        ahead[up] = place[at[up] + step]
    for step in (-inner.shape[1], -1):  # on level ground back to where it begins
        level = (ahead == np.arange(len(at))) & (flat[at + step] == highest)
        ahead[level] = place[at[level] + step]
    while True:
        far = ahead[ahead]
        if (far == ahead).all():
            break
        ahead = far
    tops = np.flatnonzero(ahead == np.arange(len(at)))
    number = np.zeros(len(at), np.int32)
    number[tops] = np.arange(1, len(tops) + 1)
    basins = np.zeros(inner.shape, np.int32)
    basins.ravel()[at] = number[ahead]
    return basins[1:-1, 1:-1], inner[1:-1, 1:-1], np.append(np.float32(-1), flat[at[tops]])


def _without_saddles(basins: NDArray[np.int32], height: Floats, peak: Floats, least: float) -> NDArray[np.int32]:
    """Basins, (H, W), joined where the saddle between them lies less than `least` below the lower of their peaks."""
    count = len(peak)
    sides, heights = [], []
    for one, other in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        meet = (basins[one] != basins[other]) & (basins[one] > 0) & (basins[other] > 0)
        sides.append(np.sort(np.stack([basins[one][meet], basins[other][meet]], 1), 1))
        heights.append(np.minimum(height[one], height[other])[meet])
    pairs, saddles = np.concatenate(sides).astype(np.int64) @ (count, 1), np.concatenate(heights)
    order = np.lexsort((-saddles, pairs))
    pairs, first = np.unique(pairs[order], return_index=True)  # of each pair of neighbours the highest point between
    saddles = saddles[order][first]
    order = np.argsort(-saddles, kind="stable")
    group = np.arange(count).tolist()

    def root(number: int) -> int:
        while group[number] != number:
            group[number] = number = group[group[number]]
        return number

    for pair, at in zip(pairs[order].tolist(), saddles[order].tolist(), strict=True):
        a, b = root(pair // count), root(pair % count)
        if a != b and min(peak[a], peak[b]) - at < least:
            low, high = sorted((a, b), key=lambda number: (peak[number], -number))
            group[low] = high
    joined: NDArray[np.int32] = np.array([root(number) for number in range(count)], np.int32)[basins]
    return joined


def _without_small(ids: NDArray[np.int32], smallest: int) -> NDArray[np.int32]:
    if smallest > 1:
        ids[np.bincount(ids.ravel())[ids] < smallest] = 0
    return ids


def _numbered(ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """The same roofs, numbered without gaps in the order of their first pixels."""
    at = np.flatnonzero(ids)[::-1]
    first = np.full(int(ids.max(initial=0)) + 1, ids.size)
    first[ids.ravel()[at]] = at  # of each number the last that is written, its first pixel, stays
    order = np.argsort(first, kind="stable")
    numbers = np.zeros(len(first), np.int32)
    numbers[order] = np.arange(1, len(first) + 1)
    numbers[first == ids.size] = 0
    found: NDArray[np.int32] = numbers[ids]
    return found
