"""Rubber bands in a colour of ours."""

from __future__ import annotations

from qgis.core import QgsWkbTypes
from qgis.gui import QgsMapCanvas, QgsRubberBand
from qgis.PyQt.QtGui import QColor

POLYGON = QgsWkbTypes.GeometryType.PolygonGeometry
LINE = QgsWkbTypes.GeometryType.LineGeometry


def band(canvas: QgsMapCanvas, kind, color: QColor, fill: float = 0.25, width: int = 2) -> QgsRubberBand:
    """A rubber band in a colour."""
    made = QgsRubberBand(canvas, kind)
    inner = QColor(color)
    inner.setAlphaF(fill)
    made.setStrokeColor(color)
    made.setFillColor(inner)
    made.setSecondaryStrokeColor(QColor(255, 255, 255, 160))
    made.setWidth(width)
    return made
