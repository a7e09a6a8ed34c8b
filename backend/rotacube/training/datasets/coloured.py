"""Published drone imagery whose masks are pictures: each class has a colour. Read as the archives unpack.

    published/weedmap/           Tiles/RedEdge or RedEdge
        000 ... 004 / tile/RGB/frame0000.png            360 x 480 pixels of about 1 cm, sugar beet
                      mask/frame0000.png                255 where the mosaic has nothing
                      groundtruth/000_frame0000_GroundTruth_color.png    black, green (crop), red (weed)
    published/semantic_drone/    semantic_drone_dataset/training_set or training_set
        images/000.jpg                                  400 of 6000 x 4000 pixels, houses and gardens
        gt/semantic/label_images/000.png
        gt/semantic/class_dict.csv                      name, r, g, b

How sure that is: both trees and the colours are those that several public loaders read. WeedMap (Sa et al. 2018, Remote
Sensing 10(9), 1423, doi 10.3390/rs10091423) was parted by field there, with field 003 for the test; that 004 is
validation is ours. Its Sequoia tiles have no red, green and blue. The Semantic Drone Dataset (Graz University of
Technology, https://dronedataset.icg.tugraz.at) was published with one part labelled: that its images are parted in the
order of their numbers is ours. Taken from 5 to 30 m, its pixels differ; it is read at a sixth of its size.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rotacube.errors import DatasetDamaged
from rotacube.training.datasets.areas import (
    Area,
    Faults,
    LabelledSet,
    Split,
    by_fifths,
    check_size,
    picture,
    pictures,
    read_image,
    read_layer,
    read_picture,
    resize,
)

Colour = tuple[int, int, int]
UNKNOWN = 255
WEEDMAP_GSD, DRONE_GSD = 0.01, 0.02
"""Metres a pixel: of the second, as it is read, a guess."""
FIELDS: dict[Split, tuple[str, ...]] = {"train": ("000", "001", "002"), "validation": ("004",), "test": ("003",)}
_PLANTS: dict[Colour, int] = {(0, 0, 0): 0, (0, 255, 0): 1, (255, 0, 0): 2}
SMALLER = 6
"""By how much an image of the Semantic Drone Dataset is reduced: whole, all would take 80 GB of memory."""
_NOBODY_KNOWS = ("unlabeled", "conflicting")
DRONE_CLASSES = (
    *("paved-area", "dirt", "grass", "gravel", "water", "rocks", "pool", "vegetation", "roof", "wall", "window"),
    *("door", "fence", "fence-pole", "person", "dog", "car", "bicycle", "tree", "bald-tree", "ar-marker", "obstacle"),
)
_FRAME = re.compile(r"(\d{3})_(.+)_GroundTruth_color$")


def weedmap(root: Path, split: Split, faults: Faults) -> list[Area]:
    """Tiles of WeedMap's RedEdge mosaics: background, crop, weed; by field."""
    base = _base(root / "weedmap", "Tiles/RedEdge", "RedEdge")
    found = []
    for field in FIELDS[split]:
        images = pictures(base / field / "tile" / "RGB")
        masks = {match[2]: path for name, path in pictures(base / field / "groundtruth").items()
                 if (match := _FRAME.match(name)) and match[1] == field}  # fmt: skip
        if not masks:
            raise DatasetDamaged(f"No mask in '{base / field / 'groundtruth'}' is named {field}_*_GroundTruth_color.")
        for name, mask in masks.items():
            image = picture(images, base / field / "tile" / "RGB", name)
            found += _one("weedmap", image, mask, _PLANTS, WEEDMAP_GSD, faults, beyond=base / field / "mask")
    return found


def semantic_drone(root: Path, split: Split, faults: Faults) -> list[Area]:
    """Images of the Semantic Drone Dataset, 22 classes; of their numbers the last fifth is test."""
    base = _base(root / "semantic_drone", "semantic_drone_dataset/training_set", "training_set")
    colours = _colours(base / "gt" / "semantic" / "class_dict.csv")
    masks = base / "gt" / "semantic" / "label_images"
    images, drawn = pictures(base / "images"), pictures(masks)
    names = sorted(images.keys() | drawn.keys())
    found = []
    for name in by_fifths(names, split):
        files = picture(images, base / "images", name), picture(drawn, masks, name)
        found += _one("semantic_drone", *files, colours, DRONE_GSD, faults, smaller=SMALLER)
    return found


