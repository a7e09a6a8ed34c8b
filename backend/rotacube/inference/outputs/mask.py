"""The mask: a class id a pixel, as a Cloud Optimized GeoTIFF with the classes' colours and names."""

from __future__ import annotations

from rotacube.inference.findings import LABELS
from rotacube.inference.outputs.base import Setting
from rotacube.inference.outputs.raster import Raster
from rotacube.raster.destination import Destination
from rotacube.raster.write import Band


class Mask(Raster):
    """Writes the mask.

    Args:
        destination: where the file goes.
        setting: grid, area, classes and provenance.
        form: "cog".
    """

    def __init__(self, destination: Destination, setting: Setting, form: str = "cog") -> None:
        classes = setting.card.classes
        names = ", ".join(f"{c.id} {c.name}" for c in classes)
        band = Band(names, {f"CLASS_{c.id}": c.name for c in classes})
        super().__init__(destination, setting, {LABELS: band}, {c.id: (*c.rgb, 255) for c in classes})
