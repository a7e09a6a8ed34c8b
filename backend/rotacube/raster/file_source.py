"""A raster as the network wants it: opened once, on the model's grid, masked, scaled.

The model's grid has the raster's CRS, origin and rotation, and pixels of the model's ground sample distance measured on
the ellipsoid at the raster's centre, so that degrees, feet, Web Mercator, rotated and non-square grids need no case of
their own.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from rotacube.errors import (
    RasterBands,
    RasterEmpty,
    RasterMissing,
    RasterNotGeoreferenced,
    RasterUnreadable,
)
from rotacube.models.card import ModelCard
from rotacube.raster.grid import Box
from rotacube.raster.ground import Ground
from rotacube.raster.map_grid import MapGrid
from rotacube.raster.reading import AS_THE_FILE_SAYS, Reading

# A raster without georeference is refused, in words of our own.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

CACHE_BYTES = 256 * 2**20
SAME_GRID = 0.02
"""Up to this relative difference of ground sample distances the raster's own grid is taken: no resampling."""
WIDEN = 1.5
"""From this ratio of ground sample distances on, several source pixels are averaged into one."""
SAMPLE = 1024
"""Pixels along the longer side from which the radiometry of a file is judged."""


@dataclass(frozen=True)
class Radiometry:
    """Per band, the values that become 0 and 1 before the card's mean and std: arrays (bands, 1, 1)."""

    low: NDArray[np.float32]
    high: NDArray[np.float32]


class FileSource:
    """A raster on a model's grid, read by windows; a context manager.

    Attributes:
        grid: the model's grid.
        bands: that are read, from 1, in the model's order.
        notes: sentences on how the raster is read that a person should know.

    Args:
        path: what GDAL opens.
        card: of the model.
        reading: what a person says about the raster.

    Raises:
        RasterMissing, RasterUnreadable, RasterNotGeoreferenced, RasterBands, RasterEmpty: in words that say what to do.

    >>> from rotacube import find_model
    >>> with FileSource("town.tif", find_model("rooftop-small")[0]) as source:
    ...     values, valid = source.read(source.grid.extent)
    >>> values.shape, bool(valid.all())
    ((3, 256, 256), True)
    """

    def __init__(self, path: str, card: ModelCard, reading: Reading = AS_THE_FILE_SAYS) -> None:
        self.path, self.card, self.reading = path, card, reading
        self.notes: list[str] = []
        self._file = _open(path)
        try:
            _check(self._file, path)
            self.bands = _bands(self._file, card, reading.bands)
            self.grid = self._model_grid()
            self._vrt = self._warped()
            self._alpha = 1 + self._vrt.colorinterp.index(ColorInterp.alpha)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> FileSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._vrt.close()
        self._file.close()

    @property
    def height(self) -> int:
        """Rows of the model's grid."""
        return self.grid.height

    @property
    def width(self) -> int:
        """Columns of the model's grid."""
        return self.grid.width

    @property
    def files(self) -> list[str]:
        """The files that GDAL reads: of a VRT also its sources."""
        return list(self._file.files)

    def _model_grid(self) -> MapGrid:
        file = self._file
        crs: str = file.crs.to_wkt()
        size = Ground(crs, file.transform).pixel_size(file.width / 2, file.height / 2)
        if not all(math.isfinite(s) and s > 0 for s in size):
            raise RasterNotGeoreferenced(
                f"The pixels of '{self.path}' have no size on the ground. Check the raster's CRS and georeference."
            )
        scale = tuple(1.0 if abs(self.card.gsd / s - 1) <= SAME_GRID else self.card.gsd / s for s in size)
        width, height = (max(1, math.ceil(n / s - 1e-6)) for n, s in zip((file.width, file.height), scale, strict=True))
        self._scale = scale
        transform = file.transform * Affine.scale(*scale)
        return MapGrid(height, width, crs, transform, (size[0] * scale[0], size[1] * scale[1]))

    def _warped(self) -> WarpedVRT:
        file = self._file
        masked = any(MaskFlags.alpha in flags or MaskFlags.per_dataset in flags for flags in file.mask_flag_enums)
        nodata = None if masked else file.nodata
        # Where pixels shrink, GDAL widens its kernel against aliasing, at twice the time: worth it from WIDEN on.
        kernel = {} if max(self._scale) > WIDEN else {"XSCALE": "1", "YSCALE": "1"}
        return WarpedVRT(
            file,
            crs=file.crs,
            transform=self.grid.transform,
            width=self.grid.width,
            height=self.grid.height,
            resampling=Resampling.bilinear,
            src_nodata=nodata,
            nodata=nodata,
            add_alpha=ColorInterp.alpha not in file.colorinterp,
            warp_mem_limit=64,
            **kernel,
        )

    @cached_property
    def radiometry(self) -> Radiometry:
        """The card's rule for 8-bit values, else percentiles of a sample of the whole file, drawn when first needed."""
        count = len(self.bands)
        if all(self._file.dtypes[b - 1] == "uint8" for b in self.bands):
            low, high = np.zeros(count), np.full(count, self.card.normalisation.scale)
        else:
            factor = max(1, max(self._file.shape) / SAMPLE)
            shape = tuple(max(1, round(n / factor)) for n in self._file.shape)
            with _reading(self.path):
                sample = self._file.read(self.bands, out_shape=(count, *shape), masked=True)
            values = [np.ma.masked_invalid(band).compressed() for band in sample]
            if any(v.size == 0 for v in values):
                raise all_nodata(self.path)
            low, high = np.array([np.percentile(v, (2, 98)) for v in values]).T
            high = np.where(high > low, high, low + 1)
        return Radiometry(*(v.astype(np.float32)[:, None, None] for v in (low, high)))

    def read(self, box: Box) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read a part of the grid, which may reach beyond the raster.

        Returns:
            Network input (bands, height, width), zero where nodata, and the validity (height, width).

        Raises:
            RasterUnreadable: the file is damaged there.
        """
        values = np.zeros((len(self.bands), box.height, box.width), np.float32)
        valid = np.zeros((box.height, box.width), bool)
        inside = box & self.grid.extent
        if not inside.empty:
            window = Window(inside.left, inside.top, inside.width, inside.height)
            with _reading(self.path):
                data = self._vrt.read([*self.bands, self._alpha], window=window)
            seen = (data[-1] > 0) & np.isfinite(data[:-1]).all(0)
            place = inside.within(box)
            valid[place] = seen
            scaled = (data[:-1].astype(np.float32) - self.radiometry.low) / (self.radiometry.high - self.radiometry.low)
            values[(slice(None), *place)] = self.card.normalisation.apply(scaled, seen)
        return values, valid


def _open(path: str) -> Any:
    try:
        there = "://" in path or path.startswith("/vsi") or ":" in path[2:] or Path(path).exists()
    except OSError:  # the name is too long for the system
        there = False
    if not there:
        raise RasterMissing(f"There is no raster '{path}'. Check the path; the file may have been moved or deleted.")
    try:
        return rasterio.open(path)
    except RasterioError as error:
        raise RasterUnreadable(
            f"'{path}' cannot be opened as a raster ({error}). The file may be damaged or of a format that GDAL does "
            "not know; try gdalinfo on it."
        ) from error


@contextmanager
def _reading(path: str) -> Iterator[None]:
    """Turns GDAL's errors on reading into a sentence."""
    try:
        yield
    except (RasterioError, OSError) as error:
        cause = error.__cause__ or error
        raise RasterUnreadable(
            f"'{path}' is damaged or cut short: GDAL cannot read all of it ({cause}). Copy or download the file again."
        ) from error


