"""A picture of a finished tile."""

from __future__ import annotations

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from rotacube.models.card import CardClass

LONGEST = 256
"""Longest side of a preview, pixels."""


def draw_preview(labels: NDArray[np.uint8], classes: list[CardClass]) -> bytes:
    """RGBA PNG of class ids (H, W): the classes' colours, class 0 and nodata transparent; at most `LONGEST` pixels."""
    step = max(1, -(-max(labels.shape) // LONGEST))
    colours = np.zeros((256, 4), np.uint8)
    for c in classes[1:]:
        colours[c.id] = (*c.rgb, 255)
    picture = colours[labels[::step, ::step]].transpose(2, 0, 1)
    shape = {"height": picture.shape[1], "width": picture.shape[2], "count": 4, "dtype": "uint8"}
    with rasterio.Env(GDAL_PAM_ENABLED=False), MemoryFile() as memory:
        with memory.open(driver="PNG", **shape) as file:
            file.write(picture)
        return bytes(memory.read())
