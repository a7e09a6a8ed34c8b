"""Overviews of a map: of four pixels the most frequent value, nodata aside; each level is made of the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window


def most_frequent(values: NDArray[np.uint8], nodata: int) -> NDArray[np.uint8]:
    """Halve a map, (H, W) to (ceil H / 2, ceil W / 2); of values that are equally frequent the first one stays."""
    height, width = values.shape
    whole = np.pad(values, ((0, height % 2), (0, width % 2)), constant_values=nodata)
    a, b, c, d = (np.ascontiguousarray(whole[i::2, j::2]) for i in (0, 1) for j in (0, 1))
    found: NDArray[np.uint8] = d
    for value in (c, b, a):
        found = np.where(value != nodata, value, found)
    # The last one that holds decides: whatever comes first among equals is written last.
    for value, others in ((c, (d,)), (b, (c, d)), (a, (b, c, d))):
        twice = np.logical_or.reduce([value == other for other in others])
        np.copyto(found, value, where=twice & (value != nodata))
    return found


def with_overviews(path: Path, part: Callable[[str], Path], block: int) -> Path:
    """A virtual raster of a GeoTIFF of one band of uint8, with overviews until one fits into a block.

    It reads every block of the file, and fails where one cannot be read.

    Args:
        path: the file.
        part: gives a path beside it for each kind of temporary file.
        block: side of the blocks of the file and its overviews, pixels.
    """
    levels: list[Path] = []
    for size in _sizes(path, block):
        level = part(f"level{len(levels)}")
        _halve(levels[-1] if levels else path, level, size, block)
        levels.append(level)
    virtual = part("vrt")
    rasterio.shutil.copy(path, virtual, driver="VRT")
    tree = ElementTree.parse(virtual)  # noqa: S314
    for level in levels:
        overview = ElementTree.SubElement(tree.getroot().findall("VRTRasterBand")[0], "Overview")
        ElementTree.SubElement(overview, "SourceFilename", relativeToVRT="1").text = level.name
        ElementTree.SubElement(overview, "SourceBand").text = "1"
    tree.write(virtual)
    return virtual


def _sizes(path: Path, block: int) -> Iterator[tuple[int, int]]:
    """Height and width of each level."""
    with rasterio.open(path) as file:
        height, width = file.height, file.width
    while max(height, width) > block:
        height, width = -(-height // 2), -(-width // 2)
        yield height, width


def _halve(path: Path, half: Path, size: tuple[int, int], block: int) -> None:
    with rasterio.open(path) as file:
        profile = {
            **{"driver": "GTiff", "count": 1, "dtype": "uint8", "nodata": file.nodata},
            **{"tiled": True, "blockxsize": block, "blockysize": block, "SPARSE_OK": True, "BIGTIFF": "IF_SAFER"},
            **{"compress": "DEFLATE", "zlevel": 1, "transform": file.transform * Affine.scale(2)},
        }
        nodata = int(file.nodata)
        with rasterio.open(half, "w", height=size[0], width=size[1], **profile) as level:
            for top in range(0, size[0], block):
                for left in range(0, size[1], block):
                    height, width = min(block, size[0] - top), min(block, size[1] - left)
                    window = Window(2 * left, 2 * top, 2 * width, 2 * height).crop(file.height, file.width)
                    values = file.read(1, window=window)
                    if (values != nodata).any():
                        level.write(most_frequent(values, nodata), 1, window=Window(left, top, width, height))
