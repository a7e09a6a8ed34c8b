"""Where walls lie, and where they meet.

All walls of a raster are placed together. A shared wall is one unknown, and so are walls that go on across a node in
one direction: their distance from the origin is that which is best, in the sense of least squares, for all of their
outline; the axis of a group is best for all of its walls (the principal axis of what is left beside their lines).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from rotacube.vector.axes import off_axis
from rotacube.vector.coverage import Coverage
from rotacube.vector.edges import principal
from rotacube.vector.ragged import expanded, firsts_of, summed
from rotacube.vector.walls import FREE, JOG, Walls, pooled

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
TURN = math.radians(4.0)
"""A group's axis moves by no more when its walls are placed together."""
LINK = 4.0
"""In tolerances: an arc without a wall that is no longer becomes a straight line between its nodes."""
REACH = 3.0
"""In tolerances: two walls of an arc do not meet farther from their outline's corner."""
PARALLEL = math.sin(math.radians(15.0))


@dataclass(frozen=True)
class Lines:
    """The lines on which walls lie: the points p with normal . p = offset.

    Attributes:
        walls: W of them.
        begins: (A + 1,) the walls of each arc.
        line: (W,) which of them lie on one line.
        normal: (W, 2).
        offset: (W,) pixels.
        axis: (G,) radians of each group.
    """

    walls: Walls
    begins: Ints
    line: Ints
    normal: Floats
    offset: Floats
    axis: Floats

    def part(self, taken: Flags, walls: Walls, arcs: int) -> Lines:
        """Some lines only, with all of their walls, true in (W,), which are these now, of so many arcs."""
        _, line = np.unique(self.line[taken], return_inverse=True)
        begins = firsts_of(walls.arc, arcs)
        return Lines(walls, begins, line, self.normal[taken], self.offset[taken], self.axis)


def placed(coverage: Coverage, walls: Walls, axis: Floats, tolerance: float) -> Lines:
    """Place all walls.

    Args:
        coverage: of a label raster.
        walls: of its outlines.
        axis: (G,) radians, about.
        tolerance: pixels.
    """
    begins = firsts_of(walls.arc, len(coverage.sides))
    offset = (walls.normals(axis) * walls.mean).sum(1)
    line = _tied(coverage, begins, links(coverage, begins, LINK * tolerance), walls, offset, JOG * tolerance)
    count = int(line.max(initial=-1)) + 1
    _, middle, joint = pooled(line, count, walls.weight, walls.mean, walls.spread)
    of = np.zeros(count, np.int64)
    of[line] = np.arange(len(line))  # any wall of a line speaks for its kind and its group
    kind, group = walls.kind[of], walls.group[of]
    turned = np.where((kind == 1)[:, None], joint[:, ::-1] * [1, -1, 1], joint) * (kind != FREE)[:, None]
    sums = np.stack([summed(group, part, len(axis)) for part in turned.T], 1)
    swing = off_axis(principal(sums), axis)
    axis = axis + np.where(np.abs(swing) <= TURN, swing, 0.0)
    normal = walls.normals(axis)
    return Lines(walls, begins, line, normal, (normal * middle[line]).sum(1), axis)


def met(coverage: Coverage, begins: Ints) -> tuple[Ints, Ints]:
    """Which walls meet at a node: node and wall, (M,) each; arcs without a wall have none."""
    with_walls = np.flatnonzero(np.diff(begins) > 0)
    wall = np.concatenate([begins[with_walls], begins[with_walls + 1] - 1])
    return coverage.ends[with_walls].T.ravel(), wall


def links(coverage: Coverage, begins: Ints, longest: float) -> Flags:
    """Arcs without a wall that are no more than a link between two nodes."""
    apart = coverage.nodes[coverage.ends[:, 1]] - coverage.nodes[coverage.ends[:, 0]]
    near = np.hypot(*apart.T) <= longest
    found: Flags = (np.diff(begins) == 0) & near & (coverage.ends[:, 0] != coverage.ends[:, 1])
    return found


