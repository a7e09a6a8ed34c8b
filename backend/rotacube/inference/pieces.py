"""What a map consists of, one by one: roofs, or patches of a class. A piece is one, however many blocks it lies in.

The map is cut into blocks of the absolute grid. Each is split into pieces with some of its surroundings in sight, and
what a block takes for one piece with its neighbour's is one. Memory is that of as many blocks as there are threads, and
of a few numbers a piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.measure import label

from rotacube.inference.ahead import ahead
from rotacube.inference.findings import CHANCE, FULL, LABELS
from rotacube.inference.scratch import read_array, write_array
from rotacube.inference.sides import Ids, Sides, joins, sides_of
from rotacube.inference.store import Store
from rotacube.models.card import ModelCard
from rotacube.raster.grid import Box
from rotacube.raster.write import NODATA
from rotacube.vector.instances import separate_roofs
from rotacube.vector.patches import merge_small

BLOCK = 2048
"""Pixels a side of a block."""
MARGIN = 128
"""Pixels about a block that are seen when it is split."""
AROUND = 16
"""Pixels about the pieces of a block that are seen when they are outlined: what is beside them decides with them."""
LONGEST = 4 * BLOCK
"""Pixels a side of the largest piece; a larger one is cut at the blocks."""
TOGETHER = 2 * BLOCK
"""Pixels a side of the largest group of pieces that touch, which are outlined together: a wall that two of them share
moves with both. Pieces of a larger group are outlined where each begins, and what they share is only simplified."""
Parts = dict[str, NDArray[np.uint8]]
Step = Callable[[float], None]


@dataclass(frozen=True)
class Splitter:
    """How a window becomes pieces.

    Attributes:
        names: the parts of the findings that it needs.
        split: from these, (H, W) each, to a number a piece, 0 elsewhere, and the class of each pixel of one, (H, W)
            both. What it says of a pixel depends on `MARGIN` pixels about it.
        sure: the mean probability of a piece's pixels below which it is none.
    """

    names: Sequence[str]
    split: Callable[[Parts], tuple[Ids, NDArray[np.int32]]]
    sure: float = 0.0


@dataclass(frozen=True)
class Piece:
    """Numbers of many pieces, (N,) each.

    Attributes:
        number: from 1.
        kind: class id.
        pixels: how many.
        confidence: the mean probability of its class, 0 to 1; NaN where none is kept.
        block: the index of the block that it is outlined with: where the first of its group begins.
        bounds: (N, 4), top, left, bottom, right.
        middle: (N, 2), the mean row and column of its pixels.
    """

    number: NDArray[np.int64]
    kind: NDArray[np.int64]
    pixels: NDArray[np.int64]
    confidence: NDArray[np.float64]
    block: NDArray[np.int64]
    bounds: NDArray[np.int64]
    middle: NDArray[np.float64]


@dataclass(frozen=True)
class PieceBlock:
    """The pieces that are outlined with a block, and what touches them.

    Attributes:
        box: what `ids` covers: all of these pieces, and `AROUND` pixels about them.
        ids: (H, W), the pieces' numbers.
        own: the numbers of the pieces that are outlined here.
    """

    box: Box
    ids: Ids
    own: NDArray[np.int64]


def roofs_of(card: ModelCard) -> Splitter:
    """Single roofs, as the model's card tells them apart."""
    how, own = card.separation, {output.name for output in card.further}
    names = [LABELS] + [n for n in ("distance", "border") if n in own and (n != "border" or how.border > 0)]

    def split(parts: Parts) -> tuple[Ids, NDArray[np.int32]]:
        roof = (parts[LABELS] > 0) & (parts[LABELS] != NODATA)
        depth, border = (
            np.where(parts[name] == NODATA, 0, parts[name]).astype(np.float32) / np.float32(FULL)
            if name in names
            else None
            for name in ("distance", "border")
        )
        return separate_roofs(roof, depth, border, saddle=how.saddle, weight=how.border), roof.astype(np.int32)

    return Splitter(names, split, how.sure)


def patches_of(smallest: int) -> Splitter:
    """Connected pixels of a class, but of class 0; what is smaller than `smallest` pixels is given to its neighbour."""

    def split(parts: Parts) -> tuple[Ids, NDArray[np.int32]]:
        kinds = merge_small(np.where(parts[LABELS] == NODATA, 0, parts[LABELS]).astype(np.int32), smallest)
        return label(kinds, background=0, connectivity=1).astype(np.int32), kinds

    return Splitter([LABELS], split)


