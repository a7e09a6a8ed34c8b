"""A raster becomes a map: with any model, of rooftops, of species."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, ClassVar, Dict, List, Tuple

from qgis.core import (
    QgsProcessing,
    QgsProcessingException,
    QgsProcessingOutputNumber,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterVectorDestination,
    QgsProcessingUtils,
    QgsReferencedRectangle,
)

from ..client.cards import ROOFTOPS, SCENES
from ..client.schema import MASK, ON_MODEL, ON_SOURCE, JobRequest, JobResult, ModelInfo, ProductRequest, parse
from ..i18n import tr
from ..layers import further, results
from ..run import Order, build_request, views_of_a_tile
from .base import (
    BackendAlgorithm,
    advanced,
    dress_later,
    model_of,
    model_parameter,
    number_of,
    number_parameter,
    polygon_parameter,
    polygon_path,
    raster_layer,
    zone_name_parameter,
)

POLYGONS, PROBABILITY, STATISTICS = further.POLYGONS, further.PROBABILITY, further.STATISTICS
_GRIDS = (ON_MODEL, ON_SOURCE)
_OUTPUTS = {MASK: "MASK", PROBABILITY: "PROBABILITY", POLYGONS: "POLYGONS", STATISTICS: "STATISTICS"}
_FORMATS = {
    **{".tif": "cog", ".tiff": "cog", ".gpkg": "gpkg", ".fgb": "fgb"},
    **{".parquet": "parquet", ".geoparquet": "parquet", ".csv": "csv", ".json": "json"},
}


class MapAlgorithm(BackendAlgorithm):
    """One raster, one model, one to four files."""

    PRODUCTS: ClassVar[Dict[str, bool]] = {}  # kinds, and whether each is made unasked

    def __init__(self):
        super().__init__()
        self._request: JobRequest
        self._model: ModelInfo
        self._source_name = ""

    def group(self) -> str:
        """In the toolbox."""
        return tr("Map")

    def groupId(self) -> str:
        """The group's id."""
        return "map"

    def takes(self, task: str) -> bool:
        """Whether models for such a task are offered."""
        return task != SCENES

    def initAlgorithm(self, configuration=None) -> None:
        """Say what can be given (QGIS calls this)."""
        add = self.addParameter
        add(QgsProcessingParameterRasterLayer("INPUT", tr("Raster (orthophoto, with a CRS)")))
        add(model_parameter(self.takes))
        add(QgsProcessingParameterExtent("EXTENT", tr("Extent (the whole raster if empty)"), optional=True))
        add(polygon_parameter("AREA", tr("Map within these polygons only")))
        if STATISTICS in self.PRODUCTS:
            add(polygon_parameter("ZONES", tr("Statistics in these zones too")))
            add(zone_name_parameter())
        add(
            advanced(
                number_parameter(
                    "THRESHOLD", tr("Threshold: probability of class 1 (the model's own if empty)"), 0.001, 0.999
                )
            )
        )
        add(advanced(number_parameter("SMALLEST", tr("Smallest roof or patch, m² (the model's own if empty)"), 0, 1e4)))
        if MASK in self.PRODUCTS:
            grids = [tr("The model's"), tr("The raster's own")]  # in the order of _GRIDS
            title = tr("Pixels of mask and probability (polygons and statistics are those of the model's)")
            add(advanced(QgsProcessingParameterEnum("GRID", title, grids, defaultValue=0)))
        views = [text for _, text in views_of_a_tile()]
        add(advanced(QgsProcessingParameterEnum("TURNS", tr("Views of a tile, averaged"), views, defaultValue=0)))
        for name, title in (
            ("BLACK", tr("Black borders are no data")),
            ("ANY_RESOLUTION", tr("Map a raster far from the model's resolution anyway")),
            ("ALLOW_NETWORK", tr("Allow requests over the network that the raster makes")),
        ):
            add(advanced(QgsProcessingParameterBoolean(name, title, False)))
        for kind, unasked in self.PRODUCTS.items():
            add(_destination(kind, unasked))
        self.addOutput(QgsProcessingOutputNumber("FOUND_M2", tr("Area of all classes but the first, m²")))

    def prepare_command(self, parameters, context) -> None:
        """Take what the layer shows."""
        layer = raster_layer(self, parameters, "INPUT", context)
        name, self._model = model_of(self, parameters, context)
        box = self.parameterAsExtent(parameters, "EXTENT", context)
        area = None
        if not box.isNull() and not box.isEmpty():
            area = QgsReferencedRectangle(box, self.parameterAsExtentCrs(parameters, "EXTENT", context))
        order = Order(
            layer,
            self._model,
            area=area,
            turns=views_of_a_tile()[self.parameterAsEnum(parameters, "TURNS", context)][0],
            black_is_nodata=self.parameterAsBool(parameters, "BLACK", context),
            replace=True,
            any_resolution=self.parameterAsBool(parameters, "ANY_RESOLUTION", context),
            allow_network=self.parameterAsBool(parameters, "ALLOW_NETWORK", context),
        )
        request = build_request(order, context.transformContext(), ())
        zones = ""
        if STATISTICS in self.PRODUCTS:
            zones = polygon_path(self, parameters, "ZONES", context)
        self._source_name = layer.name()
        self._request = dataclasses.replace(
            request,
            model=name,
            within=polygon_path(self, parameters, "AREA", context),
            zones=zones,
            zone_field=self.parameterAsString(parameters, "ZONE_FIELD", context) if zones else "",
            threshold=number_of(self, parameters, "THRESHOLD", context),
            smallest=number_of(self, parameters, "SMALLEST", context),
            grid=_GRIDS[self.parameterAsEnum(parameters, "GRID", context)] if MASK in self.PRODUCTS else ON_MODEL,
        )

    def processAlgorithm(self, parameters, context, feedback) -> Dict[str, Any]:
        """Have the backend map (QGIS calls this in a thread)."""
        files: List[Tuple[str, str]] = []
        for kind in self.PRODUCTS:
            path = self.parameterAsOutputLayer(parameters, _OUTPUTS[kind], context)
            if path:
                files.append((kind, path))
        if not files:
            raise QgsProcessingException(tr("Nothing is asked for. Name at least one output."))
        products = [ProductRequest(path, kind, _FORMATS.get(Path(path).suffix.lower(), "")) for kind, path in files]
        for product in products:
            if not product.format:
                text = tr("Rotacube does not write {}. Choose .tif, .gpkg, .fgb, .parquet, .csv or .json.")
                raise QgsProcessingException(text.format(Path(product.path).name))
        request = dataclasses.replace(self._request, products=products)
        asked = QgsProcessingUtils.generateTempFilename("request.json")
        Path(asked).write_text(json.dumps(request.to_json()), encoding="utf-8")
        made = self.carry_out(["job", asked], feedback)
        outputs: Dict[str, Any] = {_OUTPUTS[kind]: path for kind, path in files} if made else {}
        if made:
            result = parse(JobResult, made)
            finished = results.Finished(self._source_name, request, result, self._model)
            outputs["FOUND_M2"] = sum(item.area_m2 for item in result.classes[1:])
            for kind, path in files:
                dress_later(context, path, _dress(kind, finished))
        return outputs


