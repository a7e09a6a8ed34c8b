"""The single roofs of whatever part of a raster somebody looks at, each the same from wherever it is seen.

A tile is inferred once and kept. Roofs are told apart in blocks of the absolute grid with some of their surroundings in
sight, never in the part that is looked at: a roof belongs to the block that its middle lies in, and depends on nothing
else. At another threshold the tiles that are kept are cut anew.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import product
from threading import Lock
from typing import Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label

from rotacube.errors import JobCancelled, OptionsRefused, RasterEmpty
from rotacube.inference.ahead import ahead
from rotacube.inference.engine import Engine
from rotacube.inference.findings import CHANCE, FULL, finding_of, names_of
from rotacube.inference.outputs.polygons import bearing, measures
from rotacube.inference.pieces import AROUND, Parts, roofs_of
from rotacube.inference.request import with_cuts
from rotacube.models.card import ModelCard
from rotacube.raster.cell_source import At, CellSource
from rotacube.raster.file_source import CACHE_BYTES, FileSource
from rotacube.raster.grid import Box, TileGrid
from rotacube.raster.write import NODATA
from rotacube.vector.instances import separate_roofs, without_unsure
from rotacube.vector.layers import on_map
from rotacube.vector.regularise import regularise

BLOCK = 512
"""Pixels a side of a block."""
MARGIN = 96
"""Pixels about a block that are seen when its roofs are told apart; more, up to a block, where a roof is larger."""
WIDEST = 4096
"""Pixels a side of what may be looked at, at once."""
KEPT_BYTES = 2**29
"""Of the tiles' outputs that are kept."""
BLOCKS = 4096
"""How many blocks' roofs are kept."""
REACH = 320
"""Pixels about a point in which a roof may be grown."""
LIKELY = 0.04
"""The probability below which no roof is grown about a pixel."""
Ids = NDArray[np.int32]


@dataclass(frozen=True)
class Roof:
    """A roof: its outline in the grid's CRS, and what is known of it in metres on the ellipsoid."""

    id: str
    shape: shapely.Geometry = field(repr=False)
    area: float
    perimeter: float
    confidence: float
    axis: float
    regular: bool


@dataclass(frozen=True)
class Found:
    """The roofs of a place, the cells whose pixels are missing, and how many roofs are larger than can be seen."""

    roofs: list[Roof]
    needs: list[At]
    cut: int = 0


