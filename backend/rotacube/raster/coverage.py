"""Where a raster can hold data at all, told by its directory instead of by reading it.

Blocks that a sparse GeoTIFF never wrote, and parts of a mosaic that no source covers, read as nodata, or as nothing's
opacity; empty land costs nothing then.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from rotacube.raster.gdal import GDAL_ERRORS
from rotacube.raster.grid import Box


class Coverage:
    """Says of windows whether they can hold data.

    Args:
        file: of rasterio, open.
        bands: that decide, from 1: where one of them was never written, nothing is valid. None makes every window one
            that may hold data.
    """

    def __init__(self, file: Any, bands: Sequence[int]) -> None:
        self._file, self._bands = file, bands

    def may_hold(self, box: Box) -> bool:
        """Whether anything in a window can be valid; true where that is not known."""
        if self._blocks is not None:
            height, width = self._file.block_shapes[0]
            rows = slice(box.top // height, -(-box.bottom // height))
            columns = slice(box.left // width, -(-box.right // width))
            return bool(self._blocks[rows, columns].any())
        if self._sources is not None:
            top, left, bottom, right = self._sources.T
            return bool(((top < box.bottom) & (bottom > box.top) & (left < box.right) & (right > box.left)).any())
        return True

    @cached_property
    def _blocks(self) -> NDArray[np.bool_] | None:
        """Of a GeoTIFF, which blocks were written in all bands that decide."""
        file = self._file
        if not self._bands or file.driver != "GTiff" or file.name.startswith("/vsi"):
            return None
        height, width = file.block_shapes[0]
        if any(shape != (height, width) for shape in file.block_shapes):
            return None
        shape = -(-file.height // height), -(-file.width // width)
        if shape[0] * shape[1] > 2_000_000:  # asked block by block: minutes
            return None
        written = np.ones(shape, bool)
        with contextlib.suppress(*GDAL_ERRORS):
            deciding = self._bands[:1] if file.interleaving.value == "PIXEL" else self._bands
            for band in deciding:
                for i in range(shape[0]):
                    for j in range(shape[1]):
                        if written[i, j] and file.get_tag_item(f"BLOCK_OFFSET_{j}_{i}", "TIFF", bidx=band) is None:
                            written[i, j] = False
            return written
        return None

    @cached_property
    def _sources(self) -> NDArray[np.float64] | None:
        """Of a virtual mosaic, (sources, 4): top, left, bottom, right of each in the first band that decides."""
        if not self._bands or self._file.driver != "VRT":
            return None
        with contextlib.suppress(*GDAL_ERRORS, ElementTree.ParseError):
            root = ElementTree.fromstring(self._file.tags(ns="xml:VRT")["xml:VRT"])  # noqa: S314
            if root.get("subClass") or root.find("GroupOfSources") is not None:
                return None
            band = root.findall("VRTRasterBand")[self._bands[0] - 1]
            if band.get("subClass"):
                return None
            boxes = []
            for source in band:
                if not source.tag.endswith("Source"):
                    continue
                rect = source.find("DstRect")
                if rect is None:
                    return None
                left, top, width, height = (float(rect.attrib[k]) for k in ("xOff", "yOff", "xSize", "ySize"))
                boxes.append((np.floor(top), np.floor(left), np.ceil(top + height), np.ceil(left + width)))
            return np.array(boxes, float).reshape(-1, 4)
        return None
