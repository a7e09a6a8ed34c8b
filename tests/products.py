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


def fill_disk(monkeypatch, strips: int):
    """The disk is full when a run keeps its next strip after so many; gives what frees it."""
    from rotacube.errors import OutputUnwritable
    from rotacube.inference.store import Store

    add = Store.add

    def full(self, finding):
        if len(self.boxes) == strips:
            raise OutputUnwritable("The disk is full.")
        add(self, finding)

    monkeypatch.setattr(Store, "add", full)
    return lambda: monkeypatch.setattr(Store, "add", add)


def same(one, other) -> bool:
    """Whether two folders hold the same."""
    return all((a == b).all() for a, b in zip(one[0], other[0], strict=True)) and one[1:] == other[1:]
