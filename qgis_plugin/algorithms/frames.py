"""Drone frames: one map of them, and the ground that each shows."""

from __future__ import annotations

import os
from functools import partial
from typing import Any, Dict, List

from qgis.core import (
    QgsMapLayer,
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingOutputFile,
    QgsProcessingOutputNumber,
    QgsProcessingOutputRasterLayer,
    QgsProcessingOutputVectorLayer,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFile,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterVectorDestination,
    QgsProject,
)
from qgis.PyQt.QtCore import QTimer

from ..client.schema import MASK, JobResult, ModelInfo, parse
from ..compat import is_alive
from ..frames import order as orders
from ..frames.order import FramesOrder, Placing
from ..i18n import tr
from ..layers import flights, further, source
from ..layers.results import Finished
from .base import BackendAlgorithm, advanced, dress_later, model_of, model_parameter, number_of, number_parameter

_OUTPUTS = {
    MASK: "MASK",
    further.PROBABILITY: "PROBABILITY",
    flights.PHOTO: "PHOTO",
    flights.AGREEMENT: "AGREEMENT",
    further.STATISTICS: "SHARES",
    flights.FOOTPRINTS: "FOOTPRINTS",
}


class FramesAlgorithm(BackendAlgorithm):
    """One folder of frames."""

    def group(self) -> str:
        """In the toolbox."""
        return tr("Drone frames")

    def groupId(self) -> str:
        """The group's id."""
        return "frames"

    def add_frames(self) -> None:
        """The parameters of the frames themselves."""
        file = QgsProcessingParameterFile
        self.addParameter(file("INPUT", tr("Folder of frames (JPEG, as the drone wrote them)"), file.Behavior.Folder))

    def add_placing(self) -> None:
        """What some cameras do not say, and what GPS says too coarsely."""
        refine = tr("Refine positions and directions: bring together what neighbouring frames both show")
        self.addParameter(QgsProcessingParameterBoolean("REFINE", refine, False))
        title = tr("Elevation of the ground above the sea, m (for frames that do not say their height above it)")
        self.addParameter(advanced(number_parameter("GROUND", title, -1000, 9000)))
        title = tr("Terrain model (elevations above the sea; the ground is flat if empty)")
        self.addParameter(advanced(QgsProcessingParameterRasterLayer("TERRAIN", title, optional=True)))
        file, title = QgsProcessingParameterFile, tr("Lens calibration (OpenCV's JSON; the frames' tags if empty)")
        self.addParameter(advanced(file("CALIBRATION", title, file.Behavior.File, "json", optional=True)))

    def placing(self, parameters, context) -> Placing:
        """What is asked for of these.

        Raises:
            SourceRefused: the terrain model is no file that the backend could open.
        """
        layer = self.parameterAsRasterLayer(parameters, "TERRAIN", context)
        return Placing(
            number_of(self, parameters, "GROUND", context),
            source.from_layer(layer).path if layer is not None else "",
            self.parameterAsString(parameters, "CALIBRATION", context),
            self.parameterAsBool(parameters, "REFINE", context),
        )


