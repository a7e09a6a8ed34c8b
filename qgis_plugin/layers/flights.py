"""A drone's flight on the map: the ground that its frames show, and the layers of the map that is made of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Dict, List, Optional, Tuple

from qgis.core import (
    QgsColorRampShader,
    QgsCoordinateReferenceSystem,
    QgsDistanceArea,
    QgsFeature,
    QgsFillSymbol,
    QgsGeometry,
    QgsLayerTreeGroup,
    QgsLayerTreeLayer,
    QgsMapLayer,
    QgsMultiBandColorRenderer,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
    QgsRasterShader,
    QgsSingleBandPseudoColorRenderer,
    QgsSingleSymbolRenderer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QThread
from qgis.PyQt.QtGui import QColor

from ..client.schema import MASK, BackendError
from ..i18n import tr
from . import further, results, source
from .results import GROUP, Finished, ResultUnreadable

PHOTO, AGREEMENT, FOOTPRINTS = "photo", "agreement", "footprints"
KINDS = (FOOTPRINTS, MASK, further.PROBABILITY, AGREEMENT, PHOTO, further.STATISTICS)
"""The files of a map of frames, as its layers lie upon each other."""
_SHOWN = (MASK, PHOTO)
_KIND = "rotacube/kind"
_FIELDS = (
    *(("frame", "string(255)"), ("longitude", "double"), ("latitude", "double"), ("height_m", "double")),
    *(("yaw_deg", "double"), ("tilt_deg", "double"), ("gsd_m", "double")),
)


@dataclass(frozen=True)
class Flight:
    """What the backend says of a folder of frames.

    Attributes:
        folder: theirs.
        frames: of each that is placed, its fields of `rotacube frames list`.
        left_out: the names of the others, and why.
        notes: sentences that a person should know.
    """

    folder: str
    frames: List[Dict[str, Any]]
    left_out: List[Tuple[str, str]]
    notes: List[str]

    @property
    def crs(self) -> QgsCoordinateReferenceSystem:
        """Of the corners."""
        return QgsCoordinateReferenceSystem.fromWkt(str(self.frames[0]["crs"]))

    @property
    def gsd(self) -> float:
        """Median size of the frames' pixels on the ground, metres."""
        return median(float(frame["gsd_m"]) for frame in self.frames)

    @property
    def height(self) -> float:
        """Median height above the ground, metres."""
        return median(float(frame["height_m"]) for frame in self.frames)

    def area(self, project: QgsProject) -> float:
        """Square metres of the ground that any frame shows, on the ellipsoid."""
        measure = QgsDistanceArea()
        measure.setSourceCrs(self.crs, project.transformContext())
        measure.setEllipsoid("EPSG:7030")
        return measure.measureArea(QgsGeometry.unaryUnion([_polygon(frame) for frame in self.frames]))


def parse_flight(folder: str, told: Dict[str, Any]) -> Flight:
    """A flight from the result of `rotacube frames list`.

    Raises:
        BackendError: with code `protocol`, when it has another shape.
    """
    try:
        rows, notes = told["frames"], [str(note) for note in told["notes"]]
        left_out = [(str(row["frame"]), str(row["left_out"])) for row in rows if "left_out" in row]
        flight = Flight(folder, [row for row in rows if "left_out" not in row], left_out, notes)
        whole = all({"corners", *(name for name, _ in _FIELDS)} <= frame.keys() for frame in flight.frames)
        if not whole or not flight.crs.isValid():
            raise ValueError("a frame lacks something")
        return flight
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise BackendError("protocol", f"The backend's answer is no list of frames: {error!r}") from error


def preview(flight: Flight) -> QgsVectorLayer:
    """The footprints as a layer in memory, which QGIS does not ask to save; it belongs to no project yet."""
    fields = "&".join(f"field={name}:{kind}" for name, kind in _FIELDS)
    layer = QgsVectorLayer(f"Polygon?{fields}", tr("Frames of {}").format(Path(flight.folder).name), "memory")
    layer.setCrs(flight.crs)
    features = []
    for frame in flight.frames:
        feature = QgsFeature(layer.fields())
        feature.setGeometry(_polygon(frame))
        feature.setAttributes([frame[name] for name, _ in _FIELDS])
        features.append(feature)
    layer.dataProvider().addFeatures(features)
    layer.updateExtents()
    layer.setCustomProperty("skipMemoryLayersCheck", 1)
    outline(layer)
    return layer


def outline(layer: QgsVectorLayer) -> None:
    """Each frame a line about what it shows, and hardly a fill, so that overlaps add up."""
    look = {"color": "255,200,0,18", "outline_color": "255,170,0,255", "outline_width": "0.4"}
    layer.setRenderer(QgsSingleSymbolRenderer(QgsFillSymbol.createSimple(look)))
    tip = '<b>[% "frame" %]</b><br>[% round("height_m", 1) %] m, [% round(100 * "gsd_m", 2) %] cm, '
    layer.setMapTipTemplate(tip + tr("yaw") + ' [% round("yaw_deg", 1) %]°')


def show_photo(layer: QgsRasterLayer) -> None:
    """Red, green and blue as they are."""
    layer.setRenderer(QgsMultiBandColorRenderer(layer.dataProvider(), 1, 2, 3))


