"""Jobs: one runs at a time, the others wait; each keeps the events of its life and the previews of its tiles."""

from __future__ import annotations

import itertools
import logging
import threading
import uuid
from collections import OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from pydantic import BaseModel
from rasterio.io import MemoryFile

from rotacube.errors import JobCancelled, JobMissing, PreviewMissing, RotacubeError
from rotacube.inference.runner import MapRequest, MapResult, Tile, check_request, run_map
from rotacube.models.card import CardClass
from rotacube.models.store import LoadedModel, find_model, load_model
from rotacube.raster.file_source import FileSource
from rotacube.server.schema import ClassArea, ErrorBody, JobInfo, JobRequest, JobResult, TileEvent

ENDED = ("finished", "failed", "cancelled")
PREVIEW = 256
"""Longest side of a preview, pixels."""
PREVIEWS = 4096
"""How many previews a job keeps; the oldest are dropped."""
EVENTS = 8192
"""How many events a job keeps; who comes later than that misses the oldest tiles."""
KEPT = 50
"""How many jobs are remembered; beyond that the oldest that have ended are forgotten."""

log = logging.getLogger("rotacube")


class Event(BaseModel):
    """One event: a number that grows, its kind, and the JSON that it carries."""

    number: int
    kind: str
    data: str


class Job:
    """A job's state, its events, and its previews; safe to use from any thread."""

    def __init__(self, request: JobRequest) -> None:
        self.changed = threading.Condition()
        self._events: deque[Event] = deque(maxlen=EVENTS)
        self._last = 0
        self.info = JobInfo(id=uuid.uuid4().hex[:12], state="queued", request=request)
        self._previews: OrderedDict[int, bytes] = OrderedDict()
        self._stop = threading.Event()
        self._append("state", self.info)

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked the job to end."""
        return self._stop.is_set()

    @property
    def ended(self) -> bool:
        """Whether nothing will happen to the job any more."""
        return self.info.state in ENDED

    def cancel(self) -> None:
        """Ask the job to end; one that has not begun ends at once."""
        self._stop.set()
        with self.changed:
            if self.info.state == "queued":
                self.update(state="cancelled")

    def update(self, **changes: object) -> None:
        """Change the state, and say so."""
        with self.changed:
            if not self.ended:
                self.info = self.info.model_copy(update=changes)
                self._append("state", self.info)

    def add_tile(self, tile: Tile, classes: list[CardClass]) -> None:
        """Note a finished tile, and say so."""
        picture = None if tile.labels is None else draw_preview(tile.labels, classes)
        event = TileEvent(
            n=tile.n,
            done=tile.done,
            total=tile.total,
            seconds_left=tile.seconds_left,
            crs=tile.crs,
            corners=tuple(tile.corners),  # type: ignore[arg-type]
            counts=tile.counts,
            preview=picture is not None,
        )
        with self.changed:
            if picture is not None:
                self._previews[tile.n] = picture
                if len(self._previews) > PREVIEWS:
                    self._previews.popitem(last=False)
            self.info = self.info.model_copy(
                update={"tiles_done": tile.done, "tiles_total": tile.total, "seconds_left": tile.seconds_left}
            )
            self._append("tile", event)

    def preview(self, n: int) -> bytes:
        """PNG of a finished tile.

        Raises:
            PreviewMissing: there is none.
        """
        with self.changed:
            if n not in self._previews:
                raise PreviewMissing(f"Tile {n} has no preview: it is not finished, is empty, or was dropped.")
            return self._previews[n]

    def events_after(self, number: int, wait: float) -> tuple[list[Event], bool]:
        """Events with a greater number, waiting for some at most `wait` seconds; and whether the job has ended."""
        with self.changed:
            self.changed.wait_for(lambda: self._last > number or self.ended, wait)
            missing = max(0, min(len(self._events), self._last - number))
            return list(itertools.islice(self._events, len(self._events) - missing, None)), self.ended

    def _append(self, kind: str, data: BaseModel) -> None:
        with self.changed:
            self._last += 1
            self._events.append(Event(number=self._last, kind=kind, data=data.model_dump_json()))
            self.changed.notify_all()


class Jobs:
    """All jobs of a server, and the thread that runs them."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="job")
        self._models: dict[str, tuple[int, LoadedModel]] = {}

    def create(self, request: JobRequest) -> Job:
        """Check what can be checked at once, and queue a job.

        Raises:
            RotacubeError: the raster, the area, the model or the output is not usable.
        """
        card, _ = find_model(request.model)
        with FileSource(request.raster, card, request.bands) as source:
            check_request(_to_map(request), source)
        job = Job(request)
        with self._lock:
            self._jobs[job.info.id] = job
            surplus = max(0, len(self._jobs) - KEPT)
            for old in [j for j in itertools.islice(self._jobs.values(), surplus) if j.ended]:
                del self._jobs[old.info.id]
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

    def delete(self, name: str) -> None:
        """Cancel a job and forget it."""
        self.get(name).cancel()
        with self._lock:
            self._jobs.pop(name, None)

    def close(self) -> None:
        """Cancel all jobs and wait for the one that runs."""
        for job in self.all():
            job.cancel()
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _run(self, job: Job) -> None:
        if job.cancelled:
            return
        job.update(state="running")
        request = job.info.request
        try:
            model = self._model(request.model)
            result = run_map(
                _to_map(request),
                model,
                on_tile=lambda tile: job.add_tile(tile, model.card.classes),
                cancelled=lambda: job.cancelled,
            )
            job.update(state="finished", seconds_left=0.0, result=summary(result))
        except JobCancelled:
            job.update(state="cancelled")
        except RotacubeError as error:
            job.update(state="failed", error=ErrorBody(code=error.code, message=error.message))
        except Exception as error:
            log.exception("job %s failed", job.info.id)
            sentence = f"The backend failed in a way that it should not ({type(error).__name__}: {error}). See its log."
            job.update(state="failed", error=ErrorBody(code="internal", message=sentence))

    def _model(self, name: str) -> LoadedModel:
        """The model, kept between runs as long as its card's file stays as it is."""
        _, folder = find_model(name)
        stamp = (folder / "model.json").stat().st_mtime_ns
        held = self._models.get(str(folder))
        if held is None or held[0] != stamp:
            held = (stamp, load_model(str(folder)))
            self._models = {str(folder): held}
        return held[1]


