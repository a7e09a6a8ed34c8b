"""The outlines of roofs, drawn at a level each: with walls, or as what was found."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from rotacube.vector.edges import true_corners
from rotacube.vector.placing import LINK, Lines, joints, links, met, placed, placed_nodes, steps, strayed
from rotacube.vector.ragged import expanded, offsets, summed
from rotacube.vector.sketch import Sketch, arcs_of
from rotacube.vector.walls import FREE

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Shapes = NDArray[Any]
CLOSER = 0.4
"""In tolerances: by how much the simplified outline may leave the pixels' where it crosses another one."""
STEP = 0.25
"""In tolerances: a wall that misses its end by more has a step there, by less it leans."""
GRAIN = 1024
"""Corners lie on a grid of so many lines a pixel: shifted by whole pixels they stay what they are, to the last bit."""
SAME = 0.5 / GRAIN
"""Pixels: nodes that are as near are one."""
TINY = 1 / 16
"""Pixels: corners of an arc that are as near count as one. In degrees QGIS takes such for the same point twice."""
FINER = 0.5
"""In tolerances: the smaller one of the second try."""
COARSE, FINE, SIMPLE, CLOSE, RAW = range(5)
ROUGH, UNBOUND = 0.6, 0.6
"""A roof whose outline lies farther from its walls on average, in tolerances, or has a larger share of it off its axes,
is no house of straight walls: it is left alone."""