class Pieces:
    """All pieces of a map.

    Args:
        store: what was found.
        folder: takes their numbers.
        splitter: makes pieces.
        smallest: pixels; smaller ones are none.
    """

    def __init__(self, store: Store, folder: Path, splitter: Splitter, smallest: int) -> None:
        self.store, self.folder, self.splitter, self.smallest = store, folder, splitter, smallest
        self.blocks = list(_blocks(store.area))
        self._numbers: NDArray[np.int32] = np.zeros(1, np.int32)
        self._offsets: list[int] = []

    def find(self, step: Step) -> Piece:
        """Split all blocks, and join what belongs together.

        Args:
            step: is told the share that is done; what it raises ends the work.
        """
        self.folder.mkdir(exist_ok=True)
        tables: list[NDArray[np.int64]] = []
        sums: list[NDArray[np.float64]] = []  # of each piece the probability, the rows and the columns
        pairs: list[NDArray[np.int64]] = []
        touching: list[NDArray[np.int64]] = []
        edges: dict[tuple[int, int, str], NDArray[np.int64]] = {}
        count = 0
        self._offsets = []
        with closing(ahead(self._split, range(len(self.blocks)))) as blocks:
            for index, (sides, table, added, beside) in enumerate(blocks):
                self._offsets.append(count)
                tables.append(table)
                sums.append(added)
                touching.append(beside + count)
                for same, other in joins(sides, count, self.blocks[index], edges):
                    pairs.append(same)
                    touching.append(other)
                count += len(table)
                step((index + 1) / len(self.blocks))
        return self._joined(count, tables, sums, pairs, touching)

    def _split(self, index: int) -> tuple[Sides, NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """Split a block, and keep the numbers of its pieces, from 1 without gaps.

        Returns:
            What lies along its sides; of its pieces what `_measured` says, (N, 7) and (N, 3); the pairs of them that
            touch, (M, 2).
        """
        core = self.blocks[index]
        window = Box(core.top - MARGIN, core.left - MARGIN, core.bottom + MARGIN, core.right + MARGIN)
        window = window & self.store.area
        chances = [name for name in self.store.names if name.startswith(CHANCE)]
        names = list(dict.fromkeys([*self.splitter.names, LABELS, *chances]))
        parts = dict(zip(names, self.store.read(window, names), strict=True))
        seen = kinds = np.zeros(parts[LABELS].shape, np.int32)
        if _something(parts[LABELS]):
            seen, kinds = self.splitter.split(parts)
        cut = core.within(window)
        ids, total = _renumbered(seen[cut])
        write_array(self._path(index), ids[None], 0)
        sides = sides_of(seen, ids, cut)
        if not total:
            return sides, np.zeros((0, 7), np.int64), np.zeros((0, 3)), np.zeros((0, 2), np.int64)
        table, added = _measured(ids, kinds[cut], {name: parts[name][cut] for name in chances}, core, index)
        return sides, table, added, _neighbours(ids)

    def _joined(
        self,
        count: int,
        tables: list[NDArray[np.int64]],
        sums: list[NDArray[np.float64]],
        pairs: list[NDArray[np.int64]],
        touching: list[NDArray[np.int64]],
    ) -> Piece:
        table = np.concatenate([np.zeros((0, 7), np.int64), *tables])
        kind, pixels, block, bounds = table[:, 0], table[:, 1], table[:, 2], table[:, 3:]
        added = np.concatenate([np.zeros((0, 3)), *sums])
        both, beside = (np.concatenate([np.zeros((0, 2), np.int64), *found]) - 1 for found in (pairs, touching))
        both = both[kind[both[:, 0]] == kind[both[:, 1]]] if len(both) else both
        group = _groups(count, both)
        low, high = _bounds(group, bounds)
        if count and ((high - low).max(1) > LONGEST).any():  # too large: it is left in pieces
            huge = (high - low).max(1) > LONGEST
            group = _groups(count, both[~huge[group[both[:, 0]]]])
            low, high = _bounds(group, bounds)
        size = np.bincount(group, pixels, len(low)).astype(np.int64)
        first = np.full(len(low), count)
        np.minimum.at(first, group, np.arange(count))
        means = np.column_stack([np.bincount(group, part, len(low)) for part in added.T]) / np.maximum(size, 1)[:, None]
        kept = (size >= max(1, self.smallest)) & ~(means[:, 0] < self.splitter.sure)  # where none is known, it stays
        begins = _together(first, low, high, group[beside], kept)
        order = np.flatnonzero(kept)[np.lexsort((first[kept], begins[kept]))]
        number = np.zeros(len(low), np.int32)
        number[order] = np.arange(1, len(order) + 1)
        self._numbers = np.concatenate([np.zeros(1, np.int32), number[group]])
        return Piece(
            np.arange(1, len(order) + 1),
            kind[first[order]],
            size[order],
            means[order, 0],
            block[begins[order]],
            np.concatenate([low, high], 1)[order],
            means[order, 1:],
        )

    def each(self, pieces: Piece) -> Iterator[PieceBlock]:
        """Block by block, the pieces that are outlined there, whole."""
        starts = np.searchsorted(pieces.block, np.arange(len(self.blocks) + 1))
        for index in range(len(self.blocks)):
            own = np.s_[starts[index] : starts[index + 1]]
            if not len(pieces.number[own]):
                continue
            top, left = pieces.bounds[own, :2].min(0) - AROUND
            bottom, right = pieces.bounds[own, 2:].max(0) + AROUND
            box = Box(int(top), int(left), int(bottom), int(right)) & self.store.area
            yield PieceBlock(box, self.read(box), pieces.number[own])

    def read(self, window: Box) -> Ids:
        """The numbers of the pieces in a window."""
        found = np.zeros((window.height, window.width), np.int32)
        for index, core in enumerate(self.blocks):
            both = core & window
            if not both.empty:
                local = read_array(self._path(index), [1], *both.within(core))[0]
                at = np.where(local > 0, local + self._offsets[index], 0)
                found[both.within(window)] = self._numbers[at]
        return found

    def _path(self, index: int) -> Path:
        return self.folder / f"ids_{index}.tif"


def _blocks(area: Box) -> Iterator[Box]:
    """The blocks of the absolute grid that an area touches, cut to it."""
    for top in range(area.top // BLOCK * BLOCK, area.bottom, BLOCK):
        for left in range(area.left // BLOCK * BLOCK, area.right, BLOCK):
            yield Box(top, left, top + BLOCK, left + BLOCK) & area


def _something(labels: NDArray[np.uint8]) -> bool:
    return bool(((labels > 0) & (labels != NODATA)).any())


def _renumbered(ids: Ids) -> tuple[Ids, int]:
    """The same pieces, numbered without gaps, and how many there are."""
    there = np.bincount(ids.ravel()) > 0
    there[0] = False
    return (np.cumsum(there, dtype=np.int32) * there).astype(np.int32)[ids], int(there.sum())


def _measured(
    ids: Ids, kinds: NDArray[np.int32], chances: Parts, core: Box, index: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Of the pieces of a block, numbered without gaps: class, pixels, block, top, left, bottom and right, (pieces, 7);
    and sums over their pixels of the probability of their class (NaN where none is kept), of rows and columns,
    (pieces, 3).
    """
    at = np.flatnonzero(ids)  # most of a map is no roof
    number, of = ids.ravel()[at], kinds.ravel()[at]
    pixels = np.bincount(number)
    kind = np.zeros(len(pixels), np.int64)
    kind[number] = of
    bounds = [
        (rows.start + core.top, columns.start + core.left, rows.stop + core.top, columns.stop + core.left)
        for rows, columns in ndimage.find_objects(ids)
    ]
    chance = np.full(len(at), 0.0 if chances else np.nan)
    for name, values in chances.items():
        here = of == int(name.split()[-1])
        chance[here] = values.ravel()[at[here]] / FULL
    rows, columns = np.divmod(at, core.width)
    places = (rows + (core.top + 0.5), columns + (core.left + 0.5))
    sums = [np.bincount(number, value)[1:] for value in (chance, *places)]
    return np.column_stack([kind[1:], pixels[1:], np.full(len(bounds), index), bounds]), np.column_stack(sums)


def _neighbours(ids: Ids) -> NDArray[np.int64]:
    """Pairs of numbers that touch, at a corner at least."""
    found, total = [], int(ids.max()) + 1
    for one, other in (
        (ids[:, :-1], ids[:, 1:]),
        (ids[:-1], ids[1:]),
        (ids[:-1, :-1], ids[1:, 1:]),
        (ids[:-1, 1:], ids[1:, :-1]),
    ):
        touch = np.nonzero((one != other) & (one > 0) & (other > 0))
        found.append(one[touch].astype(np.int64) * total + other[touch])
    return np.column_stack(np.divmod(np.unique(np.concatenate(found)), total))


def _together(
    first: NDArray[np.int64],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    beside: NDArray[np.int64],
    kept: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Of each piece the first part, (N,), of the group of pieces that it touches; its own, where that is too large.

    Args:
        first: (N,), each piece's own first part.
        low: (N, 2), its top and left.
        high: (N, 2), its bottom and right.
        beside: (M, 2), pieces that touch.
        kept: (N,), those that count.
    """
    cluster = _groups(len(first), beside[kept[beside].all(1)])
    bounds = _bounds(cluster, np.concatenate([low, high], 1))
    begins = np.full(len(bounds[0]), np.iinfo(np.int64).max)
    np.minimum.at(begins, cluster[kept], first[kept])
    small = np.asarray((bounds[1] - bounds[0]).max(1) <= TOGETHER)
    return np.where(small[cluster], begins[cluster], first)


def _groups(count: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """The group (count,) of each of so many things of which these pairs belong together."""
    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64) if count else np.zeros(0, np.int64)


def _bounds(group: NDArray[np.int64], bounds: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Top and left, bottom and right (groups, 2) of the bounds of their members."""
    groups = int(group.max()) + 1 if len(group) else 0
    low, high = np.full((groups, 2), np.iinfo(np.int64).max), np.full((groups, 2), np.iinfo(np.int64).min)
    np.minimum.at(low, group, bounds[:, :2])
    np.maximum.at(high, group, bounds[:, 2:])
    return low, high