def _base(folder: Path, *inside: str) -> Path:
    """The folder that holds the parts: its archive's, or that within."""
    found = next((folder / part for part in inside if (folder / part).is_dir()), None)
    if found is None:
        raise DatasetDamaged(
            f"There is no '{folder / inside[0]}'. Unpack the archive into '{folder}'; "
            "it may be had from those who made the dataset only."
        )
    return found


def _one(
    name: str,
    image: Path,
    mask: Path,
    colours: Mapping[Colour, int],
    gsd: float,
    faults: Faults,
    *,
    beyond: Path | None = None,
    smaller: int = 1,
) -> list[Area]:
    """One tile, or none where it is damaged.

    Args:
        name: of its place.
        image: of three bands, or four with an alpha.
        mask: of three bands, or four.
        colours: the number of each class, `UNKNOWN` where nobody knows.
        gsd: metres a pixel, as it is read.
        faults: where damage is counted.
        beyond: the folder in which a file of the image's name is not 0 where the image has nothing.
        smaller: by how much it is reduced.
    """
    try:
        bands, labels = read_image(image), _labels(mask, colours)
        check_size(mask, labels, bands.shape[1:])
        imagery = bands[3:].min(0, initial=255) > 127
        if beyond is not None:
            imagery &= read_layer(beyond / image.name, labels.shape) == 0
    except DatasetDamaged as error:
        faults.add(error)
        return []
    pixels = bands[:3]
    if smaller > 1:
        high, wide = (n // smaller for n in labels.shape)
        whole = np.s_[: high * smaller, : wide * smaller]
        even = torch.from_numpy(pixels[(slice(None), *whole)]).float()
        pixels = resize(even, (high, wide)).round().clamp(0, 255).byte().numpy()
        middle = np.s_[smaller // 2 : high * smaller : smaller, smaller // 2 : wide * smaller : smaller]
        labels, imagery = labels[middle], imagery[middle]
    valid = imagery & (labels != UNKNOWN)
    labels = np.where(valid, labels, 0).astype(np.uint8)
    return [Area(name, pixels, labels, np.zeros(labels.shape, np.int32), valid, gsd, imagery=imagery)]


def _labels(mask: Path, colours: Mapping[Colour, int]) -> NDArray[np.uint8]:
    """The numbers of the classes out of a picture's colours."""
    bands = read_picture(mask)
    if len(bands) not in (3, 4):
        raise DatasetDamaged(f"The mask '{mask}' has to have three bands, a colour a class.")
    packed = (bands[0].astype(np.int32) << 16) | (bands[1].astype(np.int32) << 8) | bands[2]
    known = np.array(sorted((r << 16) | (g << 8) | b for r, g, b in colours), np.int32)
    place = np.searchsorted(known, packed).clip(max=len(known) - 1)
    strange = known[place] != packed
    if strange.any():
        row, column = np.argwhere(strange)[0]
        r, g, b = bands[:3, row, column].tolist()
        raise DatasetDamaged(f"The mask '{mask}' has the colour {r}, {g}, {b}, which is that of no class.")
    numbers = np.array([colours[n >> 16, n >> 8 & 255, n & 255] for n in known.tolist()], np.uint8)
    found: NDArray[np.uint8] = numbers[place]
    return found


def _colours(path: Path) -> dict[Colour, int]:
    """The colours of a table with columns name, r, g, b; spaces about them do not count."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row]
        table = {name: (int(r), int(g), int(b)) for name, r, g, b in rows[1:]}
    except (OSError, ValueError, IndexError) as error:
        raise DatasetDamaged(f"'{path}' is missing, or no table of name, r, g, b.") from error
    strange = sorted(table.keys() - {*DRONE_CLASSES, *_NOBODY_KNOWS})
    if strange:
        raise DatasetDamaged(f"'{path}' names the class '{strange[0]}', which is not known of this dataset.")
    return {rgb: UNKNOWN if name in _NOBODY_KNOWS else DRONE_CLASSES.index(name) for name, rgb in table.items()}


COLOURED = {
    "weedmap": LabelledSet("published", weedmap, ("background", "crop", "weed"), False),
    "semantic_drone": LabelledSet("published", semantic_drone, DRONE_CLASSES, False),
}
