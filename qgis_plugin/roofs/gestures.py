"""What the gestures of the tool do: to the roof under the cursor, to what is taken, to the view."""

from __future__ import annotations

from typing import Optional

from qgis.core import QgsFeature, QgsGeometry, QgsPointXY, QgsRectangle, QgsUnitTypes
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import QObject, QPoint, pyqtSignal

from ..gui import format as fmt
from ..i18n import tr
from .known import Known, Roof
from .session import Session
from .shown import Hover
from .strip import Strip
from .taken import Taken
from .tool import JOIN, REMOVE, RoofTool

TOUCHING = 1.5  # pixels of the model: roofs that are no further apart touch


class Gestures(QObject):
    """Follows one tool, while it takes roofs of one layer.

    Args:
        canvas: the map.
        tool: whose gestures these are.
        strip: where remarks go.
        known: the roofs that are known.
        taken: the layer they go to.
    """

    changed = pyqtSignal()  # something was taken, changed or removed

    def __init__(self, canvas: QgsMapCanvas, tool: RoofTool, strip: Strip, known: Known, taken: Taken, parent=None):
        super().__init__(parent)
        self.taken, self.known, self.hover = taken, known, Hover(canvas)
        self.session: Optional[Session] = None  # None while the backend does not run
        self._canvas, self._tool, self._strip = canvas, tool, strip
        self._under: Optional[object] = None  # what is shown: a roof, or the number of a feature
        self._connections = (
            (tool.hovered, self.hovered),
            (tool.left, self._forget),
            (tool.clicked, self._clicked),
            (tool.boxed, self._boxed),
            (tool.split, self._split),
            (tool.brushed, self._brushed),
            (tool.escaped, self._escaped),
            (tool.undo_wanted, lambda: self._stepped(self.taken.undo(), tr("There is nothing to undo."))),
            (tool.redo_wanted, lambda: self._stepped(self.taken.redo(), tr("There is nothing to do again."))),
            (tool.stepped, strip.step),
            (tool.brush_key, strip.brush.toggle),
            (strip.brush_toggled, self._set_brush),
        )
        for signal, slot in self._connections:
            signal.connect(slot)
        self._set_brush(strip.brush.isChecked())

    def follow(self, session: Session) -> None:
        """Look for roofs with this session from now on."""
        self.session = session
        session.grown.connect(self._grown)
        session.nothing.connect(self._strip.remark)

    def close(self) -> None:
        """Follow no further; the layer stays as it is."""
        self.session = None
        for signal, slot in self._connections:
            signal.disconnect(slot)
        self.hover.remove()
        self.taken.close()

    def hovered(self, point: QgsPointXY, place: QPoint) -> None:
        """Show what is under the cursor; nobody is asked."""
        roof = self.known.at(point)
        feature = self.taken.at(point, self._crs()) if roof is None else None
        under = roof if roof is not None else feature.id() if feature is not None else None
        if under is None:
            self._forget()
            return
        if under is not self._under and under != self._under:
            self._under = under
            self._show(roof, feature)
        self.hover.move(place)

    def _show(self, roof: Optional[Roof], feature: Optional[QgsFeature]) -> None:
        if roof is None:
            text = tr("{area} m², taken").format(area=_field(feature, "area_m2", 0))
            self.hover.show(self.taken.on_map(feature, self._crs()), text, True)
            return
        taken = self.taken.has(roof) is not None
        text = tr("{area} m², {confidence}, taken") if taken else tr("{area} m², {confidence}")
        text = text.format(area=fmt.number(roof.info.area), confidence=fmt.per_cent(roof.info.confidence, 1))
        self.hover.show(roof.on_map, text, taken)

    def _forget(self) -> None:
        if self._under is not None:
            self._under = None
            self.hover.hide()

    def _clicked(self, kind: str, point: QgsPointXY) -> None:
        self._forget()
        roof, feature = self.known.at(point), self.taken.at(point, self._crs())
        if kind == REMOVE:
            self._remove(feature, roof)
        elif kind == JOIN and (roof is not None or feature is not None):
            self._join(roof, feature)
        elif roof is not None:
            self._take(roof)
        elif feature is not None:
            self._select(feature)
        elif self.session is not None and self.session.view is not None:
            self.session.grow(point)
        else:
            self._strip.remark(tr("No roof is known there yet."))

    def _take(self, roof: Roof) -> None:
        own = self.taken.has(roof)
        if own is not None:
            self._select(own)
            return
        self.taken.take([roof])
        self.taken.layer.removeSelection()
        self.changed.emit()

    def _select(self, feature: QgsFeature) -> None:
        """Choose a roof that is taken as the one that others are joined to."""
        self.taken.layer.selectByIds([feature.id()])
        self._strip.remark(tr("This roof is taken already; Shift-click a neighbour to join it."))

    def _join(self, roof: Optional[Roof], feature: Optional[QgsFeature]) -> None:
        if self.taken.target() is None:
            if roof is not None:
                self._take(roof)
            return
        slack = TOUCHING * (self._pixel() or self._canvas.mapUnitsPerPixel())
        if self.taken.join(roof, feature, slack):
            self.changed.emit()
        elif roof is not None and self.taken.take([roof]):
            self.changed.emit()
            self._strip.remark(tr("It does not touch the roof before: taken as a roof of its own."))
        else:
            self._strip.remark(tr("The two do not touch."))

    def _remove(self, feature: Optional[QgsFeature], roof: Optional[Roof]) -> None:
        if feature is None:
            self._strip.remark(tr("No taken roof is there."))
            return
        self.taken.drop(feature, roof)
        self.changed.emit()

    def _boxed(self, box: QgsRectangle) -> None:
        count = self.taken.take(self.known.inside(box))
        self._strip.remark(tr("{} roofs taken").format(count) if count else tr("No roof in the box that is not taken."))
        if count:
            self.changed.emit()

    def _split(self, line: QgsGeometry) -> None:
        count = self.taken.split(line, self._crs(), self.known.across(line))
        self._stepped(count > 0, tr("Draw the line right across a roof to split it."))

    def _brushed(self, start: QgsPointXY, area: QgsGeometry) -> None:
        """From within a roof the brush adds, from outside it takes away."""
        feature = self.taken.at(start, self._crs())
        adds = feature is not None
        if feature is None:
            met = self.taken.across(area, self._crs())
            target = self.taken.target()
            numbers = [each.id() for each in met]
            feature = target if target is not None and target.id() in numbers else next(iter(met), None)
        if feature is None:
            self._strip.remark(tr("The brush mends roofs that are taken: begin in one, or beside it."))
            return
        done = self.taken.mend(feature, area, self._crs(), adds)
        self._stepped(done, tr("Nothing would be left of the roof; Ctrl-click removes it."))

    def _escaped(self) -> None:
        if self.session is not None and self.session.busy:
            self.session.cancel()
            self._strip.tell(tr("Cancelled. Move the map to look again."))
        elif self.taken.there():
            self.taken.layer.removeSelection()

    def _grown(self, roof: Roof) -> None:
        self._take(roof)

    def _stepped(self, done: bool, otherwise: str) -> None:
        self._forget()
        if done:
            self.changed.emit()
        else:
            self._strip.remark(otherwise)

    def _set_brush(self, on: bool) -> None:
        self._tool.brush = on

    def _crs(self):
        return self._canvas.mapSettings().destinationCrs()

    def _pixel(self) -> Optional[float]:
        """A pixel of the model, in units of the taken layer's CRS."""
        origin, own = self.taken.origin.crs, self.taken.layer.crs()
        if self.session is None or self.session.view is None:
            return None
        return self.session.view.pixel[0] * QgsUnitTypes.fromUnitToUnitFactor(origin.mapUnits(), own.mapUnits())


def _field(feature: QgsFeature, name: str, decimals: int) -> str:
    at = feature.fields().lookupField(name)
    try:
        return fmt.number(float(feature.attribute(at)), decimals) if at >= 0 else ""
    except (TypeError, ValueError):  # somebody has emptied it
        return "?"
