"""What is known of the outlines of roofs before they are drawn: true corners, axes and the walls of all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray

from rotacube.vector.axes import axes_of, off_axis
from rotacube.vector.coverage import Coverage
from rotacube.vector.edges import Edges, edges_of, true_corners
from rotacube.vector.placing import Lines, placed, strayed
from rotacube.vector.ragged import expanded
from rotacube.vector.walls import Walls, walls_of

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
CORNERS, STRAIGHT = 0.75, 1.5
"""In tolerances: by how much the simplified outline may leave the pixels', and the pixels one straight edge."""
NEAR, ABOUT = 3.0, 1.5
"""In tolerances: walls that are drawn in two places are not straightened where they come as near as that; and how many
times as far from a common node that is looked at."""


@dataclass(frozen=True)
class Sketch:
    """The outlines of roofs, each with the walls that are found in it; arcs that hang together by nodes or roofs say
    nothing of others.

    Attributes:
        coverage: the arcs.
        elsewhere: (I,) roofs that are drawn elsewhere.
        tolerance: pixels.
        roofs: (A, 2) the roofs beside each arc by their place, -1 the background.
        plain: (A,) arcs that are drawn without walls, so that they come out the same there.
        corner: (P,) true corners.
        axis: (G,) radians, about, of each group of roofs that touch and agree.
        group: (I,) of each roof.
        lines: the walls, placed.
        strayed: (A,) the area between outline and walls' lines.
        length: (A,) pixels of outline that have walls.
    """

    coverage: Coverage
    elsewhere: Flags
    tolerance: float
    roofs: Ints
    plain: Flags
    corner: Flags
    axis: Floats
    group: Ints
    lines: Lines
    strayed: Floats
    length: Floats

    @classmethod
    def of(cls, coverage: Coverage, elsewhere: Flags, tolerance: float, with_walls: bool = True) -> Sketch:
        """Find walls, of none of the arcs without `with_walls`."""
        roofs = _places(coverage)
        plain = _beside(coverage, elsewhere, roofs, NEAR * tolerance)
        every = np.full(len(roofs), with_walls)
        edges = edges_of(coverage, true_corners(coverage, STRAIGHT * tolerance, every))
        axis, group = axes_of(edges.direction, edges.length, roofs[edges.arc], len(coverage.ids))
        axes = np.zeros(int(group.max(initial=-1)) + 1)
        axes[group] = axis
        walls = _walls(edges, coverage, roofs, axes, group, tolerance)
        lines = placed(coverage, walls, axes, tolerance)
        corner = true_corners(coverage, CORNERS * tolerance)
        return cls(
            coverage, elsewhere, tolerance, roofs, plain, corner, axes, group, lines, *strayed(coverage, lines, every)
        )

    def walls(self, arcs: Flags, tolerance: float) -> Walls:
        """The walls of some arcs at another tolerance."""
        edges = edges_of(self.coverage, true_corners(self.coverage, STRAIGHT * tolerance, arcs))
        return _walls(edges, self.coverage, self.roofs, self.axis, self.group, tolerance)

    def part(self, wanted: Flags) -> tuple[Sketch, Flags]:
        """Some roofs only, true in (I,), all of those that hang together or none; and which arcs these are, (A,)."""
        coverage, arcs = self.coverage.part(wanted)
        points = np.repeat(arcs, np.diff(self.coverage.starts))
        arc, point = np.cumsum(arcs) - 1, np.cumsum(points) - 1
        at = arcs[self.lines.walls.arc]
        walls = self.lines.walls.taken(at)
        walls = replace(walls, arc=arc[walls.arc], first=point[walls.first], last=point[walls.last])
        found = replace(
            self,
            coverage=coverage,
            elsewhere=self.elsewhere[wanted],
            roofs=_places(coverage),
            plain=self.plain[arcs],
            corner=self.corner[points],
            group=self.group[wanted],
            lines=self.lines.part(at, walls, len(coverage.sides)),
            strayed=self.strayed[arcs],
            length=self.length[arcs],
        )
        return found, arcs


def arcs_of(roofs: Ints, wanted: Flags) -> Flags:
    """The arcs beside these roofs, (I,), when the roofs beside each arc are (A, 2)."""
    beside: Flags = np.append(wanted, False)[roofs]
    found = beside[:, 0] | beside[:, 1]  # the background, -1, is the last
    return found


def _places(coverage: Coverage) -> Ints:
    return np.where(coverage.sides == 0, -1, np.searchsorted(coverage.ids, coverage.sides))


def _walls(edges: Edges, coverage: Coverage, roofs: Ints, axis: Floats, group: Ints, tolerance: float) -> Walls:
    """Walls, each along the axis of that roof beside it which fits better."""
    beside = roofs[edges.arc]
    swing = np.abs(off_axis(edges.direction[:, None], axis[group[beside]]))
    swing[beside < 0] = np.inf
    nearer = beside[np.arange(len(beside)), swing.argmin(1)]
    area = np.where(beside < 0, np.inf, coverage.areas[beside]).min(1, initial=np.inf)
    return walls_of(edges, group[nearer], axis, area, tolerance)


def _beside(coverage: Coverage, elsewhere: Flags, roofs: Ints, near: float) -> Flags:
    """Arcs of roofs that are drawn elsewhere, and others so near to one that both might take the same ground."""
    arcs = arcs_of(roofs, elsewhere)
    if not arcs.any():
        return arcs
    row, _ = expanded(np.diff(coverage.starts))
    lines = shapely.linestrings(coverage.points.astype(float), indices=row)
    theirs, ours = lines[~arcs_of(roofs, ~elsewhere)], np.flatnonzero(~arcs)
    met_there = np.zeros(len(coverage.nodes), bool)
    met_there[coverage.ends[arcs].ravel()] = True
    free = lines[ours]
    for end in coverage.ends[ours].T:  # about a node that both have, lines are near in any case
        at = np.flatnonzero(met_there[end])
        about = shapely.buffer(shapely.points(coverage.nodes[end[at]].astype(float)), ABOUT * near)
        free[at] = shapely.difference(free[at], about)
    close = shapely.STRtree(theirs).query(free, predicate="dwithin", distance=near)[0]
    arcs[ours[close]] = True
    return arcs
