"""Jobs: one runs at a time, the others wait; each keeps the events of its life and the previews of its tiles."""

from __future__ import annotations

import itertools
import logging
import threading
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from rotacube.errors import JobCancelled, JobInterrupted, JobMissing, PreviewMissing, ProductMissing, RotacubeError
from rotacube.inference.request import card_of
from rotacube.inference.run import MapRequest, MapResult, Product, Tile, prepared, run_map
from rotacube.jobs.preview import draw_preview
from rotacube.jobs.records import Interrupted, Records, id_of
from rotacube.memory import give_back
from rotacube.models.card import CARD, CardClass
from rotacube.models.store import LoadedModel, find_model, load_model

State = Literal["queued", "running", "finished", "failed", "cancelled"]
ENDED = ("finished", "failed", "cancelled")
PREVIEWS = 4096
"""How many previews a job keeps; the oldest are dropped."""
EVENTS = 8192
"""How many events a job keeps; who comes later than that is told how it stood before the oldest."""
STEP = 0.01
"""The share of a step between two events."""
KEPT = 50
"""How many jobs are remembered; beyond that the oldest that have ended are forgotten."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """Why a job failed: a stable code, a sentence for a person."""

    code: str
    message: str


@dataclass(frozen=True)
class Snapshot:
    """A job as it stands."""

    id: str
    request: MapRequest
    state: State = "queued"
    tiles_done: int = 0
    tiles_total: int = 0
    seconds_left: float | None = None
    step: str = ""
    step_share: float = 0.0
    result: MapResult | None = None
    error: Failure | None = None


@dataclass(frozen=True)
class TileDone:
    """A finished tile, its labels let go of, and whether it has a preview."""

    job: str
    tile: Tile
    preview: bool


@dataclass(frozen=True)
class Event:
    """One event of a job's life, with a number that grows."""

    number: int
    data: Snapshot | TileDone


