"""From one CRS to another, and to metres: how large a layer's pixels are on the ground."""

from __future__ import annotations

import math
from typing import Optional, Tuple

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsCsException,
    QgsDistanceArea,
    QgsPointXY,
    QgsRasterLayer,
)

ELLIPSOID = "EPSG:7030"  # WGS 84; others differ by less than a thousandth


def transform_between(
    origin: QgsCoordinateReferenceSystem,
    target: QgsCoordinateReferenceSystem,
    context: QgsCoordinateTransformContext,
) -> QgsCoordinateTransform:
    """From one CRS to another, also where only an approximate way is known; for the thread that asks."""
    made = QgsCoordinateTransform(origin, target, context)
    made.setBallparkTransformsAreAppropriate(True)
    return made


def moved_point(transform: QgsCoordinateTransform, point: QgsPointXY) -> Optional[QgsPointXY]:
    """A point elsewhere; None where it has no place there."""
    try:
        moved = transform.transform(point)
    except QgsCsException:
        return None
    return moved if math.isfinite(moved.x()) and math.isfinite(moved.y()) else None


def measure(crs: QgsCoordinateReferenceSystem, context: QgsCoordinateTransformContext) -> QgsDistanceArea:
    """What measures in metres on the ellipsoid what is given in a CRS."""
    made = QgsDistanceArea()
    made.setSourceCrs(crs, context)
    made.setEllipsoid(ELLIPSOID)
    return made


def pixel_size(layer: QgsRasterLayer, context: QgsCoordinateTransformContext) -> Optional[Tuple[float, float]]:
    """Metres along a row and along a column at the layer's centre, on the ellipsoid; None where there is no telling."""
    if not layer.crs().isValid() or layer.width() < 1 or layer.height() < 1:
        return None
    tape = measure(layer.crs(), context)
    extent, centre = layer.extent(), layer.extent().center()
    across, along = extent.width() / layer.width(), extent.height() / layer.height()
    try:
        size = (
            tape.measureLine(centre, QgsPointXY(centre.x() + across, centre.y())),
            tape.measureLine(centre, QgsPointXY(centre.x(), centre.y() + along)),
        )
    except QgsCsException:
        return None
    return size if all(math.isfinite(value) and value > 0 for value in size) else None
