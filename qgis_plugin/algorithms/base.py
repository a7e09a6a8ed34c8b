"""What the algorithms share: a command of the backend's, run from a worker thread, followed, logged, cancelled."""

from __future__ import annotations

import os
from collections import deque
from typing import Any, Callable, Dict, List, Optional, Tuple

from qgis.core import (
    QgsFeatureRequest,
    QgsMapLayer,
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtGui import QIcon

from .. import paths
from ..client import cards, environment
from ..client.command import FLAGS, Cancelled, carry_out
from ..client.schema import BackendError, ModelInfo
from ..client.supervisor import Launch
from ..i18n import tr
from ..layers import polygons, source

PRODUCTS, MODELS = "products", "models"
ADVANCED = QgsProcessingParameterDefinition.Flag.FlagAdvanced


class BackendAlgorithm(QgsProcessingAlgorithm):
    """An algorithm that is a command of the backend's.

    What touches layers and settings is asked before the work, in the thread of who starts it; the work itself waits for
    the command in a worker thread, so nothing of QGIS stands still.
    """

    NAME = ""

    def __init__(self):
        super().__init__()
        self._launch: Optional[Launch] = None

    # what QGIS asks

    def name(self) -> str:
        """What comes after the colon."""
        return self.NAME

    def createInstance(self) -> "BackendAlgorithm":
        """One for a run."""
        return type(self)()

    def icon(self) -> QIcon:
        """The plugin's."""
        return QIcon(paths.resource("icons", "rotacube.svg"))

    def helpUrl(self) -> str:
        """The plugin's help page."""
        return "file://" + paths.help_page()

    def prepareAlgorithm(self, parameters, context, feedback) -> bool:
        """Take what is needed of layers and settings (QGIS calls this before the work)."""
        try:
            self._launch = environment.command(*FLAGS)
            self.prepare_command(parameters, context)
        except (BackendError, source.SourceRefused) as error:
            raise QgsProcessingException(str(error)) from error
        return True

    # what algorithms define and use

    def prepare_command(self, parameters, context) -> None:
        """Take what is needed of layers.

        Raises:
            SourceRefused, QgsProcessingException: something cannot be used.
        """

    def carry_out(self, arguments: List[str], feedback) -> Dict[str, Any]:
        """Run a command and give its result; an empty one where it was cancelled.

        Raises:
            QgsProcessingException: with the backend's sentence.
        """
        launch = Launch([*self._launch.command, *arguments], self._launch.env)
        feedback.pushCommandInfo("rotacube " + " ".join(arguments))
        last = [""]

        def hear(message: Dict[str, Any]) -> None:
            if "what" in message:
                if message["what"] != last[0]:
                    last[0] = message["what"]
                    feedback.setProgressText(last[0])
                feedback.setProgress(100 * message["done"] / max(1e-9, message["total"]))
            elif "said" in message:
                feedback.pushConsoleInfo(str(message["said"]))

        try:
            return carry_out(launch, hear, feedback.isCanceled)
        except Cancelled as ended:
            stays = tr("Cancelled; what was finished before that stays.")
            feedback.pushInfo(stays if ended.finished else tr("Cancelled; nothing was written."))
            return {}
        except BackendError as error:
            raise QgsProcessingException(error.message) from error


def raster_layer(algorithm: QgsProcessingAlgorithm, parameters, name: str, context) -> QgsRasterLayer:
    """The raster layer that was named.

    Raises:
        QgsProcessingException: there is none.
    """
    layer = algorithm.parameterAsRasterLayer(parameters, name, context)
    if layer is None:
        raise QgsProcessingException(algorithm.invalidRasterError(parameters, name))
    return layer


def number_parameter(name: str, title: str, low: float, high: float) -> QgsProcessingParameterNumber:
    """A number that may be left out."""
    kind = QgsProcessingParameterNumber.Type.Double
    return QgsProcessingParameterNumber(name, title, kind, None, True, low, high)


def number_of(algorithm: QgsProcessingAlgorithm, parameters, name: str, context) -> Optional[float]:
    """A number that was given; None where it was left out."""
    return algorithm.parameterAsDouble(parameters, name, context) if _given(parameters, name) else None


def zone_name_parameter() -> QgsProcessingParameterField:
    """The field of the layer ZONES that names its polygons; it may be left out."""
    title = tr("Field with the zones' names")
    return QgsProcessingParameterField("ZONE_FIELD", title, parentLayerParameterName="ZONES", optional=True)


def _given(parameters, name: str) -> bool:
    given = parameters.get(name)
    return not (given is None or given == "")


def polygon_parameter(name: str, title: str) -> QgsProcessingParameterFeatureSource:
    """A layer of polygons that may be left out."""
    return QgsProcessingParameterFeatureSource(name, title, [QgsProcessing.SourceType.TypeVectorPolygon], optional=True)


def polygon_path(algorithm: QgsProcessingAlgorithm, parameters, name: str, context) -> str:
    """A file with a layer's polygons, all or those that are selected or filtered; empty where none is named.

    Raises:
        SourceRefused: it cannot be used.
        QgsProcessingException: there is no such layer.
    """
    given = parameters.get(name)
    if not _given(parameters, name):
        return ""
    layer = algorithm.parameterAsVectorLayer(parameters, name, context)
    if layer is None:
        raise QgsProcessingException(algorithm.invalidSourceError(parameters, name))
    selected = isinstance(given, QgsProcessingFeatureSourceDefinition) and given.selectedFeaturesOnly
    layer = _filtered(layer, getattr(given, "filterExpression", ""))
    return polygons.path_of(layer, selected, context.transformContext())


def _filtered(layer: QgsVectorLayer, expression: str) -> QgsVectorLayer:
    return layer.materialize(QgsFeatureRequest().setFilterExpression(expression)) if expression else layer


def model_parameter(tasks: Callable[[str], bool], title: str = "") -> QgsProcessingParameterString:
    """The choice of a model by its name; a list of those that are installed for such tasks, or any text."""
    names = [model.name for model in cards.installed() if tasks(model.task)]
    parameter = QgsProcessingParameterString("MODEL", title or tr("Model"), names[0] if names else None)
    parameter.setMetadata({"widget_wrapper": {"value_hints": names}} if names else {})
    return parameter


def model_of(algorithm: QgsProcessingAlgorithm, parameters, context) -> Tuple[str, ModelInfo]:
    """The model that was named: how, and what its card says.

    Raises:
        QgsProcessingException: there is none.
    """
    name = algorithm.parameterAsString(parameters, "MODEL", context).strip()
    model = cards.find(name)
    if model is None:
        text = tr("There is no model “{}”. Installed are: {}. Import it, or name another one.")
        known = ", ".join(item.name for item in cards.installed()) or tr("none")
        raise QgsProcessingException(text.format(name, known))
    return name, model


def advanced(parameter: QgsProcessingParameterDefinition) -> QgsProcessingParameterDefinition:
    """The same among the advanced parameters."""
    parameter.setFlags(parameter.flags() | ADVANCED)
    return parameter


def free_folder(path: str) -> str:
    """The path of a folder that the backend makes: Processing may have made it, empty, already."""
    if os.path.isdir(path) and not os.listdir(path):
        os.rmdir(path)
    return path


class _Dressing(QgsProcessingLayerPostProcessorInterface):
    def __init__(self, dress: Callable[[QgsMapLayer], None]):
        super().__init__()
        self._dress = dress

    def postProcessLayer(self, layer, context, feedback) -> None:
        """In the GUI's thread, as the layer is added (QGIS calls this)."""
        self._dress(layer)
        layer.triggerRepaint()


_ALIVE: "deque[_Dressing]" = deque(maxlen=500)  # QGIS holds no reference, and asks later


def dress_later(context, path: str, dress: Callable[[QgsMapLayer], None]) -> None:
    """Have the layer of a file styled when QGIS adds it, if it will."""
    if path and context.willLoadLayerOnCompletion(path):
        dressing = _Dressing(dress)
        _ALIVE.append(dressing)
        context.layerToLoadOnCompletionDetails(path).setPostProcessor(dressing)
