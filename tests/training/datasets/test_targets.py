"""What networks learn of single roofs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rotacube.training.datasets.targets import DEEP, border_of, depth_of, walls_of


def pair(gap=0):
    """Two roofs of 20 x 12 and 20 x 40, `gap` pixels apart."""
    ids = np.zeros((60, 90), np.int32)
    ids[20:40, 10:22], ids[20:40, 22 + gap : 62 + gap] = 1, 2
    return ids


@pytest.mark.parametrize(("gap", "touch"), [(0, True), (2, True), (6, False)])
def test_a_border_lies_between_roofs_that_touch_and_nowhere_else(gap, touch):
    border = border_of(pair(gap))
    assert border[22:38].any() == touch
    columns = np.nonzero(border.any(0))[0]
    assert not touch or (columns.min() >= 18 and columns.max() <= 23 + gap)
    assert not border_of((pair() == 1).astype(np.int32)).any(), "a roof has no border with the ground"


def test_depth_is_one_in_the_middle_and_small_at_every_edge():
    ids = pair()
    depth = depth_of(ids)
    assert depth[ids == 0].max() == 0
    for number in (1, 2):
        assert depth[ids == number].max() == 1
    assert depth[30, 21] <= 0.2 and depth[30, 22] <= 0.2, "the shared wall"
    assert depth[30, 16] > 0.8
    wide = np.zeros((100, 100), np.int32)
    wide[10:90, 10:90] = 1
    plateau = depth_of(wide)[10 + int(DEEP) : 90 - int(DEEP), 50]
    assert (plateau == 1).all()
    assert (depth_of(np.ones((5, 5), np.int32)) == 1).all() and not depth_of(np.zeros((5, 5), np.int32)).any()


@pytest.mark.parametrize("degrees", [0, 20, 45])
def test_walls_turn_with_their_roof(degrees):
    y, x = np.mgrid[-60:60, -60:60]
    a = math.radians(degrees)
    u, v = x * math.cos(a) + y * math.sin(a), -x * math.sin(a) + y * math.cos(a)
    ids = ((abs(u) < 40) & (abs(v) < 25)).astype(np.int32)
    cos, sin = walls_of(ids)
    near = (ids > 0) & (depth_of(ids) < 0.4) & (abs(u) < 20)
    assert abs(cos[near].mean() - math.cos(4 * a)) < 0.1 and abs(sin[near].mean() - math.sin(4 * a)) < 0.1
    assert not cos[ids == 0].any() and not sin[ids == 0].any()
