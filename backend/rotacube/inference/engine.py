"""From a source and a network to blended strips: tiles of the absolute grid in, logits out. It knows no files.

Memory is flat: a run holds one strip, at most `COLUMN` pixels wide, and a batch more than it has threads that infer,
whatever the source's size.

One thread reads. On a CPU several infer, each a batch of its own on its share of PyTorch's threads: none waits for
another at every operator when reading, blending or another program takes a core meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, MutableMapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice, product
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rotacube.errors import JobCancelled, ModelDamaged, RasterUnreadable, RotacubeError
from rotacube.inference.device import Place
from rotacube.inference.turns import averaged
from rotacube.models.onnx_network import AT_ONCE
from rotacube.models.store import LoadedModel
from rotacube.networks.dense import DenseNetwork
from rotacube.networks.folding import folded
from rotacube.raster.grid import Axis, Box, TileGrid
from rotacube.raster.source import Source

COLUMN = 8192
"""Widest part of a strip that is held in memory, pixels."""
WORKERS = AT_ONCE
"""Most batches that a CPU infers at once."""


@dataclass(frozen=True)
class Strip:
    """A part of the map that no later tile can change. Its arrays are views that hold until the next strip.

    Attributes:
        box: what it covers, in the grid's pixels.
        logits: (outputs, height, width), of the classes, blended over tiles.
        further: the network's other outputs by name, (channels, height, width) each, blended likewise.
        valid: (height, width), where the source has data.
    """

    box: Box
    logits: NDArray[np.float32]
    further: dict[str, NDArray[np.float32]]
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class TileLogits:
    """One finished tile before blending: what is shown as its own, within the area; None where all is nodata.

    Attributes:
        n, total: the tile's number from 0, and how many there are.
        box: its core within the area; it may be empty.
        logits: (outputs, height, width).
        valid: (height, width).
    """

    n: int
    total: int
    box: Box
    logits: NDArray[np.float32] | None
    valid: NDArray[np.bool_] | None


OnTile = Callable[[TileLogits], None]
Pools = tuple[ThreadPoolExecutor, ThreadPoolExecutor, int]
"""The one that reads, the one that infers, and how many threads that has."""
_Tile = tuple[NDArray[np.float32], NDArray[np.bool_]]
"""Values or outputs (n, tile, tile), and the validity (tile, tile)."""
_At = tuple[int, int]
"""A tile's row and column in the grid."""
Kept = MutableMapping[_At, _Tile | None]
"""Outputs of tiles by their place, not weighted; None where all is nodata."""
_sharing = Lock()
_running: list[int] = []
"""PyTorch's threads before each of the runs that are going on."""


