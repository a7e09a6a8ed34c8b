"""Edges of outlines: which corners of an arc are true ones, and the straight pieces between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from rotacube.vector.coverage import Coverage
from rotacube.vector.ragged import expanded, offsets

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
TRIM = 2.0
"""Pixels at the ends of an edge, where a network rounds the corner, that say little of where its line lies."""
FAINT = 1e-3
LEAST = 8.0
"""The tolerance is no larger than the length of an arc over this, so that small roofs stay."""
SHORT = 6.0
"""Pixels: the direction of a shorter edge is that from its one end to the other."""


def true_corners(coverage: Coverage, tolerance: float, arcs: Flags | None = None) -> Flags:
    """Points that stay when each arc is simplified (Douglas & Peucker 1973), (P,); it depends on the arc alone.

    Args:
        coverage: of a label raster.
        tolerance: pixels by which a line may leave a point.
        arcs: (A,) those that are asked for; of others no point stays. All without it.
    """
    starts = coverage.starts
    arcs = np.ones(len(starts) - 1, bool) if arcs is None else arcs
    kept = np.zeros(len(coverage.points), bool)
    if arcs.any():
        sizes = np.diff(starts)[arcs]
        row, step = expanded(sizes)
        at = starts[:-1][arcs][row] + step
        points, begins = coverage.points[at], offsets(sizes)
        steps = np.abs(np.diff(points, axis=0, append=points[-1:])).sum(1)
        steps[begins[1:] - 1] = 0
        limit = np.minimum(tolerance, np.add.reduceat(steps, begins[:-1]) / LEAST)
        numbered = np.column_stack([points - points[begins[:-1]][row], at]).astype(float)
        lines = shapely.simplify(shapely.linestrings(numbered, indices=row), limit, preserve_topology=False)
        kept[shapely.get_coordinates(lines, include_z=True)[:, 2].astype(np.int64)] = True
    return kept


@dataclass(frozen=True)
class Edges:
    """Straight edges of arcs in their order, with the moments of the outline along each, (S,) or (S, 2) each.

    Attributes:
        arc: that each lies on.
        first: the point of the coverage where it begins.
        last: and ends.
        length: pixels from end to end.
        direction: radians.
        weight: pixels of outline that count.
        mean: x and y of the outline's middle.
        spread: (S, 3) the weighted sums of squares and products about the mean: xx, xy, yy.
    """

    arc: Ints
    first: Ints
    last: Ints
    length: Floats
    direction: Floats
    weight: Floats
    mean: Floats
    spread: Floats


def edges_of(coverage: Coverage, corner: Flags) -> Edges:
    """The edges between corners, (P,) true at these, both ends of the arc among them or none of it."""
    points, starts = coverage.points, coverage.starts
    at = np.flatnonzero(corner)
    arc = np.zeros(len(points), np.int64)
    arc[starts[1:-1]] = 1
    arc = np.cumsum(arc)
    along = arc[at[1:]] == arc[at[:-1]]
    first, last = at[:-1][along], at[1:][along]
    own = arc[first]
    chord = (points[last] - points[first]).astype(float)
    length = np.hypot(*chord.T)
    unit = chord / np.maximum(length, 1e-9)[:, None]
    # Runs are straight lines of pixel edges; those of an edge follow one another, and all edges are made of them.
    sizes = last - first
    edge, step = expanded(sizes)
    run = first[edge] + step
    one, other = points[run], points[run + 1]
    extent = np.abs(other - one).astype(float)
    middle = (one + other) / 2 - points[first][edge]
    place = (middle * unit[edge]).sum(1)
    trim = np.minimum(TRIM, length / 4)[edge]
    weight = extent.sum(1) * np.where((place > trim) & (place < length[edge] - trim), 1.0, FAINT)
    x, y = middle.T
    own_spread = extent**2 / 12
    sums = np.stack(
        [np.ones_like(x), x, y, x * x + own_spread[:, 0], x * y, y * y + own_spread[:, 1]], 1
    ) * weight[:, None]  # fmt: skip
    total = np.add.reduceat(sums, offsets(sizes)[:-1]) if len(sizes) else np.zeros((0, 6))
    heavy = total[:, 0]
    mean = total[:, 1:3] / heavy[:, None]
    products = np.stack([mean[:, 0] ** 2, mean[:, 0] * mean[:, 1], mean[:, 1] ** 2], 1)
    spread = total[:, 3:] - heavy[:, None] * products
    direction = np.where(length < SHORT, np.arctan2(chord[:, 1], chord[:, 0]), principal(spread))
    return Edges(own, first, last, length, direction, heavy, mean + points[first], spread)


def principal(spread: Floats) -> Floats:
    """The direction, radians, along which points are spread most, from sums xx, xy, yy."""
    found: Floats = np.arctan2(2 * spread[:, 1], spread[:, 0] - spread[:, 2]) / 2
    return found
