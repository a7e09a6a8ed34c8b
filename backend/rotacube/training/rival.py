"""Mask R-CNN on the same crops as our roof models: the natural rival of outputs and a watershed, for a small budget.

`python -m rotacube.training.rival RECIPE FOLDER PAGE [KEY=VALUE ...]` trains it, resumes what was begun, measures
single roofs on the test splits and writes a page with the figures of the model that the recipe has made beside them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from rotacube.files import write_text
from rotacube.models.store import find_model
from rotacube.networks.lite_unet import load_imagenet
from rotacube.networks.mask_rcnn import MaskRCNN
from rotacube.training.data import CropData
from rotacube.training.datasets.areas import Area, known_root
from rotacube.training.datasets.sets import read_set
from rotacube.training.evaluate import at_gsd
from rotacube.training.fit import carry_out
from rotacube.training.metrics import LEAST, Roofs, compare_roofs
from rotacube.training.recipe import Recipe, Schedule, read_recipe
from rotacube.training.task import plain_optimiser

SIDE, OVERLAP = 768, 256
"""Pixels of the windows that it sees, and by how much they overlap: it finds each roof whole in one of them."""


class RivalTask(lightning.LightningModule):
    """Trains Mask R-CNN on the crops of `RoofCrops` with ids; where roofs are not known one by one, nothing is seen."""

    def __init__(self, network: MaskRCNN, schedule: Schedule) -> None:
        super().__init__()
        self.network, self.schedule = network, schedule

    def training_step(self, batch: Mapping[str, Tensor], index: int) -> Tensor:
        """Loss of a batch: the sum of Mask R-CNN's."""
        objects = [objects_of(ids[0] * known[0]) for ids, known in zip(batch["ids"], batch["certain"], strict=True)]
        losses = self.network.losses(batch["image"] * batch["certain"], objects)
        total: Tensor = torch.stack(list(losses.values())).sum()
        self.log_dict({f"loss/{name}": part.detach() for name, part in losses.items()})
        self.log("loss", total.detach(), prog_bar=True)
        return total

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW; warm-up, then a cosine to nothing."""
        return plain_optimiser(self.network, self.schedule)


def objects_of(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes (N, 4) and masks (N, H, W) of the numbers in a plane (H, W); slivers of a crop's edge are none."""
    masks = torch.stack([ids == number for number in sorted(set(ids.flatten().tolist()) - {0})] or [ids < 0])
    masks = masks[masks.sum((1, 2)) >= 16]
    spans = []
    for axis in (1, 2):
        inside = masks.any(axis)
        first, last = inside.float().argmax(1), inside.shape[1] - inside.flip(1).float().argmax(1)
        spans.append((first, last))
    (left, right), (top, bottom) = spans
    return torch.stack([left, top, right, bottom], 1).float(), masks.float()


@torch.inference_mode()
def roofs_of(network: MaskRCNN, area: Area, recipe: Recipe) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    """The roofs of an area (H, W), a number a roof: of overlapping windows each roof is taken where its middle lies in
    the window's part.
    """
    pixels = (area.image / 255).astype(np.float32)
    values = torch.from_numpy(recipe.normalisation.apply(pixels, area.seen))[None]
    height, width = area.valid.shape
    ids = np.zeros((height, width), np.int32)
    step = SIDE - OVERLAP
    for top in range(0, max(1, height - OVERLAP), step):
        for left in range(0, max(1, width - OVERLAP), step):
            part = values[:, :, top : top + SIDE, left : left + SIDE]
            rows, columns = part.shape[2:]
            padded = torch.nn.functional.pad(part, (0, -columns % 32, 0, -rows % 32))
            (found,) = network(padded)
            middle = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
            low = [0 if at == 0 else OVERLAP / 2 for at in (left, top)]
            high = [
                size if at + SIDE >= whole else SIDE - OVERLAP / 2
                for at, size, whole in ((left, columns, width), (top, rows, height))
            ]
            own = ((middle >= torch.tensor(low)) & (middle < torch.tensor(high))).all(1)
            drawn = type(found)(found.boxes[own], found.scores[own], found.masks[own]).ids(rows, columns).numpy()
            window = ids[top : top + SIDE, left : left + SIDE]
            free = (drawn > 0) & (window == 0) & area.valid[top : top + SIDE, left : left + SIDE]
            window[free] = drawn[free] + ids.max()
    return ids


def measured(network: MaskRCNN, areas: Iterable[Area], recipe: Recipe) -> Roofs:
    """Counts of single roofs, as `rotacube eval` counts them."""
    counts = Roofs()
    for area in areas:
        here = at_gsd(area, recipe.gsd)
        found = roofs_of(network, here, recipe)
        sizes = np.bincount(found.ravel())
        found[sizes[found] < LEAST / recipe.gsd**2] = 0
        counts = counts.plus(compare_roofs(here.ids, found, here.certain, here.gsd))
    return counts


def main(name: str, folder: Path, page: Path, *changes: str) -> None:
    """Train, measure, write the page."""
    recipe, root = read_recipe(name, list(changes)), known_root()
    lightning.seed_everything(recipe.seed, verbose=False)
    network = MaskRCNN(3, backbone="lite", width=96, hidden=256)
    load_imagenet(network.lite)
    began = time.monotonic()
    carry_out(
        RivalTask(network, recipe.schedule),
        recipe.schedule,
        folder,
        lambda done: CropData(root, recipe, done, ids=True),
        precision=recipe.precision,
    )
    hours = (time.monotonic() - began) / 3600
    card, _ = find_model(recipe.card["name"])
    lines = [
        "| place | F1 of roofs, Mask R-CNN | merged | split | F1 of roofs, ours | merged | split |",
        "|---" * 7 + "|",
    ]
    for place in recipe.data.sets:
        counts = measured(network.eval(), read_set(root, place, "test", classes=list(recipe.classes)), recipe)
        if counts.truth:
            own = [card.accuracy.get(f"{place} roofs {key}", float("nan")) for key in ("f1", "merged", "split")]
            theirs = [counts.f1, counts.merged / counts.truth, counts.split / counts.truth]
            lines.append(f"| {place} | " + " | ".join(f"{value:.2f}" for value in [*theirs, *own]) + " |")
    parameters = sum(p.numel() for p in network.parameters()) / 1e6
    sizes = f"Mask R-CNN ({parameters:.1f} M parameters) on EfficientNet-Lite0 with ImageNet weights, a pyramid of 96"
    budget = f"{recipe.schedule.steps} steps of {recipe.data.batch} crops as the recipe `{name}` draws them"
    ours = f"`{card.name}` ({card.weights.parameters / 1e6:.1f} M): {card.training_data}"
    text = f"Single roofs of the test splits. {sizes} channels; {budget}, {hours:.1f} hours of this run. {ours}"
    head = ["# Mask R-CNN beside our roof model", "", text, ""]
    write_text(page, "\n".join([*head, *lines]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:])
