"""Writing a map: strips to a temporary file, then a Cloud Optimized GeoTIFF, checked, and put whole in its place."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.windows import Window

from rotacube.errors import OutputUnwritable
from rotacube.raster.crs import same_place
from rotacube.raster.destination import Destination, unwritable
from rotacube.raster.gdal import GDAL_ERRORS
from rotacube.raster.grid import Box
from rotacube.raster.overviews import with_overviews

NODATA = 255
BLOCK = 512
LEVEL = 6
"""Of DEFLATE: 9 takes thirteen times as long for a seventh less."""

Colour = tuple[int, int, int, int]


@dataclass(frozen=True)
class Band:
    """What a file says of one of its bands.

    Attributes:
        description: map programs show it as the band's name.
        tags: of the band.
        scale: what its values are multiplied with.
    """

    description: str
    tags: Mapping[str, str] = field(default_factory=dict)
    scale: float = 1.0


class CogWriter:
    """Writes bands of uint8: `open`, `write`, `finish`, and `drop` in any case.

    After `place` the file lies under its final name; `drop` without it leaves nothing.

    Args:
        destination: where it goes.
        box: the part of the grid that the file shows, in the grid's pixels.
        crs: WKT.
        transform: of that part.
        bands: what there is of each.
        tags: provenance, stored in the file.
        colours: red, green, blue and opacity of values, 0 to 255, where values of the only band stand for colours.
    """

    def __init__(
        self,
        destination: Destination,
        box: Box,
        crs: str,
        transform: rasterio.Affine,
        *,
        bands: Sequence[Band],
        tags: Mapping[str, str],
        colours: Mapping[int, Colour] | None = None,
    ) -> None:
        self.box, self._crs, self._transform = box, crs, transform
        self._destination, self.output = destination, destination.output
        self._bands, self._tags, self._colours = list(bands), tags, colours
        self._strips, self._whole = destination.part("strips"), destination.part("cog")
        self._file: Any = None

    def open(self) -> None:
        """Begin the file of strips.

        Raises:
            OutputUnwritable: the folder is not writable, or the disk is full.
        """
        try:
            self._file = rasterio.open(
                self._strips,
                "w",
                driver="GTiff",
                width=self.box.width,
                height=self.box.height,
                count=len(self._bands),
                dtype="uint8",
                nodata=NODATA,
                crs=self._crs,
                transform=self._transform,
                tiled=True,
                blockxsize=BLOCK,
                blockysize=BLOCK,
                compress="ZSTD",
                zstd_level=1,
                BIGTIFF="IF_SAFER",
                SPARSE_OK=True,
            )
            if self._colours is not None:
                self._file.write_colormap(1, {**self._colours, NODATA: (0, 0, 0, 0)})
            self._file.update_tags(**self._tags)
            for number, band in enumerate(self._bands, 1):
                self._file.update_tags(number, **band.tags)
                self._file.set_band_description(number, band.description)
            if any(band.scale != 1 for band in self._bands):
                self._file.scales = [band.scale for band in self._bands]
        except GDAL_ERRORS as error:
            raise unwritable(self.output, error) from error

    def write(self, box: Box, values: NDArray[np.uint8]) -> None:
        """Write the values (bands, height, width) of a part of the grid; a block's width of nodata is never written."""
        top, left = box.top - self.box.top, box.left - self.box.left
        try:
            for start in range(0, box.width, BLOCK):
                part = values[..., start : start + BLOCK]
                if (part != NODATA).any():
                    self._file.write(part, window=Window(left + start, top, part.shape[2], box.height))
        except GDAL_ERRORS as error:
            raise unwritable(self.output, error) from error

    def finish(self) -> None:
        """Make the Cloud Optimized GeoTIFF, and check it.

        Raises:
            OutputUnwritable: the disk is full, or the file does not say what it should.
        """
        try:
            self._file.close()
            rasterio.shutil.copy(
                self._source(),
                self._whole,
                driver="COG",
                compress="DEFLATE",
                level=LEVEL,
                blocksize=BLOCK,
                overview_resampling="average",
                bigtiff="IF_SAFER",
                sparse_ok=True,
                num_threads="ALL_CPUS",
            )
            self._check()
        except GDAL_ERRORS as error:
            raise unwritable(self.output, error) from error

    def place(self) -> None:
        """Put it into its place.

        Raises:
            OutputUnwritable: the disk is full, or the file's name was taken meanwhile.
        """
        self._destination.place(self._whole)

    def drop(self) -> None:
        """Leave nothing but what `place` has put in place; doing it twice is fine."""
        if self._file is not None and not self._file.closed:
            with contextlib.suppress(*GDAL_ERRORS):
                self._file.close()
        self._destination.drop()

    def _source(self) -> Path:
        """The strips, read through; classes with overviews, since their mean means nothing."""
        if self._colours is not None:
            return with_overviews(self._strips, self._destination.part, BLOCK)
        _read_through(self._strips)
        return self._strips

    def _check(self) -> None:
        """Read the whole file as somebody will who has nothing but it: pixels, place and nodata."""
        with rasterio.Env(GDAL_PAM_ENABLED=False):
            _read_through(self._whole)
            with rasterio.open(self._whole) as file:
                crs, transform, nodata = file.crs, file.transform, file.nodata
                size = file.height, file.width
        corners = np.array([0.0, self.box.width, 0.0]), np.array([0.0, 0.0, self.box.height])
        x, y = (np.asarray(v) for v in self._transform * corners)
        moved = transform * corners
        pixel = max(abs(v) for v in tuple(self._transform)[:5] if v)
        placed = max(float(np.abs(moved[0] - x).max()), float(np.abs(moved[1] - y).max())) < 1e-3 * pixel
        tied = crs is not None and placed and same_place(self._crs, crs.to_wkt(), x, y)
        if not tied or nodata != NODATA or size != (self.box.height, self.box.width):
            raise OutputUnwritable(
                f"The file for '{self.output}' would not say where its pixels lie (CRS, transform or nodata are lost "
                "in it), so it was not kept. Warp the raster to another CRS first, such as its UTM zone."
            )


def _read_through(path: Path) -> None:
    """Read every block: GDAL reports some failed writes only here."""
    with rasterio.open(path) as file:
        for _, window in file.block_windows(1):
            file.read(window=window)
