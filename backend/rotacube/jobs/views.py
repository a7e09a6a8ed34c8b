"""Views: rasters that somebody looks at, each with a model and what was found so far; forgotten when nobody does."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from rotacube.errors import JobCancelled, OptionsRefused, RequestRefused, RotacubeError, ViewMissing
from rotacube.inference.device import choose_place
from rotacube.inference.engine import Engine
from rotacube.inference.view import Found, Roof, View
from rotacube.models.card import ROOFS
from rotacube.models.store import LoadedModel
from rotacube.raster.cell_source import At, CellSource
from rotacube.raster.file_source import FileSource
from rotacube.raster.reading import Reading
from rotacube.texts import check_crs, check_raster

MOST = 2
"""Views that live at once; the one that was not used for longest goes first."""
IDLE_S = 1800.0
"""Seconds without use after which a view is forgotten."""
Bounds = tuple[float, float, float, float]

log = logging.getLogger(__name__)


class Held:
    """A view, who works on it, and since when nobody does."""

    def __init__(self, view: View) -> None:
        self.id, self.view, self.used = uuid.uuid4().hex[:12], view, time.monotonic()
        self._turn, self._lock = threading.Lock(), threading.Lock()
        self._work: dict[str, threading.Event] = {}
        self._gone: deque[str] = deque(maxlen=64)  # tickets that were cancelled before their work came
        self._ahead = threading.Event()  # set: nothing is looked for ahead
        self._later = ThreadPoolExecutor(1, thread_name_prefix="ahead")

    def roofs(self, bounds: Bounds, ring: float, threshold: float | None, smallest: float | None, ticket: str) -> Found:
        """The roofs of a place; then what lies about it is looked for ahead, until something else is asked.

        Raises:
            JobCancelled: somebody cancelled the ticket.
            RotacubeError: as `View.roofs` says.
        """
        with self._working(ticket) as cancelled:
            found = self.view.roofs(bounds, threshold, smallest, cancelled)
        if ring and not found.needs:
            left, bottom, right, top = bounds
            x, y = ring * (right - left), ring * (top - bottom)
            self._look_ahead((left - x, bottom - y, right + x, top + y))
        return found

    def grow(self, point: tuple[float, float], threshold: float | None) -> tuple[Roof | None, str, list[At]]:
        """A roof about a point; see `View.grow`."""
        with self._working(""):
            return self.view.grow(point, threshold)

    def put(self, column: int, row: int, png: bytes) -> None:
        """Take the pixels of a cell; what was found of other pixels there is found anew.

        Raises:
            RequestRefused: the view reads its raster itself, or these are no pixels of a cell.
        """
        if not isinstance(self.view.source, CellSource):
            raise RequestRefused("The view reads its raster itself: it takes no pixels.")
        changed = self.view.source.put(column, row, png)
        if changed is not None:
            self._ahead.set()
            with self._turn:
                self.view.forget(changed)

    def cancel(self, ticket: str) -> None:
        """End the work of a ticket within a tile, also if it comes only now."""
        with self._lock:
            self._gone.append(ticket)
            if ticket in self._work:
                self._work[ticket].set()

    def close(self) -> None:
        """End all work, and let go of the raster."""
        self._ahead.set()
        with self._lock:
            for stop in self._work.values():
                stop.set()
        self._later.shutdown(cancel_futures=True)
        with self._turn:
            if isinstance(self.view.source, FileSource):
                self.view.source.close()

    @contextmanager
    def _working(self, ticket: str) -> Iterator[Callable[[], bool]]:
        """One works at a time; what is cancelled waits no longer."""
        stop = threading.Event()
        with self._lock:
            if ticket in self._gone:
                stop.set()
            self._work[ticket] = stop
        self._ahead.set()
        try:
            while not self._turn.acquire(timeout=0.05):
                if stop.is_set():
                    raise JobCancelled("The work was cancelled.")
            try:
                yield stop.is_set
            finally:
                self._turn.release()
        finally:
            self.used = time.monotonic()
            with self._lock:
                self._work.pop(ticket, None)

    def _look_ahead(self, bounds: Bounds) -> None:
        stop = self._ahead = threading.Event()

        def look() -> None:
            with self._turn, suppress(JobCancelled):
                try:
                    self.view.look_ahead(bounds, stop.is_set)
                except RotacubeError as error:
                    log.warning("nothing is looked for ahead: %s", error.message)

        with suppress(RuntimeError):  # the view was closed meanwhile
            self._later.submit(look)


class Views:
    """All views of a server.

    Args:
        model: gives a model by its name.
    """

    def __init__(self, model: Callable[[str], LoadedModel]) -> None:
        self._model = model
        self._views: dict[str, Held] = {}
        self._lock = threading.Lock()

    def open(
        self,
        model: str,
        raster: tuple[str, Reading] | None,
        crs: str | None = None,
        near: tuple[float, float] | None = None,
    ) -> Held:
        """Begin to look at a raster, or at pixels that are sent.

        Args:
            model: its name.
            raster: what GDAL opens, and how it is read; None where pixels are sent.
            crs: of pixels that are sent.
            near: a place about which these have the model's ground sample distance.

        Raises:
            OptionsRefused: the model finds no roofs, or neither a raster nor a CRS and a place are named.
            RotacubeError: the model or the raster is not usable.
        """
        loaded = self._model(model)
        card = loaded.card
        if card.task != ROOFS or len(card.classes) != 2:
            raise OptionsRefused(f"The model '{card.name}' finds no roofs: choose another to take them by click.")
        source: FileSource | CellSource
        if raster is not None:
            check_raster(raster[0])
            source = FileSource(raster[0], card, raster[1])
        elif crs is not None and near is not None:
            check_crs(crs)
            source = CellSource(crs, near, card)
        else:
            raise OptionsRefused("Name a raster, or the CRS of the pixels and a place near them.")
        held = Held(View(source, card, Engine.of(loaded, choose_place())))
        with self._lock:
            self._views[held.id] = held
        self._tidy()
        return held

    def get(self, name: str) -> Held:
        """The view of that id.

        Raises:
            ViewMissing: there is none.
        """
        self._tidy()
        with self._lock:
            if name not in self._views:
                raise ViewMissing("The view is not there any more: it was closed, or not used for half an hour.")
            self._views[name].used = time.monotonic()
            return self._views[name]

    def close(self, name: str) -> None:
        """Forget a view."""
        with self._lock:
            held = self._views.pop(name, None)
        if held is not None:
            held.close()

    def close_all(self) -> None:
        """Forget all views: the server ends."""
        with self._lock:
            names = list(self._views)
        for name in names:
            self.close(name)

    def _tidy(self) -> None:
        """Forget what nobody uses, and what is too many."""
        with self._lock:
            old = sorted(self._views.values(), key=lambda held: held.used)
            idle = [held for held in old if time.monotonic() - held.used > IDLE_S]
            spare = [held for held in old if held not in idle][: -MOST or None]
            for held in (gone := [*idle, *spare]):
                del self._views[held.id]
        for held in gone:
            held.close()
