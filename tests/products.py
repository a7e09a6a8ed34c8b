"""All products of a run, and what they hold, decoded."""

from __future__ import annotations

import json
from pathlib import Path

NAMES = {"mask": "mask.tif", "probability": "p.tif", "polygons": "r.gpkg", "statistics": "s.json"}


def contents(folder: Path):
    """Pixels of mask and probability, outlines and fields of polygons, statistics."""
    import pyogrio
    import rasterio

    with rasterio.open(folder / "mask.tif") as mask, rasterio.open(folder / "p.tif") as chance:
        pixels = mask.read(), chance.read()
    _, _, shapes, data = pyogrio.raw.read(folder / "r.gpkg")
    return pixels, shapes.tolist(), [field.tolist() for field in data], json.loads((folder / "s.json").read_text())


def same(one, other) -> bool:
    """Whether two folders hold the same."""
    return all((a == b).all() for a, b in zip(one[0], other[0], strict=True)) and one[1:] == other[1:]
