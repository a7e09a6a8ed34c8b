"""From a map layer to what the backend can read, and from an area on the map to bounds in the layer's CRS."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Tuple

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsMapLayer,
    QgsMapSettings,
    QgsRasterLayer,
    QgsRectangle,
    QgsReferencedRectangle,
)

from ..compat import WKT_PREFERRED, is_alive
from ..i18n import tr
from .area import common_part

_OPTIONS = re.compile(r"\|(?:option:|credential:|layername=|layerid=|subset=|geometrytype=)")  # of QGIS, after the path
Bounds = Tuple[float, float, float, float]


class SourceRefused(Exception):
    """The layer or area cannot be mapped; the text says why and what to do."""


@dataclass(frozen=True)
class Source:
    """A raster that the backend can open."""

    path: str
    name: str
    crs: QgsCoordinateReferenceSystem
    extent: QgsRectangle


def from_layer(layer: Optional[QgsRasterLayer]) -> Source:
    """What the backend opens for a layer.

    Raises:
        SourceRefused: if the backend could not read it, or would read it elsewhere than the map shows it.
    """
    if not is_alive(layer):
        raise SourceRefused(tr("Choose a raster layer first. Add one with Layer ▸ Add Layer ▸ Add Raster Layer."))
    name = layer.name()
    if not layer.isValid():
        raise SourceRefused(
            tr("The layer “{}” is broken: its file is missing or unreadable. Repair its data source.").format(name)
        )
    if layer.providerType() != "gdal":
        text = tr("The layer “{}” is no file but comes from “{}”. Export it first: right-click ▸ Export ▸ Save As.")
        raise SourceRefused(text.format(name, layer.providerType()))
    return Source(_path(layer), name, _crs(layer), layer.extent())


def shown(settings: QgsMapSettings) -> QgsReferencedRectangle:
    """The area that a map canvas shows; around it where the map is turned."""
    return QgsReferencedRectangle(settings.visibleExtent(), settings.destinationCrs())


def bounds(area: QgsReferencedRectangle, source: Source, context: QgsCoordinateTransformContext) -> Bounds:
    """The part of the source that lies in an area, as left, bottom, right, top in the source's CRS.

    Raises:
        SourceRefused: if the area has nothing of the layer.
    """
    part = common_part(source.extent, source.crs, area, context)
    if part is None:
        raise SourceRefused(
            tr("The map shows nothing of “{}”. Zoom to the layer, or choose the whole layer.").format(source.name)
        )
    return part.xMinimum(), part.yMinimum(), part.xMaximum(), part.yMaximum()


def crs_text(crs: QgsCoordinateReferenceSystem) -> str:
    """A CRS as any GDAL understands it: an EPSG code, else WKT."""
    return crs.authid() if crs.authid().startswith("EPSG:") else crs.toWkt(WKT_PREFERRED)


def path_of(layer: QgsMapLayer) -> str:
    """What a layer's provider opens, without the provider's own options; a file's name may hold their separator."""
    whole = layer.source()
    if os.path.exists(whole):
        return whole
    return _OPTIONS.split(whole, maxsplit=1)[0]


def _path(layer: QgsRasterLayer) -> str:
    path = path_of(layer)
    if path.startswith("/vsimem/") or path.lstrip().startswith("<"):
        text = tr(
            "The layer “{}” lives in QGIS's memory only. Export it first: right-click the layer ▸ Export ▸ Save As."
        )
        raise SourceRefused(text.format(layer.name()))
    subdataset_or_virtual = path.startswith("/vsi") or (":" in path and not Path(path).drive)
    if not subdataset_or_virtual and not os.path.exists(path):
        raise SourceRefused(
            tr("The file of the layer “{}” is gone: {}. Repair its data source.").format(layer.name(), path)
        )
    return path


def _crs(layer: QgsRasterLayer) -> QgsCoordinateReferenceSystem:
    own = layer.dataProvider().crs()
    if not own.isValid():
        text = tr(
            "The file of the layer “{}” has no coordinate reference system, so nothing in it can be measured. "
            "Assign one: Raster ▸ Projections ▸ Assign Projection."
        )
        raise SourceRefused(text.format(layer.name()))
    shown = layer.crs()
    if shown != own and crs_text(shown) != crs_text(own):
        text = tr(
            "The layer “{}” is shown in {}, but its file says {}; the mask would lie elsewhere. "
            "Assign the right one to the file: Raster ▸ Projections ▸ Assign Projection."
        )
        shown_name = shown.userFriendlyIdentifier() if shown.isValid() else tr("no CRS")
        raise SourceRefused(text.format(layer.name(), shown_name, own.userFriendlyIdentifier()))
    return own