def shade_agreement(layer: QgsRasterLayer) -> None:
    """From a strong colour where half of the weight or less voted otherwise to none where all frames agree."""
    ramp = QgsColorRampShader(0.5, 1.0)
    ramp.setColorRampType(QgsColorRampShader.Type.Interpolated)
    ramp.setColorRampItemList(
        [
            QgsColorRampShader.ColorRampItem(0.5, QColor(213, 0, 110), "≤ 50 %"),
            QgsColorRampShader.ColorRampItem(1.0, QColor(213, 0, 110, 0), "100 %"),
        ]
    )
    shader = QgsRasterShader()
    shader.setRasterShaderFunction(ramp)
    layer.setRenderer(QgsSingleBandPseudoColorRenderer(layer.dataProvider(), 1, shader))


def files_of(told: Dict[str, Any]) -> Dict[str, str]:
    """The files of a map of frames by kind, in the order of `KINDS`, from the result of `rotacube frames map`.

    Raises:
        BackendError: with code `protocol`, when it has another shape.
    """
    try:
        found = {str(item["kind"]): str(item["path"]) for item in told["products"]}
        found.update({str(kind): str(path) for kind, path in told["also"].items()})
        return {kind: found[kind] for kind in KINDS if kind in found}
    except (LookupError, TypeError, AttributeError) as error:
        raise BackendError("protocol", f"The backend's answer names no files: {error!r}") from error


def title(kind: str, name: str) -> str:
    """What a layer is called."""
    texts = {
        FOOTPRINTS: tr("{} frames"),
        MASK: tr("{} mask"),
        further.PROBABILITY: tr("{} probability"),
        AGREEMENT: tr("{} agreement"),
        PHOTO: tr("{} photo"),
        further.STATISTICS: tr("{} shares"),
    }
    return texts[kind].format(name)


def dress(kind: str, layer: QgsMapLayer, finished: Finished) -> None:
    """Give a layer of a map of frames its looks and its origin."""
    if kind == MASK:
        results.style(layer, finished.result)
        layer.setMetadata(results.provenance(finished))
        return
    if kind == further.PROBABILITY:
        further.shade(layer, finished.result.classes)
    looks = {AGREEMENT: shade_agreement, PHOTO: show_photo, FOOTPRINTS: outline}
    looks.get(kind, lambda layer: None)(layer)
    further.note_origin(layer, finished)


def opened(files: Dict[str, str], finished: Finished, thread: Optional[QThread] = None) -> Dict[str, QgsMapLayer]:
    """The layers of a map of frames by kind, for `thread` if it is not the one that calls; of no project yet.

    Raises:
        ResultUnreadable: if QGIS cannot open a file.
    """
    made: Dict[str, QgsMapLayer] = {}
    for kind, path in files.items():
        called = title(kind, finished.source_name)
        raster = path.endswith(".tif")
        layer = QgsRasterLayer(path, called, "gdal") if raster else QgsVectorLayer(path, called, "ogr")
        if not layer.isValid():
            text = tr("{} was written but QGIS cannot open it. Check that the file is still there.")
            raise ResultUnreadable(text.format(path))
        dress(kind, layer, finished)
        if thread is not None:
            layer.moveToThread(thread)
        made[kind] = layer
    return made


def add(made: Dict[str, QgsMapLayer], name: str, project: QgsProject) -> None:
    """Add the layers to a group of the flight's in ours; those that show the same files already are replaced.

    Mask and photo are shown, the others would cover them.
    """
    wanted = {_spelt(layer) for layer in made.values()}
    project.removeMapLayers([old.id() for old in project.mapLayers().values() if _spelt(old) in wanted])
    for kind, layer in made.items():
        project.addMapLayer(layer, False)
        _put(QgsLayerTreeLayer(layer), kind, name, project)


def move(kind: str, layer: QgsMapLayer, name: str, project: QgsProject) -> None:
    """Move a layer that Processing has added, on top of all others, to where `add` puts it."""
    node = project.layerTreeRoot().findLayer(layer.id())
    if node is not None:
        _put(node.clone(), kind, name, project)
        node.parent().removeChildNode(node)


def _put(node: QgsLayerTreeLayer, kind: str, name: str, project: QgsProject) -> None:
    root = project.layerTreeRoot()
    ours: QgsLayerTreeGroup = root.findGroup(GROUP) or root.insertGroup(0, GROUP)
    group = ours.findGroup(name) or ours.insertGroup(0, name)
    node.layer().setCustomProperty(_KIND, KINDS.index(kind))
    above = [other for other in group.findLayers() if other.layer().customProperty(_KIND, 0) < KINDS.index(kind)]
    if kind == MASK:
        results.list_classes_only(node)
    group.insertChildNode(len(above), node)
    node.setItemVisibilityChecked(kind in _SHOWN)
    node.setExpanded(kind == MASK)
    ours.setExpanded(True)


def _spelt(layer: QgsMapLayer) -> str:
    return os.path.normcase(os.path.realpath(source.path_of(layer)))


def _polygon(frame: Dict[str, Any]) -> QgsGeometry:
    return QgsGeometry.fromPolygonXY([[QgsPointXY(float(x), float(y)) for x, y in frame["corners"]]])
