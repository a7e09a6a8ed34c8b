"""A mask that is there already, made earlier or by another program, becomes polygons or a table."""

from __future__ import annotations

from typing import Any, Dict, List

from qgis.core import (
    QgsProcessing,
    QgsProcessingParameterBand,
    QgsProcessingParameterEnum,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
)

from ..client.schema import ClassArea, parse_list
from ..i18n import tr
from ..layers import further, source
from .base import (
    BackendAlgorithm,
    advanced,
    dress_later,
    number_of,
    number_parameter,
    polygon_parameter,
    polygon_path,
    raster_layer,
    zone_name_parameter,
)

_WALLS = ([], ["--regularise"], ["--no-regularise"])


class MaskAlgorithm(BackendAlgorithm):
    """One mask, one file."""

    def __init__(self):
        super().__init__()
        self._arguments: List[str] = []

    def group(self) -> str:
        """In the toolbox."""
        return tr("Masks")

    def groupId(self) -> str:
        """The group's id."""
        return "masks"

    def add_mask(self) -> None:
        """The parameters of the mask itself."""
        self.addParameter(QgsProcessingParameterRasterLayer("INPUT", tr("Mask (whole numbers; 0 is the background)")))
        self.addParameter(
            QgsProcessingParameterString(
                "CLASSES", tr("Classes that count: names or values with commas (all if empty)"), optional=True
            )
        )
        self.addParameter(advanced(QgsProcessingParameterBand("BAND", tr("Band"), 1, "INPUT", True)))

    def mask_arguments(self, parameters, context) -> List[str]:
        """The command's options for the mask; its path comes first."""
        layer = raster_layer(self, parameters, "INPUT", context)
        wanted = self.parameterAsString(parameters, "CLASSES", context)
        band = self.parameterAsInt(parameters, "BAND", context)
        return [source.from_layer(layer).path, "--classes", wanted, "--band", str(band), "--overwrite"]


class Polygonise(MaskAlgorithm):
    """Polygons of a mask."""

    NAME = "polygonise"

    def displayName(self) -> str:
        """In the toolbox."""
        return tr("Polygonise and regularise")

    def tags(self) -> List[str]:
        """What it is found by."""
        return ["vectorise", "polygons", "footprints", "straighten", "simplify"]

    def shortHelpString(self) -> str:
        """What it does, in which units."""
        return tr(
            "Makes polygons of a mask or label raster, by whatever program it was made: each connected patch of a "
            "class, with its area (m² on the ellipsoid) and perimeter (m). Outlines get straight walls, which "
            "neighbours share, or are smoothed as they were found. Polygons below the smallest area (m²) are left "
            "out.\n\n"
            "A mask does not say where two roofs touch: “Extract rooftops” tells them apart."
        )

    def initAlgorithm(self, configuration=None) -> None:
        """Say what can be given (QGIS calls this)."""
        self.add_mask()
        self.addParameter(
            number_parameter("SMALLEST", tr("Smallest polygon, m² (the model's own, or 2, if empty)"), 0, 1e4)
        )
        walls = [tr("Straight walls, but for plants"), tr("Straight walls"), tr("As found")]
        self.addParameter(QgsProcessingParameterEnum("OUTLINES", tr("Outlines"), walls, False, 0))
        kind = QgsProcessing.SourceType.TypeVectorPolygon
        self.addParameter(QgsProcessingParameterVectorDestination("OUTPUT", tr("Polygons"), kind))

    def prepare_command(self, parameters, context) -> None:
        """Take the mask's path."""
        self._arguments = self.mask_arguments(parameters, context)
        self._arguments += _WALLS[self.parameterAsEnum(parameters, "OUTLINES", context)]
        smallest = number_of(self, parameters, "SMALLEST", context)
        self._arguments += [] if smallest is None else ["--smallest", str(smallest)]

    def processAlgorithm(self, parameters, context, feedback) -> Dict[str, Any]:
        """Have the backend draw them (QGIS calls this in a thread)."""
        path = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        mask, *options = self._arguments
        made = self.carry_out(["polygons", mask, path, *options], feedback)
        if not made:
            return {}
        every = parse_list(ClassArea, made["classes"])
        dress_later(context, path, lambda layer: further.outline(layer, every))
        return {"OUTPUT": path}


class ClassStatistics(MaskAlgorithm):
    """Areas and shares of a mask."""

    NAME = "statistics"

    def displayName(self) -> str:
        """In the toolbox."""
        return tr("Class statistics")

    def tags(self) -> List[str]:
        """What it is found by."""
        return ["zonal", "area", "share", "interval", "table"]

    def shortHelpString(self) -> str:
        """What it does, in which units."""
        return tr(
            "Measures area (m² on the ellipsoid) and share (0 to 1) of each class of a mask, over all of it and in "
            "zones.\n\n"
            "Where the mask says which of the installed models made it, best estimates and 95% intervals come with "
            "them, from that model's errors on validation; else the column “assumptions” says why there are none."
        )

    def initAlgorithm(self, configuration=None) -> None:
        """Say what can be given (QGIS calls this)."""
        self.add_mask()
        self.addParameter(polygon_parameter("ZONES", tr("Zones")))
        self.addParameter(zone_name_parameter())
        kind = QgsProcessing.SourceType.TypeVector
        self.addParameter(QgsProcessingParameterVectorDestination("OUTPUT", tr("Statistics"), kind))

    def prepare_command(self, parameters, context) -> None:
        """Take the paths of mask and zones."""
        self._arguments = self.mask_arguments(parameters, context)
        zones = polygon_path(self, parameters, "ZONES", context)
        if zones:
            self._arguments += ["--zones", zones]
            self._arguments += ["--zone-field", self.parameterAsString(parameters, "ZONE_FIELD", context)]

    def processAlgorithm(self, parameters, context, feedback) -> Dict[str, Any]:
        """Have the backend count (QGIS calls this in a thread)."""
        path = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        mask, *options = self._arguments
        made = self.carry_out(["statistics", mask, path, *options], feedback)
        return {"OUTPUT": path} if made else {}
