"""Many rasters, read as one on the grid of the first. Where several have valid pixels the first one counts."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling

from rotacube.errors import RasterBands, RasterNotGeoreferenced, RasterResolution
from rotacube.models.card import ModelCard
from rotacube.raster.bands import Choice
from rotacube.raster.crs import same_place
from rotacube.raster.gdal import damage_told
from rotacube.raster.grid import Box
from rotacube.raster.opening import Facts
from rotacube.raster.pixels import Pixels, open_pixels
from rotacube.raster.reading import Reading
from rotacube.raster.references import References
from rotacube.raster.warped import Grid, Warped, place_in

OPEN = 64
"""Files that are open at once: those that were not read for longest are closed."""
OFF = 0.05
"""Pixels by which a raster may lie beside the grid of the first one, to be read as it is."""
BENT = 0.5
"""Pixels by which it may leave a grid of the same CRS, moved as a whole, for its values to be kept as they are."""
ALIKE = 2.0
"""Times by which its pixels may be larger or smaller."""


@dataclass(frozen=True)
class Member:
    """A raster of a mosaic: its path, what it says of itself, its bands, what it covers in the mosaic's pixels, and how
    it is resampled onto these; None where it has them.
    """

    path: str
    facts: Facts
    choice: Choice
    box: Box
    how: Resampling | None = None


class Mosaic:
    """Reads windows of rasters as `Pixels` does of one, from one thread at a time.

    Attributes:
        facts: of all together: those of the first, but for height, width and transform.
        choice: the bands of the first.
        notes: sentences on how it is read.

    Args:
        members: the first one counts first.
        facts: of all together.
        reading: what a person says about each.
        note: how it is read.
    """

    def __init__(self, members: Sequence[Member], facts: Facts, reading: Reading, note: str) -> None:
        self.facts, self.choice = facts, members[0].choice
        self.notes = [note, *([self.choice.note] if self.choice.note else [])]
        self._members, self._reading = members, reading
        self._boxes = np.array([(m.box.top, m.box.left, m.box.bottom, m.box.right) for m in members])
        self._opened: OrderedDict[int, Pixels | Warped] = OrderedDict()
        self._dtype = np.dtype(self.dtypes[0] if len(set(self.dtypes)) == 1 else np.float64)

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Of the model's bands."""
        return self.choice.dtypes

    def close(self) -> None:
        """Close all files."""
        while self._opened:
            self._opened.popitem()[1].close()

    def may_hold(self, box: Box) -> bool:
        """Whether a raster touches a window."""
        return len(self._touching(box)) > 0

    def read(self, box: Box) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        """Read a window: the model's bands (n, H, W), and the validity (H, W).

        Raises:
            RasterUnreadable: a file is damaged there, or gone.
        """
        values = np.zeros((len(self.dtypes), box.height, box.width), self._dtype)
        return values, self._fill(box, values)

    def valid(self, box: Box) -> NDArray[np.bool_]:
        """The validity (H, W) of a window."""
        return self._fill(box, None)

    def _fill(self, box: Box, values: NDArray[np.generic] | None) -> NDArray[np.bool_]:
        """Fill in values, if they are wanted, where no member before has any; gives where there are some."""
        valid = np.zeros((box.height, box.width), bool)
        for number in self._touching(box):
            member = self._members[number]
            both = box & member.box
            rows, columns = both.within(box)
            missing = ~valid[rows, columns]
            if not missing.any():
                continue
            top, left = both.top - member.box.top, both.left - member.box.left
            own = Box(top, left, top + both.height, left + both.width)
            with damage_told(member.path):
                pixels = self._pixels(number)
                if not pixels.may_hold(own):
                    continue
                if values is None:
                    missing &= pixels.valid(own)
                else:
                    found, seen = pixels.read(own)
                    missing &= seen
                    np.copyto(values[:, rows, columns], found, where=missing)
            valid[rows, columns] |= missing
        return valid

    def _touching(self, box: Box) -> NDArray[np.intp]:
        """The numbers of the rasters that touch a window, in their order."""
        top, left, bottom, right = self._boxes.T
        return np.flatnonzero((top < box.bottom) & (bottom > box.top) & (left < box.right) & (right > box.left))

    def _pixels(self, number: int) -> Pixels | Warped:
        if number not in self._opened:
            member = self._members[number]
            file = rasterio.open(member.path)
            pixels = Pixels(file, member.facts, member.choice, self._reading, member.path)
            self._opened[number] = (
                Warped(pixels, self._grid_of(member.box), member.how) if member.how is not None else pixels
            )
            if len(self._opened) > OPEN:
                self._opened.popitem(last=False)[1].close()
        self._opened.move_to_end(number)
        return self._opened[number]

    def _grid_of(self, box: Box) -> Grid:
        place = self.facts.transform * Affine.translation(box.left, box.top)
        return Grid(self.facts.crs, place, box.height, box.width)