class Job:
    """A job's state, its events, and its previews; safe to use from any thread."""

    def __init__(self, request: MapRequest) -> None:
        self._lock = threading.RLock()
        self._events: deque[Event] = deque(maxlen=EVENTS)
        self._last = 0
        self._watchers: list[Callable[[], object]] = []
        self.now = self._before = Snapshot(uuid.uuid4().hex[:12], request)
        self._previews: OrderedDict[int, bytes] = OrderedDict()
        self._stop = threading.Event()
        self._append(self.now)

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked the job to end."""
        return self._stop.is_set()

    @property
    def ended(self) -> bool:
        """Whether nothing will happen to the job any more."""
        return self.now.state in ENDED

    def cancel(self) -> None:
        """Ask the job to end; one that has not begun ends at once."""
        self._stop.set()
        with self._lock:
            if self.now.state == "queued":
                self.update(state="cancelled")

    def update(self, **changes: Any) -> None:
        """Change the state, and say so."""
        with self._lock:
            if not self.ended:
                self.now = replace(self.now, **changes)
                self._append(self.now)

    def add_tile(self, tile: Tile, classes: list[CardClass]) -> None:
        """Note a finished tile, and say so."""
        picture = None if tile.labels is None else draw_preview(tile.labels, classes)
        with self._lock:
            if self.ended:
                return
            if picture is not None:
                self._previews[tile.n] = picture
                if len(self._previews) > PREVIEWS:
                    self._previews.popitem(last=False)
            self.now = replace(self.now, tiles_done=tile.done, tiles_total=tile.total, seconds_left=tile.seconds_left)
            self._append(TileDone(self.now.id, replace(tile, labels=None), picture is not None))

    def add_step(self, what: str, share: float) -> None:
        """Note how far the work after the last tile is, and say so where a hundredth more of it is done."""
        if what != self.now.step or share - self.now.step_share >= STEP or share >= 1:
            self.update(step=what, step_share=share, seconds_left=None)

    def preview(self, n: int) -> bytes:
        """PNG of a finished tile.

        Raises:
            PreviewMissing: there is none.
        """
        with self._lock:
            if n not in self._previews:
                raise PreviewMissing(f"Tile {n} has no preview: it is not finished, holds no data, or was dropped.")
            return self._previews[n]

    def product(self, n: int) -> Product:
        """One of the files that the job has made.

        Raises:
            ProductMissing: there is none, or it was taken away since.
        """
        made = self.now.result.products if self.now.result else ()
        if n >= len(made) or not made[n].path.is_file():
            raise ProductMissing(f"The job has no product {n}: it is not finished, or its file was taken away.")
        return made[n]

    def events_after(self, number: int) -> tuple[list[Event], bool]:
        """Events after a number, and whether the job has ended with them.

        They make a whole: where some are no longer kept, the job's state before the oldest stands for them; where the
        job has ended, the last one tells so even if it is known.

        Args:
            number: the last event that is known; all are given where there is none of that number yet.
        """
        with self._lock:
            if number > self._last:
                number = 0
            oldest = self._events[0].number
            events = list(itertools.islice(self._events, max(0, number + 1 - oldest), None))
            if number < oldest - 1:
                events.insert(0, Event(oldest - 1, self._before))
            if self.ended and not events:
                events = [self._events[-1]]
            return events, self.ended

    @contextmanager
    def watched(self, tell: Callable[[], object]) -> Iterator[None]:
        """Calls `tell` with each event, in the thread that it comes from, as long as the context is held."""
        with self._lock:
            self._watchers.append(tell)
        try:
            yield
        finally:
            with self._lock:
                self._watchers.remove(tell)

    def _append(self, data: Snapshot | TileDone) -> None:
        with self._lock:
            self._last += 1
            if len(self._events) == self._events.maxlen:
                self._before = _after(self._before, self._events[0].data)
            self._events.append(Event(self._last, data))
            for tell in self._watchers:
                tell()


class Jobs:
    """All jobs of a server, and the thread that runs them.

    Args:
        records: where jobs are remembered that end with the server; nowhere if None.
    """

    def __init__(self, records: Records | None = None) -> None:
        self._records = records or Records(None)
        self._closing = threading.Event()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="job")
        self._models: dict[str, tuple[int, LoadedModel]] = {}
        self._loading = threading.Lock()

    def create(self, request: MapRequest) -> Job:
        """Check what can be checked at once, and queue a job.

        Raises:
            RotacubeError: the raster, the area, the model or a product is not usable.
        """
        card, _ = find_model(request.model)
        with prepared(request, card_of(request, card)):
            pass
        self._records.keep(request)
        job = Job(request)
        with self._lock:
            self._jobs[job.now.id] = job
            surplus = max(0, len(self._jobs) - KEPT)
            for old in [j for j in itertools.islice(self._jobs.values(), surplus) if j.ended]:
                del self._jobs[old.now.id]
        self._worker.submit(self._run, job)
        return job

    def get(self, name: str) -> Job:
        """The job of that id.

        Raises:
            JobMissing: there is none.
        """
        with self._lock:
            if name not in self._jobs:
                raise JobMissing(f"There is no job '{name}'.")
            return self._jobs[name]

    def all(self) -> list[Job]:
        """All jobs, the oldest first."""
        with self._lock:
            return list(self._jobs.values())

    def cancel(self, name: str) -> Job:
        """Ask a job to end; nobody goes on with it."""
        job = self.get(name)
        if not job.ended:
            self._records.forget(id_of(job.now.request))
        job.cancel()
        return job

    def delete(self, name: str) -> None:
        """Cancel a job and forget it."""
        self.cancel(name)
        with self._lock:
            self._jobs.pop(name, None)

    def interrupted(self) -> list[Interrupted]:
        """The jobs that ended before their time, of this server or of one before it."""
        at_work = {id_of(job.now.request) for job in self.all() if not job.ended}
        return [found for found in self._records.interrupted() if found.id not in at_work]

    def resume(self, name: str) -> Job:
        """Queue what goes on with an interrupted job.

        Raises:
            JobMissing: there is none of that name.
            RotacubeError: as `create` says.
        """
        return self.create(replace(self._interrupted(name).request, resume=True))

    def discard(self, name: str) -> None:
        """Remove what an interrupted job has left.

        Raises:
            JobMissing: there is none of that name.
        """
        self._records.discard(self._interrupted(name))

    def _interrupted(self, name: str) -> Interrupted:
        for found in self.interrupted():
            if found.id == name:
                return found
        raise JobMissing(f"There is no interrupted job '{name}'.")

    def close(self) -> None:
        """Interrupt all jobs, and wait for the one that runs: what they found is kept."""
        self._closing.set()
        for job in self.all():
            if job.now.state == "queued":
                job.cancel()
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _run(self, job: Job) -> None:
        if job.cancelled or self._closing.is_set():
            return
        name, request = job.now.id, job.now.request
        log.info("job %s: %s of %s with %s", name, _kinds(request), request.raster, request.model)
        job.update(state="running")
        end: dict[str, Any]
        try:
            model = self.model(request.model)
            result = run_map(
                request,
                model,
                on_tile=lambda tile: job.add_tile(tile, model.card.classes),
                on_step=job.add_step,
                cancelled=partial(self._asked_to_end, job),
            )
            log.info("job %s: finished in %.1f s", name, result.seconds)
            end = {"state": "finished", "seconds_left": 0.0, "result": result}
        except JobCancelled as error:
            log.info("job %s: %s after %d of %d tiles", name, error.code, job.now.tiles_done, job.now.tiles_total)
            end = {"state": "cancelled"}
        except RotacubeError as error:
            log.warning("job %s: %s (%s)", name, error.message, error.code)
            end = {"state": "failed", "error": Failure(error.code, error.message)}
        except Exception as error:
            log.exception("job %s failed", name)
            sentence = f"The backend failed in a way that it should not ({type(error).__name__}: {error}). See its log."
            end = {"state": "failed", "error": Failure("internal", sentence)}
        self._records.settle(request)
        job.update(**end)
        give_back()

    def _asked_to_end(self, job: Job) -> bool:
        if not job.cancelled and self._closing.is_set():
            raise JobInterrupted("The backend ends; what was found is kept.")
        return job.cancelled

    def model(self, name: str) -> LoadedModel:
        """The model, kept between runs as long as its card's file stays as it is.

        Raises:
            ModelMissing, ModelDamaged: there is no such model, or it is damaged.
        """
        with self._loading:
            _, folder = find_model(name)
            stamp = (folder / CARD).stat().st_mtime_ns
            held = self._models.get(str(folder))
            if held is None or held[0] != stamp:
                held = (stamp, load_model(str(folder)))
                self._models = {str(folder): held}
            return held[1]


def _after(before: Snapshot, data: Snapshot | TileDone) -> Snapshot:
    """How a job stands after an event."""
    if isinstance(data, Snapshot):
        return data
    tile = data.tile
    return replace(before, tiles_done=tile.done, tiles_total=tile.total, seconds_left=tile.seconds_left)


def _kinds(request: MapRequest) -> str:
    return ", ".join(product.kind for product in request.products)
