"""The mask: a class id a pixel, as a Cloud Optimized GeoTIFF with the classes' colours and names."""

from __future__ import annotations

from rotacube.inference.engine import Strip
from rotacube.inference.labels import labels_of
from rotacube.inference.outputs.base import Setting
from rotacube.raster.destination import Destination
from rotacube.raster.write import CogWriter


class Mask:
    """Writes the mask.

    Args:
        destination: where the file goes.
        setting: grid, area, classes and provenance.
    """

    def __init__(self, destination: Destination, setting: Setting) -> None:
        self.card = setting.card
        self._writer = CogWriter(
            destination,
            setting.area,
            setting.grid.crs,
            setting.grid.transform_of(setting.area),
            colours={c.id: (*c.rgb, 255) for c in setting.card.classes},
            tags=setting.tags,
            band_tags={f"CLASS_{c.id}": c.name for c in setting.card.classes},
            description=", ".join(f"{c.id} {c.name}" for c in setting.card.classes),
        )

    def open(self) -> None:
        """Begin the file under a temporary name."""
        self._writer.open()

    def write(self, strip: Strip) -> None:
        """Write a strip's class ids."""
        if strip.valid.any():
            self._writer.write(strip.box, labels_of(strip.logits, strip.valid, self.card))

    def finish(self) -> None:
        """Make the Cloud Optimized GeoTIFF and move it into place."""
        self._writer.finish()

    def drop(self) -> None:
        """Leave nothing but the finished file."""
        self._writer.drop()
