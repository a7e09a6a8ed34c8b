"""A superoverlay: pictures in a tree of squares, each with the four that show its quarters twice as fine.

A viewer loads what is in sight, as fine as its screen shows it (KML 2.2, OGC 07-147r2: Region, NetworkLink). A square
is made once those below it are: memory holds a few squares a level, whatever the size of the whole.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from typing import Protocol

import numpy as np

from rotacube.handout.degrees import Degrees
from rotacube.handout.kml import FADE, TILE, Link, tile_page
from rotacube.raster.grid import Box
from rotacube.raster.picture import Bytes


class Layer(Protocol):
    """What is shown: pixels, read square by square, halved for the squares above, and encoded.

    Attributes:
        name: for a person.
        folder: of its files.
        order: what is drawn over what: higher over lower, by more than there are levels.
        degrees: the grid.
    """

    name: str
    folder: str
    order: int
    degrees: Degrees

    def read(self, box: Box) -> Bytes | None:
        """The pixels of a square, (TILE, TILE) or (TILE, TILE, n); None where nothing is shown."""

    def blank(self) -> Bytes:
        """A square that shows nothing."""

    def halve(self, pixels: Bytes) -> Bytes:
        """Half as many rows and columns."""

    def encode(self, pixels: Bytes) -> tuple[str, bytes]:
        """A picture, and how its file's name ends."""


class SuperOverlay:
    """One layer's squares, written into a KMZ: `<folder>/<level>/<column>/<row>.kml`, and the pictures beside them.

    Args:
        archive: what they are written into.
        layer: what is shown.
        step: is told after each of the finest squares.
    """

    def __init__(self, archive: zipfile.ZipFile, layer: Layer, step: Callable[[], None]) -> None:
        self._archive, self._layer, self._step = archive, layer, step
        self._levels = levels_of(layer.degrees)

    @property
    def name(self) -> str:
        """The layer's."""
        return self._layer.name

    @property
    def link(self) -> Link:
        """What leads to the one square that shows all."""
        return Link(self._layer.name, self._bounds((0, 0, 0)), f"{self._layer.folder}/0/0/0.kml")

    def write(self) -> bool:
        """Write all squares; whether any shows anything."""
        pixels = self._write(0, 0, 0)
        if pixels is None:  # a link leads here all the same
            put(self._archive, self.link.page, self._page((0, 0, 0), "", []).encode())
        return pixels is not None

    def _write(self, level: int, column: int, row: int) -> Bytes | None:
        """Write a square and all below it; its pixels, None where it shows nothing."""
        side = TILE << (self._levels - level)
        box = Box(row * side, column * side, (row + 1) * side, (column + 1) * side)
        if (box & Box(0, 0, self._layer.degrees.height, self._layer.degrees.width)).empty:
            return None
        below: list[tuple[int, int, int]] = []
        if level == self._levels:
            pixels = self._layer.read(box)
            self._step()
        else:
            pixels, below = self._joined(level, column, row)
        if pixels is None:
            return None
        end, picture = self._layer.encode(pixels)
        put(self._archive, f"{self._layer.folder}/{level}/{column}/{row}.{end}", picture)
        page = self._page((level, column, row), f"{row}.{end}", below)
        put(self._archive, f"{self._layer.folder}/{level}/{column}/{row}.kml", page.encode())
        return pixels

    def _joined(self, level: int, column: int, row: int) -> tuple[Bytes | None, list[tuple[int, int, int]]]:
        """The pixels of a square by those of its quarters, and which of these there are."""
        pixels, below = None, []
        for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
            place = (level + 1, 2 * column + right, 2 * row + down)
            quarter = self._write(*place)
            if quarter is None:
                continue
            if pixels is None:
                pixels = self._layer.blank()
            half = TILE // 2
            pixels[down * half : (down + 1) * half, right * half : (right + 1) * half] = self._layer.halve(quarter)
            below.append(place)
        return pixels, below

    def _page(self, place: tuple[int, int, int], picture: str, below: list[tuple[int, int, int]]) -> str:
        # Until its quarters are shown, and a little longer: who looks aslant sees these in different sizes.
        seen = FADE if place[0] else 1, 2 * TILE if below else -1
        return tile_page(
            self._bounds(place),
            picture,
            self._layer.order + place[0],
            seen,
            [(self._bounds(under), f"../../{under[0]}/{under[1]}/{under[2]}.kml") for under in below],
        )

    def _bounds(self, place: tuple[int, int, int]) -> tuple[float, float, float, float]:
        level, column, row = place
        side = TILE << (self._levels - level)
        return self._layer.degrees.bounds(Box(row * side, column * side, (row + 1) * side, (column + 1) * side))


def levels_of(degrees: Degrees) -> int:
    """How many times the square that shows all is quartered."""
    return max(0, int(np.ceil(np.log2(max(degrees.height, degrees.width) / TILE))))


def finest(degrees: Degrees) -> int:
    """How many of the finest squares there are."""
    return -(-degrees.height // TILE) * -(-degrees.width // TILE)


def put(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Write a file into an archive; pictures are packed already."""
    info = zipfile.ZipInfo(name)  # of no date: the same map is the same file
    info.compress_type = zipfile.ZIP_DEFLATED if name.endswith(".kml") else zipfile.ZIP_STORED
    archive.writestr(info, content)
