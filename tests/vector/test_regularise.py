"""Regularised roofs: straight walls, right corners, shared walls, and always a valid coverage."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from rotacube.bench.towns import block, raster, terrace
from rotacube.vector.coverage import outlines
from rotacube.vector.outline import repeated
from rotacube.vector.regularise import regularise, simplify

rasters = arrays(np.int32, array_shapes(min_dims=2, max_dims=2, max_side=10), elements=st.integers(0, 4))


def off(degrees, axis):
    """Degrees to the nearest of two perpendicular axes."""
    return np.abs((degrees - axis + 45) % 90 - 45)


def walls(shapes):
    """Direction in degrees and length of all walls; corners that do not turn are none."""
    found = []
    for ring in shapely.get_rings(shapes):
        points = shapely.get_coordinates(ring)[:-1]
        ahead, back = np.roll(points, -1, 0) - points, points - np.roll(points, 1, 0)
        turns = np.abs(ahead[:, 0] * back[:, 1] - ahead[:, 1] * back[:, 0]) > 0.01 * np.hypot(*ahead.T)
        points = points[turns]
        step = np.roll(points, -1, 0) - points
        found += zip(np.degrees(np.arctan2(step[:, 1], step[:, 0])), np.hypot(*step.T), strict=True)
    return np.array(found).T


def overlap(one, other):
    both = shapely.area(shapely.intersection(one, other))
    return both / (shapely.area(one) + shapely.area(other) - both)


def check(ids, found):
    """What holds for every raster."""
    raw = outlines(ids)
    assert found.ids.tolist() == raw.ids.tolist()
    assert shapely.is_valid(found.shapes).all() and shapely.coverage_is_valid(found.shapes)
    assert abs(shapely.area(found.shapes).sum() - shapely.union_all(found.shapes).area) < 1e-6
    assert ((found.axis >= 0) & (found.axis <= 90)).all()
    assert (overlap(found.shapes, raw.polygons())[~found.kept] >= 0.9 - 1e-9).all()


@settings(max_examples=150, deadline=None)
@given(rasters, st.integers(1, 7), st.integers(1, 7), st.sampled_from([1.0, 2.0, 4.0]))
def test_every_raster_gives_a_valid_coverage(ids, tall, wide, tolerance):
    ids = np.kron(ids, np.ones((tall, wide), np.int32))
    check(ids, regularise(ids, tolerance=tolerance))


@settings(max_examples=60, deadline=None)
@given(rasters, st.integers(1, 5), st.floats(0.1, 5))
def test_every_raster_is_simplified_to_a_valid_coverage(ids, times, tolerance):
    ids = np.kron(ids, np.ones((times, times), np.int32))
    found = simplify(ids, tolerance)
    assert found.kept.all() and shapely.coverage_is_valid(found.shapes)
    assert (
        shapely.get_num_coordinates(found.shapes).sum() <= shapely.get_num_coordinates(outlines(ids).polygons()).sum()
    )


@pytest.mark.parametrize("degrees", [0, 1, 7, 22.5, 30, 45, 61, 88])
@pytest.mark.parametrize("noise", [0.0, 0.4])
@pytest.mark.parametrize("houses", [terrace(), terrace(step=12), block()], ids=["row", "steps", "block"])
def test_houses_that_share_walls_become_rectangles(degrees, noise, houses):
    ids = raster(330, houses, degrees, noise)
    found = regularise(ids)
    check(ids, found)
    assert not found.kept.any() and off(found.axis, degrees).max() < 1 and len(set(found.axis.tolist())) == 1
    direction, length = walls(found.shapes)
    assert length[off(direction, degrees) < 2].sum() > 0.99 * length.sum()
    assert len(direction) <= 1.1 * 4 * len(houses)
    sizes = [(u1 - u0) * (v1 - v0) for u0, u1, v0, v1 in houses]
    assert np.abs(shapely.area(found.shapes) / sizes - 1).max() < (0.05 if noise else 0.02)


def test_a_shared_wall_is_one_line():
    found = regularise(raster(330, terrace(), 30, 0.4))
    shared = shapely.length(shapely.intersection(found.shapes[:-1], found.shapes[1:]))
    assert np.abs(shared - 62).max() < 4
    front = shapely.union_all(found.shapes).simplify(0.01)
    assert shapely.get_num_coordinates(front) == 5


@pytest.mark.parametrize("degrees", [0, 17, 45, 70])
def test_a_house_with_wings_keeps_its_corners(degrees):
    arms = [(-60, 60, -50, -15), (-60, -20, -15, 50)]
    for houses, corners in ((arms, 6), ([*arms, (20, 60, -15, 50)], 8)):
        ids = (raster(240, houses, degrees) > 0).astype(np.int32)
        found = regularise(ids)
        check(ids, found)
        direction, _ = walls(found.shapes)
        assert len(direction) == corners and off(direction, degrees).max() < 1


def test_a_courtyard_stays():
    ids = (raster(260, block(), 25) > 0).astype(np.int32)
    (shape,) = regularise(ids).shapes
    assert len(shape.interiors) == 1 and len(walls(shape)[0]) == 8


def test_a_house_in_a_courtyard_of_another():
    ids = raster(260, [(-25, 25, -20, 20), (-90, 90, -70, 70)], 33)
    found = regularise(ids)
    check(ids, found)
    assert len(walls(found.shapes)[0]) == 12 and abs(found.shapes[1].area + 50 * 40 - 180 * 140) < 200


def test_a_small_hole_of_noise_is_closed():
    ids = raster(120, [(-30, 30, -25, 25)], 20)
    ids[60:62, 58] = 0
    (shape,) = regularise(ids).shapes
    assert not len(shape.interiors)


def test_a_cut_corner_stays():
    ids = raster(160, [(-40, 40, -30, 30)], 0)
    y, x = np.mgrid[:160, :160] - 80
    ids[x + y > 45] = 0
    direction, length = walls(regularise(ids).shapes)
    assert len(direction) == 5 and off(direction[length.argmin()], 45) < 3


def test_a_bend_has_two_axes():
    ids = raster(600, terrace(4), 0)
    other = raster(600, terrace(4), 24)
    ids = np.where(np.roll(other, 175, 1) > 0, np.roll(other, 175, 1) + 4, 0) * (ids == 0) + ids
    found = regularise(ids)
    check(ids, found)
    assert off(found.axis[:3], 0).max() < 1.5 and off(found.axis[5:], 24).max() < 1.5


def test_a_round_roof_is_left_alone():
    y, x = np.mgrid[:120, :120] - 60
    ids = (x * x + y * y < 45**2).astype(np.int32)
    found = regularise(ids)
    check(ids, found)
    assert found.kept.all() and overlap(found.shapes, shapely.Point(60.5, 60.5).buffer(45)) > 0.95


def test_a_slanted_wall_is_left_alone():
    ids = raster(200, [(-60, 60, -40, 40)], 0)
    y, x = np.mgrid[:200, :200] - 100
    ids[x - 0.6 * y > 34] = 0
    found = regularise(ids)
    check(ids, found)
    direction, length = walls(found.shapes)
    assert not found.kept.any() and len(direction) == 4
    assert length[np.abs(direction % 180 - np.degrees(np.arctan2(1, 0.6))) < 3].sum() > 80


@pytest.mark.parametrize("side", [13, 20, 36])
@pytest.mark.parametrize("degrees", [0, 12, 45])
def test_small_roofs_are_not_lost(side, degrees):
    ids = raster(60, [(-side / 2, side / 2, -side / 2, side / 2)], degrees)
    found = regularise(ids)
    check(ids, found)
    assert not found.kept.any() and off(found.axis[0], degrees) < 4 and len(walls(found.shapes)[0]) == 4


@pytest.mark.parametrize(
    "ids",
    [
        np.zeros((9, 9), np.int32),
        np.zeros((0, 4), np.int32),
        np.ones((9, 9), np.int32),
        np.ones((1, 1), np.int32),
        np.eye(9, dtype=np.int32) * np.arange(1, 10, dtype=np.int32),
        np.kron(np.array([[1, 0], [0, 2]], np.int32), np.ones((30, 30), np.int32)),
        np.arange(1, 50, dtype=np.int32).reshape(7, 7),
    ],
    ids=["none", "no pixel", "full", "one pixel", "pixels by their corners", "a corner", "pixels"],
)
def test_odd_rasters(ids):
    found = regularise(ids)
    check(ids, found)
    assert abs(shapely.area(found.shapes).sum() - (ids > 0).sum()) < 0.1 * max(1, (ids > 0).sum())


def halves(ids, number):
    """The roofs that begin on either side of a diagonal, each with what else lies in their window."""
    begins = np.array([np.argwhere(ids == n).min(0).sum() for n in range(1, ids.max() + 1)])
    for own in (np.flatnonzero(begins < number) + 1, np.flatnonzero(begins >= number) + 1):
        rows, columns = (np.flatnonzero(np.isin(ids, own).any(axis)) for axis in (1, 0))
        top, left = max(rows.min() - 1, 0), max(columns.min() - 1, 0)
        window = ids[top : rows.max() + 2, left : columns.max() + 2]
        yield own, window, (left, top)


@pytest.mark.parametrize("draw", [regularise, lambda ids, fixed: simplify(ids, 1.5, fixed=fixed)])
@pytest.mark.parametrize("degrees", [0, 20, 40, 75])
@pytest.mark.parametrize("houses", [terrace(step=7), block()], ids=["steps", "block"])
def test_blocks_fit_together(draw, degrees, houses):
    ids = raster(330, houses, degrees, 0.4, seed=3)
    shapes = []
    for own, window, (left, top) in halves(ids, 290):
        found = draw(window, fixed=np.setdiff1d(window, [0, *own]))
        assert found.ids.tolist() == own.tolist()
        shapes.append(shapely.transform(found.shapes, lambda at, by=(left, top): at + by))
    assert shapely.coverage_is_valid(np.concatenate(shapes))
    assert shapely.area(np.concatenate(shapes)).sum() == pytest.approx(shapely.union_all(np.concatenate(shapes)).area)


@pytest.mark.parametrize("draw", [regularise, lambda ids, fixed: simplify(ids, 1.5, fixed=fixed)])
@pytest.mark.parametrize("seed", range(6))
def test_crowded_blocks_fit_together(draw, seed):
    """Regions of all shapes, wall to wall or with gaps of a few pixels, cut into blocks of a map."""
    rng = np.random.default_rng(seed)
    at, gap = rng.uniform(0, 220, (2, 60)), rng.uniform(1, 4)
    y, x = np.mgrid[:220, :220] + 0.5
    away = np.stack([np.abs(x - a) + rng.uniform(0.5, 2) * np.abs(y - b) for a, b in at.T])
    near = np.sort(away, 0)
    ids = np.where(near[1] - near[0] > gap * rng.integers(0, 2, 60)[away.argmin(0)], away.argmin(0) + 1, 0)
    ids = np.unique(ids, return_inverse=True)[1].reshape(ids.shape).astype(np.int32)
    check(ids, regularise(ids))
    begins = np.array([np.argwhere(ids == n).min(0) // 80 @ [10, 1] for n in range(1, ids.max() + 1)])
    shapes = []
    for number in np.unique(begins):
        own = np.flatnonzero(begins == number) + 1
        rows, columns = (np.flatnonzero(np.isin(ids, own).any(axis)) for axis in (1, 0))
        top, left = max(rows.min() - 12, 0), max(columns.min() - 12, 0)
        window = ids[top : rows.max() + 13, left : columns.max() + 13]
        found = draw(window, fixed=np.setdiff1d(window, [0, *own]))
        shapes.append(shapely.transform(found.shapes, lambda c, by=(left, top): c + by))
    assert shapely.is_valid(np.concatenate(shapes)).all() and shapely.coverage_is_valid(np.concatenate(shapes))


@pytest.mark.parametrize("side", [12, 20, 30])
def test_a_hole_stays_where_a_roof_in_it_touches_its_edge_at_a_corner(side):
    ids = np.zeros((side + 8, side + 8), np.int32)
    ids[4:-4, 4:-4] = 1
    at = ids.shape[0] // 2
    ids[at - 1 : at + 2, at - 1 : at + 2] = 0
    ids[at + 1, at - 1], ids[at, at] = 1, 2
    found = regularise(ids)  # would go on for ever where the one lay within the other
    assert shapely.coverage_is_valid(found.shapes) and shapely.is_valid(found.shapes).all()
    assert shapely.area(shapely.intersection(*found.shapes)) == 0 and shapely.area(found.shapes[1]) > 0


def test_corners_that_are_as_good_as_one_are_one():
    """QGIS takes two corners of a fraction of a millimetre for one, and the polygon for invalid; ends of arcs stay."""
    first = [(0, 0), (5, 0), (5, 0.01), (5, 5), (9, 8.99), (9, 9)]
    second = [(9, 9), (9, 9.001)]
    corners, arc = np.array([*first, *second], float), np.array([0] * 6 + [1] * 2)
    assert repeated(corners, arc).tolist() == [False, False, True, False, True, False, False, False]