def _check(file: Any, path: str) -> None:
    if file.crs is None:
        raise RasterNotGeoreferenced(
            f"'{path}' has no coordinate reference system. Assign the true one (gdal_edit.py -a_srs EPSG:... or QGIS: "
            "Raster > Projections > Assign Projection)."
        )
    if file.transform.is_identity or file.transform.determinant == 0:
        raise RasterNotGeoreferenced(
            f"'{path}' has no georeference: its pixels are tied to no ground coordinates. Georeference it first (QGIS: "
            "Layer > Georeferencer)."
        )
    if min(file.width, file.height) < 2:
        raise RasterEmpty(
            f"'{path}' is {file.width} x {file.height} pixels: there is nothing to map. Choose a raster of at least "
            "2 x 2 pixels."
        )


def _bands(file: Any, card: ModelCard, given: Sequence[int] | None) -> list[int]:
    wanted = ", ".join(card.bands)
    bands = None if given is None else list(given)
    if bands is None:
        named = {interp.name: index + 1 for index, interp in reversed(list(enumerate(file.colorinterp)))}
        bands = [named[b] for b in card.bands] if all(b in named for b in card.bands) else None
    if bands is None:
        usable = [i + 1 for i, interp in enumerate(file.colorinterp) if interp != ColorInterp.alpha]
        if len(usable) < len(card.bands):
            palette = " (a palette: expand it with gdal_translate -expand rgb)"
            raise RasterBands(
                f"'{card.name}' needs {len(card.bands)} bands ({wanted}); '{file.name}' has {len(usable)}"
                f"{palette if ColorInterp.palette in file.colorinterp else ''}. Choose another raster, or name the "
                "bands yourself: one may stand for several."
            )
        bands = usable[: len(card.bands)]
    if len(bands) != len(card.bands) or not all(1 <= b <= file.count for b in bands):
        raise RasterBands(
            f"'{card.name}' needs {len(card.bands)} bands ({wanted}) out of 1 to {file.count}; given: {bands}."
        )
    if any(file.dtypes[b - 1].startswith("complex") for b in bands):
        raise RasterBands(f"'{file.name}' holds complex numbers. Make real bands of it first.")
    return bands


def all_nodata(path: str) -> RasterEmpty:
    """The error of a raster without a single valid pixel."""
    return RasterEmpty(f"'{path}' is nodata all over the chosen area. Choose another raster or area.")
