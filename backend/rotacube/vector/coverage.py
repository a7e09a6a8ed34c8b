"""Outlines of a label raster as arcs and nodes, so that what two regions share is one line.

A node is a lattice point where three or more regions meet, or four of two that touch at a corner; an arc is the line
between two nodes, with one region on each side. Every change of shape is made on arcs: neighbours cannot come apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from rotacube.vector.ragged import expanded, offsets
from rotacube.vector.rings import assembled, walked

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Shapes = NDArray[Any]
EAST, SOUTH, WEST, NORTH = range(4)
STRIP = 2**19
"""Pixels looked at together: what stays in a processor's cache."""


@dataclass(frozen=True)
class Coverage:
    """The outlines of all regions but the background, 0.

    An arc runs from its smaller node to its larger one in the order of (y, x); a ring without a node begins at the
    point farthest from its smallest one. So it is the same whatever else the raster shows.

    Attributes:
        points: (P, 2) x and y of the corners of all arcs, one arc after the other, both ends included.
        starts: (A + 1,) where each arc begins in `points`.
        sides: (A, 2) the regions on the left and on the right of an arc, as one walks it on a map with y downward.
        ends: (A, 2) the nodes where an arc begins and ends; of a ring the same, which no other arc has.
        nodes: (N, 2) x and y.
        rings: (R + 1,) where each ring begins in `halves`.
        halves: the arcs of all rings in order; arc a walked backward is ~a. A ring has its region on its right.
        owners: (R,) the region of each ring.
        ids: (I,) the regions, ascending.
        areas: (I,) pixels.
    """

    points: Ints
    starts: Ints
    sides: Ints
    ends: Ints
    nodes: Ints
    rings: Ints
    halves: Ints
    owners: Ints
    ids: Ints
    areas: Ints

    @property
    def arcs(self) -> Ints:
        """The arc of each half."""
        return np.where(self.halves < 0, ~self.halves, self.halves)

    def polygons(self, points: NDArray[Any] | None = None, starts: Ints | None = None) -> Shapes:
        """One polygon a region, in the order of `ids`; several polygons where the region is in pieces.

        Args:
            points: other corners of the arcs; without them the exact outlines of the pixels.
            starts: where each arc begins in them.
        """
        points = self.points if points is None else points
        starts = self.starts if starts is None else starts
        lines, line_starts = walked(points, starts, self.halves)
        return assembled(lines, line_starts[self.rings], self.owners, self.ids)

    def clusters(self) -> Ints:
        """The cluster of each arc, (A,): arcs that hang together by nodes or by a region."""
        head = self.ends[self.arcs[self.rings[:-1]], 0]
        _, first, region = np.unique(self.owners, return_index=True, return_inverse=True)
        a, b = np.concatenate([self.ends[:, 0], head]), np.concatenate([self.ends[:, 1], head[first][region]])
        graph = csr_matrix((np.ones(len(a), np.int8), (a, b)), shape=(len(self.nodes), len(self.nodes)))
        found: Ints = connected_components(graph, directed=False)[1][self.ends[:, 0]].astype(np.int64)
        return found

    def without_holes(self, largest: float, share: float) -> Coverage:
        """The same without holes of background alone, of at most so many pixels and such a share of their region."""
        alone = np.flatnonzero((np.diff(self.rings) == 1) & (self.sides[self.arcs[self.rings[:-1]]] == 0).any(1))
        halves = self.halves[self.rings[:-1][alone]]
        lines, begins = walked(self.points, self.starts, halves)
        row, _ = expanded(np.diff(begins))
        rings = shapely.linearrings(lines.astype(float), indices=row) if len(row) else np.zeros(0, object)
        hole = ~shapely.is_ccw(rings)  # as y is upward there
        alone, holes = alone[hole], shapely.polygons(rings[hole])
        if not len(alone):
            return self
        tree = shapely.STRtree(holes)
        # The ends of what lies in a hole may touch its edge, at a corner; the middle of its first wall cannot.
        middles = (self.points[self.starts[:-1]] + self.points[self.starts[:-1] + 1]) / 2
        filled = tree.query(shapely.points(middles), predicate="within")[1]
        around = self.areas[np.searchsorted(self.ids, self.owners[alone])]
        small = shapely.area(holes) <= np.minimum(largest, share * around)
        small[filled] = False
        kept = np.ones(len(self.owners), bool)
        kept[alone[small]] = False
        sizes = np.diff(self.rings)
        found = replace(
            self, rings=offsets(sizes[kept]), halves=self.halves[np.repeat(kept, sizes)], owners=self.owners[kept]
        )
        return found.part(np.ones(len(self.ids), bool))[0]

    def part(self, wanted: NDArray[np.bool_]) -> tuple[Coverage, NDArray[np.bool_]]:
        """Some regions only, true in (I,), with all of their arcs; and which arcs these are, (A,)."""
        taken = wanted[np.searchsorted(self.ids, self.owners)]
        halves = self.halves[np.repeat(taken, np.diff(self.rings))]
        arcs = np.zeros(len(self.sides), bool)
        arcs[np.where(halves < 0, ~halves, halves)] = True
        number = np.cumsum(arcs) - 1
        sizes = np.diff(self.starts)
        nodes, ends = _renumbered(self.ends[arcs], len(self.nodes))
        found = Coverage(
            self.points[np.repeat(arcs, sizes)],
            offsets(sizes[arcs]),
            self.sides[arcs],
            ends,
            self.nodes[nodes],
            offsets(np.diff(self.rings)[taken]),
            np.where(halves < 0, ~number[np.where(halves < 0, ~halves, 0)], number[np.maximum(halves, 0)]),
            self.owners[taken],
            self.ids[wanted],
            self.areas[wanted],
        )
        return found, arcs


