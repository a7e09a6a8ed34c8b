"""A raster as the network wants it: opened once, on the model's grid, masked, scaled.

The model's grid has the raster's CRS, origin and rotation, and pixels of the model's ground sample distance measured on
the ellipsoid at the raster's centre, so that degrees, feet, Web Mercator, rotated and non-square grids need no case of
their own.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from functools import cached_property
from types import TracebackType

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from rotacube.errors import RasterEmpty, RasterNotGeoreferenced, RasterResolution
from rotacube.models.card import ModelCard
from rotacube.raster.crs import storable
from rotacube.raster.gdal import damage_told
from rotacube.raster.grid import Box
from rotacube.raster.ground import Ground
from rotacube.raster.map_grid import MapGrid, metres
from rotacube.raster.members import members_of
from rotacube.raster.mosaic import Mosaic, open_mosaic
from rotacube.raster.pixels import Pixels, open_pixels
from rotacube.raster.radiometry import Radiometry, judge
from rotacube.raster.reading import AS_THE_FILE_SAYS, Reading
from rotacube.raster.references import References
from rotacube.raster.resample import Taps, taps_of
from rotacube.raster.window import network_input

# A raster without georeference is refused, in words of our own.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

CACHE_BYTES = 128 * 2**20
"""Of GDAL's blocks: what a row of tiles, 8192 pixels wide, shares with the next one, or tiles of a row where blocks are
rows of the raster."""
SAME_GRID = 0.02
"""Up to this relative difference of ground sample distances the raster's own grid is taken: no resampling."""
AT_ONCE = 2**23
"""Source pixels that are held at once."""
FINEST = 1000
"""Most pixels of a raster, along a side, that are averaged into one."""
LONGEST = 2**31 - 1
"""Pixels along a side that a GeoTIFF can have."""
BORDER = 0.01
"""From this share of pixels on, black or white ones are told of."""


