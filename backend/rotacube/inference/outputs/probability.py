"""The probability of each class but the first: a band each, in 254ths, as a Cloud Optimized GeoTIFF."""

from __future__ import annotations

from rotacube.inference.findings import CHANCE, FULL
from rotacube.inference.outputs.base import Setting
from rotacube.inference.outputs.raster import Raster
from rotacube.raster.destination import Destination
from rotacube.raster.write import Band


class Probability(Raster):
    """Writes calibrated probabilities.

    Args:
        destination: where the file goes.
        setting: grid, area, classes and provenance.
        form: "cog".
    """

    def __init__(self, destination: Destination, setting: Setting, form: str = "cog") -> None:
        bands = {f"{CHANCE} {c.id}": Band(f"probability of {c.name}", scale=1 / FULL) for c in setting.card.classes[1:]}
        super().__init__(destination, setting, bands)
