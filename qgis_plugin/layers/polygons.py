"""From a polygon layer to a file that the backend reads."""

from __future__ import annotations

import os

from qgis.core import (
    QgsCoordinateTransformContext,
    QgsFields,
    QgsProcessingUtils,
    QgsVectorFileWriter,
    QgsVectorLayer,
)

from ..i18n import tr
from .source import SourceRefused

_LAYER = "|layername="
_OWN_NUMBER = "fid"  # a field of this name becomes the number of a GeoPackage's features


def naming_fields(layer: QgsVectorLayer) -> QgsFields:
    """The fields by which polygons may be named: all but the numbers that their file gives them itself."""
    fields = layer.fields()
    own = layer.primaryKeyAttributes() if layer.providerType() == "ogr" else []
    kept = QgsFields()
    for number, field in enumerate(fields):
        if number not in own and field.name().lower() != _OWN_NUMBER:
            kept.append(field)
    return kept


def path_of(layer: QgsVectorLayer, selected_only: bool, context: QgsCoordinateTransformContext, field: str = "") -> str:
    """A file with a layer's polygons, as `FILE` or `FILE|layername=NAME`.

    The layer's own file where it holds just what is wanted; else a temporary copy of its features as they are now,
    with what is being edited and without what is filtered out.

    Args:
        layer: of polygons.
        selected_only: whether only what is selected is wanted.
        context: how to get from one CRS to another.
        field: that has to be in the file too; others need not.

    Raises:
        SourceRefused: the layer is empty, nothing of it is selected, or it cannot be copied.
    """
    if not layer.isValid():
        raise SourceRefused(tr("The polygon layer “{}” cannot be read. Choose another one.").format(layer.name()))
    if selected_only and not layer.selectedFeatureCount():
        text = tr("Nothing is selected in “{}”. Select polygons, or use all of them.")
        raise SourceRefused(text.format(layer.name()))
    own, _, rest = layer.source().partition("|")
    plain = layer.providerType() == "ogr" and os.path.isfile(own) and not layer.subsetString()
    plain = plain and (not field or layer.dataProvider().fieldNameIndex(field) >= 0)  # else joined, or calculated
    if plain and not selected_only and not layer.isEditable() and (not rest or f"|{rest}".startswith(_LAYER)):
        name = rest.split("|")[0]
        return f"{own}|{name}" if name else own
    target = QgsProcessingUtils.generateTempFilename("polygons.gpkg")
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "GPKG"
    options.layerName = "polygons"
    options.onlySelectedFeatures = selected_only
    error, message = QgsVectorFileWriter.writeAsVectorFormatV3(layer, target, context, options)[:2]
    if error != QgsVectorFileWriter.WriterError.NoError:
        text = tr("The polygons of “{}” cannot be copied for the backend: {}.")
        raise SourceRefused(text.format(layer.name(), message))
    return target
