"""Labelled tiles for other tools: images and masks as PNG, and single objects as COCO's JSON.

Format: https://cocodataset.org/#format-data. Outlines run along pixel edges; an object with holes is written as
uncompressed run lengths, column by column, since COCO's polygons have none.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.features import shapes
from skimage.measure import label, regionprops

from rotacube.errors import DatasetDamaged
from rotacube.files import new_folder
from rotacube.training.datasets.areas import Area, write_picture

UNKNOWN = 255
COCO = "annotations.json"


def write_coco(
    areas: Iterable[Area],
    classes: Sequence[str],
    output: Path,
    *,
    side: int = 512,
    on_tile: Callable[[int], None] = lambda done: None,
) -> tuple[int, int]:
    """Write `images/`, `masks/` (numbers of classes, 255 where nobody knows) and `annotations.json`.

    Args:
        areas: are cut into tiles.
        classes: their names, by their numbers.
        output: a folder that is not there yet.
        side: pixels of a tile at most.
        on_tile: is told how many tiles are written.

    Returns:
        How many tiles, and how many objects.

    Raises:
        OutputUnwritable: the folder is there, or cannot be written.
        DatasetDamaged: no tile holds anything that is known.
    """
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    with new_folder(output, "images", "masks") as new:
        for tile in _tiles(areas, side):
            number = len(images) + 1
            height, width = tile.valid.shape
            name = f"{tile.name}_{number:05d}.png"
            write_picture(new / "images" / name, np.where(tile.seen, tile.image, 0).astype(np.uint8))
            write_picture(new / "masks" / name, np.where(tile.valid, tile.labels, UNKNOWN).astype(np.uint8)[None])
            images.append({"id": number, "file_name": name, "width": width, "height": height, "gsd": tile.gsd})
            for made in _objects(tile):
                objects.append({"id": len(objects) + 1, "image_id": number, **made})
            on_tile(number)
        if not images:
            raise DatasetDamaged("There is no tile of which anything is known: nothing was written.")
        categories = [{"id": number, "name": name} for number, name in enumerate(classes) if number]
        content = {"images": images, "annotations": objects, "categories": categories}
        (new / COCO).write_text(json.dumps(content), encoding="utf-8")
    return len(images), len(objects)


def _tiles(areas: Iterable[Area], side: int) -> Iterator[Area]:
    for area in areas:
        height, width = area.valid.shape
        for top in range(0, height, side):
            for left in range(0, width, side):
                cut = np.s_[top : top + side, left : left + side]
                if area.valid[cut].any():
                    planes = area.planes(operator.itemgetter(cut))
                    yield replace(area, image=area.image[(slice(None), *cut)], **planes)


def _objects(tile: Area) -> Iterator[dict[str, Any]]:
    """Single roofs where they are known, else the connected pieces of a class; what nobody knows is left out."""
    known = np.where(tile.valid, tile.labels, 0)
    for number in sorted(set(np.unique(known).tolist()) - {0}):
        here = known == number
        single = here & (tile.ids > 0)
        pieces: NDArray[np.int32] = label(here & ~single, connectivity=1).astype(np.int32)
        for ids in (np.where(single, tile.ids, 0), pieces):
            for part in regionprops(ids):
                yield {"category_id": number, "iscrowd": 0, **_outline(part, tile.valid.shape)}


def _outline(part: Any, size: tuple[int, ...]) -> dict[str, Any]:
    top, left, bottom, right = (int(value) for value in part.bbox)
    found = {"area": int(part.area), "bbox": [left, top, right - left, bottom - top]}
    rings = [shape["coordinates"] for shape, inside in shapes(part.image.astype(np.uint8)) if inside]
    if all(len(each) == 1 for each in rings):
        flat = [[float(v) for x, y in each[0][:-1] for v in (x + left, y + top)] for each in rings]
        return {**found, "segmentation": flat}
    mask = np.zeros(size, np.uint8)
    mask[part.slice] = part.image
    line = mask.ravel(order="F")
    changes = np.flatnonzero(np.diff(line)) + 1
    counts = np.diff(np.concatenate([[0], changes, [len(line)]])).tolist()
    return {**found, "segmentation": {"size": list(size), "counts": [0, *counts] if line[0] else counts}}
