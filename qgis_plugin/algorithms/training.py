"""Models learn from polygons on a map, and models of others are taken in."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, List

from qgis.core import (
    QgsProcessing,
    QgsProcessingException,
    QgsProcessingOutputString,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterFile,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingUtils,
)

from ..i18n import tr
from ..layers import source
from ..learning.lesson import cut_tiles, tune
from .base import (
    BackendAlgorithm,
    advanced,
    free_folder,
    model_of,
    model_parameter,
    number_of,
    number_parameter,
    polygon_parameter,
    polygon_path,
    raster_layer,
)

_WHOLE = QgsProcessingParameterNumber.Type.Integer


class ModelAlgorithm(BackendAlgorithm):
    """What makes or takes in models."""

    def __init__(self):
        super().__init__()
        self._arguments: List[str] = []  # of the command
        self._command: Callable[..., List[str]] = list  # or what makes it, once it is known where to

    def group(self) -> str:
        """In the toolbox."""
        return tr("Models")

    def groupId(self) -> str:
        """The group's id."""
        return "models"


class MakeTiles(ModelAlgorithm):
    """Tiles of polygons on a map."""

    NAME = "maketiles"

    def displayName(self) -> str:
        """In the toolbox."""
        return tr("Make training tiles")

    def tags(self) -> List[str]:
        """What it is found by."""
        return ["training", "labels", "dataset", "samples"]

    def shortHelpString(self) -> str:
        """What it does, in which units."""
        return tr(
            "Cuts a raster into training tiles about polygons, of which a field names the class: what is drawn is "
            "known, all else is left out of training, but within the area all that is not drawn is the model's first "
            "class. Tiles are on the grid of the model that is to learn, and a fifth, from one side of the raster, "
            "is held out.\n\n"
            "The side of a tile is in pixels. The folder must not be there yet. Bands and values of no data are "
            "those of the raster's file."
        )

    def initAlgorithm(self, configuration=None) -> None:
        """Say what can be given (QGIS calls this)."""
        add = self.addParameter
        add(QgsProcessingParameterRasterLayer("INPUT", tr("Raster (orthophoto, with a CRS)")))
        kinds = [QgsProcessing.SourceType.TypeVectorPolygon]
        add(QgsProcessingParameterFeatureSource("POLYGONS", tr("Polygons that were drawn"), kinds))
        add(QgsProcessingParameterField("FIELD", tr("Field with the class"), parentLayerParameterName="POLYGONS"))
        add(model_parameter(lambda task: True, tr("Model that is to learn")))
        add(polygon_parameter("AREA", tr("Area within which all else is the model's first class")))
        add(advanced(QgsProcessingParameterNumber("TILE", tr("Side of a tile, pixels"), _WHOLE, 512, False, 64, 4096)))
        title = tr("Take a raster far from the model's resolution anyway")
        add(advanced(QgsProcessingParameterBoolean("ANY_RESOLUTION", title, False)))
        add(QgsProcessingParameterFolderDestination("OUTPUT", tr("Folder of tiles")))

    def prepare_command(self, parameters, context) -> None:
        """Take the paths of the layers."""
        layer = raster_layer(self, parameters, "INPUT", context)
        name, _ = model_of(self, parameters, context)
        self._command = partial(
            cut_tiles,
            source.from_layer(layer).path,
            polygon_path(self, parameters, "POLYGONS", context),
            field=self.parameterAsString(parameters, "FIELD", context),
            model=name,
            side=self.parameterAsInt(parameters, "TILE", context),
            area=polygon_path(self, parameters, "AREA", context),
            any_resolution=self.parameterAsBool(parameters, "ANY_RESOLUTION", context),
        )

    def processAlgorithm(self, parameters, context, feedback) -> Dict[str, Any]:
        """Have the backend cut them (QGIS calls this in a thread)."""
        folder = free_folder(self.parameterAsString(parameters, "OUTPUT", context))
        made = self.carry_out(self._command(folder=folder), feedback)
        return {"OUTPUT": folder} if made else {}


