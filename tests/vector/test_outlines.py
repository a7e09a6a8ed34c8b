"""The arcs of a label raster: what they enclose is what the pixels say, to the last one."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from rotacube.vector.coverage import outlines

rasters = arrays(np.int32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 4))


def lines(found):
    """The points of each arc."""
    return [found.points[a:b] for a, b in zip(found.starts[:-1], found.starts[1:], strict=True)]


def whole(shapes, regions):
    """Each polygon is valid and as large as its region, together they are a coverage without a gap or an overlap."""
    assert shapely.is_valid(shapes).all() and shapely.coverage_is_valid(shapes)
    assert shapely.area(shapes).tolist() == regions.tolist()
    assert shapely.union_all(shapes).area == regions.sum()


@settings(max_examples=200, deadline=None)
@given(rasters)
def test_polygons_are_the_pixels(ids):
    found = outlines(ids)
    numbers, sizes = np.unique(ids[ids > 0], return_counts=True)
    assert found.ids.tolist() == numbers.tolist() and found.areas.tolist() == sizes.tolist()
    whole(found.polygons(), sizes)


@settings(max_examples=50, deadline=None)
@given(rasters)
def test_each_point_of_a_polygon_is_in_the_region_that_the_raster_says(ids):
    found = outlines(ids)
    y, x = np.nonzero(ids)
    for number, shape in zip(found.ids, found.polygons(), strict=True):
        inside = shapely.contains_xy(shape, x + 0.5, y + 0.5)
        assert (inside == (ids[y, x] == number)).all()


@settings(max_examples=50, deadline=None)
@given(rasters, st.integers(0, 9), st.integers(0, 9))
def test_arcs_do_not_depend_on_the_window(ids, down, right):
    here = outlines(ids)
    there = outlines(np.pad(ids, ((down, 1), (right, 2))))

    def arcs(found, shift):
        sides = found.sides.tolist()
        return sorted(((line - shift).tolist(), *side) for line, side in zip(lines(found), sides, strict=True))

    assert arcs(here, (0, 0)) == arcs(there, (right, down))


@settings(max_examples=50, deadline=None)
@given(rasters)
def test_numbers_of_regions_do_not_change_the_arcs(ids):
    other = np.array([0, 7, 3, 9, 1], np.int32)[ids]
    one, two = outlines(ids), outlines(other)
    assert sorted(line.tolist() for line in lines(one)) == sorted(line.tolist() for line in lines(two))


@settings(max_examples=50, deadline=None)
@given(rasters, st.integers(0, 15))
def test_a_part_has_the_polygons_of_the_whole(ids, chosen):
    found = outlines(ids)
    wanted = (chosen >> np.arange(len(found.ids)) & 1).astype(bool)
    part, arcs = found.part(wanted)
    assert (part.sides == found.sides[arcs]).all()
    assert part.ids.tolist() == found.ids[wanted].tolist()
    assert shapely.equals(part.polygons(), found.polygons()[wanted]).all()


@settings(max_examples=50, deadline=None)
@given(rasters)
def test_regions_that_touch_are_in_one_cluster(ids):
    found = outlines(ids)
    cluster = found.clusters()
    for number in (0, 1):
        of = {}
        for name, c in zip(found.ends[:, number].tolist(), cluster.tolist(), strict=True):
            assert of.setdefault(name, c) == c
    for region in found.ids:
        assert len(set(cluster[(found.sides == region).any(1)].tolist())) == 1


@pytest.mark.parametrize(
    ("rows", "arcs", "nodes"),
    [
        (["11", "11"], 1, 1),
        (["12"], 3, 2),
        (["12", "34"], 8, 5),
        (["10", "01"], 2, 1),
        (["111", "101", "111"], 2, 2),
        (["111", "121", "111"], 2, 2),
        (["00", "00"], 0, 0),
    ],
)
def test_arcs_and_nodes(rows, arcs, nodes):
    found = outlines(np.array([[int(c) for c in row] for row in rows], np.int32))
    assert (len(found.sides), len(found.nodes)) == (arcs, nodes)


def test_a_hole_that_touches_the_edge_at_a_corner_stays_a_hole():
    ids = np.ones((4, 4), np.int32)
    ids[0, 0] = ids[1, 1] = 0
    (shape,) = outlines(ids).polygons()
    assert shape.geom_type == "Polygon" and len(shape.interiors) == 1 and shape.area == 14


def test_a_region_in_pieces_is_several_polygons_with_their_own_holes():
    ids = np.zeros((5, 12), np.int32)
    ids[:, :5] = ids[:, 6:11] = 1
    ids[2, 2] = 0
    ids[2, 8] = 2
    found = outlines(ids)
    one, two = found.polygons()
    assert one.geom_type == "MultiPolygon" and sorted(len(p.interiors) for p in one.geoms) == [1, 1]
    assert two.area == 1 and found.sides.max() == 2


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (1, 1), (7, 5)])
def test_empty_rasters_have_no_arcs(shape):
    found = outlines(np.zeros(shape, np.int32))
    assert len(found.polygons()) == len(found.sides) == len(found.ids) == 0
