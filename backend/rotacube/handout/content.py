"""What a report says, before it is laid out: the picture of the map, its scale and north, its figures, its terms."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from rotacube.errors import OptionsRefused
from rotacube.handout.figures import ClassFigures, Figures
from rotacube.handout.layers import rgb_of
from rotacube.inference.shares import Estimate
from rotacube.raster.grid import Box
from rotacube.raster.map_grid import MapGrid
from rotacube.raster.mask_source import MaskSource
from rotacube.raster.picture import Bytes, Photo, factor_for, reduced
from rotacube.raster.write import NODATA

PIXELS = 1500
"""Along the longer side of the picture."""
SLENDER = 2.0
"""From so many times higher than wide on a picture lies on its side."""
GROUND = (232, 232, 228)
"""Red, green, blue of the background where no photo lies below."""
OPACITY = 0.6
"""Of the classes over a photo."""
LISTED = 12
"""Classes that have a row; the smallest of more are one."""


@dataclass(frozen=True)
class Picture:
    """A map as a person sees it.

    Attributes:
        pixels: (H, W, 3), red, green and blue.
        metres: of a pixel along a row, and along a column.
        north: degrees clockwise from upwards.
    """

    pixels: Bytes
    metres: tuple[float, float]
    north: float

    @property
    def ground(self) -> tuple[float, float]:
        """Metres that it is wide and high."""
        return self.pixels.shape[1] * self.metres[0], self.pixels.shape[0] * self.metres[1]


@dataclass(frozen=True)
class Content:
    """What a report says.

    Attributes:
        title: of the report.
        date: when it was made, in words.
        picture: of the map.
        over_photo: whether the classes are drawn over a photo.
        figures: of the classes.
        settings: names and values: how the map came about.
        terms: names and values: notice, licence, attribution.
    """

    title: str
    date: str
    picture: Picture
    over_photo: bool
    figures: Figures
    settings: list[tuple[str, str]]
    terms: list[tuple[str, str]]

    @property
    def rows(self) -> list[ClassFigures]:
        """The classes, of more than `LISTED` the largest, and what the others come to."""
        every = self.figures.classes
        if len(every) <= LISTED:
            return every
        order = sorted(range(len(every)), key=lambda n: (every[n].background, every[n].share.best), reverse=True)
        kept, rest = sorted(order[: LISTED - 1]), [every[n] for n in order[LISTED - 1 :]]
        area, share = (
            Estimate(sum(e.found for e in parts), sum(e.best for e in parts))
            for parts in ([part.area for part in rest], [part.share for part in rest])
        )
        others = ClassFigures(f"{len(rest)} other classes", "#ffffff", False, area, share)
        return [*(every[n] for n in kept), others]

    def colour(self, row: ClassFigures) -> str:
        """That of a class on the map; over a photo the background has none."""
        if not row.background:
            return row.color
        return "#ffffff" if self.over_photo else "#" + bytes(GROUND).hex()

    @property
    def longest_bar(self) -> float:
        """The share that the longest bar stands for."""
        most = max(max(row.share.best, row.share.high or 0.0) for row in self.rows)
        return next(end for end in (0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 0.75, 1.0, math.inf) if most <= end + 1e-9)


def picture_of(source: MaskSource, photo: str, step: Callable[[float], None]) -> Picture:
    """Draw a mask, over a photo where one is given.

    Args:
        source: the mask.
        photo: what GDAL opens; none if empty.
        step: is told the share that is read.

    Raises:
        RasterUnreadable: a file is damaged.
        OptionsRefused: the photo shows nothing of the mask.
    """
    grid = source.grid
    factor = factor_for(grid.height, grid.width, PIXELS)
    labels = reduced(source, factor, step)
    height, width = labels.shape
    seen = labels != NODATA
    pixels = np.full((height, width, 3), 255.0)
    pixels[seen] = GROUND
    shown: NDArray[np.bool_] = np.zeros(labels.shape, bool)
    if photo:
        with Photo(photo, grid.crs, grid.transform * Affine.scale(factor), height, width) as raster:
            colours = raster.read(Box(0, 0, height, width))
        shown = colours[..., 3] > 0
        if not shown[seen].any():
            raise OptionsRefused(f"The photo '{photo}' shows nothing of the mask. Choose the one that was mapped.")
        pixels[shown] = colours[shown, :3]
    for number, known in enumerate(source.classes[1:], 1):
        here = labels == number
        opacity = np.where(shown[here], OPACITY, 1.0)[:, None]
        pixels[here] = opacity * np.array(rgb_of(known.color)) + (1 - opacity) * pixels[here]
    metres = grid.gsd[0] * factor, grid.gsd[1] * factor
    found = Picture(np.rint(pixels).astype(np.uint8), metres, _north(grid))
    return _laid(found)


def _laid(picture: Picture) -> Picture:
    """A slender picture that stands is laid on its side: the page has more room there."""
    wide, high = picture.ground
    if high <= SLENDER * wide:
        return picture
    turned = np.ascontiguousarray(np.rot90(picture.pixels, -1))  # what was up is right now
    return Picture(turned, picture.metres[::-1], (picture.north + 90) % 360)


def _north(grid: MapGrid) -> float:
    """Degrees clockwise from upwards, in the middle of a grid."""
    columns, rows = grid.width / 2 + np.array([0.0, 1.0, 0.0]), grid.height / 2 + np.array([0.0, 0.0, 1.0])
    longitude, latitude = grid.ground.lonlat(columns, rows)
    along = (np.diff(longitude[[0, 1]]) + 180) % 360 - 180, (np.diff(longitude[[0, 2]]) + 180) % 360 - 180
    turn = np.array([[along[0][0], along[1][0]], [latitude[1] - latitude[0], latitude[2] - latitude[0]]])
    column, row = np.linalg.solve(turn, [0.0, 1.0])
    return math.degrees(math.atan2(column * grid.gsd[0], -row * grid.gsd[1])) % 360


def scale_bar(longest: float) -> tuple[float, str]:
    """Metres of the longest bar of a round length, and its label.

    >>> scale_bar(37.0), scale_bar(2600.0)
    ((20.0, '20 m'), (2000.0, '2 km'))
    """
    power = 10.0 ** math.floor(math.log10(longest))
    length = next(step * power for step in (5.0, 2.0, 1.0) if step * power <= longest * (1 + 1e-9))
    return length, f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
