"""Training of scene classifiers: whole images, one class each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.utils.data import DataLoader

from rotacube.networks.registry import build_network
from rotacube.training.datasets.scenes import SceneCrops, Scenes
from rotacube.training.fit import carry_out
from rotacube.training.recipe import IMAGENET, Schedule
from rotacube.training.task import plain_optimiser

BATCH = 32


class SceneTask(lightning.LightningModule):
    """Trains a network whose logits are of whole images."""

    def __init__(self, network: nn.Module, schedule: Schedule) -> None:
        super().__init__()
        self.network, self.schedule = network, schedule

    def training_step(self, batch: Mapping[str, Tensor], index: int) -> Tensor:
        """Cross-entropy of a batch."""
        logits = self.network(batch["image"].to(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits.float(), batch["label"])
        self.log("loss", loss.detach(), prog_bar=True)
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW; warm-up, then a cosine to nothing."""
        return plain_optimiser(self.network, self.schedule)


class SceneData(lightning.LightningDataModule):
    """The crops of some scenes."""

    def __init__(self, make: Callable[[], SceneCrops]) -> None:
        super().__init__()
        self.make = make

    def train_dataloader(self) -> DataLoader[Mapping[str, Tensor]]:
        """Batches of scenes."""
        return DataLoader(self.make(), BATCH, num_workers=1, persistent_workers=True)


def train_fold(
    name: str,
    options: Mapping[str, Any],
    scenes: Scenes,
    fold: int,
    schedule: Schedule,
    folder: Path,
    precision: str,
) -> dict[str, float]:
    """Train a classifier on a fold and measure it on what the fold holds out.

    Args:
        name: of a network of whole images.
        options: of it.
        scenes: all of them.
        fold: from 0; also the seed.
        schedule: how long, how fast.
        folder: takes checkpoints and losses.
        precision: Lightning's, or "auto".

    Returns:
        "accuracy", and "parameters".
    """
    lightning.seed_everything(fold, verbose=False)
    network = build_network(name, 3, len(scenes.classes), dict(options))
    train, test = scenes.fold(fold)

    def data(done: int) -> SceneData:
        return SceneData(lambda: SceneCrops(scenes, train, schedule.steps * BATCH, IMAGENET, fold, done * BATCH))

    carry_out(SceneTask(network, schedule), schedule, folder, data, precision=precision, progress=False)
    found = labels_of(network.eval(), scenes, test)
    accuracy = float((found == scenes.labels[test]).mean())
    return {"accuracy": accuracy, "parameters": float(sum(p.numel() for p in network.parameters()))}


@torch.inference_mode()
def labels_of(network: nn.Module, scenes: Scenes, chosen: np.ndarray[Any, np.dtype[np.int64]]) -> Any:
    """The classes (N,) that a network finds for some scenes."""
    found = []
    for start in range(0, len(chosen), BATCH):
        images = scenes.images[chosen[start : start + BATCH]]
        seen = np.ones(images.shape[2:], bool)
        values = np.stack([IMAGENET.apply(image.astype(np.float32) / 255, seen) for image in images])
        found.append(network(torch.from_numpy(values)).argmax(1).numpy())
    return np.concatenate(found)