class MapFrames(FramesAlgorithm):
    """Frames to one map."""

    NAME = "mapframes"

    def __init__(self):
        super().__init__()
        self._order: FramesOrder
        self._model: ModelInfo
        self._adds = False

    def displayName(self) -> str:
        """In the toolbox."""
        return tr("Map drone frames")

    def tags(self) -> List[str]:
        """What it is found by."""
        return ["drone", "UAV", "photos", "JPEG", "EXIF", "mosaic", "species", "plants", "weeds", "segmentation"]

    def shortHelpString(self) -> str:
        """What it does, in which units."""
        return tr(
            "Makes one map of a drone's photos, without an orthomosaic: each frame is placed by the position, height "
            "and direction in its EXIF and XMP, mapped by itself, and where frames overlap they vote. For flat ground "
            "and a camera that looked down. Frames that cannot be placed, are blurred or damaged are left out, and "
            "named in the log.\n\n"
            "The output folder holds, in the flight's UTM zone: the mask (a class a pixel), the probability of each "
            "class but the first (0 to 1), the photo of the whole flight, the agreement (share of the votes for the "
            "mask's class, 0 to 1; band 2 is how many frames see the pixel), the shares of the classes (m² on the "
            "ellipsoid, 0 to 1, with 95% intervals), and the footprints of the frames. Pixels are in metres. Files "
            "that are there are replaced; a cancelled run leaves nothing."
        )

    def initAlgorithm(self, configuration=None) -> None:
        """Say what can be given (QGIS calls this)."""
        self.add_frames()
        self.addParameter(model_parameter(lambda task: True))
        self.addParameter(number_parameter("GSD", tr("Map's pixels, m (the model's if empty)"), 0.001, 1000))
        self.add_placing()
        threshold = tr("Threshold: probability of class 1 (the model's own if empty)")
        self.addParameter(advanced(number_parameter("THRESHOLD", threshold, 0.001, 0.999)))
        title = tr("Map frames far from the model's resolution anyway")
        self.addParameter(advanced(QgsProcessingParameterBoolean("ANY_RESOLUTION", title, False)))
        for name, title in (
            ("KMZ", tr("Also an overlay for Google Earth (map.kmz)")),
            ("REPORT", tr("Also a report of one page (report.pdf)")),
        ):
            self.addParameter(QgsProcessingParameterBoolean(name, title, False))
        self.addParameter(QgsProcessingParameterBoolean("ADD", tr("Add the layers to the map"), True))
        self.addParameter(QgsProcessingParameterFolderDestination("OUTPUT", tr("Folder of the map")))
        for name, title in (
            ("MASK", tr("Mask")),
            ("PROBABILITY", tr("Probability of each class but the first")),
            ("PHOTO", tr("Photo")),
            ("AGREEMENT", tr("Agreement of the frames")),
        ):
            self.addOutput(QgsProcessingOutputRasterLayer(name, title))
        kinds = QgsProcessing.SourceType
        self.addOutput(QgsProcessingOutputVectorLayer("SHARES", tr("Shares of the classes"), kinds.TypeVector))
        self.addOutput(QgsProcessingOutputVectorLayer("FOOTPRINTS", tr("Footprints"), kinds.TypeVectorPolygon))
        self.addOutput(QgsProcessingOutputFile("KMZ_FILE", tr("Overlay for Google Earth")))
        self.addOutput(QgsProcessingOutputFile("REPORT_FILE", tr("Report")))
        self.addOutput(QgsProcessingOutputNumber("FRAMES", tr("Frames that are mapped")))
        self.addOutput(QgsProcessingOutputNumber("FOUND_M2", tr("Area of all classes but the first, m²")))

    def prepare_command(self, parameters, context) -> None:
        """Take what is asked for; the folder of the map is known later."""
        name, self._model = model_of(self, parameters, context)
        self._order = FramesOrder(
            os.path.abspath(self.parameterAsString(parameters, "INPUT", context)),
            os.path.abspath(self.parameterAsString(parameters, "OUTPUT", context)),
            name,
            self.placing(parameters, context),
            number_of(self, parameters, "GSD", context),
            number_of(self, parameters, "THRESHOLD", context),
            self.parameterAsBool(parameters, "ANY_RESOLUTION", context),
            True,
            self.parameterAsBool(parameters, "KMZ", context),
            self.parameterAsBool(parameters, "REPORT", context),
        )
        self._adds = self.parameterAsBool(parameters, "ADD", context) and context.project() is not None

    def processAlgorithm(self, parameters, context, feedback) -> Dict[str, Any]:
        """Have the backend map them (QGIS calls this in a thread)."""
        made = self.carry_out(self._order.command(), feedback)
        if not made:
            return {}
        result = parse(JobResult, made)
        finished = Finished(self._order.name, self._order, result, self._model)
        outputs: Dict[str, Any] = {"OUTPUT": self._order.output, "FRAMES": made["frames"]}
        outputs["FOUND_M2"] = sum(item.area_m2 for item in result.classes[1:])
        outputs.update({"KMZ_FILE": self._order.kmz_file, "REPORT_FILE": self._order.report_file})
        for kind, path in flights.files_of(made).items():
            outputs[_OUTPUTS[kind]] = path
            if self._adds:
                title = flights.title(kind, self._order.name)
                details = QgsProcessingContext.LayerDetails(title, context.project(), _OUTPUTS[kind])
                context.addLayerToLoadOnCompletion(path, details)
            dress_later(context, path, partial(_settle, kind, finished, context.project()))
        return outputs


def _settle(kind: str, finished: Finished, project: QgsProject, layer: QgsMapLayer) -> None:
    """Give a layer its looks, and its place once Processing has added all of them."""
    flights.dress(kind, layer, finished)

    def move() -> None:
        if is_alive(layer):
            flights.move(kind, layer, finished.source_name, project)

    QTimer.singleShot(0, move)


class FrameFootprints(FramesAlgorithm):
    """The ground that frames show."""

    NAME = "framefootprints"

    def __init__(self):
        super().__init__()
        self._placing = Placing()

    def displayName(self) -> str:
        """In the toolbox."""
        return tr("Footprints of drone frames")

    def tags(self) -> List[str]:
        """What it is found by."""
        return ["drone", "UAV", "photos", "JPEG", "EXIF", "outlines", "coverage"]

    def shortHelpString(self) -> str:
        """What it does, in which units."""
        return tr(
            "Draws the ground that each of a drone's photos shows, in the flight's UTM zone, from the position, height "
            "and direction in its EXIF and XMP: with the frame's name, its camera's longitude and latitude (degrees), "
            "height above the ground (m), yaw and tilt (degrees), and the size of its pixels on the ground (m).\n\n"
            "Frames that are left out, and why, stand in the log."
        )

    def initAlgorithm(self, configuration=None) -> None:
        """Say what can be given (QGIS calls this)."""
        self.add_frames()
        self.add_placing()
        kind = QgsProcessing.SourceType.TypeVectorPolygon
        self.addParameter(QgsProcessingParameterVectorDestination("OUTPUT", tr("Footprints"), kind))
        self.addOutput(QgsProcessingOutputNumber("FRAMES", tr("Frames that are placed")))
        self.addOutput(QgsProcessingOutputNumber("LEFT_OUT", tr("Frames that are left out")))

    def prepare_command(self, parameters, context) -> None:
        """Take the terrain model's path."""
        self._placing = self.placing(parameters, context)

    def processAlgorithm(self, parameters, context, feedback) -> Dict[str, Any]:
        """Have the backend place them (QGIS calls this in a thread)."""
        folder = self.parameterAsString(parameters, "INPUT", context)
        path = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        made = self.carry_out(orders.outline(folder, path, self._placing), feedback)
        if not made:
            return {}
        dress_later(context, path, flights.outline)
        return {"OUTPUT": path, "FRAMES": made["frames"], "LEFT_OUT": made["left_out"]}
