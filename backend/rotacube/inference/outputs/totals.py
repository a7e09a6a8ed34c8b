"""How much of the map each class covers, counted in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rotacube.inference.findings import Finding
from rotacube.inference.outputs.base import Setting
from rotacube.models.card import CardClass


@dataclass(frozen=True)
class ClassTotal:
    """Pixels and square metres on the ellipsoid of a class."""

    info: CardClass
    pixels: int
    area_m2: float


class Totals:
    """Counts the pixels of every class, and their area on the ellipsoid.

    Attributes:
        nodata: pixels without data.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self._pixels = np.zeros(len(self.setting.card.classes), np.int64)
        self._area = np.zeros(len(self.setting.card.classes))
        self.nodata = 0

    def open(self) -> None:
        """Nothing is needed."""

    def write(self, finding: Finding) -> None:
        """Count a finding."""
        labels = finding.labels
        counts = np.array([np.count_nonzero(labels == n) for n in range(len(self._pixels))])
        self.nodata += labels.size - int(counts.sum())
        self._pixels += counts
        self._area += counts * self.setting.grid.pixel_area(finding.box)

    def finish(self) -> None:
        """Nothing is left to do."""

    def place(self) -> None:
        """It has no place but here."""

    def drop(self) -> None:
        """Nothing is kept elsewhere."""

    @property
    def empty(self) -> bool:
        """Whether no pixel had data."""
        return not self._pixels.any()

    @property
    def classes(self) -> list[ClassTotal]:
        """What each class covers."""
        found = zip(self.setting.card.classes, self._pixels, self._area, strict=True)
        return [ClassTotal(c, int(pixels), float(area)) for c, pixels, area in found]
