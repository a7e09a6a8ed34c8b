"""The conversation with the backend about one layer: which roofs there are where the map looks.

Nothing here waits: what takes time is done in threads, and what a newer wish has made stale is dropped when it comes.
"""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Callable, List, NamedTuple, Optional, Set, Tuple

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCsException,
    QgsPointXY,
    QgsRectangle,
    QgsReferencedRectangle,
)
from qgis.PyQt.QtCore import QObject, pyqtSignal

from ..client.http import Client
from ..client.schema import BackendError, RoofGrown, RoofsFound, ViewInfo, ViewRequest
from ..i18n import tr
from ..layers.area import common_part
from ..layers.ground import moved_point, transform_between
from ..signals.background import Background
from .known import Batch, Known, Placing, batch, blocks, moved
from .pixels import Cell, Pixels, cell_box

INSET = 0.25  # of a cell, within which a request keeps to that cell: the backend looks about what it is asked for
PIECE = 1024  # pixels a side of what is asked for after it, so that roofs come soon
WHOLE = 3072  # and of what is asked for in the end, when all of it is inferred
MOST = 12_288  # pixels a side of what the map may show
RING = 0.25  # of a block's size, inferred ahead
VIEW_GONE = "view_missing"
CANCELLED = "cancelled"
_tickets = itertools.count(1)


class Place(NamedTuple):
    """What the map shows, in its CRS."""

    box: QgsRectangle
    crs: QgsCoordinateReferenceSystem


class Work(NamedTuple):
    """A piece that is still to be asked for, in the view's CRS."""

    box: QgsRectangle
    ring: float


