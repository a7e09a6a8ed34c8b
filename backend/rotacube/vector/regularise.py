"""Roofs of a label raster as polygons with straight walls and right corners, that still share their walls.

Known regularisers take each polygon alone and so tear shared walls apart. Here all is done on the arcs between nodes
(`coverage`): walls follow the axis of their group (`axes`), are placed together (`walls`), and every roof is looked at
again: where the result is no valid coverage, or leaves what was found, the simplified outline stays.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from rotacube.vector.coverage import Coverage, outlines
from rotacube.vector.outline import COARSE, FINE, RAW, SIMPLE, Outline
from rotacube.vector.sketch import CORNERS, Sketch
from rotacube.vector.walls import BUMP, SHARE

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Shapes = NDArray[Any]
TOLERANCE = 2.0
"""Pixels by which a network's outline leaves the true wall."""
ALIKE = 0.9
"""Intersection over union with what was found, from which on a regularised outline is taken."""
SMALL = 400
"""Pixels: smaller roofs are always measured."""
SURE = 0.6
"""Of the area by which the two may differ: roofs that leave their outline by less are not measured."""


@dataclass(frozen=True)
class Regularised:
    """Outlines of roofs.

    Attributes:
        ids: (N,) ascending.
        shapes: (N,) polygons in pixels (x is the column, y the row); several polygons where the roof is in pieces.
        axis: (N,) degrees, 0 to 90, from the x axis to the y axis: the direction of its walls; 0 where none were asked
            for.
        kept: (N,) True where the outline as found stayed, simplified but not regularised.
    """

    ids: Ints
    shapes: Shapes
    axis: Floats
    kept: Flags


def regularise(
    ids: NDArray[np.int32], *, fixed: Collection[int] | Ints = (), tolerance: float = TOLERANCE
) -> Regularised:
    """Outline the roofs of a label raster with straight walls and right corners: always a valid coverage.

    Args:
        ids: (H, W), a number a roof, 0 elsewhere.
        fixed: roofs that are outlined elsewhere. Arcs that border one are only simplified, each by itself, so that
            they come out the same from both sides; these roofs are not in the result.
        tolerance: pixels.
    """
    return _drawn(ids, fixed, tolerance, COARSE)


def simplify(ids: NDArray[np.int32], tolerance: float, *, fixed: Collection[int] | Ints = ()) -> Regularised:
    """Outline the regions of a label raster with fewer corners: always a valid coverage, neighbours share their lines.

    Args:
        ids: (H, W), a number a region, 0 elsewhere.
        tolerance: pixels by which a line may leave the outline of the pixels.
        fixed: regions that are outlined elsewhere: lines that border one come out the same from both sides.
    """
    return _drawn(ids, fixed, tolerance / CORNERS, SIMPLE)


def _drawn(ids: NDArray[np.int32], fixed: Collection[int] | Ints, tolerance: float, start: int) -> Regularised:
    """All outlines at this level, or at the next one that makes them a valid coverage and like what was found."""
    coverage = outlines(ids)
    if start < SIMPLE:
        coverage = coverage.without_holes((BUMP * tolerance) ** 2, SHARE)
    elsewhere = np.isin(coverage.ids, np.asarray(list(fixed), np.int64))
    count = len(coverage.ids)
    cluster = np.zeros(count, np.int64)
    cluster[np.searchsorted(coverage.ids, coverage.owners)] = coverage.clusters()[coverage.arcs[coverage.rings[:-1]]]
    sketch = Sketch.of(coverage, elsewhere, tolerance, start < SIMPLE)
    shapes, axis, kept = np.empty(count, object), np.zeros(count), np.zeros(count, bool)
    level = np.full(len(coverage.sides), start)
    pending, unseen = np.ones((2, count), bool)  # roofs that are drawn again, and those not yet compared
    while pending.any():
        part, arcs = sketch.part(pending)
        outline = Outline(part, level[arcs])
        before, shapes[pending] = shapes[pending], outline.polygons()
        axis[pending], kept[pending] = outline.axis, outline.all_at_least(SIMPLE)
        torn: Flags = _overlapping(shapes, pending) | ~shapely.is_valid(shapes) | (shapely.area(shapes) <= 0)
        crossing = outline.crossing(torn[pending])
        torn &= ~elsewhere
        changed = unseen[pending] | ~shapely.equals_exact(shapes[pending], before)
        asked = changed & ~torn[pending] & ~elsewhere[pending]
        unlike = _unlike(outline, shapes[pending], asked)
        unseen[pending] = (changed & ~asked) | unlike
        _raise(outline, crossing, unlike, torn[pending])
        level[arcs] = outline.level
        beside = _arcs_of(coverage, torn & ~pending)
        level[beside] = np.minimum(level[beside] + 1, RAW)
        torn[pending] |= unlike
        pending = np.isin(cluster, cluster[torn])
    own = ~elsewhere
    return Regularised(coverage.ids[own], shapely.remove_repeated_points(shapes[own]), axis[own], kept[own])


def _raise(outline: Outline, crossing: Flags, unlike: Flags, torn: Flags) -> None:
    """Bring closer to the pixels what is at fault: arcs that cross, else roofs; lines that are drawn elsewhere, too,
    only where nothing else is left, and all there is at last.
    """
    before = outline.level.copy()
    outline.raise_arcs(crossing)
    outline.raise_roofs(unlike | (torn & ~outline.touched(crossing)))
    if torn.any() and (outline.level == before).all():
        outline.raise_arcs(crossing, plain=True)
        outline.raise_roofs(torn)
    if torn.any() and (outline.level == before).all():
        outline.level = np.minimum(outline.level + 1, RAW)


def _arcs_of(coverage: Coverage, region: Flags) -> Flags:
    """The arcs of regions, (A,)."""
    beside = np.isin(coverage.sides, coverage.ids[region])
    found: Flags = beside[:, 0] | beside[:, 1]
    return found


def _unlike(outline: Outline, shapes: Shapes, asked: Flags) -> Flags:
    """Which of the roofs asked for do not overlap with what was found as they should."""
    coverage = outline.coverage
    unlike = np.zeros(len(shapes), bool)
    differs = outline.strayed_area() + np.abs(shapely.area(shapes) - coverage.areas)
    doubtful = (differs > SURE * (1 - ALIKE) * coverage.areas) | ~outline.all_at_most(FINE)
    doubtful |= outline.touched(outline.link) | (coverage.areas < SMALL)
    wanted = asked & doubtful & ~outline.all_at_least(SIMPLE)
    at = np.flatnonzero(wanted)
    found = coverage.part(wanted)[0].polygons()
    closed = shapely.area(found) - coverage.areas[at]  # small holes, which count as differing
    both = shapely.area(shapely.intersection(shapes[at], found)) - closed
    unlike[at] = both < ALIKE * (shapely.area(shapes[at]) + coverage.areas[at] - both)
    return unlike


def _overlapping(shapes: Shapes, changed: Flags) -> Flags:
    """Which valid roofs overlap others, or share walls that differ, among those that changed and those about them."""
    found = np.zeros(len(shapes), bool)
    at = np.arange(len(shapes))
    if not changed.all():
        at = np.unique(shapely.STRtree(shapes).query(shapes[changed])[1])
    at = at[shapely.is_valid(shapes[at])]
    if len(at):
        found[at] = ~shapely.is_empty(shapely.coverage_invalid_edges(shapes[at]))
    return found
