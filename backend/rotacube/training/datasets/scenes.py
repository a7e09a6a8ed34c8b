"""Scenes: whole images, each of one class, in a folder a class; five folds as the fusion paper has them.

rsscn7      scenes/rsscn7_128/field | forest ... / *.jpg       7 classes of 400, in the project's data folder
uc-merced   UCMerced_LandUse/Images/agricultural ... / *.tif   21 classes of 100, as the archive unpacks
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from rotacube.errors import DatasetDamaged, OptionsRefused
from rotacube.models.card import Normalisation
from rotacube.training.datasets.areas import pictures, read_picture, resize
from rotacube.training.datasets.colours import vary_colours

FOLDS = 5


class SceneSet(NamedTuple):
    """A set of scenes: the folder with its classes, how many there are, how many images each has, pixels a side."""

    folder: str
    classes: int
    each: int
    size: int


SCENES = {
    "rsscn7": SceneSet("scenes/rsscn7_128", 7, 400, 128),
    "uc-merced": SceneSet("UCMerced_LandUse/Images", 21, 100, 256),
}


@dataclass(frozen=True)
class Scenes:
    """Images (N, 3, S, S) uint8, the number of the class of each (N,), and the names of the classes."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def fold(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Indices of training and test of a fold, from 0: of each class every fifth image is test."""
        order = np.zeros(len(self.labels), np.int64)
        for label in range(len(self.classes)):
            own = self.labels == label
            order[own] = np.arange(own.sum())
        test = order % FOLDS == number
        return np.flatnonzero(~test), np.flatnonzero(test)


def read_scenes(root: Path, name: str) -> Scenes:
    """Read a set.

    Args:
        root: the data folder, or for a published set the folder that its archive unpacks to.
        name: a key of `SCENES`.

    Raises:
        OptionsRefused: there is no such set.
        DatasetDamaged: classes or images are missing, or one cannot be read; the sentence says which.
    """
    if name not in SCENES:
        raise OptionsRefused(f"There is no set of scenes '{name}'. There are: {', '.join(SCENES)}.")
    known = SCENES[name]
    folder = root / known.folder
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if len(classes) != known.classes:
        raise DatasetDamaged(
            f"'{folder}' has {len(classes)} folders, one a class; '{name}' has {known.classes}. Check that it was "
            "unpacked whole."
        )
    images, labels = [], []
    for number, part in enumerate(classes):
        found = pictures(folder / part)
        if len(found) != known.each:
            raise DatasetDamaged(f"'{folder / part}' has {len(found)} images; each class of '{name}' has {known.each}.")
        for path in found.values():
            bands = read_picture(path)
            if len(bands) < 3 or bands.dtype != np.uint8:
                raise DatasetDamaged(f"The image '{path}' has to have three bands of 8 bits.")
            if bands.shape[1:] != (known.size, known.size):  # a few of UC-Merced lack some rows or columns
                values = resize(torch.from_numpy(bands[:3]).float(), (known.size, known.size))
                bands = values.round().clamp(0, 255).byte().numpy()
            images.append(bands[:3])
            labels.append(number)
    return Scenes(np.stack(images), np.array(labels), tuple(classes))


class SceneCrops(Dataset[Mapping[str, Tensor]]):
    """Scenes in random order, turned by quarters, mirrored and in varied colours: "image" (3, S, S), "label" ().

    Args:
        scenes: all of them.
        chosen: indices of those that teach.
        length: how many are drawn.
        rule: the normalisation.
        seed: of the random choices.
        first: is added to the number of an item: where a run resumes.
    """

    def __init__(
        self,
        scenes: Scenes,
        chosen: NDArray[np.int64],
        length: int,
        rule: Normalisation,
        seed: int = 0,
        first: int = 0,
    ) -> None:
        self.scenes, self.chosen, self.length, self.rule = scenes, chosen, length, rule
        self.seed, self.first = seed, first

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Mapping[str, Tensor]:
        rng = np.random.default_rng((self.seed, index + self.first))
        number = int(rng.choice(self.chosen))
        image = torch.rot90(torch.from_numpy(self.scenes.images[number]).float() / 255, int(rng.integers(4)), (1, 2))
        if rng.random() < 0.5:
            image = image.flip(2)
        values = vary_colours(image, rng).numpy()
        seen = np.ones(values.shape[1:], bool)
        return {
            "image": torch.from_numpy(self.rule.apply(values, seen)),
            "label": torch.tensor(self.scenes.labels[number]),
        }