class Outline:
    """The outlines of roofs, each arc at a level.

    On the levels COARSE and FINE an arc consists of walls, found with a smaller tolerance on the second, on SIMPLE and
    CLOSE of its true corners, of more on the second, on RAW of those of the pixels.
    """

    def __init__(self, sketch: Sketch, level: Ints) -> None:
        self.sketch, self.coverage, self.tolerance = sketch, sketch.coverage, sketch.tolerance
        self.roofs, self.plain = sketch.roofs, sketch.plain
        self.strayed, self.length = sketch.strayed, sketch.length
        self.level = np.where(self.plain, np.maximum(level, SIMPLE), level)
        self._take(sketch.lines)
        self._settle()

    def _take(self, lines: Lines) -> None:
        self.lines = lines
        self.link = links(self.coverage, lines.begins, LINK * self.tolerance)
        self.bare = (np.diff(lines.begins) == 0) & ~self.link

    @property
    def axis(self) -> Floats:
        """Degrees, (I,)."""
        group = self.sketch.group
        return np.degrees(self.lines.axis[group]) % 90 if len(group) else np.zeros(0)

    def _settle(self) -> None:
        """Raise what has no walls that fit: first to the smaller tolerance, then to the level without walls."""
        self.level[self.arcs_of(self.rough()) & (self.level == COARSE)] = FINE
        fine = self.level == FINE
        if fine.any():
            coverage, walls = self.coverage, self.lines.walls
            new = self.sketch.walls(fine, FINER * self.tolerance)
            walls = walls.taken(~fine[walls.arc]).and_those(new)
            self._take(placed(coverage, walls, self.sketch.axis, self.tolerance))
            area, length = strayed(coverage, self.lines, fine)
            self.strayed, self.length = np.where(fine, area, self.strayed), np.where(fine, length, self.length)
            self.level[self.arcs_of(self.rough()) & fine] = SIMPLE
        self.level[self.bare & (self.level < SIMPLE)] = SIMPLE

    def raise_arcs(self, arcs: Flags, plain: bool = False) -> None:
        """Bring arcs one level up, those that are drawn elsewhere, too, or the others."""
        self.level[arcs & (self.plain == plain) & (self.level < RAW)] += 1

    def raise_roofs(self, roof: Flags) -> None:
        """Bring those arcs of roofs, (I,), one level up that are on the lowest."""
        least = np.full(len(roof) + 1, RAW)
        free = ~self.plain
        np.minimum.at(least, self.roofs[free].ravel(), np.repeat(self.level[free], 2))
        lowest = (least[self.roofs] == self.level[:, None]) & np.append(roof, False)[self.roofs]
        self.raise_arcs(lowest.any(1))
        self.level[self.arcs_of(roof & (least[:-1] == RAW))] = RAW

    def crossing(self, roof: Flags) -> Flags:
        """Arcs of these roofs, (I,), that cross or touch another one of them, or themselves, beside a shared node; of
        roofs that are drawn elsewhere only those that cross others.
        """
        points, starts = self.points()
        at = np.flatnonzero(self.arcs_of(roof))
        sizes = np.diff(starts)
        inside = np.repeat(np.isin(np.arange(len(sizes)), at), sizes)
        row, _ = expanded(sizes[at])
        lines = shapely.linestrings(points[inside], indices=row)
        found = ~shapely.is_simple(lines)
        one, other = shapely.STRtree(lines).query(lines, predicate="intersects")
        one, other = one[one < other], other[one < other]
        common = shapely.intersection(lines[one], lines[other])
        where, pair = shapely.get_coordinates(common, return_index=True)
        ends = points[np.stack([starts[:-1], starts[1:] - 1], 1)][at]
        close = [(np.abs(ends[side[pair]] - where[:, None]).max(2) < SAME).any(1) for side in (one, other)]
        wrong = pair[~(close[0] & close[1])]
        wrong = np.append(wrong, np.flatnonzero(shapely.length(common) > SAME))
        own = self.arcs_of(~self.sketch.elsewhere)[at]
        found &= own
        wrong = wrong[own[one[wrong]] | own[other[wrong]]]
        found[one[wrong]] = found[other[wrong]] = True
        arcs = np.zeros(len(sizes), bool)
        arcs[at[found]] = True
        return arcs

    def arcs_of(self, roof: Flags) -> Flags:
        """The arcs of these roofs."""
        return arcs_of(self.roofs, roof)

    def touched(self, arcs: Flags) -> Flags:
        """The roofs beside arcs, (I,)."""
        found = np.zeros(len(self.coverage.ids) + 1, bool)
        found[self.roofs[arcs].ravel()] = True
        return found[:-1]

    def all_at_least(self, level: int) -> Flags:
        """Roofs of which all arcs have reached a level, (I,)."""
        return ~self.touched(self.level < level)

    def all_at_most(self, level: int) -> Flags:
        """Roofs of which no arc is above a level, (I,)."""
        return ~self.touched(self.level > level)

    def strayed_area(self) -> Floats:
        """By how much area the outline of each roof leaves its walls, (I,)."""
        return self.summed(self.strayed)

    def summed(self, values: Floats) -> Floats:
        """Sums over the arcs of each roof."""
        inside = self.roofs >= 0
        both = np.repeat(values, 2).reshape(-1, 2)[inside]
        return summed(self.roofs[inside], both, len(self.coverage.ids))

    def rough(self) -> Flags:
        """Roofs whose outline is not that of straight walls along two axes."""
        walls, arcs = self.lines.walls, len(self.roofs)
        free = self.summed(summed(walls.arc, np.where(walls.kind == FREE, walls.length, 0.0), arcs))
        every = self.summed(summed(walls.arc, walls.length, arcs))
        length = np.maximum(self.summed(self.length), 1)
        return (self.summed(self.strayed) > ROUGH * self.tolerance * length) | (free > UNBOUND * every)

    def points(self) -> tuple[Floats, Ints]:
        """The corners of the arcs, and where each arc begins."""
        coverage, lines = self.coverage, self.lines
        regular = self.level < SIMPLE
        still = np.zeros(len(coverage.nodes), bool)
        still[coverage.ends[~regular].ravel()] = True
        offset = self._offsets(still)
        nodes = placed_nodes(coverage, lines, offset)
        nodes[still] = coverage.nodes[still]
        one, other = coverage.ends[self.link & regular].T
        same = ~still[one] & ~still[other] & (np.abs(nodes[one] - nodes[other]).max(1, initial=0) < SAME)
        nodes[other[same]] = nodes[one[same]]
        arc, corners = joints(coverage, lines, offset, self.tolerance)
        arc, corners = arc[regular[arc]], corners[regular[arc]]
        arc_of, _ = expanded(np.diff(coverage.starts))
        level = self.level[arc_of]
        taken = np.where(level == SIMPLE, self.sketch.corner, level == RAW)
        close = self.level == CLOSE
        if close.any():
            taken |= true_corners(coverage, CLOSER * self.tolerance, close)
        arcs = np.flatnonzero(regular)
        begin, end = nodes[coverage.ends[:, 0]], nodes[coverage.ends[:, 1]]
        # At a node of a roof that is drawn elsewhere a wall leans: two steps, one from each side, could overlap.
        shared = np.zeros(len(nodes), bool)
        shared[coverage.ends[self.plain].ravel()] = True
        first, last = (arcs[~shared[coverage.ends[arcs, side]]] for side in (0, 1))
        stepped, step = steps(lines, offset, begin, first, False, STEP * self.tolerance)
        stepped_last, step_last = steps(lines, offset, end, last, True, STEP * self.tolerance)
        order = np.concatenate([arcs, stepped, arc, stepped_last, arcs, arc_of[taken]])
        corners = np.concatenate([begin[arcs], step, corners, step_last, end[arcs], coverage.points[taken]])
        sort = np.argsort(order, kind="stable")
        corners, order = np.rint(corners[sort] * GRAIN) / GRAIN, order[sort]
        kept = ~repeated(corners, order)
        return corners[kept], offsets(np.bincount(order[kept], minlength=len(regular)))

    def _offsets(self, still: Flags) -> Floats:
        """The walls' offsets; a line goes through the nodes on it that must not move, where these are near enough."""
        coverage, lines, walls = self.coverage, self.lines, self.lines.walls
        node, wall = met(coverage, lines.begins)
        held = still[node] & (walls.kind[wall] != FREE) & (self.level[walls.arc[wall]] < SIMPLE)
        node, wall = node[held], wall[held]
        place = (lines.normal[wall] * coverage.nodes[node]).sum(1)
        near = np.abs(place - lines.offset[wall]) <= self.tolerance / 2
        count = int(lines.line.max(initial=-1)) + 1
        times = np.bincount(lines.line[wall[near]], minlength=count)
        mean = summed(lines.line[wall[near]], place[near], count) / np.maximum(times, 1)
        return np.where(times[lines.line] > 0, mean[lines.line], lines.offset)

    def polygons(self) -> Shapes:
        """The polygons; a ring that would have fewer than three corners takes those of the level above."""
        coverage = self.coverage
        ring, _ = expanded(np.diff(coverage.rings))
        arc = np.where(coverage.halves < 0, ~coverage.halves, coverage.halves)
        own = ~self.sketch.elsewhere[np.searchsorted(coverage.ids, coverage.owners)]
        while True:
            points, starts = self.points()
            corners = np.bincount(ring, (np.diff(starts) - 1)[arc], len(coverage.owners))
            thin = np.zeros(len(self.level), bool)
            thin[arc[(corners[ring] < 3) & own[ring]]] = True
            if not thin.any():
                return coverage.polygons(points, starts)
            self.level[thin] = np.clip(self.level[thin] + 1, SIMPLE, RAW)


def repeated(corners: Floats, arc: Ints) -> Flags:
    """Which corners, (N, 2) in the order of their arcs, (N,), lie on the one before, or on their arc's last; its ends
    stay.
    """
    same = arc[1:] == arc[:-1]
    near = same & (np.abs(np.diff(corners, axis=0)).max(1, initial=0) <= TINY)
    inner = np.concatenate([[False], same]) & np.concatenate([same, [False]])
    last = np.concatenate([~same, [True]])
    before, after = np.concatenate([[False], near]), np.concatenate([near & last[1:], [False]])
    found: Flags = inner & (before | after)
    return found
