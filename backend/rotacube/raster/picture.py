"""What a person sees of rasters: a photo in 8 bits on any grid, and a mask's classes on a coarser one or in degrees."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import reproject
from rasterio.windows import Window

from rotacube.errors import RasterBands
from rotacube.raster.gdal import damage_told
from rotacube.raster.grid import Box
from rotacube.raster.mask_source import CHUNK, MaskSource
from rotacube.raster.opening import check_facts, open_raster
from rotacube.raster.write import NODATA

Bytes = NDArray[np.uint8]
SAMPLE = 1024
"""Pixels a side of what a stretch to 8 bits is taken from."""


class Photo:
    """A raster's colours on a grid; a context manager.

    Attributes:
        references: the files that are read.

    Args:
        path: what GDAL opens. Its red, green and blue, else its first three bands, else its first; others than of 8
            bits are stretched between their 2nd and 98th percentile.
        crs: of the grid, WKT.
        transform: of the grid.
        height: of the grid, pixels.
        width: of the grid, pixels.

    Raises:
        RasterMissing, RasterUnreadable, RasterNeedsNetwork, RasterNotGeoreferenced, RasterEmpty: it is not usable.
        RasterBands: it holds complex numbers.
    """

    def __init__(self, path: str, crs: str, transform: Affine, height: int, width: int) -> None:
        self.path = path
        self._file, facts, self.references = open_raster(path)
        try:
            check_facts(facts, path)
            names = facts.bands.interpretations
            usable = [band for band, name in enumerate(names, 1) if name != "alpha"]
            colours = [names.index(name) + 1 for name in ("red", "green", "blue") if name in names]
            bands = colours if len(colours) == 3 else usable[:3] if len(usable) >= 3 else usable[:1]
            if not bands or any(facts.bands.dtypes[band - 1].startswith("complex") for band in bands):
                raise RasterBands(f"'{path}' holds no colours. Choose an orthophoto.")
            self._bands = bands
            self._palette = facts.bands.palettes.get(bands[0]) if len(bands) == 1 else None
            self._range = self._stretch(facts.bands.dtypes)
            with damage_told(path):
                self._warped: Any = WarpedVRT(
                    self._file,
                    crs=crs,
                    transform=transform,
                    height=height,
                    width=width,
                    resampling=Resampling.nearest if self._palette is not None else Resampling.bilinear,
                    **({} if facts.alpha else {"add_alpha": True}),
                )
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Photo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._warped.close()
        self._file.close()

    def read(self, box: Box) -> Bytes:
        """Red, green, blue and opacity (H, W, 4) of a part of the grid, which may reach beyond it.

        Raises:
            RasterUnreadable: the file is damaged there.
        """
        found = np.zeros((box.height, box.width, 4), np.uint8)
        part = box & Box(0, 0, self._warped.height, self._warped.width)
        if part.empty:
            return found
        window = Window(part.left, part.top, part.width, part.height)
        with damage_told(self.path):
            values = self._warped.read(self._bands, window=window)
            valid = self._warped.dataset_mask(window=window) > 0
        if values.dtype.kind == "f":
            valid &= np.isfinite(values).all(0)
        here = found[part.within(box)]
        if self._palette is not None:
            here[:] = self._palette[np.minimum(values[0].astype(np.int64), len(self._palette) - 1)]
            here[~valid] = 0
            return found
        if self._range is not None:
            low, high = self._range
            values = np.nan_to_num(255 * (values.astype(np.float64) - low) / (high - low))
        here[..., :3] = np.clip(np.rint(values), 0, 255).transpose(1, 2, 0)
        here[..., 3] = np.where(valid, 255, 0)
        return found

    def _stretch(self, dtypes: tuple[str, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """What becomes 0 and 255, (bands, 1, 1) each; None of 8 bits, which stay."""
        if all(dtypes[band - 1] == "uint8" for band in self._bands):
            return None
        shape = tuple(min(SAMPLE, side) for side in (self._file.height, self._file.width))
        with damage_told(self.path):
            values = self._file.read(self._bands, out_shape=(len(self._bands), *shape)).astype(np.float64)
            valid = self._file.dataset_mask(out_shape=shape) > 0
        valid &= np.isfinite(values).all(0)
        kept = values[:, valid] if valid.any() else np.zeros((len(self._bands), 1))
        low, high = np.percentile(kept, (2, 98), axis=1)
        return low[:, None, None], np.where(high > low, high, low + 1)[:, None, None]


def reduced(source: MaskSource, factor: int, step: Callable[[float], None] = lambda share: None) -> Bytes:
    """A mask's class ids on a grid that is coarser by a whole number: of each square the most frequent one.

    Args:
        source: the mask.
        factor: pixels of the mask along a side of one of the result; squares at its end reach beyond it.
        step: is told the share that is read.

    Raises:
        RasterUnreadable: the file is damaged.
    """
    grid = source.grid
    found = np.full((-(-grid.height // factor), -(-grid.width // factor)), NODATA, np.uint8)
    side = max(1, CHUNK // factor) * factor
    corners = [(top, left) for top in range(0, grid.height, side) for left in range(0, grid.width, side)]
    for done, (top, left) in enumerate(corners):
        step(done / len(corners))
        labels = source.read(Box(top, left, top + side, left + side) & grid.extent)
        small = _most_frequent(labels, factor, len(source.classes))
        found[top // factor :, left // factor :][: small.shape[0], : small.shape[1]] = small
    return found


def _most_frequent(labels: Bytes, factor: int, classes: int) -> Bytes:
    """The class that most pixels of each square have, nodata where none has one."""
    if factor == 1:
        return labels
    rows, columns = (np.arange(0, size, factor) for size in labels.shape)
    most = np.zeros((len(rows), len(columns)), np.int32)
    found = np.full(most.shape, NODATA, np.uint8)
    for number in range(classes):
        counts = np.add.reduceat(np.add.reduceat(labels == number, rows, 0, np.int32), columns, 1, np.int32)
        found[counts > most] = number
        np.maximum(most, counts, out=most)
    return found


def moved_labels(source: MaskSource, part: Box, crs: str, transform: Affine, shape: tuple[int, int]) -> Bytes:
    """Class ids of a part of a mask on another grid, each pixel that of its middle; nodata beside the part.

    Args:
        source: the mask.
        part: of its grid.
        crs: of the other grid.
        transform: of the other grid.
        shape: of the other grid, rows and columns.

    Raises:
        RasterUnreadable: the file is damaged there.
    """
    found = np.full(shape, NODATA, np.uint8)
    with damage_told(source.path):
        reproject(
            source.read(part),
            found,
            src_crs=source.grid.crs,
            src_transform=source.grid.transform_of(part),
            src_nodata=NODATA,
            dst_crs=crs,
            dst_transform=transform,
            dst_nodata=NODATA,
            init_dest_nodata=True,
            resampling=Resampling.nearest,
        )
    return found


def factor_for(height: int, width: int, longest: int) -> int:
    """By how much a raster is reduced to be at most so long."""
    return max(1, math.ceil(max(height, width) / longest))
