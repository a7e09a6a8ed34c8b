"""Walls of roofs: the edges of an outline that follow its group's axis, without the dents and bumps of a network.

An edge that follows the axis is a wall; those too short to be one are left out, walls that go on are one wall, and so
are two with a jog between them that is not worth its area. What is long and follows no axis stays as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from rotacube.vector.axes import QUARTER, off_axis
from rotacube.vector.edges import Edges, principal

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
SLANT = math.radians(25.0)
"""From here on an edge is a diagonal, however short it is."""
WEAK, JOG, SWING, BUMP = 2.0, 1.5, 1.25, 3.0
"""In tolerances: edges shorter than WEAK are no walls; a jog up to JOG is none; an axis moves the end of a wall by at
most SWING; what has an area below that of a square of BUMP is left out."""
SHARE = 0.04
"""Of a roof's area: nothing larger is left out."""
FREE = 2
"""A wall's kind: 0 along its axis, 1 across it, FREE neither."""


@dataclass(frozen=True)
class Walls:
    """Walls in the order of their arcs, (W,) or (W, 2) each.

    Attributes:
        arc: that each lies on.
        first: the point of the coverage where its outline begins.
        last: and ends.
        kind: 0 along the axis, 1 across it, 2 neither.
        group: of roofs whose axis it follows.
        length: pixels of its edges.
        direction: radians.
        weight: pixels of outline that count.
        mean: x and y of the outline's middle.
        spread: (W, 3) sums of squares and products about the mean: xx, xy, yy.
    """

    arc: Ints
    first: Ints
    last: Ints
    kind: Ints
    group: Ints
    length: Floats
    direction: Floats
    weight: Floats
    mean: Floats
    spread: Floats

    def normals(self, axis: Floats) -> Floats:
        """Unit vectors across the walls, (W, 2), when the groups have these axes, (G,) radians."""
        along = np.where(self.kind == FREE, self.direction, axis[self.group] + QUARTER * self.kind)
        return np.stack([-np.sin(along), np.cos(along)], 1)

    def taken(self, at: Ints | Flags) -> Walls:
        """Some of them."""
        return Walls(*(getattr(self, field.name)[at] for field in fields(self)))

    def and_those(self, others: Walls) -> Walls:
        """These and others, in the order of their points."""
        both = Walls(*(np.concatenate([getattr(w, field.name) for w in (self, others)]) for field in fields(self)))
        return both.taken(np.argsort(both.first, kind="stable"))


def walls_of(edges: Edges, group: Ints, axis: Floats, area: Floats, tolerance: float) -> Walls:
    """Find the walls among edges.

    Args:
        edges: of outlines.
        group: (S,) the group whose axis each edge follows.
        axis: (G,) radians.
        area: (S,) pixels of the smallest roof beside each edge.
        tolerance: pixels.
    """
    swing = np.abs(off_axis(edges.direction, axis[group]))
    kind = np.rint((edges.direction - axis[group]) / QUARTER).astype(np.int64) % 2
    kind[(swing > SLANT) | (edges.length / 2 * np.sin(swing) > SWING * tolerance)] = FREE
    walls = Walls(
        edges.arc, edges.first, edges.last, kind, group,
        edges.length, edges.direction, edges.weight, edges.mean, edges.spread,
    )  # fmt: skip
    strong = edges.length >= WEAK * tolerance
    walls, limit = walls.taken(strong), np.minimum((BUMP * tolerance) ** 2, SHARE * area)[strong]
    forced = np.zeros(max(len(walls.arc) - 1, 0), bool)
    while True:
        walls, limit = _joined(walls, limit, axis, forced, JOG * tolerance)
        left_out = _worthless(walls, limit, axis, JOG * tolerance)
        if not left_out.any():
            return walls
        kept = np.flatnonzero(~left_out)
        same = (np.diff(walls.arc[kept]) == 0) & (np.diff(walls.kind[kept]) == 0) & (np.diff(walls.group[kept]) == 0)
        forced = same & (np.diff(kept) > 1) & (walls.kind[kept[1:]] != FREE)
        walls, limit = walls.taken(kept), limit[kept]


