"""The runs that were asked for, one made after the other: on the map, among QGIS's tasks, in the dock's list."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path
from typing import Dict, List, Optional

from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import QObject, QUrl, pyqtSignal
from qgis.PyQt.QtGui import QDesktopServices

from . import history
from .canvas.live import LiveTiles
from .client.schema import InterruptedJob, JobRequest
from .compat import is_alive
from .gui import advice
from .gui import format as fmt
from .gui.jobs_view import CANCEL, DISCARD, FOLDER, LEFT, MESSAGE, OPEN, PAST, REMOVE, RESUME, JobsView, Row
from .history import History, Past
from .i18n import tr
from .layers.classes import BACKGROUND
from .layers.results import Finished
from .run import Run
from .signals.background import Background
from .signals.task import RunTask

KEPT = 30
"""Runs of this session that have ended in the list; the oldest go."""
SMALL_M2 = 100.0
"""From here on areas of the list are hectares."""
_LEFT = "left:"  # of the keys of what an earlier backend has left
_PAST = "past:"  # and of the runs of earlier sessions


class Runs(QObject):
    """Follows runs until they have ended, and keeps the list of all.

    The backend makes one after the other: the first that is not over is the current one, which is one of QGIS's tasks.

    Signals:
        moved: another one is the current one, or none.
        opened, told: somebody wants to see a finished run's result, or what a run that has ended has said: sentence
            and details.
        cancel_clicked: somebody wants a run's end.
        resume_clicked, discard_clicked: what is to become of an `InterruptedJob`.
    """

    moved = pyqtSignal()
    opened = pyqtSignal(object)
    told = pyqtSignal(str, str)
    cancel_clicked = pyqtSignal(object)
    resume_clicked = pyqtSignal(object)
    discard_clicked = pyqtSignal(object)

    def __init__(self, view: JobsView, canvas: QgsMapCanvas, parent=None):
        super().__init__(parent)
        self._view, self._canvas = view, canvas
        self._numbers = itertools.count(1)
        self._pending: Dict[str, Run] = {}
        self._finished: Dict[str, Finished] = {}
        self._messages: Dict[str, tuple] = {}
        self._left: Dict[str, InterruptedJob] = {}
        self._lost: List[str] = []  # that an ended backend has kept, and offers at its next start
        self._lives: Dict[str, LiveTiles] = {}
        self._task: Optional[RunTask] = None
        self._current: Optional[Run] = None
        self.live: Optional[LiveTiles] = None
        self._history = History(history.in_profile())
        self._kept: Dict[str, str] = {}  # what the history calls a run of the list
        self._background = Background(self)
        view.asked.connect(self._asked)
        self._background.call(self._history.load, self._show_past)

    @property
    def pending(self) -> List[Run]:
        """The runs that have not ended: that wait, are made, or whose result is being opened."""
        return list(self._pending.values())

    @property
    def current(self) -> Optional[Run]:
        """The one that is being made; where there is none, the one whose result is being opened."""
        waiting = [run for run in self.pending if not run.over]
        return next(iter(waiting or self.pending), None)

    def add(self, run: Run) -> None:
        """Follow a run that is about to be asked for."""
        key = str(next(self._numbers))
        self._pending[key] = run
        self._say(key, tr("being checked…"), (CANCEL,))
        run.accepted.connect(lambda: self._say(key, tr("waiting"), (CANCEL,)))
        run.progressed.connect(partial(self._progressed, key))
        run.stepped.connect(lambda what, share: self._say(key, fmt.step(what, share), (CANCEL,)))
        run.tile.connect(partial(self._tile, key))
        self.move()

    def opening(self, run: Run) -> None:
        """A run is made, and its result about to be shown."""
        self._say(self._key(run), tr("opening…"), ())
        self.move()

    def end(
        self, run: Run, text: str, message: str = "", details: str = "", finished: Optional[Finished] = None
    ) -> None:
        """Follow a run no longer; the list says what became of it."""
        key = self._key(run)
        if not key:
            return
        self._messages[key] = (message or text, details)
        if finished is not None:
            self._finished[key] = finished
            self._kept[key] = self._history.add(finished)
            self._forget_past(finished.mask.path)
        actions = (OPEN, FOLDER, MESSAGE, REMOVE) if finished is not None else (MESSAGE, REMOVE)
        self._say(key, text, actions)
        del self._pending[key]
        run.drop()
        run.deleteLater()
        self._end_live(key, finished is not None)
        if run is self._current:
            self._end_task(finished is not None)
        self.move()
        self._forget_oldest()

    def lose(self, run: Run, message: str) -> None:
        """Follow a run no longer whose backend has ended: it is offered again when one is up."""
        key = self._key(run)
        self.end(run, tr("interrupted"), message)
        self._lost.append(key)

    def show_left(self, jobs: List[InterruptedJob]) -> None:
        """List what earlier backends have left, below the runs."""
        for key in [*self._lost, *(key for key in self._left if key[len(_LEFT) :] not in {job.id for job in jobs})]:
            self._remove(key)
        self._lost = []
        for job in jobs:
            self._left[_LEFT + job.id] = job
            text = tr("interrupted at {}").format(fmt.share(job.share))
            row = Row(Path(job.request.raster).stem, text, (RESUME, DISCARD), _about(job.request), LEFT)
            self._view.show_row(_LEFT + job.id, row)

    def take_up(self, job: str) -> None:
        """An interrupted job goes on, as a run."""
        self._remove(_LEFT + job)

    def in_use(self, request: JobRequest) -> bool:
        """Whether a run that has not ended makes one of the files of a request."""
        wanted = {product.path for product in request.products}
        return any(product.path in wanted for run in self.pending for product in run.request.products)

    def leave_project(self) -> None:
        """The project is another one: nothing of the runs belongs on its map."""
        for run in self.pending:
            run.project_gone = True
        for key in list(self._lives):
            self._end_live(key, False)

    def close(self) -> None:
        """Let go of everything."""
        self._background.close()
        self._end_task(False)
        for run in self.pending:
            run.drop()
        self._pending.clear()
        for key in list(self._lives):
            self._end_live(key, False)

    def move(self) -> None:
        """Look which run is the current one, and say so where it is another."""
        current = self.current
        if current is self._current:
            return
        self._end_task(self._current is not None and self._current.over)
        self._current = current
        if current is not None and not current.over:
            self._task = RunTask(tr("Rotacube maps {}").format(current.source_name))
            self._task.cancel_clicked.connect(partial(self.cancel_clicked.emit, current))
            self._task.start()
        self.moved.emit()

    def _progressed(self, key: str, done: int, total: int, seconds_left: Optional[float]) -> None:
        run = self._pending.get(key)
        self._say(key, fmt.progress(done, total, seconds_left), (CANCEL,))
        if self._task is not None and run is self._current:
            self._task.tell(done, total)

    def _tile(self, key: str, event, image) -> None:
        run = self._pending.get(key)
        if run is None or run.project_gone:
            return
        if key not in self._lives:
            self.live = self._lives[key] = LiveTiles(self._canvas)
        self._lives[key].add(event, image)

    def _end_live(self, key: str, drawn: bool) -> None:
        """Take the tiles off the map, or let them stay until the mask is drawn."""
        live = self._lives.pop(key, None)
        if live is None:
            return
        if drawn:
            live.remove_after_refresh()
            return
        live.remove()
        if live is self.live:
            self.live = None

    def _end_task(self, done: bool) -> None:
        task, self._task = self._task, None
        if is_alive(task):
            task.finish(done)

    def _key(self, run: Run) -> str:
        return next((key for key, other in self._pending.items() if other is run), "")

    def _say(self, key: str, text: str, actions) -> None:
        run = self._pending.get(key)
        if run is not None:
            self._view.show_row(key, Row(_name(run), text, tuple(actions), _about(run.request, text)))

    def _show_past(self, runs: List[Past]) -> None:
        """List the runs of earlier sessions, below all others."""
        for past in runs:
            if past.id in self._kept.values():  # it has ended in this session
                continue
            key, finished = _PAST + past.id, past.finished
            when, found = fmt.moment(past.when), advice.mapped(finished.source_name, finished.result)
            about = "\n".join((tr("{}, with {}").format(when, finished.model.title), _about(finished.request, found)))
            if not past.there:
                about = tr("The files are gone.") + "\n" + about
            self._kept[key], self._messages[key] = past.id, (about, "")
            self._finished[key] = finished
            actions = (OPEN, FOLDER, MESSAGE, REMOVE) if past.there else (MESSAGE, REMOVE)
            text = fmt.day(past.when) if past.there else tr("files are gone")
            name = f"{finished.source_name} · {_found(finished)} · {finished.model.title}"
            self._view.show_row(key, Row(name, text, actions, about, PAST))

    def _forget_past(self, mask: str) -> None:
        """A run of an earlier session whose mask is another one's now."""
        for key in [key for key in self._finished if key.startswith(_PAST)]:
            if self._finished[key].mask.path == mask:
                self._remove(key)

    def _remove(self, key: str) -> None:
        for known in (self._finished, self._messages, self._left, self._kept):
            known.pop(key, None)
        self._view.remove_row(key)

    def _forget_oldest(self) -> None:
        ended = [key for key in self._messages if not key.startswith(_PAST)]
        for key in ended[: max(0, len(ended) - KEPT)]:
            self._remove(key)

    def _asked(self, key: str, action: str) -> None:
        if action == CANCEL:
            self.cancel_clicked.emit(self._pending[key])
        elif action == OPEN:
            self.opened.emit(self._finished[key])
        elif action == MESSAGE:
            self.told.emit(*self._messages.get(key, ("", "")))
        elif action == FOLDER:
            folder = Path(self._finished[key].mask.path).parent
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))
        elif action == REMOVE:
            if key in self._kept:
                self._history.remove(self._kept[key])
            self._remove(key)
        elif action == RESUME:
            self.resume_clicked.emit(self._left[key])
        elif action == DISCARD:
            self.discard_clicked.emit(self._left[key])


def _name(run: Run) -> str:
    """What is mapped, and where to if somebody said so."""
    named = run.order is not None and run.order.output.strip()
    return f"{run.source_name} → {Path(named).stem}" if named else run.source_name


def _found(finished: Finished) -> str:
    """The area of all classes but the background."""
    area = sum(item.area_m2 for item in finished.result.classes if item.id != BACKGROUND)
    return f"{fmt.hectares(area)} ha" if area >= SMALL_M2 else f"{fmt.square_metres(area)} m²"


def _about(request: JobRequest, text: str = "") -> str:
    """What a run is, in a tool tip."""
    parts = (text, request.raster, request.model, *(product.path for product in request.products))
    return "\n".join(part for part in parts if part)