def open_mosaic(name: str, paths: Sequence[str], card: ModelCard, reading: Reading) -> tuple[Mosaic, References]:
    """Look at rasters that shall be one map; gives what they read, too.

    Args:
        name: that stands for them.
        paths: of each, the first one counting first.
        card: of the model.
        reading: what a person says about each.

    Raises:
        RasterMissing, RasterUnreadable, RasterNeedsNetwork, RasterNotGeoreferenced, RasterBands, RasterEmpty: one of
            them is not usable, or not like the first: the sentence names it.
        RasterResolution: pixels of one of them are far from the size of the first one's.
    """
    every = References()
    seen: list[Member] = []
    for path in paths:
        facts, choice = _look(path, card, reading, every)
        first = seen[0] if seen else Member(path, facts, choice, Box(0, 0, facts.height, facts.width))
        seen.append(_like(first, path, facts, choice))
    own = Path(name)
    every.files |= {own.resolve()} if own.is_file() else set()
    top, left = min(m.box.top for m in seen), min(m.box.left for m in seen)
    bottom, right = max(m.box.bottom for m in seen), max(m.box.right for m in seen)
    members = [replace(m, box=_moved(m.box, -top, -left)) for m in seen]
    transform = seen[0].facts.transform * Affine.translation(left, top)
    facts = replace(seen[0].facts, height=bottom - top, width=right - left, transform=transform)
    note = f"{len(members):,} rasters are mapped as one; where they overlap, the first of them that has data counts."
    warped = sum(m.how is not None for m in members)
    if warped:
        note += f" {warped:,} of them lie beside the pixels of '{seen[0].path}', and are resampled onto these."
    return Mosaic(members, facts, reading, note), every


def _look(path: str, card: ModelCard, reading: Reading, every: References) -> tuple[Facts, Choice]:
    """What a raster says of itself, and its bands; what it reads goes to `every`."""
    pixels, references = open_pixels(path, card, reading)
    pixels.close()
    every.files |= references.files
    every.network = every.network or references.network
    every.complete &= references.complete
    every.greedy |= references.greedy
    return pixels.facts, pixels.choice


def _like(first: Member, path: str, facts: Facts, choice: Choice) -> Member:
    """A raster that is like the first, in the first one's pixels.

    Raises:
        RasterNotGeoreferenced, RasterBands, RasterResolution: it is not, and cannot be made so.
    """
    there = f"'{path}' and '{first.path}' cannot be one map: "
    counts = [len(f.bands.dtypes) - (f.alpha > 0) for f in (facts, first.facts)]
    if counts[0] != counts[1]:
        raise RasterBands(
            f"{there}they have {counts[0]} and {counts[1]} bands. Leave one out, or give it those of the other."
        )
    if choice.dtypes != first.choice.dtypes:
        raise RasterBands(
            f"{there}their values are {choice.dtypes[0]} and {first.choice.dtypes[0]}. Convert one of them "
            "(gdal_translate -ot)."
        )
    own, grid = Box(0, 0, facts.height, facts.width), _grid(facts)
    x, y = (np.array([v]) for v in facts.transform * (facts.width / 2, facts.height / 2))
    if facts.crs == first.facts.crs or same_place(facts.crs, first.facts.crs, x, y):
        move = ~first.facts.transform * facts.transform
        top, left = round(move.f), round(move.c)
        bent = max(abs(move.a - 1) + abs(move.d), abs(move.e - 1) + abs(move.b)) * max(facts.width, facts.height)
        if max(bent, abs(move.f - top), abs(move.c - left)) <= OFF:
            return Member(path, facts, choice, Box(top, left, top + facts.height, left + facts.width))
        grid = replace(grid, crs=first.facts.crs)
        how = Resampling.nearest if bent <= BENT else Resampling.bilinear
    else:
        how = Resampling.bilinear
    place = place_in(grid, first.facts, own)
    if place is None:
        raise RasterNotGeoreferenced(
            f"{there}they have different CRS, and one cannot be reached from the other. Give them their true CRS."
        )
    box = Box(*(math.floor(v) for v in place[:2]), *(math.ceil(v) for v in place[2:]))
    times = math.sqrt(facts.height * facts.width / ((place[2] - place[0]) * (place[3] - place[1])))
    if not 1 / ALIKE <= times <= ALIKE:
        raise RasterResolution(
            f"{there}their pixels are too different in size. Warp one of them to the other's (gdalwarp -tr)."
        )
    return Member(path, facts, choice, box, how)


def _grid(facts: Facts) -> Grid:
    return Grid(facts.crs, facts.transform, facts.height, facts.width)


def _moved(box: Box, down: int, across: int) -> Box:
    return Box(box.top + down, box.left + across, box.bottom + down, box.right + across)
