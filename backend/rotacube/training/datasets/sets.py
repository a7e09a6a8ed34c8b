"""All labelled sets that may lie in the data folder, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rotacube.errors import OptionsRefused
from rotacube.training.datasets.areas import Area, Faults, split_named
from rotacube.training.datasets.coloured import COLOURED
from rotacube.training.datasets.plants import PLANTS
from rotacube.training.datasets.rooftops import ROOFTOPS

SETS = ROOFTOPS | PLANTS | COLOURED


def read_set(root: Path, name: str, split: str, faults: Faults | None = None, *, classes: Sequence[str]) -> list[Area]:
    """The areas of a set's split, labelled by the numbers of a model's classes.

    Args:
        root: the data folder.
        name: a key of `SETS`.
        split: train, validation or test, by place.
        faults: where damaged tiles are counted; without it they are refused.
        classes: a model's, by their names.

    Raises:
        OptionsRefused: there is no such set, or it has a class that the model does not know.
        DatasetDamaged: the set's folder is missing or not whole.
    """
    if name not in SETS:
        raise OptionsRefused(f"There is no set '{name}'. There are: {', '.join(SETS)}.")
    known = SETS[name]
    missing = [part for part in known.classes if part not in classes]
    if missing:
        raise OptionsRefused(f"The set '{name}' has the class '{missing[0]}'; the model has {', '.join(classes)}.")
    numbers = np.array([classes.index(part) for part in known.classes], np.uint8)
    areas = known.read(root / known.folder, split_named(split), faults or Faults())
    if (numbers == np.arange(len(numbers))).all():
        return areas
    return [replace(area, labels=numbers[area.labels]) for area in areas]


def sets_at(root: Path, classes: Sequence[str]) -> list[str]:
    """The sets whose folders are there, and whose classes a model with these has."""
    return [
        name
        for name, known in SETS.items()
        if set(known.classes) <= set(classes) and (root / known.folder / name).is_dir()
    ]