def outlines(ids: NDArray[np.int32]) -> Coverage:
    """The arcs and nodes of a label raster.

    Args:
        ids: (H, W), a number a region, 0 for the background.
    """
    framed = np.pad(ids, 1)
    width = framed.shape[1] - 1
    at, goes = _corners(framed)
    y, x = at // width, at % width
    around = framed.ravel()
    corner = y * (width + 1) + x
    nw, ne, sw, se = (around[corner + step] for step in (0, 1, width + 1, width + 2))
    degree = goes.sum(0)
    tail, head, left, right = _runs(goes, np.lexsort((y, x)), nw, ne, sw, se)
    follows = _successors(tail, head, degree == 2)
    order, starts = _chained(follows, tail)
    first = order[starts[:-1]]
    counts = np.diff(starts)
    corners = np.insert(head[order], starts[:-1], tail[first])
    starts = starts + np.arange(len(starts))
    sides = np.stack([left[first], right[first]], 1).astype(np.int64)
    corners, sides = _forward(corners, starts, sides, counts)
    points = np.stack([x[corners], y[corners]], 1)
    turned = _from_farthest(points, starts, degree[corners[starts[:-1]]] == 2)
    corners, points = corners[turned], points[turned]
    ends = np.stack([corners[starts[:-1]], corners[starts[1:] - 1]], 1)
    nodes, ends = _renumbered(ends, len(at))
    halves, rings, owners = _rings(points, starts, sides, ends, len(nodes))
    values, areas = _sizes(points, starts, rings, halves, owners)
    return Coverage(
        points, starts, sides, ends, np.stack([x[nodes], y[nodes]], 1), rings, halves, owners, values, areas
    )


