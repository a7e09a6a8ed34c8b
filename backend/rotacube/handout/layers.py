"""What an overlay shows: a mask's classes, and a photo's colours, as squares."""

from __future__ import annotations

import io

import numpy as np
from affine import Affine
from PIL import Image

from rotacube.handout.degrees import WGS84, Degrees, part_of
from rotacube.handout.kml import TILE
from rotacube.raster.grid import Box
from rotacube.raster.mask_source import MaskSource
from rotacube.raster.overviews import most_frequent
from rotacube.raster.picture import Bytes, Photo, moved_labels
from rotacube.raster.write import NODATA

QUALITY = 85
"""Of JPEG: the photo's squares."""


def rgb_of(color: str) -> tuple[int, int, int]:
    """Red, green and blue of `#rrggbb`."""
    red, green, blue = bytes.fromhex(color[1:])
    return red, green, blue


class Classes:
    """Class ids in the mask's colours; the background and nodata show nothing.

    Args:
        source: the mask.
        degrees: the grid.
        opacity: 0 to 255.
    """

    name, folder, order = "Classes", "classes", 100

    def __init__(self, source: MaskSource, degrees: Degrees, opacity: int) -> None:
        self._source, self.degrees = source, degrees
        self._colours = np.zeros((256, 4), np.uint8)
        for number, known in enumerate(source.classes[1:], 1):
            self._colours[number] = (*rgb_of(known.color), opacity)

    def read(self, box: Box) -> Bytes | None:
        """Class ids."""
        inner = box & Box(0, 0, self.degrees.height, self.degrees.width)
        part = part_of(self._source.grid, self.degrees, inner)
        if part.empty:
            return None
        transform = self.degrees.transform * Affine.translation(inner.left, inner.top)
        labels = moved_labels(self._source, part, WGS84, transform, (inner.height, inner.width))
        if not ((labels > 0) & (labels != NODATA)).any():
            return None
        found = self.blank()
        found[inner.within(box)] = labels
        return found

    def blank(self) -> Bytes:
        """Nodata."""
        return np.full((TILE, TILE), NODATA, np.uint8)

    def halve(self, pixels: Bytes) -> Bytes:
        """Of four pixels the most frequent class."""
        return most_frequent(pixels, NODATA)

    def encode(self, pixels: Bytes) -> tuple[str, bytes]:
        """A PNG of colours: GDAL reads no palette there."""
        stream = io.BytesIO()
        Image.fromarray(self._colours[pixels]).save(stream, "PNG")
        return "png", stream.getvalue()


class Colours:
    """A photo.

    Args:
        photo: on the grid.
        degrees: the grid.
    """

    name, folder, order = "Photo", "photo", 0

    def __init__(self, photo: Photo, degrees: Degrees) -> None:
        self._photo, self.degrees = photo, degrees

    def read(self, box: Box) -> Bytes | None:
        """Red, green, blue, opacity."""
        pixels = self._photo.read(box)
        return pixels if pixels[..., 3].any() else None

    def blank(self) -> Bytes:
        """Nothing is seen."""
        return np.zeros((TILE, TILE, 4), np.uint8)

    def halve(self, pixels: Bytes) -> Bytes:
        """The mean of those of four pixels that are seen; it is seen where half of them are."""
        four = pixels.reshape(len(pixels) // 2, 2, -1, 2, 4).astype(np.float32)
        seen = four[..., 3:] > 0
        count = seen.sum((1, 3))
        mean = (four[..., :3] * seen).sum((1, 3)) / np.maximum(count, 1)
        return np.concatenate([np.rint(mean), np.where(count >= 2, 255, 0)], 2).astype(np.uint8)

    def encode(self, pixels: Bytes) -> tuple[str, bytes]:
        """A JPEG, a PNG where not all is seen."""
        stream = io.BytesIO()
        if (pixels[..., 3] == 255).all():
            Image.fromarray(np.ascontiguousarray(pixels[..., :3])).save(stream, "JPEG", quality=QUALITY)
            return "jpg", stream.getvalue()
        Image.fromarray(pixels).save(stream, "PNG")
        return "png", stream.getvalue()
