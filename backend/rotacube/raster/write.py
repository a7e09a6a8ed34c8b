"""Writing a map: strips to a temporary file, then a Cloud Optimized GeoTIFF moved whole to its final name."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window

from rotacube.errors import OutputUnwritable
from rotacube.raster.grid import Box

NODATA = 255
LONGEST = 200
"""Bytes of the longest name: temporary files beside it carry longer ones, and file systems end at 255."""
_PART = ".rotacube-part"


Colour = tuple[int, int, int, int]


class CogWriter:
    """Writes one band of uint8, whose values stand for colours: `open`, `write`, `finish`, and `drop` in any case.

    After `finish` the file lies under its final name; `drop` without it leaves nothing.

    Args:
        output: the final path, which `check_output` found good.
        box: the part of the grid that the file shows, in the grid's pixels.
        crs: WKT.
        transform: of that part.
        colours: red, green, blue and opacity of values, 0 to 255.
        tags: provenance, stored in the file.
        band_tags: of the band.
    """

    def __init__(
        self,
        output: Path,
        box: Box,
        crs: str,
        transform: rasterio.Affine,
        *,
        colours: Mapping[int, Colour],
        tags: Mapping[str, str],
        band_tags: Mapping[str, str],
    ) -> None:
        self.output, self.box, self._crs, self._transform = output, box, crs, transform
        self._colours, self._tags, self._band_tags = colours, tags, band_tags
        stem = f".{output.name}.{uuid.uuid4().hex[:8]}"
        self._strips = output.with_name(f"{stem}.strips{_PART}")
        self._whole = output.with_name(f"{stem}.cog{_PART}")
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
                count=1,
                dtype="uint8",
                nodata=NODATA,
                crs=self._crs,
                transform=self._transform,
                tiled=True,
                blockxsize=512,
                blockysize=512,
                compress="DEFLATE",
                zlevel=1,
                BIGTIFF="IF_SAFER",
            )
            self._file.write_colormap(1, {**self._colours, NODATA: (0, 0, 0, 0)})
            self._file.update_tags(**self._tags)
            self._file.update_tags(1, **self._band_tags)
        except (RasterioError, OSError) as error:
            raise _unwritable(self.output, error) from error

    def write(self, box: Box, values: NDArray[np.uint8]) -> None:
        """Write the values of a part of the grid."""
        top, left = box.top - self.box.top, box.left - self.box.left
        try:
            self._file.write(values, 1, window=Window(left, top, box.width, box.height))
        except (RasterioError, OSError) as error:
            raise _unwritable(self.output, error) from error

    def finish(self) -> None:
        """Make the Cloud Optimized GeoTIFF, check it, and move it into place."""
        try:
            self._file.close()
            _read_through(self._strips)
            rasterio.shutil.copy(
                self._strips,
                self._whole,
                driver="COG",
                compress="DEFLATE",
                level=9,
                blocksize=512,
                overview_resampling="mode",
                bigtiff="IF_SAFER",
            )
            _read_through(self._whole)
            self._whole.replace(self.output)
        except (RasterioError, OSError) as error:
            raise _unwritable(self.output, error) from error

    def drop(self) -> None:
        """Leave nothing but what `finish` has moved into place; doing it twice is fine."""
        if self._file is not None and not self._file.closed:
            with contextlib.suppress(RasterioError, OSError):
                self._file.close()
        for path in (self._strips, self._whole):
            for leftover in (path, path.with_name(path.name + ".aux.xml"), path.with_name(path.name + ".ovr.tmp")):
                leftover.unlink(missing_ok=True)


def check_output(output: Path, overwrite: bool, pixels: int, inputs: Iterable[str]) -> None:
    """Check, before any work, that a mask can be written.

    Args:
        output: the final path.
        overwrite: whether a file that is there may be replaced.
        pixels: how many the mask has.
        inputs: the files that are read, which are never replaced.

    Raises:
        OutputUnwritable: the folder is missing or not writable, the name is none for a GeoTIFF, the file is there
            already or is an input, or the disk is too full.
    """
    folder = output.parent
    if len(os.fsencode(output.name)) > LONGEST:
        raise OutputUnwritable(
            f"The name '{output.name[:40]}...' is too long: it may have {LONGEST} bytes. Choose a shorter one."
        )
    if not folder.is_dir():
        raise OutputUnwritable(f"The folder '{folder}' does not exist. Create it, or choose another place.")
    if output.is_dir():
        raise OutputUnwritable(f"'{output}' is a folder. Give the name of a file that ends in .tif.")
    if output.suffix.lower() not in (".tif", ".tiff"):
        raise OutputUnwritable(f"'{output.name}' does not end in .tif. The mask is a GeoTIFF: give it such a name.")
    if output.exists() and not overwrite:
        raise OutputUnwritable(f"'{output}' is there already. Choose another name, or say that it may be replaced.")
    if output.exists() and any(Path(path).exists() and output.samefile(path) for path in inputs):
        raise OutputUnwritable(
            f"'{output}' is the raster itself. Choose another name: a mask never replaces its source."
        )
    if not os.access(folder, os.W_OK):
        raise OutputUnwritable(f"The folder '{folder}' may not be written to. Choose another place.")
    free = shutil.disk_usage(folder).free
    # Masks deflate to about a thirtieth; two files lie there for a while.
    needed = pixels // 15 + 2**20
    if free < needed:
        raise OutputUnwritable(
            f"The disk of '{folder}' has {free / 2**20:.0f} MB left; the mask needs about {needed / 2**20:.0f} MB. "
            "Free some space, or choose another place."
        )


def sweep(folder: Path, name: str) -> None:
    """Remove what a killed run for the same output has left: files that nobody has written to for an hour."""
    for path in folder.iterdir():
        if path.name.startswith(f".{name}.") and _PART in path.name:
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > 3600:
                    path.unlink()


def _read_through(path: Path) -> None:
    """Read every block: GDAL reports some failed writes only here."""
    with rasterio.open(path) as file:
        for _, window in file.block_windows(1):
            file.read(1, window=window)


def _unwritable(output: Path, error: Exception) -> OutputUnwritable:
    cause = error.__cause__ or error
    return OutputUnwritable(
        f"The mask could not be written to '{output.parent}' ({cause}). The disk may be full or was taken away: free "
        "some space or choose another place. Nothing was left behind."
    )
