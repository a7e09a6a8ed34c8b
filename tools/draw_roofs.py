#!/usr/bin/env python3
"""Draws regularised roofs over the imagery of a town's test part: `python tools/draw_roofs.py TOWN OUT.jpg X Y SIDE`.

The town is mapped as any raster is. X, Y and SIDE are pixels of the map; yellow outlines are regularised, red ones were
left as found.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
import shapely
from PIL import Image, ImageDraw

from rotacube.inference.run import MapRequest, Product, run_map
from rotacube.models.store import load_model
from rotacube.training.datasets.areas import known_root
from rotacube.training.datasets.sets import read_set

MODEL = "rooftop-lite"
TIMES = 2
"""Pixels of the picture in one of the map."""
COLOURS = {"regularised": (255, 230, 0), "as found": (255, 60, 60)}


def main(town: str, out: str, x: str, y: str, side: str) -> None:
    """Map the town, and draw a part of it."""
    area = max(read_set(known_root(), town, "test", classes=["background", "roof"]), key=lambda area: area.valid.size)
    model = load_model(MODEL)
    with tempfile.TemporaryDirectory() as folder:
        raster, mask, layer = (Path(folder, name) for name in ("town.tif", "mask.tif", "roofs.gpkg"))
        place = rasterio.Affine(area.gsd, 0, 450000, 0, -area.gsd, 40000)
        shape = dict(zip(("count", "height", "width"), area.image.shape, strict=True))
        with rasterio.open(raster, "w", "GTiff", dtype="uint8", crs="EPSG:32636", transform=place, **shape) as file:
            file.write(area.image)
            file.write_mask(area.valid)
        products = (Product("mask", mask), Product("polygons", layer, "gpkg"))
        run_map(MapRequest(str(raster), MODEL, products), model)
        _, _, found, (outline,) = pyogrio.raw.read(layer, columns=["outline"])
        with rasterio.open(mask) as file:
            to_pixels = ~file.transform
            corner, size = file.transform * (int(x), int(y)), int(side) * model.card.gsd
        with rasterio.open(raster) as file:
            window = file.window(corner[0], corner[1] - size, corner[0] + size, corner[1])
            pixels = file.read(window=window, boundless=True, fill_value=255)
    whole = int(side) * TIMES
    picture = Image.fromarray(np.moveaxis(pixels, 0, 2)).resize((whole, whole), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    for shape, kind in zip(shapely.from_wkb(found), outline, strict=True):
        for ring in shapely.get_rings(shape):
            corners = [to_pixels * tuple(at) for at in shapely.get_coordinates(ring)]
            at = [((u - int(x)) * TIMES, (v - int(y)) * TIMES) for u, v in corners]
            pen.line(at, fill=COLOURS[kind], width=3, joint="curve")
    picture.save(out, quality=85)


if __name__ == "__main__":
    main(*sys.argv[1:])
