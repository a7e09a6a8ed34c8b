"""The layer that roofs are taken into: an ordinary polygon layer in edit mode, each step one step of its undo stack."""

from __future__ import annotations

import contextlib
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsFeatureRequest,
    QgsGeometry,
    QgsPointXY,
    QgsProject,
    QgsRectangle,
    QgsSpatialIndex,
    QgsVectorLayer,
    QgsVectorLayerUtils,
)
from qgis.PyQt.QtCore import QObject

from ..client.schema import ClassInfo
from ..compat import is_alive
from ..i18n import tr
from ..layers.further import outline
from ..layers.ground import measure, transform_between
from ..layers.results import GROUP
from . import shapes
from .known import Roof, placed

PROPERTY = "rotacube/roofs"  # of the layer: the key of the raster that its roofs are of
FIELDS = (
    "field=number:long&field=class:string&field=class_id:integer&field=area_m2:double&field=perimeter_m:double"
    "&field=confidence:double&field=axis_deg:double&field=outline:string&field=source:string&field=roof:string"
)
SAME = 0.5  # share of the smaller of two outlines that both have, from which on they are one roof
EDITED = "edited"  # in the field "outline"


class Origin(NamedTuple):
    """What roofs are taken from."""

    name: str  # of the raster
    key: str  # by which it is known again
    crs: QgsCoordinateReferenceSystem
    classes: Sequence[ClassInfo]


