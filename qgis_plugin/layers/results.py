"""From the backend's mask to a styled layer, with origin and result in the layer's metadata; and back from there."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Protocol

from qgis.core import (
    QgsDataProvider,
    QgsLayerMetadata,
    QgsLayerTreeLayer,
    QgsMapLayer,
    QgsMapLayerLegendUtils,
    QgsPalettedRasterRenderer,
    QgsProject,
    QgsRasterLayer,
    QgsRasterSymbolLegendNode,
)
from qgis.PyQt.QtCore import QThread

from .. import paths
from ..client.schema import MASK, BackendError, JobResult, ModelInfo, Product, parse
from ..i18n import tr
from . import classes, source

GROUP = "Rotacube"
KEYWORD = "rotacube"
"""Of the masks' metadata."""
_RESULT = "rotacube_result"


class ResultUnreadable(BackendError):
    """The mask is not to be opened; the text says why and what to do."""

    def __init__(self, message: str):
        super().__init__("result_unreadable", message)


class Asked(Protocol):
    """What the layers' metadata need of what was asked for."""

    @property
    def raster(self) -> str:
        """What was mapped."""

    @property
    def model(self) -> str:
        """By what name the model was called."""

    def to_json(self) -> Dict[str, Any]:
        """All of it."""


@dataclass(frozen=True)
class Finished:
    """A finished job and what it was made from; `request` is a `JobRequest`, or what is asked of a flight."""

    source_name: str
    request: Asked
    result: JobResult
    model: ModelInfo

    @property
    def title(self) -> str:
        """What was mapped, and with what."""
        return f"{self.source_name} – {self.model.title}"

    @property
    def mask(self) -> Product:
        """The mask among the job's products.

        Raises:
            BackendError: if there is none.
        """
        return self.result.product(MASK)


@dataclass(frozen=True)
class Kept:
    """What a mask's layer knows of its making."""

    title: str
    result: JobResult


def mask_layer(finished: Finished, thread: Optional[QThread] = None) -> QgsRasterLayer:
    """The mask as a styled layer, named after its file, that knows where it comes from; it belongs to no project yet.

    Args:
        finished: the job.
        thread: who is to own the layer, if it is not the thread that calls.

    Raises:
        ResultUnreadable: if QGIS cannot open the file.
    """
    path = finished.mask.path
    layer = QgsRasterLayer(path, Path(path).stem, "gdal")
    _dress(layer, finished)
    if thread is not None:
        layer.moveToThread(thread)
    return layer


def shown_at(path: str, layers: Iterable[QgsMapLayer]) -> List[QgsRasterLayer]:
    """The masks of ours among the layers that show a file, also where it is gone."""
    wanted = _spelt(path)
    return [layer for layer in layers if is_mask(layer) and _spelt(source.path_of(layer)) == wanted]


def renew(layer: QgsRasterLayer, finished: Finished, project: QgsProject) -> None:
    """Let a layer of the project show its file's new content: size, style and origin may be others.

    Raises:
        ResultUnreadable: if QGIS cannot open the file.
    """
    reopen(layer)
    _dress(layer, finished)
    node = project.layerTreeRoot().findLayer(layer.id())
    if node is not None:
        list_classes_only(node)
        layer.legendChanged.emit()
    layer.triggerRepaint()


def reopen(layer: QgsRasterLayer) -> None:
    """Let a layer look at its file anew; it is invalid afterwards if the file is gone."""
    layer.setDataSource(layer.source(), layer.name(), "gdal", QgsDataProvider.ProviderOptions())


def add(layer: QgsRasterLayer, project: QgsProject) -> None:
    """Add a layer to the group "Rotacube" at the top of the layer tree."""
    project.addMapLayer(layer, False)
    root = project.layerTreeRoot()
    group = root.findGroup(GROUP) or root.insertGroup(0, GROUP)
    node = QgsLayerTreeLayer(layer)
    list_classes_only(node)
    group.insertChildNode(0, node)
    group.setExpanded(False)  # the layer panel opens a group only on a change, and only when something is in it
    group.setExpanded(True)


def style(layer: QgsRasterLayer, result: JobResult) -> None:
    """Colours and names of the classes; the background is transparent."""
    legend = [QgsPalettedRasterRenderer.Class(item.id, classes.color(item), item.name) for item in result.classes]
    layer.setRenderer(QgsPalettedRasterRenderer(layer.dataProvider(), 1, legend))
    layer.setOpacity(classes.OPACITY)


def provenance(finished: Finished) -> QgsLayerMetadata:
    """The layer's metadata: what it was made from, how, when and under which licence; and the result itself."""
    request, result, model = finished.request, finished.result, finished.model
    metadata = QgsLayerMetadata()
    metadata.setType("dataset")
    metadata.setTitle(finished.title)
    lines = [
        tr("Mapped by Rotacube {} from {}").format(paths.version(), Path(request.raster).name),
        tr("Model: {}").format(f"{model.title} ({model.name}, sha256 {model.sha256})"),
        tr("Resolution: {} m").format(" × ".join(dict.fromkeys(str(round(size, 4)) for size in result.gsd))),
    ]
    lines += [f"{item.name}: {item.area_m2:.1f} m² ({item.share:.1%})" for item in result.classes]
    metadata.setAbstract("\n".join(lines + result.notes))
    when = datetime.now().astimezone().isoformat(timespec="seconds")
    metadata.addHistoryItem(f"{when} Rotacube {paths.version()} {result.device}, {result.seconds:.1f} s")
    metadata.addHistoryItem(json.dumps(request.to_json(), ensure_ascii=False))
    metadata.addHistoryItem(json.dumps({_RESULT: dataclasses.asdict(result)}, ensure_ascii=False))
    metadata.setKeywords({"gmd:topicCategory": ["imagery"], KEYWORD: [request.model]})
    metadata.setRights([model.attribution])
    metadata.setLicenses([model.licence])
    return metadata


def is_mask(layer: Optional[QgsMapLayer]) -> bool:
    """Whether a layer is a mask of ours."""
    return isinstance(layer, QgsRasterLayer) and KEYWORD in layer.metadata().keywords()


def kept(layer: Optional[QgsMapLayer]) -> Optional[Kept]:
    """What a layer's metadata say of the job that made it; None if they say nothing."""
    if not is_mask(layer):
        return None
    metadata = layer.metadata()
    for item in reversed(metadata.history()):
        try:
            content = json.loads(item)
            if _RESULT in content:
                return Kept(metadata.title(), parse(JobResult, content[_RESULT]))
        except (ValueError, TypeError, BackendError):  # somebody else's line, or a person has changed ours
            continue
    return None


def list_classes_only(node: QgsLayerTreeLayer) -> None:
    """Leave the band's name out of the legend: there is but one band."""
    entries = node.layer().legend().createLayerTreeModelLegendNodes(node)
    order = [n for n, entry in enumerate(entries) if isinstance(entry, QgsRasterSymbolLegendNode)]
    QgsMapLayerLegendUtils.setLegendNodeOrder(node, order)


def _dress(layer: QgsRasterLayer, finished: Finished) -> None:
    if not layer.isValid():
        text = tr("The mask was written but QGIS cannot open it: {}. Check that the file is still there.")
        raise ResultUnreadable(text.format(finished.mask.path))
    style(layer, finished.result)
    layer.setMetadata(provenance(finished))


def _spelt(path: str) -> str:
    """A path as it is compared with others; the file need not be there."""
    return os.path.normcase(os.path.realpath(path))