def _corners(framed: NDArray[np.int32]) -> tuple[Ints, NDArray[np.bool_]]:
    """Lattice points where a line between regions turns or branches, and which ways lines leave them, (4, V)."""
    width, found = framed.shape[1] - 1, []
    rows = max(1, STRIP // framed.shape[1])
    for top in range(0, framed.shape[0] - 1, rows):
        strip = framed[top : top + rows + 1]
        across = strip[:-1] != strip[1:]
        along = strip[:, :-1] != strip[:, 1:]
        ways = (across[:, 1:], along[1:], across[:, :-1], along[:-1])
        at = np.flatnonzero((ways[EAST] | ways[WEST]) & (ways[SOUTH] | ways[NORTH]))
        found.append((at + top * width, np.stack([way.ravel()[at] for way in ways])))
    return np.concatenate([at for at, _ in found]), np.concatenate([ways for _, ways in found], 1)


def _sizes(points: Ints, starts: Ints, rings: Ints, halves: Ints, owners: Ints) -> tuple[Ints, Ints]:
    """The regions and their pixels."""
    values, region = np.unique(owners, return_inverse=True)
    after = np.append(points[1:], points[:1], 0)
    crossed = points[:, 0] * after[:, 1] - points[:, 1] * after[:, 0]
    crossed[starts[1:] - 1] = 0
    swept = np.diff(offsets(crossed)[starts])
    arc = np.where(halves < 0, ~halves, halves)
    own = np.repeat(region, np.diff(rings))
    twice = np.bincount(own, np.where(halves < 0, -swept[arc], swept[arc]), len(values))
    return values, np.rint(twice / 2).astype(np.int64)


def _runs(
    goes: NDArray[np.bool_], by_column: Ints, nw: Ints, ne: Ints, sw: Ints, se: Ints
) -> tuple[Ints, Ints, Ints, Ints]:
    """Straight lines between neighbouring corners, with the larger region on the left: tail, head, left, right."""
    a = np.flatnonzero(goes[EAST])
    b = a + 1
    c = by_column[np.flatnonzero(goes[SOUTH][by_column])]
    place = np.empty(len(by_column), np.int64)
    place[by_column] = np.arange(len(by_column))
    d = by_column[place[c] + 1]
    one, other = np.concatenate([a, c]), np.concatenate([b, d])
    left, right = np.concatenate([ne[a], se[c]]), np.concatenate([se[a], sw[c]])
    turned = left < right
    return (
        np.where(turned, other, one), np.where(turned, one, other),
        np.maximum(left, right), np.minimum(left, right),
    )  # fmt: skip


def _successors(tail: Ints, head: Ints, inner: NDArray[np.bool_]) -> Ints:
    """The line after each line of the same arc, -1 at a node; rings are cut at their first corner."""
    out = np.full(len(inner), -1)
    out[tail] = np.arange(len(tail))
    follows = np.where(inner[head], out[head], -1)
    begins = np.concatenate([[0], np.cumsum(follows >= 0)])
    graph = csr_matrix((np.ones(begins[-1], np.int8), follows[follows >= 0], begins), shape=(len(tail), len(tail)))
    count, piece = connected_components(graph, directed=True, connection="weak")
    closed = np.ones(count, bool)
    closed[piece[follows < 0]] = False
    smallest = np.full(count, len(inner))
    within = closed[piece]
    np.minimum.at(smallest, piece[within], tail[within])
    follows[within & (head == smallest[piece])] = -1
    return follows


def _chained(follows: Ints, tail: Ints) -> tuple[Ints, Ints]:
    """Lines in the order of their arcs, and where each arc begins: list ranking by pointer doubling (Wyllie 1979)."""
    count = len(follows)
    last = np.where(follows < 0, np.arange(count), follows)
    ahead = (follows >= 0).astype(np.int64)
    active = np.flatnonzero(follows >= 0)
    while len(active):
        jump = last[active]
        ahead[active] += ahead[jump]
        last[active] = last[jump]
        active = active[follows[last[active]] >= 0]
    terminal = np.flatnonzero(follows < 0)
    number = np.zeros(count, np.int64)
    number[terminal] = np.arange(len(terminal))
    arc = number[last]
    starts = offsets(np.bincount(arc, minlength=len(terminal)))
    order = np.empty(count, np.int64)
    order[starts[arc + 1] - 1 - ahead] = np.arange(count)
    return order, starts


def _forward(corners: Ints, starts: Ints, sides: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """Arcs turned so that they run from the smaller end to the larger; of a loop by the points beside its end."""
    one, other = corners[starts[:-1]], corners[starts[1:] - 1]
    second, last = corners[starts[:-1] + 1], corners[starts[1:] - 2]
    back = (one > other) | ((one == other) & (second > last))
    arc = np.repeat(np.arange(len(counts)), counts + 1)
    at = np.arange(len(corners))
    turned = np.where(back[arc], starts[arc] + starts[arc + 1] - 1 - at, at)
    return corners[turned], np.where(back[:, None], sides[:, ::-1], sides)


def _from_farthest(points: Ints, starts: Ints, ring: NDArray[np.bool_]) -> Ints:
    """The order of points in which rings begin at the point farthest from their smallest one, a true corner."""
    order = np.arange(len(points))
    sizes = np.diff(starts)[ring] - 1
    if not len(sizes):
        return order
    row, step = expanded(sizes)
    first = starts[:-1][ring]
    far = ((points[first[row] + step] - points[first[row]]) ** 2).sum(1)
    begins = offsets(sizes)[:-1]
    farthest = np.flatnonzero(far == np.maximum.reduceat(far, begins)[row])
    shift = np.zeros(len(sizes), np.int64)
    shift[row[farthest[::-1]]] = step[farthest[::-1]]
    order[first[row] + step] = first[row] + (step + shift[row]) % sizes[row]
    order[first + sizes] = order[first]
    return order


def _renumbered(ends: Ints, count: int) -> tuple[Ints, Ints]:
    used = np.zeros(count, bool)
    used[ends.ravel()] = True
    number = np.cumsum(used) - 1
    return np.flatnonzero(used), number[ends]


def _rings(points: Ints, starts: Ints, sides: Ints, ends: Ints, nodes: int) -> tuple[Ints, Ints, Ints]:
    """Around each region, its arcs in order: a walk that keeps the region on its right and hugs its own pixel."""
    arcs = len(sides)
    forward = np.arange(arcs)
    halves = np.concatenate([forward, ~forward])
    owner = np.concatenate([sides[:, 1], sides[:, 0]])
    leaves = np.concatenate([ends[:, 0], ends[:, 1]])
    reaches = np.concatenate([ends[:, 1], ends[:, 0]])
    begin = _heading(points[starts[:-1]], points[starts[:-1] + 1])
    finish = _heading(points[starts[1:] - 2], points[starts[1:] - 1])
    out = np.concatenate([begin, (finish + 2) % 4])
    into = np.concatenate([finish, (begin + 2) % 4])
    exits = np.full((nodes, 4), -1)
    exits[leaves, out] = np.arange(2 * arcs)
    follows = np.full(2 * arcs, -1)
    for turn in (3, 0, 1):  # left, straight on, right: the last that is there counts
        found = exits[reaches, (into + turn) % 4]
        follows = np.where(found >= 0, found, follows)
    wanted = np.flatnonzero(owner != 0)
    number = np.full(2 * arcs, -1)
    number[wanted] = np.arange(len(wanted))
    follows, halves, owner, leaves = number[follows[wanted]], halves[wanted], owner[wanted], leaves[wanted]
    follows = _cut(follows)
    order, rings = _chained(follows, np.zeros(0, np.int64))
    order, rings = _without_touches(leaves, order, rings)
    return halves[order], rings, owner[order[rings[:-1]]]


def _heading(one: Ints, other: Ints) -> Ints:
    """East, south, west or north from one point to another."""
    step = np.sign(other - one)
    return np.where(step[:, 1] == 0, np.where(step[:, 0] > 0, EAST, WEST), np.where(step[:, 1] > 0, SOUTH, NORTH))


def _cut(follows: Ints) -> Ints:
    """Cycles opened before their smallest member."""
    count = len(follows)
    graph = csr_matrix((np.ones(count, np.int8), follows, np.arange(count + 1)), shape=(count, count))
    pieces, piece = connected_components(graph, directed=True, connection="weak")
    smallest = np.full(pieces, count)
    np.minimum.at(smallest, piece, np.arange(count))
    return np.where(follows == smallest[piece], -1, follows)


def _without_touches(leaves: Ints, order: Ints, rings: Ints) -> tuple[Ints, Ints]:
    """Rings that pass a node twice taken apart there, so that each is simple."""
    ring = np.repeat(np.arange(len(rings) - 1), np.diff(rings))
    passed = np.lexsort((leaves[order], ring))
    same = (np.diff(ring[passed]) == 0) & (np.diff(leaves[order][passed]) == 0)
    touching = np.unique(ring[passed[1:][same]])
    if not len(touching):
        return order, rings
    pieces = []
    for number in touching:
        walk: list[int] = []
        for half in order[rings[number] : rings[number + 1]].tolist():
            node = leaves[half]
            at = next((i for i, other in enumerate(walk) if leaves[other] == node), None)
            if at is not None:
                pieces.append(walk[at:])
                walk = walk[:at]
            walk.append(half)
        pieces.append(walk)
    kept = ~np.isin(ring, touching)
    sizes = np.concatenate([np.diff(rings)[~np.isin(np.arange(len(rings) - 1), touching)], [len(p) for p in pieces]])
    return np.concatenate([order[kept], *pieces]).astype(np.int64), offsets(sizes)
