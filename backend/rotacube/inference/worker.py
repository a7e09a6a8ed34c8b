"""What a worker of a cluster does: neighbouring strips of a run, with a model and a raster that it opens once a run."""

from __future__ import annotations

import signal
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import numpy as np
import rasterio
import torch

from rotacube import __version__
from rotacube.errors import ClusterFailed, JobCancelled, ModelDamaged, ModelMissing, RasterMissing, RotacubeError
from rotacube.inference.device import Place, choose_place
from rotacube.inference.engine import Engine
from rotacube.inference.findings import Finding, finding_of
from rotacube.inference.request import MapRequest, card_of
from rotacube.inference.within import Within, within
from rotacube.memory import set_allocator
from rotacube.models.card import ModelCard
from rotacube.models.store import load_model
from rotacube.raster.file_source import CACHE_BYTES, FileSource
from rotacube.raster.grid import Box


@dataclass(frozen=True)
class Part:
    """Neighbouring strips that a worker is to find, and what it must see as the machine that asks does.

    Attributes:
        run: of which run, whatever it is asked.
        request: with paths as every machine knows them.
        card: the model's own.
        place: where the network runs.
        names: of the parts that are kept.
        seen: how the raster, and the polygons to map within, look from there; see `look_of`.
        box: what the strips cover.
    """

    run: str
    request: MapRequest
    card: ModelCard
    place: Place
    names: tuple[str, ...]
    seen: tuple[Any, ...]
    box: Box


@dataclass(frozen=True)
class Packed:
    """A finding on its way between machines."""

    box: Box
    names: tuple[str, ...]
    content: bytes

    @classmethod
    def of(cls, finding: Finding) -> Packed:
        """Pack a finding."""
        names = tuple(finding.parts)
        return cls(finding.box, names, zlib.compress(np.stack(list(finding.parts.values())).tobytes(), 1))

    def finding(self) -> Finding:
        """The finding."""
        shape = len(self.names), self.box.height, self.box.width
        parts = np.frombuffer(zlib.decompress(self.content), np.uint8).reshape(shape)
        return Finding(self.box, dict(zip(self.names, parts, strict=True)))


@dataclass(frozen=True)
class Found:
    """What was found in a part, and what was counted on the way, see `FileSource`."""

    strips: tuple[Packed, ...]
    counted: Counter[str]


def about(precision: str) -> tuple[str, Place]:
    """What a worker is: the version of this package there, and where a network would run."""
    return __version__, choose_place(precision)


def look_of(seen: Within) -> tuple[Any, ...]:
    """All by which two machines can tell that they see the same raster under the same path."""
    source = seen.source
    sizes = sorted((path.name, path.stat().st_size) for path in source.files.files)
    return sizes, source.height, source.width, tuple(source.grid.transform), seen.mark


def find(part: Part) -> Found | RotacubeError:
    """Find the strips of a part, as a task of Dask; an error that is no use to try again is given back."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def cancelled() -> bool:
        task = worker.state.tasks.get(key)
        return task is None or task.state == "cancelled"

    try:
        return _mind.find(part, worker.state.nthreads, cancelled)
    except RotacubeError as error:
        return type(error)(f"Worker {worker.address}: {error.message}")


def dask_setup(worker: object) -> None:
    """Called by Dask where a local worker starts: Ctrl-C is the business of the process that it works for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Mind:
    """The model and the raster of the run that was last worked for. It works on one part at a time."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._run = ""
        self._opened: tuple[Engine, Within] | None = None

    def find(self, part: Part, threads: int, cancelled: Callable[[], bool]) -> Found:
        with self._lock, rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
            if cancelled():
                raise JobCancelled("The job was cancelled.")
            torch.set_num_threads(threads)
            engine, seen = self._open(part)
            card, before = card_of(part.request, part.card), seen.source.counted.copy()
            strips = []
            with closing(engine.strips(seen, part.box, cancelled=cancelled)) as found:
                for strip in found:
                    known = replace(strip, valid=strip.valid & seen.inside(strip.box))
                    strips.append(Packed.of(finding_of(known, card, part.names)))
            return Found(tuple(strips), seen.source.counted - before)

    def _open(self, part: Part) -> tuple[Engine, Within]:
        if self._opened and self._run == part.run:
            return self._opened
        if self._opened:
            self._opened[1].source.close()
            self._opened = None
        set_allocator()  # Dask tells it to keep nothing
        request = part.request
        if part.place.device.type == "cuda" and not torch.cuda.is_available():
            raise ClusterFailed("The run is made on GPUs, and there is none. Let workers of one kind join the cluster.")
        try:
            model = load_model(request.model)
        except (ModelMissing, ModelDamaged) as error:
            raise type(error)(f"{error.message} Install the model on every machine that has workers.") from error
        if model.card != part.card:
            raise ClusterFailed(
                f"The model '{request.model}' is another one there (its card or the hash of its weights differs). "
                "Install the same on every machine that has workers."
            )
        try:
            source = FileSource(request.raster, card_of(request, model.card), request.reading)
        except RasterMissing as error:
            raise RasterMissing(
                f"There is no raster '{request.raster}' there. Workers must see it at the same path as this machine: "
                "put it on a disk that they share."
            ) from error
        try:
            seen = within(source, request.within)
            if look_of(seen) != part.seen:
                raise ClusterFailed(
                    f"'{request.raster}', or the layer to map within, is another file there. Workers must see the same "
                    "files at the same paths as this machine: put them on a disk that they share."
                )
        except BaseException:
            source.close()
            raise
        self._run, self._opened = part.run, (Engine.of(model, part.place, request.turns), seen)
        return self._opened


_mind = _Mind()
