"""The strips of a run as tasks of Dask distributed: who works when, and what becomes of the work of a machine that
dies, is Dask's.

What workers find is kept by the machine that asks, as strips that it found itself: all that comes after is the same.
"""

from __future__ import annotations

import logging
import uuid
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from rotacube import __version__
from rotacube.errors import ClusterFailed, JobCancelled, OptionsRefused, RotacubeError, first_line
from rotacube.inference.device import Place
from rotacube.inference.findings import Finding
from rotacube.inference.request import MapRequest
from rotacube.inference.within import Within
from rotacube.inference.worker import Found, Part, about, find, look_of
from rotacube.models.card import CARD, ModelCard
from rotacube.raster.grid import Box
from rotacube.vector.layers import AS_QGIS_SAYS

LOCAL = "local"
PATIENCE = 30.0
"""Seconds that a scheduler has to answer, and a first worker to join."""
AHEAD = 2
"""Parts that a worker has at once: one that it works on, and the next."""
MOST = 16
"""Strips of a part: the row of tiles before its first is worked out twice, a sixteenth of the work."""
RETRIES = 2
"""How often a part that failed is tried again."""
BEAT = 0.3
"""Seconds between two looks at whether the run is cancelled."""


@dataclass(frozen=True)
class Cluster:
    """Workers that find strips.

    Attributes:
        client: Dask's.
        place: where the network runs on every worker.
    """

    client: Any
    place: Place

    def findings(
        self,
        request: MapRequest,
        card: ModelCard,
        seen: Within,
        boxes: Sequence[Box],
        names: Sequence[str],
        cancelled: Callable[[], bool],
    ) -> Generator[Finding, None, None]:
        """What is found of strips, each as soon as it is known, in no order. Close the generator to end the work.

        Args:
            request: of the run.
            card: the model's own.
            seen: the source, as the request describes it; what was read there is counted as if it had read it.
            boxes: of the strips, as `strip_boxes` gives them.
            names: of the parts that are kept.
            cancelled: asked all the time; it may raise.

        Raises:
            ClusterFailed: the cluster is lost, or does not do the work.
            JobCancelled: `cancelled` said so.
            RotacubeError: what a worker met with the raster or the model.
        """
        run, look = uuid.uuid4().hex, look_of(seen)
        part = Part(run, _absolute(request), card, self.place, tuple(names), look, Box(0, 0, 0, 0))
        todo = iter(parts_of(boxes, self._workers()))
        running: set[Any] = set()
        ended: SimpleQueue[Any] = SimpleQueue()
        try:
            box = next(todo, None)
            while box or running:
                while box and len(running) < AHEAD * self._workers():
                    future = self.client.submit(find, replace(part, box=box), pure=False, retries=RETRIES)
                    running.add(future)
                    future.add_done_callback(ended.put)
                    box = next(todo, None)
                if cancelled():
                    raise JobCancelled("The job was cancelled; nothing was written.")
                try:
                    future = ended.get(timeout=BEAT)
                except Empty:
                    continue
                running.remove(future)
                found: Found | RotacubeError = future.result()
                del future  # so that the cluster forgets what it holds
                if isinstance(found, RotacubeError):
                    raise found
                seen.source.counted += found.counted
                yield from (strip.finding() for strip in found.strips)
        except RotacubeError:
            raise
        except Exception as error:  # whatever Dask, or a worker, has to say
            raise _failed(error) from error
        finally:
            self._cancel(running)

    def _workers(self) -> int:
        return max(1, len(self.client.nthreads()))

    def _cancel(self, running: set[Any]) -> None:
        try:
            if running:
                self.client.cancel(list(running))
        except Exception as error:  # the cluster is gone
            logging.getLogger(__name__).info("the tasks could not be cancelled: %s", first_line(error))


