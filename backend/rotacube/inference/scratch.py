"""Arrays on disk while a run lasts: written whole, read by windows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

_PLAIN = Affine.scale(2, -2)  # no place on the ground, but none that GDAL warns of


def write_array(path: Path, values: NDArray[Any], nodata: int) -> None:
    """Write an array (bands, height, width); the file has its name only once it is whole.

    Raises:
        rasterio's errors and `OSError`: the disk is full, or the folder was taken away.
    """
    bands, height, width = values.shape
    part = path.with_suffix(".part")
    with rasterio.open(
        part,
        "w",
        driver="GTiff",
        count=bands,
        height=height,
        width=width,
        dtype=values.dtype,
        transform=_PLAIN,
        nodata=nodata,
        tiled=True,
        blockxsize=512,
        blockysize=64,
        compress="ZSTD",
        zstd_level=1,
        interleave="band",
        SPARSE_OK=True,
    ) as file:
        file.write(values)
    with part.open("rb+") as stream:
        os.fsync(stream.fileno())
    part.replace(path)


def read_array(path: Path, bands: list[int], rows: slice, columns: slice) -> NDArray[Any]:
    """Read a window (bands, rows, columns); bands count from 1."""
    with rasterio.open(path) as file:
        cut = Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        found: NDArray[Any] = file.read(bands, window=cut)
        return found
