"""Layers of polygons written to files, part by part."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray

GROWING = ("GPKG",)
"""Formats that features can be added to; of others all features are held until the end."""
Fields = Mapping[str, NDArray[Any]]


class LayerWriter:
    """Writes one layer.

    Args:
        path: of the new file.
        driver: GDAL's name of the format.
        name: of the layer.
        crs: WKT.
        tags: of the layer, where the format has such.
        kind: "Polygon", or "MultiPolygon": all shapes are such.
    """

    def __init__(
        self, path: Path, driver: str, name: str, crs: str, tags: Mapping[str, str], kind: str = "Polygon"
    ) -> None:
        self.kind = kind
        self.path, self.driver, self.name, self.crs, self.tags = path, driver, name, crs, dict(tags)
        self._held: list[tuple[NDArray[Any], Fields]] = []
        self._begun = False

    def add(self, shapes: NDArray[np.object_], fields: Fields) -> None:
        """Add polygons, (N,), with their fields, (N,) each and of the same types every time.

        Raises:
            OSError, RuntimeError, ValueError: the file cannot be written.
        """
        if self.driver not in GROWING:
            self._held.append((shapes, fields))
        elif len(shapes) or not self._begun:
            self._write(shapes, fields)

    def finish(self) -> None:
        """Write what is held; `add` was called once at least.

        Raises:
            OSError, RuntimeError, ValueError: the file cannot be written.
        """
        if self._held:
            names = self._held[0][1]
            fields = {name: np.concatenate([held[name] for _, held in self._held]) for name in names}
            self._write(np.concatenate([shapes for shapes, _ in self._held]), fields)
            self._held = []

    def drop(self) -> None:
        """Let go of what is held; no file is open."""
        self._held = []

    def _write(self, shapes: NDArray[np.object_], fields: Fields) -> None:
        pyogrio.raw.write(
            str(self.path),
            shapely.to_wkb(shapes),
            list(fields.values()),
            list(fields),
            layer=self.name,
            driver=self.driver,
            geometry_type=self.kind,
            crs=self.crs,
            append=self._begun,
            layer_metadata=None if self._begun else self.tags,
        )
        self._begun = True


def field_names(classes: Sequence[str], longest: int, begin: str = "share_") -> list[str]:
    """A field's name for a number of each class: its letters and digits, cut, and numbered where two are alike.

    >>> field_names(["weed", "wild oat", "wild oats"], 10)
    ['share_weed', 'share_wild', 'share_wi_2']
    """
    names: list[str] = []
    for name in classes:
        plain = begin + (re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "class")
        fit, number = plain[:longest].rstrip("_"), 1
        while fit in names:
            number += 1
            end = f"_{number}"
            fit = plain[: longest - len(end)].rstrip("_") + end
        names.append(fit)
    return names
