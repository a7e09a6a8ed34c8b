"""Pictures through a homography onto the lines of a grid."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rotacube.raster.grid import Box
from rotacube.raster.lens import Lens

BLOCK = 1024
"""Pixels a side of what is worked on at once."""
FULL = 254
"""The byte of the largest weight."""

Array = NDArray[np.float64]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Spots:
    """Where the pixels of a part of a grid lie in an image.

    Attributes:
        box: the part.
        u, v: (H, W), from 0 to 1 across and down the image where they lie on it.
        inside: (H, W), whether they do.
    """

    box: Box
    u: Array
    v: Array
    inside: NDArray[np.bool_]

    @property
    def weights(self) -> Bytes:
        """(H, W), `FULL` in the image's middle, falling to 1 towards its borders as a pyramid does; 0 outside."""
        steep = (1 - np.abs(2 * self.u - 1)) * (1 - np.abs(2 * self.v - 1))
        return np.where(self.inside, np.clip(np.rint(steep * FULL), 1, FULL), 0).astype(np.uint8)

    def values(self, image: Bytes, span: tuple[float, float], outside: int) -> Bytes:
        """An image at these pixels, interpolated between its pixels' centres; (bands, H, W).

        Args:
            image: (bands, h, w), of the same view, perhaps with other pixels.
            span: how many of its rows and columns make the whole view, which may be a part of a pixel more or less.
            outside: what stands where the view does not reach.
        """
        if not self.inside.any():
            return np.full((len(image), *self.inside.shape), outside, np.uint8)
        cuts, ways = [], []
        for share, span_, size in zip((self.v, self.u), span, image.shape[1:], strict=True):
            at = share * span_ - 0.5
            first = min(size - 1, max(0, math.floor(at.min(where=self.inside, initial=np.inf))))
            last = max(first, min(size - 1, math.ceil(at.max(where=self.inside, initial=-np.inf))))
            cuts.append(slice(first, last + 1))
            ways.append((2 * (at - first) + 1) / (last + 1 - first) - 1)  # -1 to 1 from edge to edge
        # Only what is looked at becomes real numbers, of all bands at once.
        part = torch.from_numpy(image[:, cuts[0], cuts[1]]).to(torch.float32)[None]
        grid = torch.from_numpy(np.stack(ways[::-1], -1).astype(np.float32))[None]
        seen = torch.nn.functional.grid_sample(part, grid, padding_mode="border", align_corners=False)[0]
        found: Bytes = np.where(self.inside, seen.round_().to(torch.uint8).numpy(), np.uint8(outside))
        return found


def spots(to_image: Array, box: Box, lens: Lens | None = None) -> Iterator[Spots]:
    """Where the pixels' centres of a box lie in an image, block by block.

    Args:
        to_image: (3, 3), the homography from the grid's pixels (column, row, 1) to 0 to 1 across and down the image.
        box: of the grid.
        lens: bends what the homography has placed in the straight view, where the image is none.
    """
    for top in range(box.top, box.bottom, BLOCK):
        for left in range(box.left, box.right, BLOCK):
            part = Box(top, left, top + BLOCK, left + BLOCK) & box
            columns, rows = np.arange(part.left, part.right) + 0.5, np.arange(part.top, part.bottom)[:, None] + 0.5
            u, v, w = (line[0] * columns + line[1] * rows + line[2] for line in to_image)
            ahead = w > 0  # what lies behind the camera is not seen
            w = np.where(ahead, w, 1)
            u, v = u / w, v / w
            if lens:
                u, v = np.moveaxis(lens.bent(np.stack([u, v], -1) * lens.size) / lens.size, -1, 0)
            yield Spots(part, u, v, ahead & (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1))


def shrunk(image: Bytes, factor: float) -> Bytes:
    """An image (bands, rows, columns) with `factor` times fewer pixels a side, averaged; as it is up to 1."""
    if factor <= 1:
        return image
    size = [max(1, round(side / factor)) for side in image.shape[1:]]
    small = torch.nn.functional.interpolate(
        torch.from_numpy(image)[None], size=size, mode="bilinear", antialias=True, align_corners=False
    )
    return small[0].numpy()
