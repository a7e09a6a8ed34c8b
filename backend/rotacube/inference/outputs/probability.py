"""The probability of each class but the first: a band each, in 254ths, as a Cloud Optimized GeoTIFF."""

from __future__ import annotations

import numpy as np

from rotacube.inference.findings import CHANCE, FULL, Finding
from rotacube.inference.outputs.base import Setting
from rotacube.raster.destination import Destination
from rotacube.raster.write import NODATA, Band, CogWriter


class Probability:
    """Writes calibrated probabilities.

    Args:
        destination: where the file goes.
        setting: grid, area, classes and provenance.
        form: "cog".
    """

    def __init__(self, destination: Destination, setting: Setting, form: str = "cog") -> None:
        classes = setting.card.classes[1:]
        self._names = [f"{CHANCE} {c.id}" for c in classes]
        self._writer = CogWriter(
            destination,
            setting.area,
            setting.grid.crs,
            setting.grid.transform_of(setting.area),
            bands=[Band(f"probability of {c.name}", scale=1 / FULL) for c in classes],
            tags=setting.tags,
        )

    def open(self) -> None:
        """Begin the file under a temporary name."""
        self._writer.open()

    def write(self, finding: Finding) -> None:
        """Write a finding's probabilities."""
        if (finding.labels != NODATA).any():
            self._writer.write(finding.box, np.stack([finding.parts[name] for name in self._names]))

    def finish(self) -> None:
        """Make the Cloud Optimized GeoTIFF."""
        self._writer.finish()

    def place(self) -> None:
        """Move it into place."""
        self._writer.place()

    def drop(self) -> None:
        """Leave nothing but the finished file."""
        self._writer.drop()
