"""Polygons of rings, which are made of arcs."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from rotacube.vector.ragged import expanded, firsts_of, offsets

Ints = NDArray[np.int64]
Shapes = NDArray[Any]


def walked(points: NDArray[Any], starts: Ints, halves: Ints) -> tuple[NDArray[Any], Ints]:
    """The points of arcs one after the other, each without its last, and where each begins."""
    arc = np.where(halves < 0, ~halves, halves)
    sizes = starts[arc + 1] - starts[arc] - 1
    begins = offsets(sizes)
    which, step = expanded(sizes)
    back = halves[which] < 0
    at = np.where(back, starts[arc[which] + 1] - 1 - step, starts[arc[which]] + step)
    return points[at], begins


def assembled(lines: NDArray[Any], rings: Ints, owners: Ints, ids: Ints) -> Shapes:
    """Polygons of rings that have their region on the right (on a map with y downward: clockwise shells); a ring of
    fewer than three corners encloses nothing.
    """
    sizes = np.diff(rings)
    if (sizes < 3).any():
        lines, owners, sizes = lines[np.repeat(sizes >= 3, sizes)], owners[sizes >= 3], sizes[sizes >= 3]
        rings = offsets(sizes)
    ring, _ = expanded(sizes)
    closed = np.insert(lines, rings[1:], lines[rings[:-1]], axis=0)
    after = np.append(lines[1:], lines[:1], 0)
    after[rings[1:] - 1] = lines[rings[:-1]]
    origin = lines[rings[:-1]][ring]
    one, other = (lines - origin).astype(float), (after - origin).astype(float)
    area = np.bincount(ring, one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0], len(sizes))
    shapes = shapely.linearrings(closed.astype(float), indices=np.repeat(np.arange(len(sizes)), sizes + 1))
    hole = area < 0
    place = np.searchsorted(ids, owners)
    order = np.lexsort((hole, place))
    found = np.empty(len(ids), object)
    shells = np.bincount(place[~hole], minlength=len(ids))
    simple = order[shells[place[order]] == 1]
    if len(simple):
        one_shell = np.flatnonzero(shells == 1)
        number = np.zeros(len(ids), np.int64)
        number[one_shell] = np.arange(len(one_shell))
        found[one_shell] = shapely.polygons(shapes[simple], indices=number[place[simple]])
    begins = firsts_of(place[order], len(ids))
    for region in np.flatnonzero(shells != 1):
        own = order[begins[region] : begins[region + 1]]
        found[region] = _in_pieces(shapes[own[~hole[own]]], shapes[own[hole[own]]])
    return found


def _in_pieces(shells: Shapes, holes: Shapes) -> Any:
    """Several polygons; each hole goes to the smallest shell around it."""
    if not len(shells):
        return shapely.MultiPolygon()
    whole = shapely.polygons(shells)
    inside: list[list[Any]] = [[] for _ in whole]
    hole, around = shapely.STRtree(whole).query(shapely.polygons(holes), predicate="covered_by")
    order = np.lexsort((shapely.area(whole[around]), hole))
    for at in order[np.unique(hole[order], return_index=True)[1]]:
        inside[around[at]].append(holes[hole[at]])
    return shapely.multipolygons([shapely.Polygon(s, h) for s, h in zip(shells, inside, strict=True)])
