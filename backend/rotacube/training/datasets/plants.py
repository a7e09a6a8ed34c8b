"""The plant sets of the project's data folder: crops and weeds in imagery that a person or a drone took from above.

Nobody says how large their pixels are: those of peanut (leaves of some 3 cm have a hundred) and of potato (rows 0.75 m
apart have three hundred) are ours, from what is seen; hogweed's are a guess. Splits are those of the folder's README.
"""

from __future__ import annotations

import re
from pathlib import Path

from rotacube.errors import DatasetDamaged
from rotacube.training.datasets.areas import (
    Area,
    Faults,
    LabelledSet,
    Split,
    TileFiles,
    by_fifths,
    listed,
    picture,
    pictures,
    read_tiles,
)

PEANUT_GSD, POTATO_GSD, HOGWEED_GSD = 0.001, 0.0025, 0.03
_ROW = re.compile(r"tile_(\d+)_\d+$")


def peanut(root: Path, split: Split, faults: Faults) -> list[Area]:
    """Close-ups of a peanut field: soil, peanut, weed; by the number of the file modulo ten."""
    folder = root / "peanut"
    images = pictures(folder / "images")
    digits = {"train": range(8), "validation": [8], "test": [9]}[split]
    chosen = [name for name in images if name.isdigit() and int(name) % 10 in digits]
    return _tiles(folder, images, chosen, PEANUT_GSD, 3, faults)


def potato(root: Path, split: Split, faults: Faults) -> list[Area]:
    """Tiles of a drone's orthomosaic of a potato field: soil, potato, weed; of its rows the last fifth is test."""
    folder = root / "potato"
    images = pictures(folder / "images")
    rows = {name: int(match[1]) for name in images if (match := _ROW.match(name))}
    if not rows:
        raise DatasetDamaged(f"No image in '{folder / 'images'}' is named tile_ROW_COLUMN.")
    every = sorted(set(rows.values()))
    chosen = by_fifths(every, split)
    return _tiles(folder, images, [name for name, row in rows.items() if row in chosen], POTATO_GSD, 3, faults)


def hogweed(root: Path, split: Split, faults: Faults) -> list[Area]:
    """Drone frames of meadows: Sosnowsky's hogweed and everything else; by place."""
    folder = root / "hogweed"
    return _tiles(folder, pictures(folder / "images"), listed(folder, split), HOGWEED_GSD, 2, faults)


def _tiles(
    folder: Path, images: dict[str, Path], names: list[str], gsd: float, classes: int, faults: Faults
) -> list[Area]:
    files = [
        TileFiles(picture(images, folder / "images", name), folder / "masks" / f"{name}.png") for name in sorted(names)
    ]
    return read_tiles(folder.name, files, gsd, faults, classes)


PLANTS = {
    "peanut": LabelledSet("plants", peanut, ("soil", "peanut", "weed"), True),
    "potato": LabelledSet("plants", potato, ("soil", "potato", "weed"), True),
    "hogweed": LabelledSet("plants", hogweed, ("other", "hogweed"), False),
}
