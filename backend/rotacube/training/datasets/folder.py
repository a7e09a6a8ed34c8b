"""Anybody's labelled tiles: a folder with `images/` and `masks/` of equal names, and what else is known of them."""

from __future__ import annotations

import json
from collections.abc import Container, Iterator
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import rasterio
from affine import Affine

from rotacube.errors import DatasetDamaged, OptionsRefused
from rotacube.raster.ground import Ground
from rotacube.training.datasets.areas import Area, Faults, Split, TileFiles, listed, picture, pictures, read_tile
from rotacube.training.datasets.outlines import outlined

DESCRIPTION = "dataset.json"


def read_description(folder: Path) -> dict[str, Any]:
    """What `rotacube dataset from-labels` says of the folder that it wrote: classes with their colours, and more.

    Raises:
        DatasetDamaged: it says nothing.
    """
    path = folder / DESCRIPTION
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content["classes"], dict) or not all(isinstance(c, str) for c in content["classes"].values()):
            raise ValueError("no classes")
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DatasetDamaged(f"'{path}' is missing or damaged: write the folder with 'dataset from-labels'.") from error
    return dict(content)


def split_areas(folder: Path, split: Split, faults: Faults) -> list[Area]:
    """The tiles of a split of a folder that `rotacube dataset from-labels` wrote; what it holds out is both
    validation and test.

    Raises:
        DatasetDamaged: the folder is not whole.
    """
    content = read_description(folder)
    names = set(listed(folder, "train" if split == "train" else "validation"))
    return list(folder_areas(folder, float(content["gsd"]), faults, len(content["classes"]), only=names))


def folder_areas(
    folder: Path, gsd: float | None, faults: Faults, classes: int = 0, *, only: Container[str] | None = None
) -> Iterator[Area]:
    """The tiles of a folder, one after the other.

    `images/` has 8-bit RGB images, `masks/` masks of the same names, 0 and 255 or 1, or numbers of classes and 255
    where nobody knows. Where they are there,
    `instances/` has a number a roof, `valid/` 0 where nothing is known, and a `.geojson` (CRS84, or its own `crs`)
    outlines of roofs, which are used for images with a georeference.

    Args:
        folder: named after its place.
        gsd: metres a pixel; that of each image's georeference if None.
        faults: damaged tiles.
        classes: how many there are; 0: masks are of roofs.
        only: names of tiles; all if None.

    Raises:
        DatasetDamaged: a folder is missing or empty, or a tile is damaged and not to be skipped.
        OptionsRefused: an image has no georeference, and no `gsd` is given.
    """
    images, masks = pictures(folder / "images"), pictures(folder / "masks")
    more = {name: pictures(folder / name) for name in ("instances", "valid") if (folder / name).is_dir()}
    outlines = sorted(folder.glob("*.geojson")) if "instances" not in more else []
    for name, path in images.items():
        if only is not None and name not in only:
            continue
        beside = {kind: picture(found, folder / kind, name) for kind, found in more.items()}
        files = TileFiles(path, picture(masks, folder / "masks", name), **beside)
        try:
            size, place = (gsd, None) if gsd and not outlines else _georeference(path, gsd)
            area = read_tile(folder.name, files, size, classes)
            if outlines and place:
                area = replace(area, ids=outlined(outlines[0], place[0], place[1], area.roof))
        except DatasetDamaged as error:
            faults.add(error)
        else:
            yield area


def _georeference(path: Path, gsd: float | None) -> tuple[float, tuple[Affine, Any] | None]:
    """Metres a pixel, and where the image lies."""
    try:
        with rasterio.open(path) as source:
            transform, crs = source.transform, source.crs
            middle = source.width / 2, source.height / 2
    except rasterio.errors.RasterioError as error:
        raise DatasetDamaged(f"The image '{path}' cannot be read: it is truncated or no image.") from error
    if crs is None:
        if gsd is None:
            raise OptionsRefused(f"'{path.name}' has no georeference: say how large a pixel is, with --gsd METRES.")
        return gsd, None
    if gsd is None:
        across, down = Ground(crs.to_wkt(), transform).pixel_size(*middle)
        gsd = sqrt(across * down)
    return gsd, (transform, crs)
