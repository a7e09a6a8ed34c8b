"""From a map layer to the view that the backend opens on it: read from its file, or rendered by QGIS if it has none."""

from __future__ import annotations

import math
from typing import NamedTuple, Optional

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsPointXY,
    QgsRasterLayer,
)

from ..client.schema import ModelInfo, RasterReading, ViewRequest
from ..compat import is_alive
from ..i18n import tr
from ..layers import reading, source
from ..layers.ground import moved_point, transform_between
from ..layers.source import SourceRefused


class Agreed(NamedTuple):
    """What the user has agreed to."""

    any_resolution: bool = False
    allow_network: bool = False
    black_is_nodata: bool = False


class Looked(NamedTuple):
    """A view to open."""

    request: ViewRequest
    rendered: bool  # whether QGIS renders the pixels


def request(
    layer: Optional[QgsRasterLayer],
    model: ModelInfo,
    agreed: Agreed,
    centre: QgsPointXY,
    crs: QgsCoordinateReferenceSystem,
    context: QgsCoordinateTransformContext,
) -> Looked:
    """The view to open on a layer.

    Args:
        layer: what is looked at.
        model: with what.
        agreed: what the user has agreed to.
        centre: of the map.
        crs: the map's.
        context: how to get from one CRS to another.

    Raises:
        SourceRefused: if there is no such layer, or it has no place on the map.
    """
    try:
        origin = source.from_layer(layer)
    except SourceRefused:
        if not is_alive(layer) or not layer.isValid() or not layer.crs().isValid():
            raise
        return Looked(_rendered(layer, model, centre, crs, context), True)
    shown = reading.as_shown(layer, model.bands)
    raster = RasterReading(
        origin.path,
        shown.bands,
        [*shown.nodata, *([reading.BLACK] if agreed.black_is_nodata else [])],
        shown.declared_nodata,
        shown.alpha_band,
        agreed.any_resolution,
        agreed.allow_network,
    )
    return Looked(ViewRequest(model.name, raster), False)


def _rendered(layer, model, centre, crs, context) -> ViewRequest:
    """In the layer's own CRS where that is projected, so that QGIS has nothing to warp; else the map's; else UTM."""
    own = layer.crs()
    chosen = next((each for each in (own, crs) if each.isValid() and not each.isGeographic()), None)
    if chosen is None:
        degrees = _moved(centre, crs, QgsCoordinateReferenceSystem("EPSG:4326"), context)
        zone = min(60, max(1, math.floor((degrees.x() + 180) / 6) + 1))
        chosen = QgsCoordinateReferenceSystem(f"EPSG:{(32600 if degrees.y() >= 0 else 32700) + zone}")
    near = _moved(centre, crs, chosen, context)
    return ViewRequest(model.name, crs=source.crs_text(chosen), near=(near.x(), near.y()))


def _moved(point, origin, target, context) -> QgsPointXY:
    moved = moved_point(transform_between(origin, target, context), point)
    if moved is None:
        raise SourceRefused(tr("The map shows a place that the layer cannot have. Zoom to the layer."))
    return moved
