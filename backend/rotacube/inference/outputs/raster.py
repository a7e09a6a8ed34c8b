"""What the mask and the probability have in common: a byte a pixel in one or more bands, as a COG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rotacube.inference.findings import Finding
from rotacube.inference.outputs.base import Setting
from rotacube.raster.destination import Destination
from rotacube.raster.write import NODATA, Band, CogWriter, Colour


class Raster:
    """Writes parts of the findings.

    Args:
        destination: where the file goes.
        setting: grid, area, classes and provenance.
        bands: of each part, by its name, what the file says of it.
        colours: of the values of the only band, where they stand for some.
    """

    def __init__(
        self,
        destination: Destination,
        setting: Setting,
        bands: Mapping[str, Band],
        colours: Mapping[int, Colour] | None = None,
    ) -> None:
        self._names: Sequence[str] = list(bands)
        self._writer = CogWriter(
            destination,
            setting.area,
            setting.grid.crs,
            setting.grid.transform_of(setting.area),
            bands=list(bands.values()),
            tags=setting.tags,
            colours=colours,
        )

    def open(self) -> None:
        """Begin the file under a temporary name."""
        self._writer.open()

    def write(self, finding: Finding) -> None:
        """Write a finding's parts."""
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
