"""What is done to outlines: joined over a narrow gap, cut along a line."""

from __future__ import annotations

from typing import List, Optional

from qgis.core import QgsGeometry, QgsWkbTypes

POLYGON = QgsWkbTypes.GeometryType.PolygonGeometry


def polygons(shape: QgsGeometry) -> QgsGeometry:
    """The polygons of a shape, as one multipolygon; slivers without area are left out."""
    parts = [part for part in shape.asGeometryCollection() if part.type() == POLYGON and part.area() > 0]
    made = QgsGeometry.collectGeometry(parts) if parts else QgsGeometry()
    if parts:
        made.convertToMultiType()
    return made


def united(first: QgsGeometry, second: QgsGeometry, slack: float) -> Optional[QgsGeometry]:
    """Two shapes as one; None if they are further apart than `slack`. A gap as narrow as that is closed."""
    if first.distance(second) > slack:
        return None
    whole = polygons(first.combine(second))
    if len(whole.asGeometryCollection()) > max(len(each.asGeometryCollection()) for each in (first, second)):
        join, cap = QgsGeometry.JoinStyle.JoinStyleMiter, QgsGeometry.EndCapStyle.CapFlat
        whole = whole.buffer(slack, 4, cap, join, 2.0).buffer(-slack, 4, cap, join, 2.0)
    return polygons(whole)


def cut(shape: QgsGeometry, line: QgsGeometry) -> List[QgsGeometry]:
    """The parts that a line cuts a shape into; one where it does not cross it."""
    curve = line.constGet()  # named below: by place alone, QGIS 3.22 takes it for a list of points
    made: List[QgsGeometry] = []
    crossed = False
    for part in shape.asGeometryCollection():
        rest = QgsGeometry(part)
        _, new, _ = rest.splitGeometry(curve=curve, preserveCircular=True, topological=False)
        crossed = crossed or bool(new)
        made += [polygons(each) for each in (rest, *new)]
    return made if crossed else [shape]