class Session(QObject):
    """One layer looked at with one model.

    Args:
        client: the way to the backend.
        request: which view to open.
        known: what is known, and grows.
        extent: where the layer lies, in the view's CRS if the backend reads it.
        layer: the layer that QGIS renders, if the backend does not read it itself.
        context: how to get from one CRS to another.
    """

    opened = pyqtSignal(object)  # ViewInfo
    changed = pyqtSignal()  # other roofs are known than before
    working = pyqtSignal(str)
    rested = pyqtSignal()  # all that was asked for is known
    grown = pyqtSignal(object)  # Roof
    nothing = pyqtSignal(str)  # why nothing has grown
    gaps = pyqtSignal(float)  # share of what was looked at that has no picture; 0 when there is all
    too_far = pyqtSignal()
    failed = pyqtSignal(object)  # BackendError

    def __init__(
        self, client: Client, request: ViewRequest, known: Known, extent: QgsRectangle, layer, context, parent=None
    ):
        super().__init__(parent)
        self.known = known
        self.view: Optional[ViewInfo] = None
        self.crs: Optional[QgsCoordinateReferenceSystem] = None  # of the view
        self.threshold: Optional[float] = None  # the model's own if None
        self.pixels: Optional[Pixels] = None
        self.extent = extent
        self._client, self._request, self._layer, self._context = client, request, layer, context
        self._place: Optional[Place] = None
        self._focus: Optional[QgsPointXY] = None  # in the CRS of the place
        self._todo: List[Work] = []
        self._tried: Set[Cell] = set()  # cells that were rendered for this look
        self._then: Callable[[], None] = self._next  # when they are sent
        self._looked_at: Optional[Place] = None  # of which all is known
        self._ticket = ""
        self._turn = 0
        self._stale = False  # the roofs that are known were cut at another threshold
        self._opening = False
        self._over = False
        self._background = Background(self)

    @property
    def busy(self) -> bool:
        """Whether something is asked for."""
        return bool(self._ticket or self._opening)

    def open(self) -> None:
        """Open the view."""
        if self._opening or self._over:
            return
        self._opening = True
        self.working.emit(tr("Opening the model…"))
        self._background.call(lambda: self._client.open_view(self._request), self._opened, self._not_opened)

    def look(self, place: Place, focus: Optional[QgsPointXY] = None) -> None:
        """Find the roofs of a place; what was looked for before is cancelled.

        Args:
            place: what the map shows.
            focus: about which roofs are wanted first, in the map's CRS; the middle if None.
        """
        self.cancel()
        if self._place is not None and self._place.crs != place.crs:
            self._move(place)
        again = self._looked_at == place
        self._place, self._focus, self._looked_at = place, focus, None
        if self.view is None:
            self.open()
            return
        box = self._in_view(place)
        if box is None:
            self._looked_at = place
            self.rested.emit()
            return
        dx, dy = abs(self.view.pixel[0]), abs(self.view.pixel[1])
        if max(box.width() / dx, box.height() / dy) > MOST:
            self.too_far.emit()
            return
        self._todo = self._pieces(box, again)
        self._tried = set()
        poor = [] if self.pixels is None else [c for c in self.pixels.poor if cell_box(self.view, c).intersects(box)]
        if poor:  # what did not come the last time may come now
            self._fetch(poor, self._next)
        else:
            self._next()

    def cut(self, threshold: Optional[float]) -> None:
        """Cut the roofs at another threshold; those that are known stay until the new ones come."""
        self.threshold, self._stale = threshold, True
        if self._place is not None:
            self.look(self._place, self._focus)

    def grow(self, point: QgsPointXY) -> None:
        """Look for a roof about a point of the map where none was found."""
        if self.view is None or self._place is None:
            return
        inner = moved_point(transform_between(self._place.crs, self.crs, self._context), point)
        if inner is None:
            self.nothing.emit(tr("There is nothing of the layer."))
            return
        self.working.emit(tr("Looking for a roof there…"))
        self._grow((inner.x(), inner.y()))

    def cancel(self) -> None:
        """Look for nothing more."""
        self._turn += 1
        self._todo = []
        if self.pixels is not None:
            self.pixels.stop()
        ticket, self._ticket = self._ticket, ""
        if ticket and self.view is not None:
            view = self.view.id
            self._background.call(lambda: self._client.cancel_roofs(view, ticket), lambda _: None)

    def close(self) -> None:
        """Forget all; nothing comes afterwards."""
        self.cancel()
        self._over = True
        if self.pixels is not None:
            self.pixels.close()
        view, self.view = self.view, None
        if view is not None:
            self._background.call(lambda: self._client.close_view(view.id), lambda _: None)
        self._background.close()

    # opening

    def _opened(self, view: ViewInfo) -> None:
        self._opening = False
        if self._over:
            self._background.call(lambda: self._client.close_view(view.id), lambda _: None)
            return
        crs = QgsCoordinateReferenceSystem()
        crs.createFromUserInput(view.crs)
        if not crs.isValid() or view.cell < 1 or not view.pixel[0] > 0 > view.pixel[1]:
            self._not_opened(BackendError("protocol", tr("The backend opened a view whose grid is none.")))
            return
        self.view, self.crs = view, crs
        if self._layer is not None:
            if self.pixels is not None:
                self.pixels.close()
            self.pixels = Pixels(self._layer, view, crs, partial(self._client.send_cell, view.id), self)
            self.pixels.done.connect(lambda: self._then())
            self.pixels.failed.connect(lambda error: self._not_found(self._turn, error))
        self.opened.emit(view)
        if self._place is not None:
            self.look(self._place, self._focus)

    def _not_opened(self, error: BackendError) -> None:
        self._opening = False
        self.failed.emit(error)

    def _gone(self) -> None:
        """The backend has forgotten the view, as it may after a while: open it again."""
        self.cancel()
        self.view = None
        self.open()

    # looking

    def _pieces(self, box: QgsRectangle, inferred: bool) -> List[Work]:
        """What is asked for, one after the other.

        Args:
            box: what the map shows, in the view's CRS.
            inferred: whether the backend has all of it already.
        """
        dx, dy = abs(self.view.pixel[0]), abs(self.view.pixel[1])
        ring = RING if self._layer is None else 0.0  # what is to be rendered first is not asked for ahead
        focus = box.center()
        if self._focus is not None:
            focus = moved_point(transform_between(self._place.crs, self.crs, self._context), self._focus) or focus
        whole = [Work(block, ring) for block in blocks(box, (WHOLE * dx, WHOLE * dy), focus)]
        first = self._cell_of(focus)
        if inferred or first.contains(box):
            return whole
        pieces = [first.intersect(box)] if first.intersects(box) else []
        parts = blocks(box, (PIECE * dx, PIECE * dy), focus)
        if len(parts) > 1:
            pieces += parts
        return [Work(piece, 0.0) for piece in pieces] + whole  # the whole once more: roofs across pieces, and the ring

    def _cell_of(self, point: QgsPointXY) -> QgsRectangle:
        """The inner part of the cell that a point lies in, in the view's CRS."""
        (x, y), (dx, dy) = self.view.origin, (self.view.cell * step for step in self.view.pixel)
        box = cell_box(self.view, (math.floor((point.x() - x) / dx), math.floor((point.y() - y) / dy)))
        box.scale(1 - 2 * INSET)
        return box

    def _next(self) -> None:
        if not self._todo:
            self._ticket = ""
            self._looked_at = self._place
            if self.pixels is not None:
                self.gaps.emit(self._gap())
            self.rested.emit()
            return
        work, turn = self._todo[0], self._turn
        self._ticket = ticket = f"look-{next(_tickets)}"
        self.working.emit(tr("Finding roofs…"))
        client, view, threshold = self._client, self.view.id, self.threshold
        box = work.box.xMinimum(), work.box.yMinimum(), work.box.xMaximum(), work.box.yMaximum()
        placing = Placing(self.crs, self._place.crs, self._context)
        without = frozenset() if self._stale else frozenset(self.known.ids)

        def ask() -> Tuple[RoofsFound, Batch]:
            found = client.roofs(view, box, work.ring, threshold, ticket)
            return found, batch(found.roofs, placing, without)

        self._background.call(ask, partial(self._found, turn), partial(self._not_found, turn))

    def _found(self, turn: int, answer: Tuple[RoofsFound, Batch]) -> None:
        if turn != self._turn:
            return
        found, new = answer
        if self._stale:
            self._stale = False
            self.known.clear()
            self.known.add(new)
            self.changed.emit()
        elif self.known.add(new):
            self.changed.emit()
        needs = [cell for cell in found.needs if cell not in self._tried]
        if needs and self.pixels is not None:
            self._fetch(needs, self._next)
            return
        self._todo.pop(0)
        self._next()

    def _not_found(self, turn: int, error: BackendError) -> None:
        if turn != self._turn:
            return
        self._ticket, self._todo = "", []
        if error.code == VIEW_GONE:
            self._gone()
        elif error.code != CANCELLED:
            self.failed.emit(error)

    def _fetch(self, cells: List[Cell], then: Callable[[], None]) -> None:
        """Have QGIS render cells, and go on when the backend has them."""
        self._tried.update(cells)
        self._then = then
        self.working.emit(tr("Reading the map…"))
        self.pixels.fetch(cells)

    def _gap(self) -> float:
        """The share of the place looked at that has no picture, 0 to 1."""
        box = self._in_view(self._place)
        if box is None or not box.area():
            return 0.0
        parts = [(cell_box(self.view, cell).intersect(box).area(), gap) for cell, gap in self.pixels.poor.items()]
        return min(1.0, sum(area * gap for area, gap in parts) / box.area())

    # growing

    def _grow(self, point: Tuple[float, float]) -> None:
        turn, client, view, threshold = self._turn, self._client, self.view.id, self.threshold
        placing = Placing(self.crs, self._place.crs, self._context)

        def ask() -> Tuple[RoofGrown, Optional[Batch]]:
            answer = client.grow(view, point, threshold)
            return answer, None if answer.roof is None else batch([answer.roof], placing)

        self._background.call(ask, partial(self._answered, turn, point), partial(self._not_found, turn))

    def _answered(self, turn: int, point: Tuple[float, float], answer: Tuple[RoofGrown, Optional[Batch]]) -> None:
        if turn != self._turn:
            return
        grown, made = answer
        needs = [cell for cell in grown.needs if cell not in self._tried]
        if made is not None:
            self.known.add(made)
            self.changed.emit()
            self.rested.emit()
            self.grown.emit(made.roofs[0])
        elif needs and self.pixels is not None:
            self._fetch(needs, partial(self._grow, point))
        else:
            self.rested.emit()
            self.nothing.emit(grown.why or tr("There is no roof."))

    # places

    def _in_view(self, place: Place) -> Optional[QgsRectangle]:
        """The part of a place that the layer can have, in the view's CRS; None if that is nothing."""
        area = QgsReferencedRectangle(place.box, place.crs)
        if self._layer is None:
            return common_part(self.extent, self.crs, area, self._context)
        try:
            box = transform_between(place.crs, self.crs, self._context).transformBoundingBox(place.box)
        except QgsCsException:
            return None
        return box if box.isFinite() and not box.isEmpty() else None

    def _move(self, place: Place) -> None:
        """The map has another CRS now: its roofs lie elsewhere."""
        roofs = list(self.known)
        self.known.clear()
        self.changed.emit()
        if self.view is None:
            return
        placing = Placing(self.crs, place.crs, self._context)

        def arrived(made: Batch) -> None:
            if self._place is not None and self._place.crs == place.crs and self.known.add(made):
                self.changed.emit()

        self._background.call(lambda: moved(roofs, placing), arrived)
