"""An area that was drawn on the map, as what the backend is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsFeature,
    QgsGeometry,
    QgsReferencedRectangle,
    QgsVectorLayer,
)

from ..i18n import tr
from .area import common_part
from .ground import measure
from .source import Source, SourceRefused

BETWEEN = 31
"""Places set between two corners where the raster has another CRS, in which the edge is no straight line."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A polygon in the CRS that the map had; an empty one while nothing is drawn.

    Attributes:
        upright: whether it is a rectangle along the axes of that CRS.
    """

    shape: QgsGeometry
    crs: QgsCoordinateReferenceSystem
    upright: bool = False

    @property
    def box(self) -> QgsReferencedRectangle:
        """Around it."""
        return QgsReferencedRectangle(self.shape.boundingBox(), self.crs)

    def square_metres(self, context: QgsCoordinateTransformContext) -> float:
        """Its area on the ellipsoid."""
        return measure(self.crs, context).measureArea(self.shape)


NOTHING = Drawn(QgsGeometry(), QgsCoordinateReferenceSystem())


def part_of(
    drawn: Drawn, source: Source, context: QgsCoordinateTransformContext
) -> Tuple[Optional[QgsReferencedRectangle], Optional[QgsVectorLayer]]:
    """What of a source is mapped: a box where that is what was drawn in the source's own CRS, else a layer of polygons
    outside of which all is nodata.

    Raises:
        SourceRefused: nothing is drawn, or it lies beside the source.
    """
    if drawn.shape.isEmpty():
        raise SourceRefused(tr("Nothing is drawn on the map yet. Draw an area, or choose the whole layer."))
    if common_part(source.extent, source.crs, drawn.box, context) is None:
        text = tr("What is drawn on the map lies beside “{}”. Draw it over the layer, or choose the whole layer.")
        raise SourceRefused(text.format(source.name))
    same = drawn.crs == source.crs
    if drawn.upright and same:
        return drawn.box, None
    layer = QgsVectorLayer("Polygon", "drawn", "memory")
    layer.setCrs(drawn.crs)
    feature = QgsFeature()
    feature.setGeometry(drawn.shape if same else drawn.shape.densifyByCount(BETWEEN))
    layer.dataProvider().addFeature(feature)
    layer.updateExtents()
    return None, layer
