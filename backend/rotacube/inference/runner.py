"""Maps a raster with a model: tiles of the absolute grid, blended logits, strips written as they become whole.

Memory is flat: a run holds one strip of logits, at most `COLUMN` pixels wide, and two batches, whatever the raster's
size.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray

from rotacube import __version__
from rotacube.errors import JobCancelled, OptionsRefused
from rotacube.inference.device import Place, choose_place
from rotacube.models.card import CardClass, ModelCard
from rotacube.models.store import LoadedModel
from rotacube.networks.dense import RoofMaps
from rotacube.networks.scene import SceneNetwork
from rotacube.raster.file_source import CACHE_BYTES, FileSource, all_nodata
from rotacube.raster.grid import Box, TileGrid
from rotacube.raster.write import NODATA, MaskWriter, check_output, sweep

COLUMN = 8192
"""Widest part of a strip that is held in memory, pixels."""


@dataclass(frozen=True)
class MapRequest:
    """What to map. `bounds` are left, bottom, right, top in `bounds_crs` (the raster's own if None)."""

    raster: str
    output: Path
    bounds: tuple[float, float, float, float] | None = None
    bounds_crs: str | None = None
    bands: list[int] | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class Tile:
    """One finished tile: its core within the area, and the class ids there before blending (None: all nodata)."""

    n: int
    done: int
    total: int
    seconds_left: float | None
    box: Box
    corners: list[tuple[float, float]]
    crs: str
    labels: NDArray[np.uint8] | None
    counts: dict[int, int]


@dataclass(frozen=True)
class ClassTotal:
    """Pixels and square metres on the ellipsoid of a class."""

    info: CardClass
    pixels: int
    area_m2: float


@dataclass(frozen=True)
class MapResult:
    """What a run made."""

    output: Path
    width: int
    height: int
    gsd: float
    classes: list[ClassTotal]
    nodata_pixels: int
    seconds: float
    place: str


@dataclass
class _Totals:
    pixels: NDArray[np.int64]
    area: NDArray[np.float64]
    nodata: int = 0

    def add(self, labels: NDArray[np.uint8], area: float) -> None:
        counts = np.bincount(labels.ravel(), minlength=256)
        self.nodata += int(counts[NODATA])
        self.pixels += counts[: len(self.pixels)]
        self.area += counts[: len(self.area)] * (area / labels.size)


@dataclass
class _Clock:
    """Predicts the time left from the tiles that needed work."""

    total: int
    start: float = field(default_factory=time.monotonic)
    done: int = 0

    def tick(self) -> float | None:
        self.done += 1
        spent = time.monotonic() - self.start
        return spent / self.done * (self.total - self.done) if spent > 0.5 else None


def run_map(
    request: MapRequest,
    model: LoadedModel,
    *,
    place: Place | None = None,
    on_tile: Callable[[Tile], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> MapResult:
    """Map a raster.

    Args:
        request: what and where to.
        model: the network and its card.
        place: device and precision; the best there is if None.
        on_tile: called with each finished tile, in the order of the grid.
        cancelled: asked before each batch; a true answer ends the run.

    Raises:
        RotacubeError: a subclass that says what is wrong; nothing is left behind.
        JobCancelled: `cancelled` said so; nothing is left behind.
    """
    start = time.monotonic()
    if isinstance(model.network, SceneNetwork):
        raise OptionsRefused(
            f"The model '{model.card.name}' labels whole images, not pixels: choose another to map with."
        )
    place = place or choose_place()
    with (
        rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES // 2**20),
        FileSource(request.raster, model.card, request.bands) as source,
    ):
        area = check_request(request, source)
        sweep(request.output.parent, request.output.name)
        card = model.card
        run = _Run(source, model, place, area, on_tile, cancelled)
        writer = MaskWriter(
            request.output,
            area,
            source.grid.transform_of(area),
            source.grid.crs,
            card.classes,
            _provenance(request, card),
        )
        # Closing the strips waits for the reader, which must not outlive the source.
        with writer, closing(run.strips()) as strips:
            for box, labels in strips:
                run.totals.add(labels, source.grid.ground.area(box.left, box.top, box.width, box.height))
                writer.write(box, labels)
            if not run.totals.pixels.any():
                raise all_nodata(request.raster)
            writer.finish()
    totals = run.totals
    return MapResult(
        request.output,
        area.width,
        area.height,
        card.gsd,
        [ClassTotal(c, int(totals.pixels[c.id]), float(totals.area[c.id])) for c in card.classes],
        totals.nodata,
        time.monotonic() - start,
        str(place),
    )


def check_request(request: MapRequest, source: FileSource) -> Box:
    """The part of the source's grid that a request asks for, checked before any work.

    Raises:
        RasterEmpty: the area does not touch the raster.
        OutputUnwritable: the mask cannot be written.
    """
    area = source.grid.box_of_bounds(request.bounds, request.bounds_crs) if request.bounds else source.grid.extent
    check_output(request.output, request.overwrite, area.height * area.width, source.files)
    return area


class _Run:
    """The state of one run: the grid, the network where it runs, and the count of tiles."""

    def __init__(
        self,
        source: FileSource,
        model: LoadedModel,
        place: Place,
        area: Box,
        on_tile: Callable[[Tile], None] | None,
        cancelled: Callable[[], bool],
    ) -> None:
        card = model.card
        self.source, self.card, self.place, self.area = source, card, place, area
        self.network = model.network.to(place.device)
        self.on_tile, self.cancelled = on_tile, cancelled
        self.grid = TileGrid.over(source.height, source.width, card.tile, card.overlap)
        self.outputs = 1 if len(card.classes) == 2 else len(card.classes)
        self.totals = _Totals(np.zeros(len(card.classes), np.int64), np.zeros(len(card.classes)))
        self.columns = list(_columns(area))
        self.clock = _Clock(sum(len(rows) * len(cols) for rows, cols in map(self._tiles, self.columns)))

    def _tiles(self, column: Box) -> tuple[range, range]:
        return (
            self.grid.rows.touching(column.top, column.bottom),
            self.grid.columns.touching(column.left, column.right),
        )

    def strips(self) -> Generator[tuple[Box, NDArray[np.uint8]], None, None]:
        """Class ids of the area, in boxes that tile it: each as soon as no later tile can change it."""
        with ThreadPoolExecutor(1) as reader:
            for column in self.columns:
                yield from self._column(column, reader)

    def _column(self, column: Box, reader: ThreadPoolExecutor) -> Iterator[tuple[Box, NDArray[np.uint8]]]:
        rows, cols = self._tiles(column)
        tile = self.grid.rows.tile
        logits = np.zeros((self.outputs, tile, column.width), np.float32)
        valid = np.zeros((tile, column.width), bool)
        for i in rows:
            top = i * self.grid.rows.step
            strip = Box(top, column.left, top + tile, column.right)
            for j, box_logits, box_valid in self._predict(column, i, cols, reader):
                box = self.grid.box(i, j)
                seen = box & strip
                into, cut = seen.within(strip), seen.within(box)
                logits[(slice(None), *into)] += box_logits[(slice(None), *cut)]
                valid[into] |= box_valid[cut]
            end = column.bottom if i == rows[-1] else top + self.grid.rows.step
            whole = Box(top, column.left, end, column.right) & column
            if not whole.empty:
                part = whole.within(strip)
                yield whole, self._labels(logits[(slice(None), *part)], valid[part])
            done = self.grid.rows.step
            for array in (logits, valid[None]):
                array[:, :-done] = array[:, done:].copy()
                array[:, -done:] = 0

    def _predict(
        self, column: Box, i: int, cols: range, reader: ThreadPoolExecutor
    ) -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.bool_]]]:
        """Weighted logits and validity of the tiles of a row that hold anything; the next batch is read meanwhile."""
        size = self.place.batch
        batches = [cols[k : k + size] for k in range(0, len(cols), size)]

        def read(columns: range) -> list[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
            return [self.source.read(self.grid.box(i, j)) for j in columns]

        ahead = reader.submit(read, batches[0])
        for index, columns in enumerate(batches):
            tiles = ahead.result()
            if self.cancelled():
                raise JobCancelled("The job was cancelled; nothing was written.")
            if index + 1 < len(batches):
                ahead = reader.submit(read, batches[index + 1])
            live = any(valid.any() for _, valid in tiles)
            results = self._infer([values for values, _ in tiles]) if live else None
            for position, j in enumerate(columns):
                valid = tiles[position][1]
                if results is None or not valid.any():
                    self._report(column, i, j, None)
                    continue
                self._report(column, i, j, (results[position], valid))
                yield j, results[position] * self.grid.weights(i, j), valid

    def _infer(self, tiles: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Logits of a batch, padded to its full size so that the arithmetic is the same for every tile."""
        batch = np.zeros((self.place.batch, *tiles[0].shape), np.float32)
        batch[: len(tiles)] = tiles
        values = torch.from_numpy(batch).to(self.place.device).to(memory_format=torch.channels_last)
        half = self.place.dtype != torch.float32
        with torch.inference_mode(), torch.autocast(self.place.device.type, self.place.dtype, enabled=half):
            out = self.network(values)
        if isinstance(out, RoofMaps):
            out = out.logits
        result: NDArray[np.float32] = out.float().cpu().numpy()
        return result

    def _labels(self, logits: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Class ids from blended logits, nodata where the raster has none."""
        if self.outputs == 1:
            limit = np.log(self.card.threshold / (1 - self.card.threshold))
            ids: NDArray[np.uint8] = (logits[0] > limit).astype(np.uint8)
        else:
            ids = logits.argmax(0).astype(np.uint8)
        ids[~valid] = NODATA
        return ids

    def _report(self, column: Box, i: int, j: int, found: tuple[NDArray[np.float32], NDArray[np.bool_]] | None) -> None:
        left = self.clock.tick()
        if self.on_tile is None:
            return
        box = self.grid.box(i, j)
        core = self.grid.core(i, j) & column
        labels = None
        if found is not None and not core.empty:
            cut = core.within(box)
            labels = self._labels(found[0][(slice(None), *cut)], found[1][cut])
        counts = {} if labels is None else {c.id: int((labels == c.id).sum()) for c in self.card.classes}
        transform = self.source.grid.transform_of(core)
        corners = [transform * p for p in ((0, 0), (core.width, 0), (core.width, core.height), (0, core.height))]
        n = self.clock.done - 1
        total = self.clock.total
        self.on_tile(Tile(n, n + 1, total, left, core, corners, self.source.grid.crs, labels, counts))


def _columns(area: Box) -> Iterator[Box]:
    """The area cut into columns that memory can hold, at multiples of `COLUMN`, which are multiples of its blocks."""
    for left in range(area.left, area.right, COLUMN):
        yield Box(area.top, left, area.bottom, min(left + COLUMN, area.right))


def _provenance(request: MapRequest, card: ModelCard) -> dict[str, str]:
    tags: dict[str, Any] = {
        "ROTACUBE_VERSION": __version__,
        "ROTACUBE_MODEL": card.name,
        "ROTACUBE_MODEL_SHA256": card.weights.sha256,
        "ROTACUBE_RASTER": request.raster,
        "ROTACUBE_LICENCE": card.licence,
        "ROTACUBE_ATTRIBUTION": card.attribution,
    }
    if request.bounds:
        tags["ROTACUBE_BOUNDS"] = " ".join(map(str, request.bounds))
    return {key: str(value) for key, value in tags.items()}