class Engine:
    """A network with its tiling, where it runs.

    Args:
        network: in eval mode; its `channels` name outputs beside the logits.
        tile: pixels a side.
        overlap: of neighbouring tiles, pixels.
        outputs: logits a pixel.
        place: device, precision and batch; the network is moved there, or a copy of it (`folded`).
        turns: how often each tile is looked at, see `averaged`.

    >>> from rotacube import FileSource, choose_place, load_model
    >>> model = load_model("rooftop-small")
    >>> with FileSource("town.tif", model.card) as source:
    ...     for strip in Engine.of(model, choose_place()).strips(source):
    ...         print(strip.box, strip.logits.shape)
    Box(top=0, left=0, bottom=256, right=256) (1, 256, 256)
    """

    def __init__(
        self, network: nn.Module, *, tile: int, overlap: int, outputs: int, place: Place, turns: int = 1
    ) -> None:
        self.network = folded(network).to(place.device)
        self.tile, self.overlap, self.place = tile, overlap, place
        self.turns = turns
        self.channels = {"logits": outputs}
        if isinstance(network, DenseNetwork):
            self.channels = network.channels

    @classmethod
    def of(cls, model: LoadedModel, place: Place, turns: int = 1) -> Engine:
        """The engine of a model, as its card tiles it."""
        card = model.card
        made = {"tile": card.tile, "overlap": card.overlap, "outputs": card.outputs}
        return cls(model.network, **made, place=place, turns=turns)

    def strips(
        self,
        source: Source,
        area: Box | None = None,
        *,
        done: Collection[Box] = (),
        kept: Kept | None = None,
        on_tile: OnTile = lambda tile: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Generator[Strip, None, None]:
        """Strips that tile the area, each as soon as it is whole. Close the generator to wait for its reader.

        Args:
            source: what is read, from one thread beside the caller's.
            area: a part of the source's grid that is not empty; the whole if None. Tiles that touch it are run whole:
                a part gives the crop of the whole.
            done: boxes of strips that are known already; they are not given again, and their tiles count as done.
            kept: what was found of tiles of this source before; they are not read again, and new ones are added.
            on_tile: called with each finished tile, in the order of the grid.
            cancelled: asked before each batch.

        Raises:
            JobCancelled: `cancelled` said so.
            ModelDamaged, RasterUnreadable: as `infer` says.
        """
        run = _Run(self, source, area or Box(0, 0, source.height, source.width), set(done), kept, on_tile, cancelled)
        with _pools(self.place) as pools:
            for column in run.columns:
                yield from run.column(column, pools)

    def infer(self, tiles: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """All outputs of tiles, (tiles, channels, tile, tile).

        A short batch is padded, so that arithmetic is the same. Where a batch does not fit into the device's memory,
        it is halved, and so are all after it.

        Args:
            tiles: (bands, tile, tile) each.

        Raises:
            ModelDamaged: what comes out is no number.
            RasterUnreadable: what goes in is none.
        """
        while True:
            size = self.place.batch
            try:
                parts = [self._infer(tiles[k : k + size], size) for k in range(0, len(tiles), size)]
                return parts[0] if len(parts) == 1 else np.concatenate(parts)
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                self.place = replace(self.place, batch=size // 2)
                torch.cuda.empty_cache()

    def _infer(self, tiles: list[NDArray[np.float32]], size: int) -> NDArray[np.float32]:
        if size == 1:
            batch = torch.from_numpy(tiles[0][None])
        else:
            batch = torch.empty((size, *tiles[0].shape), memory_format=torch.channels_last)
            batch[len(tiles) :] = 0
            for into, tile in zip(batch.numpy(), tiles, strict=False):
                into[:] = tile
        values = batch.to(self.place.device).to(memory_format=torch.channels_last)
        half = self.place.dtype != torch.float32
        with torch.inference_mode(), torch.autocast(self.place.device.type, self.place.dtype, enabled=half):
            out = self.network(values)
        if isinstance(out, dict):
            out = torch.cat(list(out.values()), 1)
        result: NDArray[np.float32] = out[: len(tiles)].float().cpu().numpy()
        if not np.isfinite(result).all():
            raise _no_numbers(tiles, self.place)
        return result

    def split(self, blended: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The outputs by name, cut out of (channels, ...)."""
        ends = np.cumsum(list(self.channels.values()))
        return dict(zip(self.channels, np.split(blended, ends[:-1]), strict=True))


class _Run:
    """One pass over an area: the grid, and how many tiles are done."""

    def __init__(
        self,
        engine: Engine,
        source: Source,
        area: Box,
        known: set[Box],
        kept: Kept | None,
        on_tile: OnTile,
        cancelled: Callable[[], bool],
    ) -> None:
        self.kept = kept
        self.engine, self.source, self.known, self.on_tile, self.cancelled = engine, source, known, on_tile, cancelled
        self.grid = TileGrid.over(source.height, source.width, engine.tile, engine.overlap)
        self.columns = list(_columns(area))
        self.total = count_tiles(source, area, engine.tile, engine.overlap)
        self.done = 0

    def _tiles(self, column: Box) -> tuple[range, range]:
        return (
            self.grid.rows.touching(column.top, column.bottom),
            self.grid.columns.touching(column.left, column.right),
        )

    def column(self, column: Box, pools: Pools) -> Iterator[Strip]:
        rows, cols = self._tiles(column)
        tile = self.grid.rows.tile
        blended = np.zeros((sum(self.engine.channels.values()), tile, column.width), np.float32)
        valid = np.zeros((tile, column.width), bool)
        wholes = {i: _whole(self.grid.rows, column, i, i == rows[-1]) for i in rows}
        known = {i for i in rows if wholes[i] in self.known}
        idle = {i for i in known if i == rows[-1] or i + 1 in known}  # rows of tiles that nothing asks for any more
        predicted = self._predict(column, product((i for i in rows if i not in idle), cols), pools)
        last = -2  # row of tiles in which anything was found
        for i in rows:
            top = i * self.grid.rows.step
            strip = Box(top, column.left, top + tile, column.right)
            for j in cols if i in idle else ():
                self._report(column, i, j, None)
            for j, found in islice(predicted, 0 if i in idle else len(cols)):
                if found is None:
                    continue
                last, (box_outputs, box_valid) = i, found
                box = self.grid.box(i, j)
                seen = box & strip
                into, cut = seen.within(strip), seen.within(box)
                blended[(slice(None), *into)] += box_outputs[(slice(None), *cut)]
                valid[into] |= box_valid[cut]
            whole = wholes[i]
            if not whole.empty and i not in known:
                part = whole.within(strip)
                further = self.engine.split(blended[(slice(None), *part)])
                yield Strip(whole, further.pop("logits"), further, valid[part])
            if last < i - 1:
                continue
            done = self.grid.rows.step
            for array in (blended, valid[None]):
                array[:, :-done] = array[:, done:].copy()
                array[:, -done:] = 0

    def _predict(
        self, column: Box, places: Iterator[tuple[int, int]], pools: Pools
    ) -> Iterator[tuple[int, _Tile | None]]:
        """Column numbers of tiles, with weighted outputs and validity, or None where all is nodata.

        They come in the order of their places; some batches are read and inferred ahead.
        """
        reader, workers, count = pools

        kept = {} if self.kept is None else self.kept

        def read(batch: list[_At], known: Kept) -> list[_Tile | None]:
            return [None if at in known else self.source.read(self.grid.box(*at)) for at in batch]

        def infer(batch: list[_At], known: Kept, reading: Future[list[_Tile | None]]) -> list[_Tile | None]:
            tiles = reading.result()
            live = [(n, tile) for n, tile in enumerate(tiles) if tile is not None and tile[1].any()]
            found = [known.get(at) for at in batch]
            if live:
                images = [tile[0] for _, tile in live]
                results = averaged(self.engine.infer, images, self.engine.turns, self.engine.channels)
                for (n, tile), outputs in zip(live, results, strict=True):
                    found[n] = outputs, tile[1]
            return found

        ahead: deque[tuple[list[_At], Future[list[_Tile | None]]]] = deque()
        while True:
            while len(ahead) <= count and (batch := list(islice(places, self.engine.place.batch))):
                known = {at: kept[at] for at in batch if at in kept}
                ahead.append((batch, workers.submit(infer, batch, known, reader.submit(read, batch, known))))
            if not ahead:
                return
            batch, future = ahead.popleft()
            tiles = future.result()
            if self.cancelled():
                raise JobCancelled("The job was cancelled; nothing was written.")
            if self.kept is not None:
                self.kept.update(zip(batch, tiles, strict=True))
            for (i, j), tile in zip(batch, tiles, strict=True):
                self._report(column, i, j, tile)
                yield j, None if tile is None else (tile[0] * self.grid.weights(i, j), tile[1])

    def _report(self, column: Box, i: int, j: int, found: _Tile | None) -> None:
        core = self.grid.core(i, j) & column
        logits = valid = None
        if found is not None and not core.empty:
            cut = core.within(self.grid.box(i, j))
            logits = self.engine.split(found[0])["logits"][(slice(None), *cut)]
            valid = found[1][cut]
        self.done += 1
        self.on_tile(TileLogits(self.done - 1, self.total, core, logits, valid))


@contextmanager
def _pools(place: Place) -> Iterator[Pools]:
    """The threads of a run; PyTorch's are shared out among those that infer, and given back at the end."""
    with _sharing:  # what a run beside this one has set is not what this process had
        threads = _running[0] if _running else torch.get_num_threads()
        _running.append(threads)
    count = at_once(place, threads)
    share = threads // count
    reader, workers = ThreadPoolExecutor(1), ThreadPoolExecutor(count, initializer=lambda: torch.set_num_threads(share))
    try:
        yield reader, workers, count
    finally:
        reader.shutdown(cancel_futures=True)
        workers.shutdown(cancel_futures=True)
        with _sharing:
            _running.remove(threads)
            torch.set_num_threads(threads)


def at_once(place: Place, threads: int | None = None) -> int:
    """How many batches are inferred at once, with so many of PyTorch's threads; as many as it has if None."""
    return min(threads or torch.get_num_threads(), WORKERS) if place.device.type == "cpu" else 1


def _no_numbers(tiles: list[NDArray[np.float32]], place: Place) -> RotacubeError:
    """Why outputs are not finite: a map would show them as background."""
    if not all(np.isfinite(tile).all() for tile in tiles):
        return RasterUnreadable(
            "The raster holds values that are no numbers (NaN or infinite) where it says that it has data. Declare "
            "them as nodata, or repair the raster."
        )
    return ModelDamaged(
        f"The model gives values that are no numbers (NaN or infinite) on {place}: its weights are damaged, or too "
        "large for this precision. Install the model again, or map with --precision float32."
    )


def count_tiles(source: Source, area: Box, tile: int, overlap: int) -> int:
    """How many tiles an area takes; one that lies over two columns is found for each."""
    grid = TileGrid.over(source.height, source.width, tile, overlap)
    return sum(
        len(grid.rows.touching(column.top, column.bottom)) * len(grid.columns.touching(column.left, column.right))
        for column in _columns(area)
    )


def strip_boxes(source: Source, area: Box, tile: int, overlap: int) -> list[Box]:
    """What the strips of an area cover, in their order; a box that is run alone gives that strip."""
    axis = TileGrid.over(source.height, source.width, tile, overlap).rows
    rows = axis.touching(area.top, area.bottom)
    wholes = [_whole(axis, column, i, i == rows[-1]) for column in _columns(area) for i in rows]
    return [whole for whole in wholes if not whole.empty]


def _whole(rows: Axis, column: Box, i: int, last: bool) -> Box:
    """The part of a column that no tile beyond row i can change, and none before it was the last to."""
    end = column.bottom if last else (i + 1) * rows.step
    return Box(i * rows.step, column.left, end, column.right) & column


def _columns(area: Box) -> Iterator[Box]:
    """The area cut into columns that memory can hold, at multiples of `COLUMN`, which are multiples of its blocks."""
    for left in range(area.left, area.right, COLUMN):
        yield Box(area.top, left, area.bottom, min(left + COLUMN, area.right))
