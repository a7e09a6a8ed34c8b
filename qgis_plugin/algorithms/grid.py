"""A mask becomes a treatment grid: turned cells, those marked where a class passes a share."""

from __future__ import annotations

from typing import Any, Dict, List

from qgis.core import (
    QgsProcessing,
    QgsProcessingOutputNumber,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterVectorDestination,
)

from ..i18n import tr
from ..layers import treatment
from .base import advanced, dress_later, number_of, number_parameter, polygon_parameter, polygon_path
from .masks import MaskAlgorithm

_RATE = 200_000.0


class TreatmentGrid(MaskAlgorithm):
    """Cells of a mask."""

    NAME = "treatmentgrid"

    def displayName(self) -> str:
        """In the toolbox."""
        return tr("Treatment grid")

    def tags(self) -> List[str]:
        """What it is found by."""
        return ["weed", "prescription", "spraying", "isoxml", "taskdata", "zones", "cells", "precision farming"]

    def shortHelpString(self) -> str:
        """What it does, in which units."""
        return tr(
            "Lays a grid of square cells over a mask, and marks those to be treated: where one of the classes covers "
            "at least the share (%) of the cell's pixels with data. A pixel belongs to the cell that its centre lies "
            "in. Cells with little data are left out.\n\n"
            "The angle is in degrees clockwise from north; if it is empty the grid follows the longest side of the "
            "polygons, or of the mask's data. Each cell has the share of each class (0 to 1), its area with data "
            "(m² on the ellipsoid), and with a rate the litres a hectare to spread.\n\n"
            "The same cells can go to another file: ISOXML (.zip, needs a rate; TASKDATA for a machine's terminal), "
            "Shapefile (.shp) or KML (.kml)."
        )

    def initAlgorithm(self, configuration=None) -> None:
        """Say what can be given (QGIS calls this)."""
        self.add_mask()
        double = QgsProcessingParameterNumber.Type.Double
        self.addParameter(QgsProcessingParameterNumber("SIZE", tr("Cell size, m"), double, 3.0, False, 0.001, 1e5))
        self.addParameter(
            QgsProcessingParameterNumber(
                "SHARE", tr("Share of a cell from which on it is treated, %"), double, 5.0, False, 0.01, 100
            )
        )
        angle = tr("Angle, ° clockwise from north (longest side if empty)")
        self.addParameter(number_parameter("ANGLE", angle, -360, 360))
        self.addParameter(polygon_parameter("WITHIN", tr("Within these polygons only")))
        self.addParameter(number_parameter("RATE", tr("Rate in treated cells, l/ha (0 in the others)"), 0, _RATE))
        by_share = tr("Less where less grows: the rate times the share")
        self.addParameter(QgsProcessingParameterBoolean("BY_SHARE", by_share, False))
        least = tr("Cells with data on less of them are left out, %")
        self.addParameter(advanced(QgsProcessingParameterNumber("LEAST", least, double, 10.0, False, 0, 100)))
        kind = QgsProcessing.SourceType.TypeVectorPolygon
        self.addParameter(QgsProcessingParameterVectorDestination("OUTPUT", tr("Treatment grid"), kind))
        self.addParameter(
            QgsProcessingParameterFileDestination(
                "EXPORT",
                tr("For a machine or another program"),
                tr("ISOXML (*.zip)") + ";;" + tr("Shapefile (*.shp)") + ";;" + tr("KML (*.kml)"),
                None,
                True,
                False,
            )
        )
        self.addOutput(QgsProcessingOutputNumber("TREATED_M2", tr("Area of the cells that are treated, m²")))
        self.addOutput(QgsProcessingOutputNumber("ANGLE_DEG", tr("Angle of the grid, degrees")))

    def prepare_command(self, parameters, context) -> None:
        """Take the paths of mask and polygons, and all numbers."""
        angle, rate = (number_of(self, parameters, name, context) for name in ("ANGLE", "RATE"))
        self._arguments = self.mask_arguments(parameters, context)
        self._arguments += ["--cell", str(self.parameterAsDouble(parameters, "SIZE", context))]
        self._arguments += ["--share", str(self.parameterAsDouble(parameters, "SHARE", context))]
        self._arguments += ["--least", str(self.parameterAsDouble(parameters, "LEAST", context))]
        self._arguments += ["--angle", "auto" if angle is None else str(angle)]
        within = polygon_path(self, parameters, "WITHIN", context)
        self._arguments += ["--within", within] if within else []
        if rate is not None:
            self._arguments += ["--rate", str(rate)]
            self._arguments += ["--by-share"] * self.parameterAsBoolean(parameters, "BY_SHARE", context)

    def processAlgorithm(self, parameters, context, feedback) -> Dict[str, Any]:
        """Have the backend count (QGIS calls this in a thread)."""
        path = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        export = self.parameterAsFileOutput(parameters, "EXPORT", context)
        mask, *options = self._arguments
        made = self.carry_out(["grid", mask, path, *options, *(["--also", export] if export else [])], feedback)
        if not made:
            return {}
        dress_later(context, path, treatment.mark)
        found = {"OUTPUT": path, "TREATED_M2": made["treated_m2"], "ANGLE_DEG": made["angle_deg"]}
        return {**found, "EXPORT": export} if export else found
