#!/usr/bin/env python3
"""The guide's pictures, made anew in real QGIS: `screenshots.py RASTER [NAME ...]`; all of them if none is named.

`species.png` and `grid.png` show a field plot from ROTACUBE_DATA, and stay as they are where that is absent.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

sys.path.insert(0, str(Path(__file__).parent))
import qgis_demo

DOCS = qgis_demo.REPO / "docs"
PICTURES = {
    "map": {"before.png": "dock.png", "during.png": "running.png", "after.png": "result.png"},
    "roofs": {"taken.png": "roofs.png"},
    "species": {"after.png": "species.png"},
    "grid": {"grid.png": "grid.png"},
}
"""Of each name, what QGIS's driver leaves, and what that is called in `docs/`."""
PLOT = "plants/potato/plots/01_W2xEX_1x.jpg"
PIXEL, DEGREES = 0.0025, -25.0


def main() -> int:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("raster", type=Path)
    parser.add_argument("names", nargs="*", help=", ".join(PICTURES))
    parser.add_argument("--python", type=Path, default=qgis_demo.REPO / ".venv" / "bin" / "python")
    arguments = parser.parse_args()
    zip_path = str(qgis_demo.build_zip().resolve())
    plot = Path(os.environ.get("ROTACUBE_DATA", "")) / PLOT
    folder = Path(tempfile.gettempdir()) / "rotacube"  # it is seen in the pictures
    shutil.rmtree(folder, ignore_errors=True)
    try:
        for name in arguments.names or PICTURES:
            out = folder / name
            out.mkdir(parents=True)
            raster = draw(folder / "scene.tif") if name == "roofs" else arguments.raster
            plan = {"zip": zip_path, "raster": str(raster.resolve()), "out": str(out), "scenario": name}
            if name in ("species", "grid"):
                if not plot.is_file():
                    print(f"screenshots: {plot} is not there; {name}.png stays as it is", file=sys.stderr)
                    continue
                laid = lay_out(plot, out / "plot.tif", DEGREES if name == "grid" else 0.0)
                plan.update(raster=str(laid), model="plants-potato", scenario="map" if name == "species" else name)
            try:
                qgis_demo.run(plan, arguments.python)
            except qgis_demo.DemoError as error:
                print(f"screenshots: {error}", file=sys.stderr)
                return 2
            for made, picture in PICTURES[name].items():
                shutil.copyfile(out / made, DOCS / picture)
                print(DOCS / picture)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def draw(raster: Path) -> Path:
    """A part of a town, small enough for its roofs to be seen one by one."""
    size = ["--seed", "7", "--height", "900", "--width", "900"]
    command = [sys.executable, "-m", "rotacube.training.drawn.scenes", str(raster), *size]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return raster


def lay_out(picture: Path, raster: Path, degrees: float) -> Path:
    """A picture of a plot, which says nothing of where it lies, as a GeoTIFF that does; turned by so many degrees."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(picture) as source:
            pixels = source.read()
    pixels = np.concatenate([pixels, np.full_like(pixels[:1], 255)])  # opaque: what is beside it is not
    place = Affine.translation(500000, 5700000) * Affine.rotation(degrees) * Affine.scale(PIXEL, -PIXEL)
    bands, height, width = np.shape(pixels)
    profile = {"driver": "GTiff", "width": width, "height": height, "count": bands, "dtype": "uint8"}
    profile.update(crs="EPSG:32632", transform=place, photometric="RGB", alpha="yes")
    with rasterio.open(raster, "w", **profile) as made:
        made.write(pixels)
    return raster


if __name__ == "__main__":
    sys.exit(main())
