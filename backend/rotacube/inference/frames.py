"""Drone frames to one map: each is mapped by itself, then they vote on the lines of one absolute grid.

A frame is read on the model's grid in its own rows and columns, as any raster is. What is found of it goes through its
homography onto the map's grid, is kept there in the run's folder, and read again block by block: memory knows one frame
and one block. What is kept is gone on with after a crash.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling

from rotacube.errors import (
    FramesRefused,
    JobCancelled,
    JobDamaged,
    JobInterrupted,
    OptionsRefused,
    OutputUnwritable,
    RasterBands,
    RasterEmpty,
    RasterResolution,
    RasterUnreadable,
)
from rotacube.inference.accord import Accord
from rotacube.inference.device import Place, choose_place
from rotacube.inference.engine import Engine
from rotacube.inference.findings import FULL, Finding
from rotacube.inference.flight_facts import manifest_of, needs_of_flight, tags_of
from rotacube.inference.footprints import write_footprints
from rotacube.inference.frame_store import FrameStore
from rotacube.inference.frames_request import FramesRequest, checked, folder_for, may_replace_product
from rotacube.inference.needs import Needs
from rotacube.inference.outputs import KINDS, ClassTotal, Output, Setting, Totals, opened
from rotacube.inference.outputs.overlaps import Agreement, Photo
from rotacube.inference.request import provenance
from rotacube.inference.store import folder_of
from rotacube.inference.votes import Votes, frame_parts
from rotacube.logits import probabilities
from rotacube.models.card import ROOFS, ModelCard
from rotacube.models.store import LoadedModel, load_model
from rotacube.raster.destination import Destination, unwritable
from rotacube.raster.file_source import CACHE_BYTES, FileSource
from rotacube.raster.frame import Frame, moved, virtual_raster
from rotacube.raster.frames import Flight, LeftOut, read_flight
from rotacube.raster.gdal import GDAL_ERRORS
from rotacube.raster.grid import Box
from rotacube.raster.map_grid import MapGrid
from rotacube.raster.project import BLOCK, shrunk, spots
from rotacube.raster.reading import Reading
from rotacube.raster.refine import refined
from rotacube.raster.write import NODATA

LONGEST = 2**24
"""Pixels along a side of the map; frames that lie so far apart are no flight."""


log = logging.getLogger(__name__)
_T = TypeVar("_T")
_USELESS = (RasterUnreadable, RasterBands, RasterResolution, RasterEmpty)
"""What keeps one frame from being mapped, and no other."""


@dataclass(frozen=True)
class FramesMap:
    """What a run made: `frames` of so many, those that were left out and why, and what the map shows."""

    frames: int
    left_out: tuple[LeftOut, ...]
    width: int
    height: int
    gsd: float
    classes: list[ClassTotal]
    nodata_pixels: int
    seconds: float
    place: str
    notes: list[str]


def map_frames(
    request: FramesRequest,
    model: LoadedModel | None = None,
    *,
    place: Place | None = None,
    on_frame: Callable[[str, int, int, float | None], object] = lambda what, done, total, seconds_left: None,
    on_step: Callable[[str, float], object] = lambda what, share: None,
    on_start: Callable[[Needs], object] = lambda needs: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> FramesMap:
    """Map a flight's frames.

    Args:
        request: what to map.
        model: the request's model, where it is loaded already.
        place: device and precision; the best there is if None.
        on_frame: called with what is done, of how many frames, of how many in all, and the seconds left.
        on_step: called after the last frame with what is being done, in words, and its share that is done.
        on_start: called with what is needed on the disk, once the frames were looked at.
        cancelled: asked before each batch and each step; a true answer ends the run, and so does `JobInterrupted`
            where it raises that.

    Raises:
        FramesRefused: the folder has no frame that can be mapped.
        OutputUnwritable: the disk is too full for what will be needed, or cannot be written to.
        RotacubeError: another subclass that says what is wrong; nothing is left behind, but for what was found where
            the disk is full.
        JobCancelled: `cancelled` said so; nothing is left behind.
        JobInterrupted: `cancelled` raised it; what was found is kept, for a run that resumes.
    """
    start = time.monotonic()
    model = model or load_model(request.model)
    place = place or choose_place()
    card = checked(request, model.card)
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES), folder_for(request):
        flight = read_flight(
            request.folder,
            request.ground,
            calibration=request.calibration,
            dem=request.dem,
            on_frame=lambda done, total: on_frame("Looking at frames", done, total, None),
            cancelled=cancelled,
        )
        if request.refine:
            flight, _ = refined(
                flight, on_frame=lambda what, done, total: on_frame(what, done, total, None), cancelled=cancelled
            )
        grid = flight.grid(request.gsd or card.gsd)
        if max(grid.height, grid.width) > LONGEST:
            raise OptionsRefused(
                f"A map of {grid.width:,} x {grid.height:,} pixels is too large. Choose larger pixels (--gsd), or "
                "fewer frames."
            )
        needs = needs_of_flight(request, flight, grid, card)
        on_start(needs)
        needs.check()
        store = FrameStore(folder_of(request.path("mask")), grid.extent, frame_parts(card))
        store.begin(manifest_of(request, flight, grid, card, place, store.names), resume=request.resume)
        run = _Run(request, flight, grid, card, store, on_step, cancelled)
        with _kept(store):
            left_out = run.find(Engine.of(model, place), on_frame)
            totals = run.write([*flight.left_out, *left_out])
            if request.footprints is not None:
                may_replace = may_replace_product(request, request.footprints)
                write_footprints(_without(flight, left_out), request.footprints, may_replace, store.note)
        store.drop()
    seconds = time.monotonic() - start
    log.info("%s: %d frames mapped in %.1f s on %s", request.output, len(flight.frames), seconds, place)
    every = tuple(sorted([*flight.left_out, *left_out], key=lambda frame: frame.path))
    return FramesMap(
        len(flight.frames) - len(left_out),
        every,
        grid.width,
        grid.height,
        grid.gsd[0],
        totals.classes,
        totals.nodata,
        seconds,
        str(place),
        [*([card.notice] if card.notice else []), *flight.notes],
    )


def _without(flight: Flight, left_out: Sequence[LeftOut]) -> Flight:
    """A flight without some of its frames."""
    gone = {frame.path for frame in left_out}
    return replace(flight, frames=[frame for frame in flight.frames if frame.path not in gone])


@contextlib.contextmanager
def _kept(store: FrameStore) -> Iterator[None]:
    """Keeps what was found where a run can go on with it, and else drops it."""
    try:
        yield
    except OutputUnwritable as error:
        store.leave()
        raise OutputUnwritable(
            f"{error.message} What was found is kept there: resume the run to go on when there is space."
        ) from error
    except (JobInterrupted, JobDamaged):
        store.leave()
        raise
    except BaseException:
        store.drop()
        raise


@dataclass
class _Run:
    """One pass over a flight's frames, then over the map's blocks."""

    request: FramesRequest
    flight: Flight
    grid: MapGrid
    card: ModelCard
    store: FrameStore
    on_step: Callable[[str, float], object]
    cancelled: Callable[[], bool]

    def find(self, engine: Engine, on_frame: Callable[[str, int, int, float | None], object]) -> list[LeftOut]:
        """Map each frame that is not kept already; those that cannot be are given.

        The network looks at a frame while the one before is put onto the map's grid and kept.
        """
        left_out: list[LeftOut] = []
        start, new, total = time.monotonic(), 0, len(self.flight.frames)

        def tried(frame: Frame, step: Callable[[], _T]) -> _T | None:
            try:
                return step()
            except _USELESS as error:
                left_out.append(LeftOut(frame.path, f"'{frame.path.name}': {error.message}"))
                return None

        with ThreadPoolExecutor(1, "frame") as keeper:
            before: tuple[Frame, Future[None]] | None = None
            for done, frame in enumerate(self.flight.frames):
                spent = time.monotonic() - start
                on_frame("Mapping frames", done, total, spent / new * (total - done) if new else None)
                if self.store.box_of(frame.path.name) is not None:
                    continue
                self._check()
                found = tried(frame, partial(self._chances, frame, engine))
                if before:
                    tried(before[0], before[1].result)
                before = (frame, keeper.submit(self._keep, frame, *found)) if found else None
                new += 1
            if before:
                tried(before[0], before[1].result)
        on_frame("Mapping frames", total, total, None)
        if len(left_out) == total:
            raise FramesRefused(f"No frame in '{self.request.folder}' can be mapped. The first: {left_out[0].why}")
        return left_out

    def _keep(self, frame: Frame, chances: NDArray[np.uint8], fine: tuple[float, float]) -> None:
        """Put what was found of a frame, and its colours, onto the map's grid, and keep it."""
        colours = _colours(frame, self.grid.gsd[0])
        onto = np.diag([1 / frame.pose.size[0], 1 / frame.pose.size[1], 1]) @ np.linalg.inv(frame.to_map)
        box = self._box(frame)
        kept = np.full((len(self.store.names), box.height, box.width), NODATA, np.uint8)
        for spot in spots(onto @ _matrix(self.grid), box, frame.pose.lens):
            there = (slice(None), *spot.box.within(box))
            seen = spot.values(chances, fine, NODATA), spot.weights[None], spot.values(colours, colours.shape[1:], 0)
            kept[there] = np.concatenate(seen)
        self.store.add_frame(frame.path.name, box, kept)

    def _box(self, frame: Frame) -> Box:
        """The part of the grid that a frame touches."""
        columns, rows = moved(np.linalg.inv(_matrix(self.grid)), frame.outline).T
        low, high = (np.floor([rows.min(), columns.min()]), np.ceil([rows.max(), columns.max()]))
        return Box(int(low[0]), int(low[1]), int(high[0]), int(high[1])) & self.grid.extent

    def _chances(self, frame: Frame, engine: Engine) -> tuple[NDArray[np.uint8], tuple[float, float]]:
        """Probabilities of the classes from 1 on (classes, rows, columns), in 254ths, in the frame's own rows and
        columns; and how many of these make the whole frame.
        """
        virtual = self.store.folder / "frame.vrt"
        try:
            virtual.write_text(virtual_raster(frame, self.flight.crs), encoding="utf-8")
        except OSError as error:
            raise unwritable(self.store.folder, error) from error
        reading = Reading(any_resolution=self.request.any_resolution)
        with FileSource(str(virtual), self.card, reading) as source:
            chances = np.zeros((len(self.card.classes) - 1, source.height, source.width), np.uint8)
            with contextlib.closing(engine.strips(source, cancelled=self.cancelled)) as strips:
                for strip in strips:
                    found = probabilities(strip.logits)[1:]
                    chances[(slice(None), *strip.box.within(source.grid.extent))] = np.rint(found * FULL)
            scale = ~source.grid.transform @ frame.affine
        columns, rows = scale.a * frame.pose.size[0], scale.e * frame.pose.size[1]
        small = shrunk(chances, self.grid.gsd[0] / self.card.gsd)
        by = small.shape[1] / chances.shape[1], small.shape[2] / chances.shape[2]
        return small, (rows * by[0], columns * by[1])

    def write(self, left_out: Sequence[LeftOut]) -> Totals:
        """Let the frames vote, and write the products."""
        tags = provenance(str(self.request.folder), self.card) | tags_of(self.flight, left_out)
        # Neither roofs are told apart nor borders known across frames: what is found are classes.
        task = self.card.task if self.card.task != ROOFS else "classes of frames"
        card = self.card.model_copy(update={"task": task, "further": []})
        accord = Accord(len(card.classes))
        setting = Setting(self.grid, self.grid.extent, card, tags, self.store, self._step, accord=accord)
        totals = Totals(setting)
        outputs = [totals, *self._outputs(setting)]
        boxes = self.grid.extent.parts(BLOCK)
        with opened(outputs), contextlib.closing(_ahead(self._votes(boxes, card, accord))) as findings:
            for done, finding in enumerate(findings):
                self._step("Joining frames", done / len(boxes))
                for output in outputs:
                    output.write(finding)
            self._step("Joining frames", 1.0)
            if totals.empty:
                raise OptionsRefused("The frames cover no pixel of the map. Choose smaller pixels (--gsd).")
            for output in outputs:
                output.finish()
            for output in outputs:
                output.place()
        return totals

    def _outputs(self, setting: Setting) -> Iterator[Output]:
        makers: dict[str, Callable[[Destination], Output]] = {
            "mask": lambda at: KINDS["mask"].make(at, setting, "cog"),
            "probability": lambda at: KINDS["probability"].make(at, setting, "cog"),
            "rgb": lambda at: Photo(at, setting),
            "agreement": lambda at: Agreement(at, setting),
            "statistics": lambda at: KINDS["statistics"].make(at, setting, "csv"),
        }
        for product, make in makers.items():
            path = self.request.path(product)
            yield make(Destination(path, may_replace_product(self.request, path), self.store.note))

    def _votes(self, boxes: Sequence[Box], card: ModelCard, accord: Accord) -> Iterator[Finding]:
        """The findings of these blocks of the grid, each with the frames that touch it, whose accord is counted."""
        kept = {frame.path.name: self.store.box_of(frame.path.name) for frame in self.flight.frames}
        for block in boxes:
            votes = Votes(block, card)
            for name, box in kept.items():
                if box is not None and not (box & block).empty:
                    votes.add(box & block, self.store.read_frame(name, box & block))
            votes.cells.tell(accord)
            yield votes.finding

    def _step(self, what: str, share: float) -> None:
        self._check()
        self.on_step(what, share)

    def _check(self) -> None:
        if self.cancelled():
            raise JobCancelled("The job was cancelled; nothing was written.")


def _ahead(items: Iterator[Finding]) -> Generator[Finding, None, None]:
    """The same, each made in a thread while the one before is used."""
    with ThreadPoolExecutor(1, "votes") as maker:
        coming = maker.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = maker.submit(next, items, None)
            yield item


def _matrix(grid: MapGrid) -> NDArray[np.float64]:
    """A grid's transform as a matrix (3, 3)."""
    return np.array(tuple(grid.transform)).reshape(3, 3)


def _colours(frame: Frame, gsd: float) -> NDArray[np.uint8]:
    """Red, green and blue (3, rows, columns) of a whole frame, with pixels about as large as the map's, not finer."""
    factor = max(1.0, gsd / frame.pose.gsd)
    columns, rows = (max(1, round(side / factor)) for side in frame.pose.size)
    try:
        with rasterio.open(frame.path) as file:
            found: NDArray[np.uint8] = file.read((1, 2, 3), out_shape=(3, rows, columns), resampling=Resampling.average)
    except GDAL_ERRORS as error:
        raise RasterUnreadable("It was readable before, and is not any more.") from error
    return found
