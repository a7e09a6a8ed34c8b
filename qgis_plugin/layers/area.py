"""The part of an extent that an area in another CRS covers; also where a bounding box would go astray.

Around a pole, and over the longitude of 180 degrees, the corners of an area say nothing of what lies between. Points
all over both are asked instead, and the box around those that lie in both is refined from the outside.
"""

from __future__ import annotations

from typing import List, Optional, Tuple

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsPointXY,
    QgsRectangle,
    QgsReferencedRectangle,
)

from .ground import moved_point, transform_between

POINTS = 32  # intervals along a side
HALVINGS = 10  # a side of the box is exact to a cell over two to the power of this


def common_part(
    extent: QgsRectangle, crs: QgsCoordinateReferenceSystem, area: QgsReferencedRectangle, context
) -> Optional[QgsRectangle]:
    """The box, in the extent's CRS, around what lies in the extent and in the area; None if that is nothing.

    Args:
        extent: where a layer lies.
        crs: the extent's.
        area: what a map shows.
        context: how to get from one CRS to another.
    """
    inside = _Inside(crs, area, context)
    if inside.same_crs:
        part = extent.intersect(area)
        return None if part.isEmpty() else part
    hits = [point for point in _grid(extent) if inside(point)]
    hits += [point for point in map(inside.back, _grid(area)) if point is not None and extent.contains(point)]
    if not hits:
        return None
    xs, ys = [point.x() for point in hits], [point.y() for point in hits]
    part = QgsRectangle(min(xs), min(ys), max(xs), max(ys))
    part = _grown(part, extent, inside)
    return None if part.isEmpty() or not part.isFinite() else part


class _Inside:
    """Whether points of the extent lie in the area."""

    def __init__(self, crs: QgsCoordinateReferenceSystem, area: QgsReferencedRectangle, context):
        self._area = area
        self._there = transform_between(crs, area.crs(), context)
        self._back = transform_between(area.crs(), crs, context)
        self.same_crs = self._there.isShortCircuited()
        # a map in degrees may show 185 where a transform says -175
        self._turns = (0.0, 360.0, -360.0) if area.crs().isGeographic() else (0.0,)

    def __call__(self, point: QgsPointXY) -> bool:
        there = moved_point(self._there, point)
        if there is None:
            return False
        return any(self._area.contains(QgsPointXY(there.x() + turn, there.y())) for turn in self._turns)

    def back(self, point: QgsPointXY) -> Optional[QgsPointXY]:
        """A point of the area in the extent's CRS."""
        return moved_point(self._back, point)


def _grid(box: QgsRectangle) -> List[QgsPointXY]:
    xs, ys = _steps(box.xMinimum(), box.xMaximum()), _steps(box.yMinimum(), box.yMaximum())
    return [QgsPointXY(x, y) for y in ys for x in xs]


def _steps(low: float, high: float) -> List[float]:
    return [low + (high - low) * k / POINTS for k in range(POINTS)] + [high]


def _grown(part: QgsRectangle, extent: QgsRectangle, inside: _Inside) -> QgsRectangle:
    """Push each side outward as far as points of the area lie on it, within a cell of the extent's grid."""
    across, along = extent.width() / POINTS, extent.height() / POINTS
    around = QgsRectangle(
        max(part.xMinimum() - across, extent.xMinimum()),
        max(part.yMinimum() - along, extent.yMinimum()),
        min(part.xMaximum() + across, extent.xMaximum()),
        min(part.yMaximum() + along, extent.yMaximum()),
    )
    xs = _steps(around.xMinimum(), around.xMaximum())
    ys = _steps(around.yMinimum(), around.yMaximum())

    def on_column(x: float) -> bool:
        return any(inside(QgsPointXY(x, y)) for y in ys)

    def on_row(y: float) -> bool:
        return any(inside(QgsPointXY(x, y)) for x in xs)

    return QgsRectangle(
        _pushed(part.xMinimum(), around.xMinimum(), on_column),
        _pushed(part.yMinimum(), around.yMinimum(), on_row),
        _pushed(part.xMaximum(), around.xMaximum(), on_column),
        _pushed(part.yMaximum(), around.yMaximum(), on_row),
    )


def _pushed(known: float, most: float, there) -> float:
    if known == most or there(most):
        return most
    limits: Tuple[float, float] = (known, most)
    for _ in range(HALVINGS):
        middle = sum(limits) / 2
        limits = (middle, limits[1]) if there(middle) else (limits[0], middle)
    return limits[0]