class View:
    """A raster that is looked at with a model that finds roofs; one call at a time.

    Args:
        source: what is looked at.
        card: of the model.
        engine: the model's.
    """

    def __init__(self, source: FileSource | CellSource, card: ModelCard, engine: Engine) -> None:
        self.source, self.grid, self.card, self.engine = source, source.grid, card, engine
        self._tiling = TileGrid.over(source.height, source.width, engine.tile, engine.overlap)
        channels = sum(engine.channels.values())
        self.tiles: OrderedDict[At, Any] = OrderedDict()
        self._most = max(1, KEPT_BYTES // (engine.tile**2 * (4 * channels + 1)))
        self._lock = Lock()
        self._blocks: OrderedDict[tuple[int, int, float, float], tuple[list[Roof], int]] = OrderedDict()

    @property
    def size(self) -> int:
        """Bytes of the tiles that are kept."""
        return sum(tile[0].nbytes + tile[1].nbytes for tile in list(self.tiles.values()) if tile is not None)

    def roofs(
        self,
        bounds: tuple[float, float, float, float],
        threshold: float | None = None,
        smallest: float | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Found:
        """The roofs of a place.

        Args:
            bounds: left, bottom, right, top in the grid's CRS.
            threshold: the probability from which on a pixel is roof; the model's own if None.
            smallest: square metres of the smallest roof; the model's own if None.
            cancelled: asked before each tile and each block.

        Raises:
            OptionsRefused: the place is too large, or a number is none that can be.
            JobCancelled: `cancelled` said so.
        """
        card = with_cuts(self.card, threshold, smallest)
        try:
            box = self.grid.box_of_bounds(bounds)
        except RasterEmpty:
            return Found([], [])
        if max(box.height, box.width) > WIDEST:
            raise OptionsRefused(f"The place is {box.width} x {box.height} pixels, more than {WIDEST}: zoom in.")
        about = Box(box.top - MARGIN, box.left - MARGIN, box.bottom + MARGIN, box.right + MARGIN)
        places = list(_blocks(about & self.grid.extent))  # a roof that is seen may have its middle beside what is
        self._find(places, card, cancelled)
        seen, roofs, cut, needs = shapely.box(*bounds), [], 0, set[At]()
        for place in places:
            key = (*place, card.threshold, card.separation.smallest)
            if key not in self._blocks:
                needs |= self._missing(self._window(place, MARGIN)) or self._missing(self._window(place, BLOCK))
                continue
            self._blocks.move_to_end(key)
            found, beyond = self._blocks[key]
            roofs += [roof for roof in found if roof.shape.intersects(seen)]
            cut += beyond
        return Found(roofs, sorted(needs), cut)

    def look_ahead(self, bounds: tuple[float, float, float, float], cancelled: Callable[[], bool]) -> None:
        """Infer the tiles of a place, so that its roofs come sooner."""
        try:
            box = self.grid.box_of_bounds(bounds)
        except RasterEmpty:
            return
        if max(box.height, box.width) <= 2 * WIDEST and not self._missing(box):
            self._parts(box, self.card, cancelled)

    def forget(self, box: Box) -> None:
        """Forget all that depends on the pixels of a part of the grid: they are others now. Nobody works meanwhile."""
        for at in self._tiles_of(box):
            self.tiles.pop(at, None)
        for key in list(self._blocks):
            if not (self._window(key[:2], BLOCK + self.engine.tile) & box).empty:
                del self._blocks[key]

    def grow(self, point: tuple[float, float], threshold: float | None = None) -> tuple[Roof | None, str, list[At]]:
        """A roof about a point that was missed: what is as likely there as about it, and no other roof.

        Args:
            point: x, y in the grid's CRS.
            threshold: at which other roofs were found; the model's own if None.

        Returns:
            The roof, or why there is none, or the cells whose pixels are missing.
        """
        card = with_cuts(self.card, threshold, None)
        column, row = (math.floor(n) for n in ~self.grid.transform * point)
        window = Box(row - REACH, column - REACH, row + REACH + 1, column + REACH + 1) & self.grid.extent
        if not (0 <= row < self.grid.height and 0 <= column < self.grid.width):
            return None, "There is nothing of the raster.", []
        if lacking := self._missing(window):
            return None, "", sorted(lacking)
        parts = self._parts(window, card, lambda: False)
        known, _ = roofs_of(card).split(parts)
        chance = np.where(parts[f"{CHANCE} 1"] == NODATA, 0, parts[f"{CHANCE} 1"]) / FULL
        at = row - window.top, column - window.left
        if known[at]:
            there, needs = self._known_at(point, threshold)
            if there is None and not needs:  # smaller than what is shown, or larger than a block sees
                there = self._drawn(known, np.array([known[at]]), window, parts)[0]
            return there, "", needs
        if chance[at] < LIKELY:
            return None, "The model sees nothing like a roof there. Draw it by hand.", []
        grown = _grown(chance, known, at)
        if grown is None:
            return None, "No edge can be told about that place. Draw the roof by hand.", []
        depth = parts["distance"].astype(np.float32) / np.float32(FULL) if "distance" in parts else None
        alone = separate_roofs(grown, depth, saddle=card.separation.saddle)
        number = int(known.max()) + 1
        known[alone == alone[at]] = number
        return self._drawn(known, np.array([number]), window, parts)[0], "", []

    def _known_at(self, point: tuple[float, float], threshold: float | None) -> tuple[Roof | None, list[At]]:
        """The roof about a point as it is shown, or the cells whose pixels are missing."""
        x, y = point
        t = self.grid.transform
        wide = 2 * max(math.hypot(t.a, t.d), math.hypot(t.b, t.e))  # straight walls may leave the pixel beside them
        found = self.roofs((x - wide, y - wide, x + wide, y + wide), threshold)
        near = [(shapely.distance(roof.shape, shapely.Point(point)), roof.id, roof) for roof in found.roofs]
        return (min(near)[2], []) if near else (None, found.needs)

    def _find(self, places: Sequence[At], card: ModelCard, cancelled: Callable[[], bool]) -> None:
        """Find the roofs of the blocks, rows and columns of blocks, not known yet and whose pixels are here."""
        cuts = card.threshold, card.separation.smallest
        todo = [p for p in places if (*p, *cuts) not in self._blocks and not self._missing(self._window(p, MARGIN))]
        if not todo:
            return
        windows = [self._window(place, MARGIN) for place in todo]
        region = Box(
            min(w.top for w in windows),
            min(w.left for w in windows),
            max(w.bottom for w in windows),
            max(w.right for w in windows),
        )
        if self._missing(region):  # between the blocks cells lack: a tile without its pixels must not be kept
            region, parts = Box(0, 0, 0, 0), Parts()
        else:
            parts = self._parts(region, card, cancelled)

        def block(place: At) -> tuple[list[Roof], int] | None:
            if cancelled():
                raise JobCancelled("The work was cancelled.")
            return self._roofs_of(place, card, region, parts, cancelled)

        with closing(ahead(block, todo)) as blocks:
            for place, found in zip(todo, blocks, strict=True):
                if found is not None:
                    self._blocks[(*place, *cuts)] = found
        while len(self._blocks) > BLOCKS:
            self._blocks.popitem(last=False)

    def _roofs_of(
        self, place: At, card: ModelCard, region: Box, parts: Parts, cancelled: Callable[[], bool]
    ) -> tuple[list[Roof], int] | None:
        """The roofs whose middle lies in a block, and how many are larger than is seen; None where pixels lack."""
        core, margin = self._window(place, 0), MARGIN
        least = max(1, math.ceil(card.separation.smallest / (self.grid.gsd[0] * self.grid.gsd[1])))
        while True:
            window = self._window(place, margin)
            if window != window & region:
                if self._missing(window):
                    return None
                region, parts = window, self._parts(window, card, cancelled)
            seen = {name: part[window.within(region)] for name, part in parts.items()}
            ids, _ = roofs_of(card).split(seen)
            ids[np.bincount(ids.ravel())[ids] < least] = 0
            edges = _at_edges(ids, window, self.grid.extent)
            ids = without_unsure(ids, seen[f"{CHANCE} 1"], card.separation.sure * FULL, edges)
            own = _with_middle_in(ids, core, window)
            beyond = own[np.isin(own, edges)]
            if not len(beyond) or margin >= BLOCK:
                break
            margin = min(BLOCK, 2 * margin)
        return self._drawn(ids, np.setdiff1d(own, beyond), window, seen), len(beyond)

    def _drawn(self, ids: Ids, own: NDArray[np.integer], window: Box, parts: Parts) -> list[Roof]:
        """The outlines of some of the roofs of a window, whose neighbours are drawn elsewhere."""
        if not len(own):
            return []
        boxes = ndimage.find_objects(ids)
        rows, columns = zip(*(boxes[number - 1] for number in own), strict=True)
        part = Box(
            min(s.start for s in rows) - AROUND + window.top,
            min(s.start for s in columns) - AROUND + window.left,
            max(s.stop for s in rows) + AROUND + window.top,
            max(s.stop for s in columns) + AROUND + window.left,
        )
        part = part & window
        seen = ids[part.within(window)]
        drawn = regularise(seen, fixed=np.setdiff1d(seen, np.append(own, 0)))
        ground = self.grid.pixel_area(part)
        shapes = on_map(drawn.shapes, self.grid.transform, part.left, part.top)
        chance = parts[f"{CHANCE} 1"][part.within(window)]
        sure = ndimage.mean(chance, seen, drawn.ids) / FULL
        axis = bearing(drawn.axis, self.grid.transform)
        areas, perimeters = measures(drawn.shapes, ground)
        numbers, first = np.unique(seen, return_index=True)
        begins = first[np.searchsorted(numbers, drawn.ids)]
        return [
            Roof(
                f"{part.top + begins[n] // part.width}-{part.left + begins[n] % part.width}",
                shapes[n],
                float(areas[n]),
                float(perimeters[n]),
                round(float(sure[n]), 3),
                round(float(axis[n]), 1),
                not bool(drawn.kept[n]),
            )
            for n in range(len(drawn.ids))
        ]

    def _parts(self, window: Box, card: ModelCard, cancelled: Callable[[], bool]) -> Parts:
        """What is found in a window, from the tiles that are kept and those that have to be inferred."""
        names = names_of(card, {CHANCE, "distance", "border"})
        parts = {name: np.full((window.height, window.width), NODATA, np.uint8) for name in names}
        with self._lock, rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
            strips = self.engine.strips(self.source, window, kept=self.tiles, cancelled=cancelled)
            with closing(strips):
                for strip in strips:
                    for name, part in finding_of(strip, card, names).parts.items():
                        parts[name][strip.box.within(window)] = part
            for at in self._tiles_of(window):
                if at in self.tiles:
                    self.tiles.move_to_end(at)
            while len(self.tiles) > self._most:
                self.tiles.popitem(last=False)
        return parts

    def _missing(self, window: Box) -> set[At]:
        """The cells that the tiles of a window need and that nobody has sent."""
        if not isinstance(self.source, CellSource) or window.empty:
            return set()
        return self.source.missing(self._tiling.box(*at) for at in self._tiles_of(window) if at not in self.tiles)

    def _tiles_of(self, window: Box) -> Iterator[At]:
        """The tiles that touch a window, rows and columns of tiles."""
        columns = self._tiling.columns.touching(window.left, window.right)
        return product(self._tiling.rows.touching(window.top, window.bottom), columns)

    def _window(self, place: At, margin: int) -> Box:
        """A block, row and column of blocks, with its surroundings."""
        top, left = (n * BLOCK for n in place)
        return Box(top - margin, left - margin, top + BLOCK + margin, left + BLOCK + margin) & self.grid.extent


def _blocks(box: Box) -> Iterator[At]:
    for row in range(box.top // BLOCK, -(-box.bottom // BLOCK)):
        for column in range(box.left // BLOCK, -(-box.right // BLOCK)):
            yield row, column


def _with_middle_in(ids: Ids, core: Box, window: Box) -> NDArray[np.int64]:
    """The numbers of the roofs of a window whose middle, rounded down, lies in a part of it."""
    count = np.bincount(ids.ravel())
    count[0] = 0
    rows, columns = (np.arange(n) for n in ids.shape)
    middle = [
        np.bincount(ids.ravel(), np.broadcast_to(along, ids.shape).ravel(), len(count)) / np.maximum(count, 1)
        for along in (rows[:, None], columns)
    ]
    place = core.within(window)
    inside = (count > 0) & np.all([(m >= s.start) & (m < s.stop) for m, s in zip(middle, place, strict=True)], 0)
    return np.flatnonzero(inside)


def _at_edges(ids: Ids, window: Box, extent: Box) -> NDArray[np.integer]:
    """The numbers of the roofs that reach the edge of a window, but for where the grid ends."""
    edges = [(ids[0], window.top > extent.top), (ids[-1], window.bottom < extent.bottom)]
    edges += [(ids[:, 0], window.left > extent.left), (ids[:, -1], window.right < extent.right)]
    return np.unique(np.concatenate([np.zeros(1, ids.dtype), *(line for line, counts in edges if counts)]))[1:]


def _grown(chance: NDArray[np.float64], known: Ids, at: tuple[int, int]) -> NDArray[np.bool_] | None:
    """The pixels about one that are nearly as likely, without known roofs, where that has an edge within the window."""
    smooth = ndimage.gaussian_filter(chance, 1.0)
    for share in (0.5, 0.65, 0.8, 0.9):
        pieces = label((smooth >= share * smooth[at]) & (known == 0), connectivity=1)
        piece: NDArray[np.bool_] = ndimage.binary_fill_holes(pieces == pieces[at]) & (known == 0)
        if not (piece[0].any() or piece[-1].any() or piece[:, 0].any() or piece[:, -1].any()):
            return piece
    return None
