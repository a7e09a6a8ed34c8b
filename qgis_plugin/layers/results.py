"""From the backend's mask to a styled layer in the project, with its origin in the layer's metadata."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from qgis.core import (
    QgsLayerMetadata,
    QgsPalettedRasterRenderer,
    QgsProject,
    QgsRasterLayer,
)

from .. import paths
from ..client.schema import MASK, JobRequest, JobResult, ModelInfo, Product
from ..i18n import tr
from . import classes

GROUP = "Rotacube"


class ResultUnreadable(Exception):
    """The mask is not to be opened; the text says why and what to do."""


@dataclass(frozen=True)
class Finished:
    """A finished job and what it was made from."""

    source_name: str
    request: JobRequest
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


def mask_layer(finished: Finished) -> QgsRasterLayer:
    """The mask as a styled layer that knows where it comes from; it belongs to no project yet.

    Raises:
        ResultUnreadable: if QGIS cannot open the file.
    """
    path = finished.mask.path
    layer = QgsRasterLayer(path, finished.title, "gdal")
    if not layer.isValid():
        text = tr("The mask was written but QGIS cannot open it: {}. Check that the file is still there.")
        raise ResultUnreadable(text.format(path))
    style(layer, finished.result)
    layer.setMetadata(provenance(finished))
    return layer


def add(layer: QgsRasterLayer, project: QgsProject) -> None:
    """Add a layer to the group "Rotacube" at the top of the layer tree."""
    project.addMapLayer(layer, False)
    root = project.layerTreeRoot()
    group = root.findGroup(GROUP) or root.insertGroup(0, GROUP)
    group.insertLayer(0, layer)
    group.setExpanded(False)  # the layer panel opens a group only on a change, and only when something is in it
    group.setExpanded(True)


def style(layer: QgsRasterLayer, result: JobResult) -> None:
    """Colours and names of the classes; the background is transparent."""
    legend = [QgsPalettedRasterRenderer.Class(item.id, classes.color(item), item.name) for item in result.classes]
    layer.setRenderer(QgsPalettedRasterRenderer(layer.dataProvider(), 1, legend))
    layer.setOpacity(classes.OPACITY)


def provenance(finished: Finished) -> QgsLayerMetadata:
    """The layer's metadata: what it was made from, how, when and under which licence."""
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
    metadata.setAbstract("\n".join(lines))
    when = datetime.now().astimezone().isoformat(timespec="seconds")
    metadata.addHistoryItem(f"{when} Rotacube {paths.version()} {result.device}, {result.seconds:.1f} s")
    metadata.addHistoryItem(json.dumps(request.to_json(), ensure_ascii=False))
    metadata.setKeywords({"gmd:topicCategory": ["imagery"], "rotacube": [request.model]})
    metadata.setRights([model.attribution])
    metadata.setLicenses([model.licence])
    return metadata
