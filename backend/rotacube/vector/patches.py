"""Patches of a map of classes: connected pixels of one class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.measure import label

Ints = NDArray[np.int64]


def merge_small(labels: NDArray[np.int32], smallest: int) -> NDArray[np.int32]:
    """Give each small patch to the neighbour with which it shares the longest edge; the smallest patches go first.

    Args:
        labels: (H, W) of classes, 0 and above; 0 is one like the others.
        smallest: pixels, of the smallest patch that stays.

    >>> merge_small(np.array([[1, 1, 1, 2], [1, 3, 2, 2]], np.int32), 2)
    array([[1, 1, 1, 2],
           [1, 1, 2, 2]], dtype=int32)
    """
    if smallest < 2 or not labels.size:
        return labels.copy()
    patch = label(labels, connectivity=1, background=-1) - 1
    size = np.bincount(patch.ravel())
    kind = np.zeros(len(size), np.int32)
    kind[patch] = labels
    number = np.arange(len(size))
    edges = _edges(patch)
    while True:
        pairs, length = edges[:, :2], edges[:, 2]
        both = np.concatenate([pairs, pairs[:, ::-1]])
        both, lengths = both[size[both[:, 0]] < smallest], np.tile(length, 2)[size[np.append(*pairs.T)] < smallest]
        if not len(both):
            found: NDArray[np.int32] = kind[number[patch]]
            return found
        own, other = both.T
        rank = np.empty(len(size), np.int64)
        rank[np.argsort(size, kind="stable")] = np.arange(len(size))
        least = np.full(len(size), len(size))
        np.minimum.at(least, own, rank[other])
        order = np.lexsort((-size[other], -lengths, own))
        first = order[np.unique(own[order], return_index=True)[1]]
        first = first[rank[own[first]] < least[own[first]]]  # of small neighbours the smaller one moves
        kind[own[first]] = kind[other[first]]
        same = kind[pairs[:, 0]] == kind[pairs[:, 1]]
        graph = coo_array((np.ones(same.sum()), tuple(pairs[same].T)), shape=(len(size), len(size)))
        joined = connected_components(graph, directed=False)[1].astype(np.int64)
        number, size = joined[number], np.bincount(joined, size).astype(np.int64)
        kinds = np.zeros(len(size), np.int32)
        kinds[joined] = kind
        kind, edges = kinds, _added(joined[pairs], length, len(size))


def _edges(patch: Ints) -> Ints:
    """Patches that touch and the pixels of their shared edge, (E, 3)."""
    found = []
    for one, other in ((patch[:, 1:], patch[:, :-1]), (patch[1:], patch[:-1])):
        apart = one != other
        found.append(np.stack([one[apart], other[apart]], 1))
    pairs = np.concatenate(found).astype(np.int64)
    return _added(pairs, np.ones(len(pairs), np.int64), int(patch.max()) + 1)


def _added(pairs: Ints, length: Ints, count: int) -> Ints:
    """The sums of the lengths of equal pairs, (E, 3); those within one patch are left out."""
    keys, place = np.unique(pairs.min(1) * count + pairs.max(1), return_inverse=True)
    sums = np.bincount(place, length, len(keys)).astype(np.int64)
    a, b = keys // count, keys % count
    edges: Ints = np.stack([a, b, sums], 1)[a != b]
    return edges
