"""What a training step is: a network, its losses, perhaps a teacher, and how fast its weights change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from rotacube.errors import TrainingFailed
from rotacube.networks.dense import DenseNetwork
from rotacube.networks.lite_unet import LiteUNet
from rotacube.training.losses import class_loss, feature_loss, imitation_loss, separation_losses
from rotacube.training.recipe import Losses, Schedule

Batch = Mapping[str, Tensor]


class DenseTask(lightning.LightningModule):
    """Trains a network on the crops of `Crops`.

    Args:
        network: gives logits, and outputs beside them.
        losses: their weights.
        schedule: steps, rates and decay.
        teacher: is imitated on all that is seen, labelled or not; it is not trained.
        folder: where a batch with which training failed is put.
    """

    def __init__(
        self,
        network: DenseNetwork,
        losses: Losses,
        schedule: Schedule,
        *,
        teacher: DenseNetwork | None = None,
        folder: Path | None = None,
    ) -> None:
        super().__init__()
        self.network, self.losses, self.schedule, self.folder = network, losses, schedule, folder
        self.taught = [] if teacher is None else [teacher.eval().requires_grad_(False)]  # hidden: it is not saved
        self.project: nn.Module | None = None
        if self.taught and losses.features > 0:
            with torch.no_grad():
                ours, theirs = (_deep(part, torch.zeros(1, 3, 64, 64)).shape[1] for part in (network, self.taught[0]))
            self.project = nn.Conv2d(ours, theirs, 1)

    def on_train_batch_start(self, batch: Batch, index: int) -> None:
        """What is left out at random depends on the step alone: a resumed run goes on as it would have."""
        torch.manual_seed(self.global_step)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Loss of a batch.

        Raises:
            TrainingFailed: it is no number; the batch is kept.
        """
        image = batch["image"].to(memory_format=torch.channels_last)
        deep: list[Tensor] = []
        hook = (
            None
            if self.project is None
            else _deepest(self.network).register_forward_hook(lambda module, given, made: deep.append(made))
        )
        found = self.network(image)
        if hook is not None:
            hook.remove()
        maps = _by_name(found)
        parts = {"classes": class_loss(maps["logits"], batch["labels"], batch["valid"], self.losses.weights)}
        if len(maps) > 1:
            parts |= separation_losses(maps, batch)
        where = batch["seen"] if self.losses.taught == "seen" else batch["seen"] * (1 - batch["valid"])
        if self.taught and where.any():
            with torch.no_grad():
                taught_deep: list[Tensor] = []
                with _deepest(self.taught[0]).register_forward_hook(lambda m, g, made: taught_deep.append(made)):
                    taught = self.taught[0](image)
            parts["imitation"] = imitation_loss(maps, _by_name(taught), where)
            if self.project is not None:
                parts["features"] = feature_loss(self.project(deep[0]).float(), taught_deep[0].float())
        total = torch.stack([getattr(self.losses, name) * part for name, part in parts.items()]).sum()
        if not torch.isfinite(total):
            raise self._failure(batch)
        self.log_dict({f"loss/{name}": part.detach() for name, part in parts.items()})
        self.log("loss", total.detach(), prog_bar=True)
        return total

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW, no decay for biases and norms, a pretrained encoder slower; warm-up, then a cosine to nothing."""
        slow = {id(p) for name, p in self.network.named_parameters() if name.startswith(("stem", "blocks"))}
        groups, rates = [], []
        for encoder in (True, False):
            for decayed in (True, False):
                chosen = [p for p in self.parameters() if (id(p) in slow) == encoder and (p.ndim > 1) == decayed]
                if chosen:
                    rate = self.schedule.rate * (self.schedule.encoder if encoder else 1)
                    groups.append({"params": chosen, "weight_decay": self.schedule.decay if decayed else 0.0})
                    rates.append(rate)
        optimiser = torch.optim.AdamW(groups)
        return schedule_of(optimiser, self.schedule, rates)

    def _failure(self, batch: Batch) -> TrainingFailed:
        kept = ""
        if self.folder is not None:
            path = self.folder / "failed-batch.pt"
            torch.save({name: part.cpu() for name, part in batch.items()}, path)
            kept = f" Its batch is kept in '{path}'."
        return TrainingFailed(
            f"The loss is no number at step {self.global_step}.{kept} Lower the rate (--set schedule.rate=...), or "
            "look for damaged images."
        )


def _by_name(found: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
    """A network's outputs in float32, by name; one that has logits alone gives them as they are."""
    return {name: part.float() for name, part in (found if isinstance(found, dict) else {"logits": found}).items()}


def schedule_of(
    optimiser: torch.optim.Optimizer, schedule: Schedule, rates: Sequence[float] = ()
) -> OptimizerLRScheduler:
    """Warm-up, then a cosine to nothing, step by step; of each group's own highest rate where there are several."""
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        list(rates) or schedule.rate,
        total_steps=schedule.steps,
        pct_start=schedule.warm_up,
        cycle_momentum=False,
    )
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}


def plain_optimiser(network: nn.Module, schedule: Schedule) -> OptimizerLRScheduler:
    """AdamW for all weights alike; warm-up, then a cosine to nothing."""
    return schedule_of(torch.optim.AdamW(network.parameters(), weight_decay=schedule.decay), schedule)


def _deepest(network: DenseNetwork) -> nn.Module:
    """The module that gives a network's coarsest maps."""
    blocks = network.blocks if isinstance(network, LiteUNet) else network.stages
    last = blocks[-1]  # type: ignore[index]
    if not isinstance(last, nn.Module):
        raise TypeError(f"{type(network).__name__} has no stages whose features could be compared.")
    return last


def _deep(network: DenseNetwork, image: Tensor) -> Tensor:
    found: list[Tensor] = []
    with _deepest(network).register_forward_hook(lambda module, given, made: found.append(made)):
        network(image)
    return found[0]