def _to_map(request: JobRequest) -> MapRequest:
    """The contract's request in the runner's words."""
    fields = request.model_dump(exclude={"model", "output"})
    return MapRequest(output=Path(request.output), **fields)


def summary(result: MapResult) -> JobResult:
    """A run's result in the contract's words."""
    mapped = sum(c.area_m2 for c in result.classes)
    return JobResult(
        output=str(result.output),
        width=result.width,
        height=result.height,
        gsd=result.gsd,
        classes=[
            ClassArea(
                id=c.info.id,
                name=c.info.name,
                color=c.info.color,
                pixels=c.pixels,
                area_m2=round(c.area_m2, 2),
                share=round(c.area_m2 / mapped, 6) if mapped else 0.0,
            )
            for c in result.classes
        ],
        nodata_pixels=result.nodata_pixels,
        seconds=round(result.seconds, 2),
        device=result.place,
    )


def draw_preview(labels: NDArray[np.uint8], classes: list[CardClass]) -> bytes:
    """RGBA PNG of class ids (H, W): the classes' colours, class 0 and nodata transparent; at most `PREVIEW` pixels."""
    step = max(1, -(-max(labels.shape) // PREVIEW))
    colours = np.zeros((256, 4), np.uint8)
    for c in classes[1:]:
        colours[c.id] = (*bytes.fromhex(c.color[1:]), 255)
    picture = colours[labels[::step, ::step]].transpose(2, 0, 1)
    shape = {"height": picture.shape[1], "width": picture.shape[2], "count": 4, "dtype": "uint8"}
    with rasterio.Env(GDAL_PAM_ENABLED=False), MemoryFile() as memory:
        with memory.open(driver="PNG", **shape) as file:
            file.write(picture)
        return bytes(memory.read())