class FileSource:
    """A raster on a model's grid, read by windows; a context manager.

    Attributes:
        grid: the model's grid.
        own: the raster's own grid.
        scale: pixels of the raster that make one of the model's, along a row and along a column.
        bands: that are read, from 1.
        counted: 8-bit pixels that were read: "all", and those that are "0" or "255" in every band.

    Args:
        path: what GDAL opens; or a folder of rasters, a list of them, or a STAC item collection, see `members_of`.
        card: of the model.
        reading: what a person says about the raster.

    Raises:
        RasterMissing, RasterUnreadable, RasterNeedsNetwork, RasterNotGeoreferenced, RasterBands, RasterEmpty,
        RasterResolution: in words that say what to do.
        OutputUnwritable: no GeoTIFF can hold the raster's CRS.

    >>> from rotacube import find_model
    >>> with FileSource("town.tif", find_model("rooftop-small")[0]) as source:
    ...     values, valid = source.read(source.grid.extent)
    >>> values.shape, bool(valid.all())
    ((3, 256, 256), True)
    """

    _pixels: Pixels | Mosaic

    def __init__(self, path: str, card: ModelCard, reading: Reading = AS_THE_FILE_SAYS) -> None:
        self.path, self.card = path, card
        names = members_of(path)
        self._pixels, self.references = (
            open_pixels(path, card, reading) if names is None else open_mosaic(path, names, card, reading)
        )
        try:
            self._facts = self._pixels.facts
            self._said = list(self._pixels.notes)
            if self.references.network:
                self._said.append(f"Data may have come over the network ({self.references.network[:200]}).")
            self.grid = self._model_grid(reading.any_resolution)
            self.bands = list(self._pixels.choice.bands)
        except BaseException:
            self.close()
            raise
        self.counted: Counter[str] = Counter()

    def __enter__(self) -> FileSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, or all of them."""
        self._pixels.close()

    @property
    def height(self) -> int:
        """Rows of the model's grid."""
        return self.grid.height

    @property
    def width(self) -> int:
        """Columns of the model's grid."""
        return self.grid.width

    @property
    def files(self) -> References:
        """What is read, at any depth, with what GDAL takes beside it."""
        return self.references

    @property
    def notes(self) -> list[str]:
        """Sentences on how the raster is read, and on what was read until now, that a person should know."""
        notes = list(self._said)
        said = (
            "in every band, as {} is; {} and was mapped as it stands. If it means nodata, say so: --nodata {}, or in "
        )
        said += "QGIS the layer's Properties > Transparency > Additional no data value."
        if "radiometry" in self.__dict__:
            for value, share in self.radiometry.fills:
                why = "undeclared nodata", "it was left out of the stretch", f"{value:g}"
                notes.append(f"{share:.1%} of the sampled pixels are {value:g} " + said.format(*why))
        for level, colour in (("0", "black"), ("255", "white")):
            part = self.counted[level] / max(1, self.counted["all"])
            if part >= BORDER:
                border = f"a {colour} border", "it counts as data", level
                notes.append(f"{part:.1%} of what was read is {level} " + said.format(*border))
        return notes

    def _model_grid(self, any_resolution: bool) -> MapGrid:
        facts = self._facts
        size = Ground(facts.crs, facts.transform).pixel_size(facts.width / 2, facts.height / 2)
        if not all(math.isfinite(s) and s > 0 for s in size):
            raise RasterNotGeoreferenced(
                f"The pixels of '{self.path}' have no size on the ground. Check the raster's CRS and georeference."
            )
        low, high = self.card.gsd_range
        if not all(low * (1 - SAME_GRID) <= s <= high * (1 + SAME_GRID) for s in size):
            about = f"'{self.path}' has pixels of {metres(size)}"
            made = f"the model '{self.card.name}' is made for {low:.3g} to {high:.3g} m"
            if not any_resolution:
                raise RasterResolution(
                    f"{about}; {made}. What it would find means little. Choose a raster of such a resolution or "
                    "another model, or map it all the same (--any-resolution; in QGIS: Map anyway)."
                )
            self._said.append(f"{about}; {made}: do not trust the result without looking at it.")
        scale = tuple(1.0 if abs(self.card.gsd / s - 1) <= SAME_GRID else self.card.gsd / s for s in size)
        sides = [n / s for n, s in zip((facts.width, facts.height), scale, strict=True)]
        if max(scale) > FINEST:
            raise RasterResolution(
                f"'{self.path}' has pixels of {metres(size)}: {max(scale):.3g} of them would make one of the model's. "
                "Check its CRS and georeference."
            )
        if max(sides) > LONGEST:
            raise RasterResolution(
                f"'{self.path}' would be a map of {sides[0]:.3g} x {sides[1]:.3g} pixels of {self.card.gsd:g} m, more "
                "than a GeoTIFF can hold. Check its georeference, or cut out a part."
            )
        # A pixel belongs to the grid where its centre lies on the raster.
        width, height = (max(1, math.floor(n + 0.5)) for n in sides)
        self.scale = scale
        transform = facts.transform * Affine.scale(*scale)
        crs, note = storable(facts.crs, transform, height, width)
        if note:
            self._said.append(note)
        self.own = MapGrid(facts.height, facts.width, crs, facts.transform, size)
        return MapGrid(height, width, crs, transform, (size[0] * scale[0], size[1] * scale[1]))

    @cached_property
    def radiometry(self) -> Radiometry:
        """The card's rule for 8-bit values, else percentiles of full-resolution pixels, drawn when first needed."""
        facts = self._facts
        with damage_told(self.path):
            found = judge(
                self._pixels.dtypes, self.card.normalisation.scale, facts.height, facts.width, self._pixels.read
            )
        if found is None:
            raise all_nodata(self.path)
        return found

    def read(self, box: Box) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read a part of the grid, which may reach beyond the raster.

        Returns:
            Network input (bands, height, width), zero where nodata, and the validity (height, width).

        Raises:
            RasterUnreadable: the file is damaged there.
        """
        values = None
        valid = np.zeros((box.height, box.width), bool)
        bands, inside = len(self._pixels.dtypes), box & self.grid.extent
        step = max(1, int(AT_ONCE / (max(1, inside.width) * self.scale[0] * self.scale[1])))
        for top in range(inside.top, inside.bottom if inside.width > 0 else inside.top, step):
            part = Box(top, inside.left, min(top + step, inside.bottom), inside.right)
            found = self._source_pixels(part)
            if found is None:
                continue
            if values is None:  # the bands of a pixel side by side, as networks take them
                make = np.empty if part == box else np.zeros
                values = make((box.height, box.width, bands), np.float32).transpose(2, 0, 1)
            place = part.within(box)
            out = values[(slice(None), *place)], valid[place]
            network_input(*found, self.radiometry, self.card.normalisation, out)
        return np.broadcast_to(np.float32(0), (bands, *valid.shape)) if values is None else values, valid

    def valid(self, box: Box) -> NDArray[np.bool_]:
        """Which pixels (H, W) of the raster are valid, in a window of its own grid.

        Raises:
            RasterUnreadable: the file is damaged there.
        """
        if not self._pixels.may_hold(box):
            return np.zeros((box.height, box.width), bool)
        with damage_told(self.path):
            return self._pixels.valid(box)

    def _source_pixels(
        self, box: Box
    ) -> tuple[NDArray[np.generic], NDArray[np.bool_], tuple[Taps, Taps] | None] | None:
        """The pixels that a part within the grid is made of, their validity, and how; None where nothing is valid."""
        taps = None
        if self.scale != (1.0, 1.0):
            rows = taps_of(box.top, box.bottom, self.scale[1], self._facts.height)
            columns = taps_of(box.left, box.right, self.scale[0], self._facts.width)
            taps = rows, columns
            box = Box(rows.first, columns.first, rows.first + rows.length, columns.first + columns.length)
        if not self._pixels.may_hold(box):
            return None
        with damage_told(self.path):
            raw, seen = self._pixels.read(box)
        if not seen.any():
            return None
        self._count_borders(raw, seen)
        return raw, seen, taps

    def _count_borders(self, raw: NDArray[np.generic], seen: NDArray[np.bool_]) -> None:
        if raw.dtype == np.uint8:
            self.counted["all"] += int(np.count_nonzero(seen))
            for value, extreme in ((0, raw.max(0)), (255, raw.min(0))):
                found = extreme == value
                if found.any():
                    self.counted[str(value)] += int(np.count_nonzero(found & seen))


def all_nodata(path: str) -> RasterEmpty:
    """The error of a raster without a single valid pixel."""
    return RasterEmpty(f"'{path}' is nodata all over the chosen area. Choose another raster or area.")