class FineTune(ModelAlgorithm):
    """A model learns what it does not know yet."""

    NAME = "finetune"

    def displayName(self) -> str:
        """In the toolbox."""
        return tr("Fine-tune a model")

    def tags(self) -> List[str]:
        """What it is found by."""
        return ["training", "learning", "transfer"]

    def shortHelpString(self) -> str:
        """What it does, in which units."""
        return tr(
            "Teaches an installed model with a folder of “Make training tiles”, and measures it on the tiles that "
            "were held out: 500 steps take ten minutes of two recent CPU cores. The result is a model's folder, which "
            "“Import a model” takes in. Cancelled or killed, it goes on where it was if a working folder is "
            "named.\n\n"
            "The backend needs its packages for training; an environment that was set up without them has "
            "to be set up again."
        )

    def initAlgorithm(self, configuration=None) -> None:
        """Say what can be given (QGIS calls this)."""
        add, file = self.addParameter, QgsProcessingParameterFile
        add(file("TILES", tr("Folder of tiles"), file.Behavior.Folder))
        add(model_parameter(lambda task: True, tr("Model to begin with")))
        add(QgsProcessingParameterNumber("STEPS", tr("Steps"), _WHOLE, 500, False, 1, 1_000_000))
        add(QgsProcessingParameterString("NAME", tr("Name of the new model: small letters, digits, - and _"), "mine"))
        add(QgsProcessingParameterString("TITLE", tr("Its title (that of the first, tuned, if empty)"), optional=True))
        add(advanced(file("WORK", tr("Working folder, to go on from"), file.Behavior.Folder, optional=True)))
        add(QgsProcessingParameterFolderDestination("OUTPUT", tr("Folder of the new model")))

    def prepare_command(self, parameters, context) -> None:
        """Take what is to be learned from what."""
        name, _ = model_of(self, parameters, context)
        work = self.parameterAsFile(parameters, "WORK", context) or QgsProcessingUtils.generateTempFilename("training")
        self._command = partial(
            tune,
            name,
            self.parameterAsFile(parameters, "TILES", context),
            steps=self.parameterAsInt(parameters, "STEPS", context),
            name=self.parameterAsString(parameters, "NAME", context).strip(),
            title=self.parameterAsString(parameters, "TITLE", context).strip(),
            work=work,
        )

    def processAlgorithm(self, parameters, context, feedback) -> Dict[str, Any]:
        """Have the backend train (QGIS calls this in a thread)."""
        folder = self.parameterAsString(parameters, "OUTPUT", context)
        made = self.carry_out(self._command(output=folder), feedback)
        return {"OUTPUT": folder} if made else {}


class ImportModel(ModelAlgorithm):
    """A model's folder, or an ONNX file of others, is checked and copied to where models are looked for."""

    NAME = "importmodel"

    def displayName(self) -> str:
        """In the toolbox."""
        return tr("Import a model")

    def tags(self) -> List[str]:
        """What it is found by."""
        return ["install", "model", "weights"]

    def shortHelpString(self) -> str:
        """What it does."""
        return tr(
            "Checks a model's folder (its card, model.json, and the weights beside it, by their hash), and copies it "
            "to where models are looked for. It is offered in all lists of models from then on.\n\n"
            "An ONNX file of others becomes such a folder, if it tells classes of pixels: what it says of itself for "
            "the plugin Deepness is read, and what it does not say has to be given. The backend needs its packages "
            "for them: pip install 'rotacube[onnx]'."
        )

    def initAlgorithm(self, configuration=None) -> None:
        """Say what can be given (QGIS calls this)."""
        folder = QgsProcessingParameterFile.Behavior.Folder
        single, add = QgsProcessingParameterFile.Behavior.File, self.addParameter
        add(QgsProcessingParameterFile("FOLDER", tr("Folder of the model"), folder, optional=True))
        add(QgsProcessingParameterFile("FILE", tr("Or an ONNX file of others"), single, "onnx", optional=True))
        add(QgsProcessingParameterBoolean("REPLACE", tr("Replace a model of that name"), False))
        for name, title in (
            ("NAME", tr("Name of the ONNX model: small letters, digits, - and _")),
            ("CLASSES", tr("Classes of the ONNX model, the background first: background,roof")),
        ):
            add(advanced(QgsProcessingParameterString(name, title, optional=True)))
        add(advanced(number_parameter("RESOLUTION", tr("Metres a pixel of the ONNX model"), 0.001, 1000)))
        add(advanced(QgsProcessingParameterBoolean("ROOFS", tr("The ONNX model finds roofs"), False)))
        self.addOutput(QgsProcessingOutputString("MODEL", tr("The model's name")))

    def prepare_command(self, parameters, context) -> None:
        """Take what is imported, and what is said of it."""
        folder, path = (self.parameterAsFile(parameters, name, context) for name in ("FOLDER", "FILE"))
        if bool(folder) == bool(path):
            raise QgsProcessingException(tr("Choose the folder of a model, or an ONNX file: one of the two."))
        self._arguments = ["models", "install", folder or path]
        for name, option in (("NAME", "--name"), ("CLASSES", "--classes")) if path else ():
            text = self.parameterAsString(parameters, name, context).strip()
            self._arguments += [option, text] if text else []
        resolution = number_of(self, parameters, "RESOLUTION", context)
        if path and resolution is not None:
            self._arguments += ["--resolution", str(resolution)]
        if path and self.parameterAsBool(parameters, "ROOFS", context):
            self._arguments.append("--roofs")
        if self.parameterAsBool(parameters, "REPLACE", context):
            self._arguments.append("--overwrite")

    def processAlgorithm(self, parameters, context, feedback) -> Dict[str, Any]:
        """Have the backend check and copy it (QGIS calls this in a thread)."""
        made = self.carry_out(self._arguments, feedback)
        return {"MODEL": made["name"]} if made else {}
