"""The differences between Qt5 and Qt6, and between QGIS 3 and 4: all of them, in one place."""

from __future__ import annotations

from qgis.core import Qgis, QgsCoordinateReferenceSystem, QgsMapLayerProxyModel, QgsRaster, QgsTask
from qgis.PyQt import sip

try:  # Qt6 moved QAction
    from qgis.PyQt.QtGui import QAction
except ImportError:
    from qgis.PyQt.QtWidgets import QAction

RASTER_LAYERS = getattr(Qgis, "LayerFilter", QgsMapLayerProxyModel.Filter).RasterLayer
POLYGON_LAYERS = getattr(Qgis, "LayerFilter", QgsMapLayerProxyModel.Filter).PolygonLayer
WKT_PREFERRED = getattr(Qgis, "CrsWktVariant", QgsCoordinateReferenceSystem.WktVariant).WKT_PREFERRED
ALPHA_BAND = getattr(Qgis, "RasterColorInterpretation", QgsRaster.ColorInterpretation).AlphaBand
TASK_FLAGS = QgsTask.Flag.CanCancel
if hasattr(QgsTask.Flag, "Silent"):  # QGIS 3.26 and newer: the plugin itself says how a run ends
    TASK_FLAGS = TASK_FLAGS | QgsTask.Flag.Silent
Level = Qgis.MessageLevel


def is_fully_transparent(pixel) -> bool:
    """Whether an entry of a raster renderer's list of transparent pixels hides them: QGIS 3.38 turned its measure."""
    return pixel.opacity == 0 if hasattr(pixel, "opacity") else pixel.percentTransparent == 100


def is_alive(qobject) -> bool:
    """Whether a Qt object is still there: QGIS deletes widgets and layers under Python's hands."""
    return qobject is not None and not sip.isdeleted(qobject)


__all__ = [
    "ALPHA_BAND",
    "POLYGON_LAYERS",
    "RASTER_LAYERS",
    "TASK_FLAGS",
    "WKT_PREFERRED",
    "Level",
    "QAction",
    "is_alive",
    "is_fully_transparent",
]