def _joined(walls: Walls, limit: Floats, axis: Floats, forced: Flags, jog: float) -> tuple[Walls, Floats]:
    """Walls that go on in the same arc, or must, as one."""
    if not len(walls.arc):
        return walls, limit
    offset = (walls.normals(axis) * walls.mean).sum(1)
    same = (np.diff(walls.arc) == 0) & (np.diff(walls.kind) == 0) & (np.diff(walls.group) == 0)
    goes_on = forced | (same & (walls.kind[1:] != FREE) & (np.abs(np.diff(offset)) <= jog))
    if not goes_on.any():
        return walls, limit
    number = np.concatenate([[0], np.cumsum(~goes_on)])
    heads = np.flatnonzero(np.concatenate([[True], ~goes_on]))
    tails = np.append(heads[1:], len(walls.arc)) - 1
    # What is short says little of where the whole lies: it may be what is left of a bump.
    trust = walls.length / np.maximum.reduceat(walls.length, heads)[number]
    weight, mean, spread = pooled(number, len(heads), walls.weight * trust, walls.mean, walls.spread * trust[:, None])
    direction = np.where(heads == tails, walls.direction[heads], principal(spread))
    length = np.add.reduceat(walls.length, heads)
    return (
        Walls(
            walls.arc[heads], walls.first[heads], walls.last[tails], walls.kind[heads], walls.group[heads],
            length, direction, weight, mean, spread,
        ),
        limit[heads],
    )  # fmt: skip


def _worthless(walls: Walls, limit: Floats, axis: Floats, jog: float) -> Flags:
    """Walls whose leaving out changes less area than the limit, and less than that of the walls beside them."""
    count = len(walls.arc)
    if count < 3:
        return np.zeros(count, bool)
    offset = (walls.normals(axis) * walls.mean).sum(1)
    cost = np.full(count, np.inf)
    inner = np.flatnonzero(walls.arc[:-2] == walls.arc[2:]) + 1
    before, after = inner - 1, inner + 1
    level = (walls.kind[before] == walls.kind[after]) & (walls.group[before] == walls.group[after])
    level &= (walls.kind[before] != FREE) & (walls.kind[inner] != walls.kind[before])
    p, n = walls.length[before], walls.length[after]
    apart = np.abs(offset[before] - offset[after])
    bump = np.where(apart <= jog, 0.0, apart * np.minimum(p, n))
    diagonal = walls.kind[inner] == FREE
    cost[inner] = np.where(
        level, bump, np.where(diagonal, walls.length[inner] ** 2 / 4, np.inf)
    )  # fmt: skip
    ends = np.diff(walls.arc) == 0
    heads, tails = np.concatenate([[False], ends]), np.concatenate([ends, [False]])
    for end, other in ((~heads & tails, 1), (heads & ~tails, -1)):  # a node may have a step of its own
        at = np.flatnonzero(end)
        longer = (walls.kind[at + other] != FREE) & (walls.length[at + other] > walls.length[at])
        share = np.where(walls.kind[at] == FREE, 4, 2)
        cost[at] = np.where(longer, walls.length[at] ** 2 / share, np.inf)
    beside = np.concatenate([[np.inf], cost, [np.inf]])
    found: Flags = (cost < limit) & (cost < beside[:-2]) & (cost <= beside[2:])
    return found


def pooled(rows: Ints, count: int, weight: Floats, mean: Floats, spread: Floats) -> tuple[Floats, Floats, Floats]:
    """Moments of several edges taken together."""
    total = np.maximum(np.bincount(rows, weight, count), 1e-12)
    middle = np.stack([np.bincount(rows, weight * part, count) for part in mean.T], 1) / total[:, None]
    x, y = (mean - middle[rows]).T
    own = spread + weight[:, None] * np.stack([x * x, x * y, y * y], 1)
    return total, middle, np.stack([np.bincount(rows, part, count) for part in own.T], 1)