class Taken(QObject):
    """The roofs that were taken from one raster; its layer is made when the first one is."""

    def __init__(self, project: QgsProject, origin: Origin, parent=None):
        super().__init__(parent)
        self.origin = origin
        self.layer: Optional[QgsVectorLayer] = None
        self.last: Optional[int] = None  # the feature that was taken or changed last
        self._project = project
        self._boxes: Dict[int, QgsRectangle] = {}
        self._index = QgsSpatialIndex()
        self._new: List[int] = []  # what was added last
        for layer in project.mapLayers().values():
            if isinstance(layer, QgsVectorLayer) and layer.customProperty(PROPERTY) == origin.key:
                self._use(layer)
                break

    def close(self) -> None:
        """Let go of the layer; it stays as it is."""
        if is_alive(self.layer):
            for signal, slot in self._connections():
                with contextlib.suppress(TypeError, RuntimeError):
                    signal.disconnect(slot)
        self.layer = None

    # what there is

    def there(self) -> bool:
        """Whether there is a layer."""
        return is_alive(self.layer) and self._project.mapLayer(self.layer.id()) is not None

    def at(self, point: QgsPointXY, crs: QgsCoordinateReferenceSystem) -> Optional[QgsFeature]:
        """The feature under a point of the map."""
        if not self.there():
            return None
        point = self._here(QgsGeometry.fromPointXY(point), crs).asPoint()
        hits = [each for each in self._meeting(QgsRectangle(point, point)) if each.geometry().contains(point)]
        return min(hits, key=lambda each: each.geometry().area()) if hits else None

    def across(self, line: QgsGeometry, crs: QgsCoordinateReferenceSystem) -> List[QgsFeature]:
        """The features that a line on the map meets."""
        return self._crossed(self._here(line, crs))

    def _crossed(self, line: QgsGeometry) -> List[QgsFeature]:
        if not self.there():
            return []
        return [each for each in self._meeting(line.boundingBox()) if each.geometry().intersects(line)]

    def on_map(self, feature: QgsFeature, crs: QgsCoordinateReferenceSystem) -> QgsGeometry:
        """A feature's outline in the map's CRS."""
        return placed(feature.geometry(), transform_between(self.layer.crs(), crs, self._project.transformContext()))

    def has(self, roof: Roof) -> Optional[QgsFeature]:
        """The feature that a roof was taken as."""
        if not self.there():
            return None
        shape = self._outline(roof)
        for each in self._meeting(shape.boundingBox()):
            other = each.geometry()
            common = shape.intersection(other).area()
            least = min(shape.area(), other.area())
            if common > SAME * least or (each["roof"] == roof.info.id and common > 0.05 * least):
                return each
        return None

    def target(self) -> Optional[QgsFeature]:
        """The feature that the next roof is joined to: the selected one, else the last one."""
        if not self.there():
            return None
        selected = self.layer.selectedFeatureIds()
        number = selected[0] if len(selected) == 1 else self.last
        return self.layer.getFeature(number) if number in self._boxes else None

    # what is done: each a step to be undone

    def take(self, roofs: Sequence[Roof]) -> int:
        """Take roofs that are not taken yet; how many were."""
        new = [roof for roof in roofs if self.has(roof) is None]
        if not new:
            return 0
        with self._step(tr("Take a roof") if len(new) == 1 else tr("Take {} roofs").format(len(new))):
            self.last = self._add([self._feature(roof) for roof in new])[-1]
        return len(new)

    def join(self, roof: Optional[Roof], own: Optional[QgsFeature], slack: float) -> bool:
        """Join a roof, or a feature that is there, to the target.

        Args:
            roof: a roof, taken already or not.
            own: a feature, if there is one under the cursor.
            slack: how far apart two roofs may be that touch, in the units of the layer's CRS.

        Returns:
            False if the two do not touch, or there is no target.
        """
        target = self.target()
        if own is None and roof is not None:
            own = self.has(roof)
        if target is None or (own is None and roof is None):
            return False
        if own is not None and own.id() == target.id():
            return True
        whole = shapes.united(target.geometry(), self._outline(roof) if own is None else own.geometry(), slack)
        if whole is None:
            return False
        with self._step(tr("Join a roof")):
            if own is not None:
                self.layer.deleteFeature(own.id())
            self._change(target, whole)
        return True

    def drop(self, feature: QgsFeature, roof: Optional[Roof]) -> None:
        """Take a roof out of a feature; all of the feature where the roof is most of it, or there is none."""
        left = QgsGeometry()
        if roof is not None and self._outline(roof).area() < 0.9 * feature.geometry().area():
            left = shapes.polygons(feature.geometry().difference(self._outline(roof)))
        whole = left.isEmpty()
        with self._step(tr("Remove a roof") if whole else tr("Cut a roof out")):
            if whole:
                self.layer.deleteFeature(feature.id())
            else:
                self._change(feature, left)

    def split(self, line: QgsGeometry, crs: QgsCoordinateReferenceSystem, roofs: Sequence[Roof]) -> int:
        """Split along a line on the map the features that it crosses; where there are none, roofs, which are taken.

        Returns:
            How many were split.
        """
        line = self._here(line, crs)
        features = self._crossed(line)
        outlines = [each.geometry() for each in features] if features else [self._outline(roof) for roof in roofs]
        cut = [(each, shapes.cut(shape, line)) for each, shape in zip(features or roofs, outlines)]
        cut = [(each, parts) for each, parts in cut if len(parts) > 1]
        if not cut:
            return 0
        with self._step(tr("Split a roof")):
            for each, parts in cut:
                if features:
                    self._change(each, parts.pop(0))
                self.last = self._add([self._copy(each if features else self._feature(each), part) for part in parts])[
                    -1
                ]
        return len(cut)

    def mend(self, feature: QgsFeature, stroke: QgsGeometry, crs: QgsCoordinateReferenceSystem, adds: bool) -> bool:
        """Add a stroke of the brush to a feature, or rub it away; False if nothing would be left of it."""
        stroke, shape = self._here(stroke, crs), feature.geometry()
        shape = shapes.polygons(shape.combine(stroke) if adds else shape.difference(stroke))
        if shape.isEmpty():
            return False
        with self._step(tr("Mend an edge")):
            self._change(feature, shape)
        return True

    def undo(self) -> bool:
        """Take the last step back; whether there was one."""
        return self.there() and self._stepped(self.layer.undoStack().canUndo(), self.layer.undoStack().undo)

    def redo(self) -> bool:
        """Do again what was taken back; whether there was something."""
        return self.there() and self._stepped(self.layer.undoStack().canRedo(), self.layer.undoStack().redo)

    def _stepped(self, can: bool, step: Callable[[], None]) -> bool:
        if can:
            step()
            self.layer.triggerRepaint()
        return can

    # the layer

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[None]:
        self._ensure()
        if not self.layer.isEditable():
            self.layer.startEditing()
        self.layer.beginEditCommand(name)
        try:
            yield
        except BaseException:
            self.layer.destroyEditCommand()
            raise
        self.layer.endEditCommand()
        self.layer.triggerRepaint()

    def _ensure(self) -> None:
        """Make the layer unless it is there."""
        if self.there():
            return
        self.close()
        name = tr("Roofs of {}").format(self.origin.name)
        layer = QgsVectorLayer(f"MultiPolygon?{FIELDS}", name, "memory")
        layer.setCrs(self.origin.crs)
        layer.setCustomProperty(PROPERTY, self.origin.key)
        outline(layer, self.origin.classes, 0.5)  # over outlines of all that is known: it has to be seen
        root = self._project.layerTreeRoot()
        group = root.findGroup(GROUP) or root.insertGroup(0, GROUP)
        self._project.addMapLayer(layer, False)
        group.insertLayer(0, layer).setExpanded(False)
        self._use(layer)

    def _use(self, layer: QgsVectorLayer) -> None:
        self.layer, self.last = layer, None
        for signal, slot in self._connections():
            signal.connect(slot)
        self._read()

    def _connections(self):
        layer = self.layer
        return (
            (layer.featureAdded, self._added),
            (layer.featureDeleted, self._deleted),
            (layer.geometryChanged, self._moved),
            (layer.editingStopped, self._read),
        )

    def _read(self) -> None:
        """All features anew: when edits are saved or given up, their numbers change."""
        self._boxes, self._index = {}, QgsSpatialIndex()
        for feature in self.layer.getFeatures(QgsFeatureRequest().setNoAttributes()):
            self._note(feature.id(), feature.geometry().boundingBox())

    def _note(self, number: int, box: QgsRectangle) -> None:
        self._boxes[number] = box
        self._index.addFeature(number, box)

    def _added(self, number: int) -> None:
        self._deleted(number)
        self._new.append(number)
        self._note(number, self.layer.getFeature(number).geometry().boundingBox())

    def _deleted(self, number: int) -> None:
        box = self._boxes.pop(number, None)
        if box is not None:
            old = QgsFeature(number)
            old.setGeometry(QgsGeometry.fromRect(box))
            self._index.deleteFeature(old)

    def _moved(self, number: int, geometry: QgsGeometry) -> None:
        self._deleted(number)
        self._note(number, geometry.boundingBox())

    def _meeting(self, box: QgsRectangle) -> List[QgsFeature]:
        numbers = [number for number in self._index.intersects(box) if number in self._boxes]
        return list(self.layer.getFeatures(QgsFeatureRequest().setFilterFids(numbers))) if numbers else []

    # features

    def _feature(self, roof: Roof) -> QgsFeature:
        info, first = roof.info, self.origin.classes[1]
        made = QgsFeature(self.layer.fields())
        made.setGeometry(self._outline(roof))
        values = {
            "class": first.name,
            "class_id": first.id,
            "area_m2": round(info.area, 2),
            "perimeter_m": round(info.perimeter, 2),
            "confidence": round(info.confidence, 3),
            "axis_deg": None if info.axis is None else round(info.axis, 1),
            "outline": info.outline,
            "source": self.origin.name,
            "roof": info.id,
        }
        self._fill(made, values)
        return made

    def _copy(self, feature: QgsFeature, shape: QgsGeometry) -> QgsFeature:
        made = QgsFeature(self.layer.fields())
        made.setAttributes(feature.attributes())
        made.setGeometry(shape)
        self._fill(made, self._measured(shape))
        return made

    def _fill(self, feature: QgsFeature, values: dict) -> None:
        """Set fields; those that somebody has taken out of the layer are left out."""
        for name, value in values.items():
            at = self.layer.fields().lookupField(name)
            if at >= 0:
                feature.setAttribute(at, value)

    def _add(self, features: List[QgsFeature]) -> List[int]:
        """Add features, numbered; their numbers in the layer."""
        at = self.layer.fields().lookupField("number")
        highest = self.layer.maximumValue(at) if at >= 0 and self._boxes else 0
        made = []
        for number, feature in enumerate(features, int(highest or 0) + 1):
            values = {field: value for field, value in enumerate(feature.attributes()) if field != at}
            if at >= 0:
                values[at] = number
            made.append(QgsVectorLayerUtils.createFeature(self.layer, feature.geometry(), values))
        self._new.clear()
        self.layer.addFeatures(made)
        return list(self._new)

    def _change(self, feature: QgsFeature, shape: QgsGeometry) -> None:
        self.layer.changeGeometry(feature.id(), shape)
        for name, value in self._measured(shape).items():
            at = self.layer.fields().lookupField(name)
            if at >= 0:
                self.layer.changeAttributeValue(feature.id(), at, value)
        self.last = feature.id()

    def _measured(self, shape: QgsGeometry) -> dict:
        tape = measure(self.layer.crs(), self._project.transformContext())
        return {
            "area_m2": round(tape.measureArea(shape), 2),
            "perimeter_m": round(tape.measurePerimeter(shape), 2),
            "outline": EDITED,
        }

    def _outline(self, roof: Roof) -> QgsGeometry:
        """A roof's outline in the layer's CRS."""
        return self._here(roof.outline, self.origin.crs)

    def _here(self, shape: QgsGeometry, crs: QgsCoordinateReferenceSystem) -> QgsGeometry:
        """A shape in the layer's CRS; in the raster's while there is no layer."""
        own = self.layer.crs() if self.there() else self.origin.crs
        return placed(shape, transform_between(crs, own, self._project.transformContext()))