@contextmanager
def joined(address: str, precision: str = "auto") -> Iterator[Cluster]:
    """A cluster whose workers can do the work.

    Args:
        address: of a Dask scheduler, such as "tcp://scheduler:8786"; "local" starts workers on this machine, one a
            core, "local:2" as many, of one thread each, that end with it.
        precision: as `choose_place` takes it.

    Raises:
        OptionsRefused: Dask is not installed, or the address is none.
        ClusterFailed: nobody answers there, no worker joins, or the workers differ.
    """
    if find_spec("distributed") is None:
        raise OptionsRefused("A cluster needs the package distributed: pip install 'rotacube[dask]'.")
    from distributed import Client

    with ExitStack() as stack:
        try:
            where: Any = address
            if address.split(":")[0] == LOCAL:
                where = stack.enter_context(_local(_count(address)))
            client = stack.enter_context(Client(where, timeout=PATIENCE, set_as_default=False))
            client.wait_for_workers(1, timeout=PATIENCE)
            said = client.run(about, precision)
        except RotacubeError:
            raise
        except Exception as error:  # whatever Dask has to say
            raise ClusterFailed(
                f"The cluster at '{address}' cannot be used ({first_line(error)}). Check that 'dask scheduler' and "
                "'dask worker' run there, with this version of rotacube installed for every worker."
            ) from error
        yield Cluster(client, _place_of(said))


def parts_of(boxes: Sequence[Box], workers: int) -> list[Box]:
    """Strips together where they are neighbours, a few each: enough parts that no worker waits long for another."""
    most = max(1, min(MOST, len(boxes) // (AHEAD * workers)))
    parts: list[Box] = []
    for _, column in groupby(boxes, lambda box: box.left):
        count, last = 0, None
        for box in column:
            if last is not None and count < most and last.bottom == box.top:
                parts[-1] = replace(parts[-1], bottom=box.bottom)
                count += 1
            else:
                parts.append(box)
                count = 1
            last = box
    return parts


def _local(count: int | None) -> Any:
    """Workers of one thread on this machine, that nobody else reaches, and no pages that tell of them."""
    import dask.config
    from distributed import LocalCluster

    no_pages: dict[str, list[str]] = {"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []}
    with dask.config.set(no_pages), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Port .* is already in use")
        return LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            preload="rotacube.inference.worker",
            silence_logs=logging.CRITICAL,
        )


def _count(address: str) -> int | None:
    number = address.partition(":")[2]
    if ":" in address and not (number.isdigit() and 0 < int(number) <= 1024):
        raise OptionsRefused(f"'{address}' names no number of workers: local, or local:2.")
    return int(number) if number else None


def _place_of(said: dict[str, tuple[str, Place]]) -> Place:
    versions = {version: who for who, (version, _) in said.items()}
    for version, who in versions.items():
        if version != __version__:
            raise ClusterFailed(
                f"Worker {who} has rotacube {version}, this machine {__version__}. Install one version."
            )
    places = {place: who for who, (_, place) in said.items()}
    if len(places) > 1:
        kinds = " and ".join(f"{place} ({who})" for place, who in places.items())
        raise ClusterFailed(
            f"The workers differ: {kinds}. Let workers of one kind join, or say --precision float32 where that is all."
        )
    return next(iter(places))


def _absolute(request: MapRequest) -> MapRequest:
    """The request with paths that hold in whatever folder a worker was started."""
    layer, mark, name = request.within.partition(AS_QGIS_SAYS)
    return replace(
        request,
        raster=_whole(request.raster),
        model=_whole(request.model) if (Path(request.model) / CARD).is_file() else request.model,
        within=_whole(layer) + mark + name,
    )


def _whole(name: str) -> str:
    path = Path(name) if name else None
    return str(path.resolve()) if path and path.exists() else name


def _failed(error: Exception) -> ClusterFailed:
    name = type(error).__name__
    if name == "KilledWorker":
        return ClusterFailed(
            "Several workers ended over the same strips, perhaps for want of memory. Give them more (dask worker "
            "--memory-limit), and resume the run."
        )
    if "Cancelled" in name:
        return ClusterFailed("The cluster's scheduler has gone. Start it again, and resume the run.")
    return ClusterFailed(f"The cluster does not do the work ({name}: {first_line(error)}). Look at its logs.")