def _tied(coverage: Coverage, begins: Ints, link: Flags, walls: Walls, offset: Floats, jog: float) -> Ints:
    """Walls of one direction that meet at a node, or at two with a link between them, lie on one line, unless there is
    a step between them.
    """
    count = len(coverage.nodes)
    a, b = coverage.ends[link].T
    linked = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(count, count))
    node, wall = met(coverage, begins)
    node = connected_components(linked, directed=False)[1][node] if count else node
    straight = walls.kind[wall] != FREE
    node, wall = node[straight], wall[straight]
    key = walls.group[wall] * 2 + walls.kind[wall]
    order = np.lexsort((offset[wall], key, node))
    node, wall, key = node[order], wall[order], key[order]
    tied = (np.diff(node) == 0) & (np.diff(key) == 0) & (np.diff(offset[wall]) <= jog)
    a, b = wall[:-1][tied], wall[1:][tied]
    count = len(walls.arc)
    graph = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64) if count else np.zeros(0, np.int64)


def strayed(coverage: Coverage, lines: Lines, asked: Flags) -> tuple[Floats, Floats]:
    """Of each arc asked for the area between outline and walls' lines, and the length of the outline, (A,) both."""
    points, starts, walls = coverage.points, coverage.starts, lines.walls
    arcs, count = len(coverage.sides), len(walls.arc)
    if not count:
        return np.zeros(arcs), np.zeros(arcs)
    sizes = np.where(asked & (np.diff(lines.begins) > 0), np.diff(starts) - 1, 0)
    arc, step = expanded(sizes)
    run = starts[arc] + step
    begun = np.zeros(len(points), np.int64)
    begun[walls.first] = 1
    one = np.clip(np.cumsum(begun)[run] - 1, lines.begins[arc], lines.begins[arc + 1] - 1)
    other = np.where(run < walls.last[one], one, np.minimum(one + 1, lines.begins[arc + 1] - 1))
    middle = (points[run] + points[run + 1]) / 2
    extent = (points[run + 1] - points[run]).astype(float)
    away, length = np.zeros((2, len(run)))
    for wall in (one, other):
        normal = lines.normal[wall]
        beside = np.abs((normal * middle).sum(1) - lines.offset[wall])
        across = np.abs(normal[:, 1] * extent[:, 0] - normal[:, 0] * extent[:, 1])
        away, length = np.maximum(away, beside * across), np.maximum(length, across)
    loose = (run < walls.first[one]) | ((run >= walls.last[one]) & (one == other))
    away[loose] = np.maximum(away, np.abs(extent).sum(1))[loose]
    return summed(arc, away, arcs), summed(arc, length, arcs)


def placed_nodes(coverage: Coverage, lines: Lines, offset: Floats) -> Floats:
    """Where the lines of the walls meet at each node, (N, 2): those that follow an axis first, then the others."""
    node, wall = met(coverage, lines.begins)
    count = len(coverage.nodes)
    normal, raw = lines.normal[wall], coverage.nodes[node]
    away = offset[wall] - (normal * raw).sum(1)
    straight = lines.walls.kind[wall] != FREE
    deciding = straight & ~_outer(coverage, lines, node, wall, away)
    matrix, pull = _equations(node[deciding], normal[deciding], away[deciding], count)
    least = np.linalg.eigvalsh(matrix)[:, 0] if count else np.zeros(0)
    alone = (least < PARALLEL**2 / 2)[node] & ~straight
    more = _equations(node[alone], normal[alone], away[alone], count)
    matrix, pull = matrix + more[0], pull + more[1]
    if not count:
        return np.zeros((0, 2))
    sizes, ways = np.linalg.eigh(matrix)
    share = np.where(sizes > PARALLEL**2 / 2, 1 / np.maximum(sizes, 1e-12), 0.0)
    moved = (ways * (share * (ways * pull[:, :, None]).sum(1))[:, None, :]).sum(2)
    found: Floats = coverage.nodes + moved
    return found


