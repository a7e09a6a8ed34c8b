"""The mask: a class id a pixel, as a Cloud Optimized GeoTIFF with the classes' colours and names."""

from __future__ import annotations

from rotacube.inference.findings import Finding
from rotacube.inference.outputs.base import Setting
from rotacube.raster.destination import Destination
from rotacube.raster.write import NODATA, Band, CogWriter


class Mask:
    """Writes the mask.

    Args:
        destination: where the file goes.
        setting: grid, area, classes and provenance.
        form: "cog".
    """

    def __init__(self, destination: Destination, setting: Setting, form: str = "cog") -> None:
        classes = setting.card.classes
        names = ", ".join(f"{c.id} {c.name}" for c in classes)
        self._writer = CogWriter(
            destination,
            setting.area,
            setting.grid.crs,
            setting.grid.transform_of(setting.area),
            bands=[Band(names, {f"CLASS_{c.id}": c.name for c in classes})],
            tags=setting.tags,
            colours={c.id: (*c.rgb, 255) for c in classes},
        )

    def open(self) -> None:
        """Begin the file under a temporary name."""
        self._writer.open()

    def write(self, finding: Finding) -> None:
        """Write a finding's class ids."""
        if (finding.labels != NODATA).any():
            self._writer.write(finding.box, finding.labels[None])

    def finish(self) -> None:
        """Make the Cloud Optimized GeoTIFF."""
        self._writer.finish()

    def place(self) -> None:
        """Move it into place."""
        self._writer.place()

    def drop(self) -> None:
        """Leave nothing but the finished file."""
        self._writer.drop()
