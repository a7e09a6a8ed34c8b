"""Arrays on disk while a run lasts: written whole, read by windows."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

_PLAIN = Affine.scale(2, -2)  # no place on the ground, but none that GDAL warns of


def write_array(path: Path, values: NDArray[Any], nodata: int) -> None:
    """Write an array (bands, height, width) and its checksum; the file has its name only once it is whole.

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
        file.update_tags(CHECKSUM=str(zlib.crc32(np.ascontiguousarray(values).data)))
    with part.open("rb+") as stream:
        os.fsync(stream.fileno())
    part.replace(path)


def is_whole(path: Path, shape: tuple[int, int, int]) -> bool:
    """Whether a file holds an array of this shape as it was written.

    Raises:
        rasterio's errors and `OSError`: it cannot be read, which happens to what a machine without power has left.
    """
    with rasterio.open(path) as file:
        if (file.count, file.height, file.width) != shape:
            return False
        return bool(file.tags().get("CHECKSUM") == str(zlib.crc32(np.ascontiguousarray(file.read()).data)))


def read_array(path: Path, bands: list[int], rows: slice, columns: slice) -> NDArray[Any]:
    """Read a window (bands, rows, columns); bands count from 1."""
    with rasterio.open(path) as file:
        cut = Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        found: NDArray[Any] = file.read(bands, window=cut)
        return found
