"""The absolute tile grid: weights sum to one, cores tile the raster, and no tile is missed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotacube.raster.grid import Axis, Box, TileGrid


@st.composite
def axes(draw):
    tile = draw(st.integers(2, 96))
    return Axis(draw(st.integers(1, 700)), tile, draw(st.integers(0, tile // 2)))


boxes = st.tuples(*[st.integers(-40, 40)] * 4).map(lambda v: Box(*v))


@given(axes())
@settings(deadline=None)
def test_weights_of_all_tiles_sum_to_one_over_every_pixel(axis):
    total = np.zeros(axis.size + 2 * axis.tile)
    for k in range(axis.count):
        ramp = axis.ramp(k)
        assert ramp.shape == (axis.tile,) and ramp.min() >= 0
        total[k * axis.step : k * axis.step + axis.tile] += ramp
    np.testing.assert_allclose(total[: axis.size], 1, atol=1e-6, rtol=0)


@given(axes())
@settings(deadline=None)
def test_the_tiles_reach_the_end_and_none_is_needless(axis):
    last = (axis.count - 1) * axis.step
    assert last + axis.tile >= axis.size
    if axis.count > 1:
        assert last + axis.overlap < axis.size, "the last tile shows a pixel that its neighbour does not"


@given(axes())
@settings(deadline=None)
def test_cores_tile_the_axis_and_lie_within_their_tiles(axis):
    ends = [axis.core(k) for k in range(axis.count)]
    assert ends[0][0] == 0 and ends[-1][1] == axis.size
    assert all(here[1] == after[0] for here, after in zip(ends, ends[1:]))
    for k, (start, stop) in enumerate(ends):
        assert k * axis.step <= start < stop <= k * axis.step + axis.tile


@given(axes(), st.data())
@settings(deadline=None)
def test_touching_finds_exactly_the_tiles_that_cover_a_pixel_of_the_part(axis, data):
    start = data.draw(st.integers(0, axis.size - 1))
    stop = data.draw(st.integers(start + 1, axis.size))
    brute = [
        k for k in range(axis.count) if any(k * axis.step <= p < k * axis.step + axis.tile for p in range(start, stop))
    ]
    assert list(axis.touching(start, stop)) == brute


@given(boxes, boxes)
def test_the_intersection_holds_the_pixels_of_both(a, b):
    both = a & b
    for p in range(-40, 40, 3):
        for q in range(-40, 40, 3):

            def has(box, row=p, column=q):
                return box.top <= row < box.bottom and box.left <= column < box.right

            assert has(both) == (has(a) and has(b))


def test_within_cuts_a_box_out_of_an_array():
    outer, inner = Box(-3, 5, 7, 25), Box(0, 9, 4, 20)
    array = np.arange(10 * 20).reshape(10, 20)
    cut = array[inner.within(outer)]
    assert cut.shape == (inner.height, inner.width) and cut[0, 0] == array[3, 4] and cut[-1, -1] == array[6, 14]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (64, 64), (65, 200), (301, 127)])
def test_tiles_of_two_axes_weigh_one_everywhere(height, width):
    grid = TileGrid.over(height, width, 64, 24)
    total = np.zeros((height + 64, width + 64))
    for i in range(grid.rows.count):
        for j in range(grid.columns.count):
            box = grid.box(i, j)
            assert (box.height, box.width) == (64, 64)
            total[box.top : box.bottom, box.left : box.right] += grid.weights(i, j)
    np.testing.assert_allclose(total[:height, :width], 1, atol=1e-6, rtol=0)
