"""A raster is cut into scenes, and each is labelled whole: a grid layer."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import Any, Dict, List

from qgis.core import (
    QgsProcessing,
    QgsProcessingException,
    QgsProcessingOutputNumber,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterExtent,
    QgsProcessingParameterField,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterVectorDestination,
    QgsProcessingUtils,
    QgsReferencedRectangle,
)

from ..client.cards import SCENES
from ..client.schema import ModelInfo, RasterReading
from ..i18n import tr
from ..layers import further
from ..run import Order, build_request
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
)


class ClassifyScenes(BackendAlgorithm):
    """Squares all over a raster, or polygons, with the class of what is seen there."""

    NAME = "classifyscenes"

    def __init__(self):
        super().__init__()
        self._options: List[str] = []
        self._raster = ""
        self._model: ModelInfo

    def displayName(self) -> str:
        """In the toolbox."""
        return tr("Classify scenes (grid layer)")

    def group(self) -> str:
        """In the toolbox."""
        return tr("Map")

    def groupId(self) -> str:
        """The group's id."""
        return "map"

    def tags(self) -> List[str]:
        """What it is found by."""
        return ["scene", "classification", "land use", "grid", "patches", "parcels", "deep learning"]

    def shortHelpString(self) -> str:
        """What it does, in which units."""
        return tr(
            "Cuts a raster into squares and says of each, as a whole, which class it is, with a model of scenes. The "
            "layer has the class, its probability and that of each class (0 to 1), the area (m² on the ellipsoid) and "
            "the share that has data (0 to 1). Squares with less data than the least share (%) are left out.\n\n"
            "A square's side is in metres; if it is empty, it is the model's own. With polygons, each of them is a "
            "scene in place of the squares: what lies in the square about it is seen.\n\n"
            "Bands, values of no data and opacity are those that the layer shows. No model of scenes comes with the "
            "plugin: import one (Import a model)."
        )

    def initAlgorithm(self, configuration=None) -> None:
        """Say what can be given (QGIS calls this)."""
        add = self.addParameter
        add(QgsProcessingParameterRasterLayer("INPUT", tr("Raster (orthophoto, with a CRS)")))
        add(model_parameter(lambda task: task == SCENES, tr("Model of scenes")))
        add(number_parameter("SIZE", tr("Side of a square, m (the model's own if empty)"), 0.01, 1e5))
        add(QgsProcessingParameterExtent("EXTENT", tr("Extent (the whole raster if empty)"), optional=True))
        add(polygon_parameter("CELLS", tr("These polygons in place of squares")))
        title = tr("Field with the polygons' names")
        add(QgsProcessingParameterField("CELL_FIELD", title, parentLayerParameterName="CELLS", optional=True))
        least = tr("Scenes with data on less of them are left out, %")
        double = QgsProcessingParameterNumber.Type.Double
        add(advanced(QgsProcessingParameterNumber("LEAST", least, double, 50.0, False, 0, 100)))
        for name, title in (
            ("BLACK", tr("Black borders are no data")),
            ("ANY_RESOLUTION", tr("Take a raster far from the model's resolution anyway")),
            ("ALLOW_NETWORK", tr("Allow requests over the network that the raster makes")),
        ):
            add(advanced(QgsProcessingParameterBoolean(name, title, False)))
        kind = QgsProcessing.SourceType.TypeVectorPolygon
        add(QgsProcessingParameterVectorDestination("OUTPUT", tr("Scenes"), kind))
        self.addOutput(QgsProcessingOutputNumber("SCENES", tr("Number of scenes")))
        self.addOutput(QgsProcessingOutputNumber("LEFT_OUT", tr("Scenes with too little data")))

    def prepare_command(self, parameters, context) -> None:
        """Take what the layer shows, and all numbers."""
        layer = raster_layer(self, parameters, "INPUT", context)
        name, self._model = model_of(self, parameters, context)
        cells, size = polygon_path(self, parameters, "CELLS", context), number_of(self, parameters, "SIZE", context)
        box, area = self.parameterAsExtent(parameters, "EXTENT", context), None
        if not box.isNull() and not box.isEmpty():
            area = QgsReferencedRectangle(box, self.parameterAsExtentCrs(parameters, "EXTENT", context))
        if cells and (size is not None or area is not None):
            raise QgsProcessingException(tr("Polygons say where the scenes are: leave side and extent empty."))
        order = Order(
            layer,
            self._model,
            area=area,
            black_is_nodata=self.parameterAsBool(parameters, "BLACK", context),
            any_resolution=self.parameterAsBool(parameters, "ANY_RESOLUTION", context),
            allow_network=self.parameterAsBool(parameters, "ALLOW_NETWORK", context),
        )
        asked = build_request(order, context.transformContext(), ())
        told = {field.name: getattr(asked, field.name) for field in dataclasses.fields(RasterReading)[1:]}
        reading = QgsProcessingUtils.generateTempFilename("reading.json")
        text = json.dumps(dataclasses.asdict(RasterReading(asked.raster, **told)))
        Path(reading).write_text(text, encoding="utf-8")
        self._raster = asked.raster
        self._options = ["--model", name, "--reading", reading]
        self._options += ["--least", str(self.parameterAsDouble(parameters, "LEAST", context))]
        self._options += [] if size is None else ["--size", str(size)]
        self._options += ["--bounds", *map(repr, asked.bounds)] if asked.bounds else []
        if cells:
            field = self.parameterAsString(parameters, "CELL_FIELD", context)
            self._options += ["--cells", cells, *(["--cell-field", field] if field else [])]

    def processAlgorithm(self, parameters, context, feedback) -> Dict[str, Any]:
        """Have the backend label (QGIS calls this in a thread)."""
        path = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        made = self.carry_out(["scenes", self._raster, path, *self._options, "--overwrite"], feedback)
        if not made:
            return {}
        dress_later(context, path, partial(further.colour_scenes, every=self._model.classes))
        return {"OUTPUT": path, "SCENES": made["scenes"], "LEFT_OUT": made["left_out"]}