def _dress(kind: str, finished: results.Finished):
    """What gives a product's layer its looks and its origin, as in the dock."""

    def dress(layer) -> None:
        if kind == MASK:
            results.style(layer, finished.result)
            layer.setMetadata(results.provenance(finished))
            return
        if kind == POLYGONS:
            further.outline(layer, finished.result.classes)
        elif kind == PROBABILITY:
            further.shade(layer, finished.result.classes)
        further.note_origin(layer, finished)

    return dress


def _destination(kind: str, unasked: bool) -> QgsProcessingParameterDefinition:
    if kind == MASK:
        return QgsProcessingParameterRasterDestination("MASK", tr("Mask"), optional=True, createByDefault=unasked)
    if kind == PROBABILITY:
        title = tr("Probability of each class but the first")
        return QgsProcessingParameterRasterDestination("PROBABILITY", title, optional=True, createByDefault=unasked)
    title, form = tr("Polygons"), QgsProcessing.SourceType.TypeVectorPolygon
    if kind == STATISTICS:
        title, form = tr("Statistics: area and share with 95% intervals"), QgsProcessing.SourceType.TypeVector
    return QgsProcessingParameterVectorDestination(_OUTPUTS[kind], title, form, optional=True, createByDefault=unasked)


class MapRaster(MapAlgorithm):
    """Any model, all products."""

    NAME = "mapraster"
    PRODUCTS: ClassVar = {MASK: True, PROBABILITY: False, POLYGONS: False, STATISTICS: False}

    def displayName(self) -> str:
        """In the toolbox."""
        return tr("Map raster")

    def tags(self) -> List[str]:
        """What it is found by."""
        return ["segmentation", "deep learning", "classification", "mask", "rooftops", "plants"]

    def shortHelpString(self) -> str:
        """What it does, in which units."""
        return tr(
            "Maps a raster with an installed model. The mask has a class a pixel, at the model's resolution or the "
            "raster's own; the probability is that of each class but the first, 0 to 1; polygons are single roofs, or "
            "patches of a class, with areas in m² on the ellipsoid; statistics are area (m²) and share of each class, "
            "with 95% intervals.\n\n"
            "Bands, values of no data and opacity are those that the layer shows. A part of a raster gives the crop "
            "of the whole. Files that are there are replaced; a cancelled run leaves nothing."
        )


class ExtractRooftops(MapAlgorithm):
    """Roofs as polygons, and the mask if it is wanted."""

    NAME = "maprooftops"
    PRODUCTS: ClassVar = {POLYGONS: True, MASK: False}

    def takes(self, task: str) -> bool:
        """Models of roofs."""
        return task == ROOFTOPS

    def displayName(self) -> str:
        """In the toolbox."""
        return tr("Extract rooftops")

    def tags(self) -> List[str]:
        """What it is found by."""
        return ["buildings", "roofs", "footprints", "polygons", "deep learning"]

    def shortHelpString(self) -> str:
        """What it does, in which units."""
        return tr(
            "Finds each roof in an orthophoto or drone image, as a polygon with straight walls that neighbours "
            "share, its area (m² on the ellipsoid), perimeter (m), direction (degrees) and confidence (0 to 1).\n\n"
            "The smallest roof is in m². Bands, values of no data and opacity are those that the layer shows."
        )


class MapSpecies(MapAlgorithm):
    """A mask of species, with their shares."""

    NAME = "mapspecies"
    PRODUCTS: ClassVar = {MASK: True, STATISTICS: True, POLYGONS: False}

    def takes(self, task: str) -> bool:
        """Models of anything but roofs."""
        return task not in (ROOFTOPS, SCENES)

    def displayName(self) -> str:
        """In the toolbox."""
        return tr("Map species")

    def tags(self) -> List[str]:
        """What it is found by."""
        return ["plants", "weeds", "vegetation", "classification", "deep learning"]

    def shortHelpString(self) -> str:
        """What it does, in which units."""
        return tr(
            "Maps plants by species, with a model for them (import or fine-tune one where none is installed): a "
            "mask, and a table with area (m²) and share (0 to 1) of each species, with 95% intervals, over the map "
            "and in zones.\n\n"
            "Patches below the smallest area (m²) are given to their neighbours in the polygons."
        )