def _outer(coverage: Coverage, lines: Lines, node: Ints, wall: Ints, away: Floats) -> Flags:
    """Which walls at a node do not decide where it is: of parallel ones all but the innermost, which the others at the
    node run toward; those have a step before the node.
    """
    walls = lines.walls
    begins, ends = coverage.points[walls.first[wall]], coverage.points[walls.last[wall]]
    raw = coverage.nodes[node]
    way = begins + ends - 2 * raw
    way = way / np.maximum(np.hypot(*way.T), 1e-9)[:, None]
    key = np.where(walls.kind[wall] == FREE, -1 - np.arange(len(wall)), walls.group[wall] * 2 + walls.kind[wall])
    order = np.lexsort((key, node))
    same = (np.diff(node[order]) == 0) & (np.diff(key[order]) == 0)
    rows = np.concatenate([np.zeros(min(1, len(order)), np.int64), np.cumsum(~same)])
    total = np.stack([summed(node, part, len(coverage.nodes)) for part in way.T], 1)
    inward = np.empty(len(wall))
    inward[order] = away[order] * (lines.normal[wall] * total[node]).sum(1)[order]
    best = np.full(len(order), -np.inf)
    np.maximum.at(best, rows, inward[order])
    chosen = np.full(len(order), len(lines.line))
    at_best = inward[order] == best[rows]
    np.minimum.at(chosen, rows[at_best], lines.line[wall[order[at_best]]])
    found = np.zeros(len(wall), bool)
    found[order] = lines.line[wall[order]] != chosen[rows]
    return found


def steps(lines: Lines, offset: Floats, ends: Floats, arcs: Ints, last: bool, least: float) -> tuple[Ints, Floats]:
    """Corners of steps between the ends of arcs and the lines of their first or last walls.

    Args:
        lines: of walls.
        offset: (W,) of these.
        ends: (A, 2) where each arc ends on that side.
        arcs: that are asked for.
        last: the last walls, else the first ones.
        least: pixels of the smallest step.

    Returns:
        The arcs that have one, and x and y.
    """
    arcs = arcs[np.diff(lines.begins)[arcs] > 0]
    wall = lines.begins[arcs + 1] - 1 if last else lines.begins[arcs]
    normal = lines.normal[wall]
    away = (normal * ends[arcs]).sum(1) - offset[wall]
    stepped = (np.abs(away) > least) & (lines.walls.kind[wall] != FREE)
    return arcs[stepped], (ends[arcs] - away[:, None] * normal)[stepped]


def _equations(node: Ints, normal: Floats, away: Floats, count: int) -> tuple[Floats, Floats]:
    x, y = normal.T
    xx, xy, yy = (summed(node, part, count) for part in (x * x, x * y, y * y))
    pull = np.stack([summed(node, part * away, count) for part in (x, y)], 1)
    return np.stack([np.stack([xx, xy], 1), np.stack([xy, yy], 1)], 2), pull


def joints(coverage: Coverage, lines: Lines, offset: Floats, tolerance: float) -> tuple[Ints, Floats]:
    """Corners between the walls of an arc, in order: the arc, (J,), and x and y, (J, 2).

    Where two walls meet at an angle there is one; where they are parallel, a step of two.
    """
    walls = lines.walls
    one = np.flatnonzero(np.diff(walls.arc) == 0)
    other = one + 1
    before, after = coverage.points[walls.last[one]], coverage.points[walls.first[other]]
    middle = (before + after) / 2
    gap = np.hypot(*(after - before).T)
    n, m = lines.normal[one], lines.normal[other]
    cross = n[:, 0] * m[:, 1] - n[:, 1] * m[:, 0]
    a, b = offset[one] - (n * middle).sum(1), offset[other] - (m * middle).sum(1)
    safe = np.where(np.abs(cross) > PARALLEL, cross, 1.0)
    corner = np.stack([a * m[:, 1] - b * n[:, 1], b * n[:, 0] - a * m[:, 0]], 1) / safe[:, None]
    meet = (np.abs(cross) > PARALLEL) & (np.hypot(*corner.T) <= REACH * tolerance + gap)
    step_one, step_other = a[:, None] * n, b[:, None] * m
    single = meet | (np.hypot(*(step_one - step_other).T) < tolerance / 2)
    corner = np.where(meet[:, None], corner, (step_one + step_other) / 2)
    place, step = expanded(np.where(single, 1, 2))
    chosen = np.where(
        single[place, None], corner[place], np.where(step[:, None] == 0, step_one[place], step_other[place])
    )
    return walls.arc[one][place], middle[place] + chosen
