"""Small patches of a map of classes: each goes to the neighbour with the longest shared edge, and none stays."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from skimage.measure import label

from rotacube.vector.patches import merge_small

rasters = arrays(np.int32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 4))


def sizes(labels):
    return np.bincount(label(labels, connectivity=1, background=-1).ravel())[1:]


@settings(max_examples=200, deadline=None)
@given(rasters, st.integers(0, 20))
def test_no_small_patch_stays(labels, smallest):
    found = merge_small(labels, smallest)
    assert found.shape == labels.shape and found.dtype == np.int32 and set(np.unique(found)) <= set(np.unique(labels))
    assert len(sizes(found)) == 1 or sizes(found).min() >= smallest
    large = label(labels, connectivity=1, background=-1)
    large = np.append(0, sizes(labels))[large] >= smallest
    assert (found == labels)[large].all()


def test_the_longest_shared_edge_decides():
    labels = np.ones((9, 12), np.int32)
    labels[:, 8:] = 2
    labels[3:6, 6:9] = 3  # seven edges to the left, five to the right
    assert (merge_small(labels, 10)[3:6, 6:9] == 1).all()


def test_of_two_small_neighbours_the_smaller_one_moves_first():
    labels = np.zeros((9, 9), np.int32)
    labels[2:6, 2:6], labels[3:5, 3:5] = 1, 2  # a ring of twelve pixels about four
    assert (merge_small(labels, 13)[2:6, 2:6] == 1).all()


def test_nothing_changes_where_nothing_is_small():
    labels = np.kron(np.arange(6, dtype=np.int32).reshape(2, 3), np.ones((4, 4), np.int32))
    assert (merge_small(labels, 16) == labels).all()
    assert merge_small(np.zeros((0, 4), np.int32), 5).shape == (0, 4)
