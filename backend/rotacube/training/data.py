"""What a recipe's sets come to: areas with the weight by which each is drawn, and the loader of their crops."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from torch.utils.data import DataLoader

from rotacube.errors import DatasetDamaged
from rotacube.training.datasets.areas import Area, Faults, Split
from rotacube.training.datasets.crops import Crops, Item, RoofCrops
from rotacube.training.datasets.folder import split_areas
from rotacube.training.datasets.rooftops import drawn_areas, unlabelled_areas
from rotacube.training.datasets.sets import read_set
from rotacube.training.recipe import Recipe

log = logging.getLogger(__name__)
DRAWN_SIDE = 512


def labelled_areas(root: Path, recipe: Recipe, split: Split, faults: Faults) -> Iterator[tuple[float, list[Area]]]:
    """The areas of a split, set by set and then of the folder, each with its share of the crops.

    Raises:
        DatasetDamaged: a set is not whole, and `faults` does not skip what is damaged.
    """
    for name, share in recipe.data.sets.items():
        yield share, read_set(root, name, split, faults, classes=list(recipe.classes))
    if recipe.data.folder:
        yield 1.0, split_areas(Path(recipe.data.folder), split, faults)


def training_areas(root: Path, recipe: Recipe) -> tuple[list[tuple[Area, float]], str]:
    """The recipe's areas with their weights: a set's share is spread over its areas by their size.

    Returns:
        The areas, and a sentence on damaged tiles that were left out (empty: none were).

    Raises:
        DatasetDamaged: a set is not whole, and the recipe does not skip what is damaged.
    """
    faults = Faults(skip=recipe.data.skip_damaged)
    areas: list[tuple[Area, float]] = []
    for share, found in labelled_areas(root, recipe, "train", faults):
        sizes = np.array([area.valid.sum() * area.gsd**2 for area in found])
        areas += [(area, share * size / sizes.sum()) for area, size in zip(found, sizes, strict=True)]
    if recipe.data.unlabelled_share:
        seen = [area for name in recipe.data.sets for area in unlabelled_areas(root, name, faults)]
        if not seen:
            raise DatasetDamaged("The recipe's sets have no unlabelled imagery: set data.unlabelled_share to 0.")
        areas += [(area, recipe.data.unlabelled_share / len(seen)) for area in seen]
    if recipe.data.drawn:
        drawn = drawn_areas(recipe.data.drawn, DRAWN_SIDE, recipe.gsd, seed=1000, mix=recipe.data.drawn_mix)
        areas += [(area, recipe.data.drawn_share / recipe.data.drawn) for area in drawn]
    if not areas:
        raise DatasetDamaged(f"The recipe's sets hold nothing that can teach. {faults.sentence()}")
    return areas, faults.sentence()


class CropData(lightning.LightningDataModule):
    """The crops of a recipe.

    Args:
        root: the data folder.
        recipe: names the sets.
        first: the step from which on crops are wanted.
        ids: whether crops have the numbers of their roofs.
    """

    def __init__(self, root: Path, recipe: Recipe, first: int = 0, *, ids: bool = False) -> None:
        super().__init__()
        self.root, self.recipe, self.first, self.ids, self.note = root, recipe, first, ids, ""

    def train_dataloader(self) -> DataLoader[Item]:
        """A crop a number: the same whoever draws it, so that a resumed run sees what it would have seen."""
        data, recipe = self.recipe.data, self.recipe
        areas, self.note = training_areas(self.root, recipe)
        if self.note:
            log.warning("%s", self.note)
        length, first = recipe.schedule.steps * data.batch, self.first * data.batch
        more: dict[str, Any] = {
            "seed": recipe.seed,
            "first": first,
            "centred": data.centred,
            "scales": data.scales,
            "light": data.light,
        }
        kind = Crops
        if recipe.task == "rooftops":
            kind, more["ids"], more["recoloured"] = RoofCrops, self.ids, data.recoloured
            more["direction"] = "direction" in recipe.options.get("further", ())
        crops = kind(areas, length, data.crop, recipe.gsd, recipe.normalisation, **more)
        many = {"prefetch_factor": 4, "persistent_workers": True} if data.workers else {}
        return DataLoader(crops, data.batch, num_workers=data.workers, **many)  # type: ignore[arg-type]
