"""The roofs that are known where the map looks: found under a point without asking anybody."""

from __future__ import annotations

import threading
import time
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple, TypeVar

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsCsException,
    QgsGeometry,
    QgsPointXY,
    QgsRectangle,
    QgsSpatialIndex,
)

from ..client.schema import BackendError, RoofInfo
from ..layers.ground import transform_between

AT_ONCE = 16  # roofs that a thread works on before others may have the interpreter
MOST = 50_000  # roofs that are kept; the oldest go first
T = TypeVar("T")


class Roof(NamedTuple):
    """A roof: what the backend says of it, its outline in the view's CRS, and on the map."""

    info: RoofInfo
    outline: QgsGeometry
    on_map: QgsGeometry


class Batch:
    """Roofs that came together; never changed once made, so that a thread may make it."""

    def __init__(self, roofs: Iterable[Roof]):
        self.roofs = list(politely(roofs))
        self.bounds = QgsRectangle()
        self._index = QgsSpatialIndex()
        for number, roof in enumerate(politely(self.roofs)):
            box = roof.on_map.boundingBox()
            self.bounds.combineExtentWith(box)
            self._index.addFeature(number, box)

    def meeting(self, box: QgsRectangle) -> Iterator[Roof]:
        """Roofs whose bounding boxes meet a box."""
        if self.roofs and self.bounds.intersects(box):
            for number in self._index.intersects(box):
                yield self.roofs[number]

    def count(self, box: QgsRectangle) -> int:
        """How many there are of these."""
        return len(self._index.intersects(box)) if self.roofs and self.bounds.intersects(box) else 0


class Placing(NamedTuple):
    """How to get from a view to the map."""

    view: QgsCoordinateReferenceSystem
    map: QgsCoordinateReferenceSystem
    context: QgsCoordinateTransformContext

    def transform(self) -> QgsCoordinateTransform:
        """One for the thread that asks."""
        return transform_between(self.view, self.map, self.context)


def batch(infos: Iterable[RoofInfo], placing: Placing, without: Set[str] = frozenset()) -> Batch:
    """Roofs as the backend tells them, placed on the map; for any thread.

    Raises:
        BackendError: with code `protocol`, if an outline is none.
    """
    transform = placing.transform()
    outlines = ((info, outline_of(info.geometry)) for info in infos if info.id not in without)
    return Batch(Roof(info, outline, placed(outline, transform)) for info, outline in outlines)


def moved(roofs: Iterable[Roof], placing: Placing) -> Batch:
    """Roofs on a map that has another CRS now; for any thread."""
    transform = placing.transform()
    return Batch(Roof(roof.info, roof.outline, placed(roof.outline, transform)) for roof in roofs)


def placed(outline: QgsGeometry, transform: QgsCoordinateTransform) -> QgsGeometry:
    """An outline elsewhere; an empty one where it has no place there."""
    made = QgsGeometry(outline)
    if not transform.isShortCircuited():
        try:
            made.transform(transform)
        except QgsCsException:
            return QgsGeometry()
    return made


def outline_of(geometry: Dict[str, Any]) -> QgsGeometry:
    """A polygon of GeoJSON.

    Raises:
        BackendError: with code `protocol`, if it is none.
    """
    try:
        parts = geometry["coordinates"]
        if geometry["type"] == "Polygon":
            parts = [parts]
        elif geometry["type"] != "MultiPolygon":
            raise ValueError(geometry["type"])
        return QgsGeometry.fromMultiPolygonXY(
            [[[QgsPointXY(*xy[:2]) for xy in ring] for ring in part] for part in parts]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BackendError("protocol", f"The backend's outline of a roof is no polygon: {error}") from error


def politely(items: Iterable[T]) -> Iterator[T]:
    """The same items; a thread lets the GUI's thread have the interpreter now and then."""
    apart = threading.current_thread() is not threading.main_thread()
    for number, item in enumerate(items):
        if apart and number % AT_ONCE == AT_ONCE - 1:
            time.sleep(0.0005)
        yield item


class Known:
    """All roofs that are known, in the map's CRS."""

    def __init__(self):
        self._batches: List[Batch] = []
        self.ids: Set[str] = set()

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Roof]:
        for each in self._batches:
            yield from each.roofs

    def add(self, new: Batch) -> bool:
        """Know more; whether there was anything new. The oldest roofs are forgotten where there are too many."""
        if self.ids.intersection(roof.info.id for roof in new.roofs):
            new = Batch(roof for roof in new.roofs if roof.info.id not in self.ids)
        if not new.roofs:
            return False
        self._batches.append(new)
        self.ids.update(roof.info.id for roof in new.roofs)
        while len(self.ids) > MOST and len(self._batches) > 1:
            self.ids.difference_update(roof.info.id for roof in self._batches.pop(0).roofs)
        return True

    def clear(self) -> None:
        """Know nothing."""
        self._batches, self.ids = [], set()

    def at(self, point: QgsPointXY) -> Optional[Roof]:
        """The roof under a point; the smallest where several are."""
        box = QgsRectangle(point, point)
        hits = [roof for roof in self.meeting(box) if roof.on_map.contains(point)]
        return min(hits, key=lambda roof: roof.info.area) if hits else None

    def meeting(self, box: QgsRectangle) -> Iterator[Roof]:
        """Roofs whose bounding boxes meet a box."""
        for each in self._batches:
            yield from each.meeting(box)

    def count(self, box: QgsRectangle) -> int:
        """How many roofs' bounding boxes meet a box."""
        return sum(each.count(box) for each in self._batches)

    def inside(self, box: QgsRectangle) -> List[Roof]:
        """Roofs that lie in a box: with a point that is surely on them."""
        found = []
        for roof in self.meeting(box):
            if box.contains(roof.on_map.boundingBox()) or box.contains(roof.on_map.pointOnSurface().asPoint()):
                found.append(roof)
        return found

    def across(self, line: QgsGeometry) -> List[Roof]:
        """Roofs that a line meets."""
        return [roof for roof in self.meeting(line.boundingBox()) if roof.on_map.intersects(line)]


def blocks(box: QgsRectangle, side: Tuple[float, float], focus: QgsPointXY) -> List[QgsRectangle]:
    """A box in equal blocks of at most `side` (along x and y), the nearest to a point first."""
    columns, rows = (max(1, -int(-length // most)) for length, most in zip((box.width(), box.height()), side))
    width, height = box.width() / columns, box.height() / rows
    made = [
        QgsRectangle(left, bottom, left + width, bottom + height)
        for left in (box.xMinimum() + width * k for k in range(columns))
        for bottom in (box.yMinimum() + height * k for k in range(rows))
    ]
    return sorted(made, key=lambda each: each.center().sqrDist(focus))
