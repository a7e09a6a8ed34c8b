"""Carries out a recipe: trains, resumes what was begun, and hands back the network with its averaged weights."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, LambdaCallback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rotacube.errors import OptionsRefused
from rotacube.files import in_one_step
from rotacube.inference.device import choose_place
from rotacube.models.store import load_model
from rotacube.networks.convnext import ConvNeXtNetwork
from rotacube.networks.dense import DenseNetwork
from rotacube.networks.lite_unet import LiteUNet, load_imagenet
from rotacube.networks.pretrained import load_timm_encoder
from rotacube.networks.registry import build_network
from rotacube.training.data import CropData
from rotacube.training.recipe import Recipe, Schedule
from rotacube.training.task import DenseTask

LAST, TRAINED = "last.ckpt", "trained.safetensors"
OnStep = Callable[[int, int, float], None]


def fit(
    recipe: Recipe, root: Path, folder: Path, *, progress: bool = True, on_step: OnStep | None = None
) -> DenseNetwork:
    """Train as a recipe says; where the folder holds a checkpoint, from there on.

    Args:
        recipe: what to do.
        root: the data folder.
        folder: takes checkpoints and the log of losses.
        progress: whether a bar is shown.
        on_step: is told after each step how many are done, of how many, and its loss; what it raises ends the training.

    Raises:
        DatasetDamaged: the imagery is not whole.
        TrainingFailed: the loss is no number.
    """
    lightning.seed_everything(recipe.seed, verbose=False)
    network, begun = start(recipe), 0
    trained: list[dict[str, Tensor]] = []
    runs = [recipe, *recipe.further()]
    total = sum(each.schedule.steps for each in runs)

    def told(done: int, _: int, loss: float) -> None:
        if on_step is not None:
            on_step(begun + done, total, loss)

    for number, each in enumerate(runs):
        here = folder / f"soup-{number}" if number else folder
        kept = here / TRAINED
        if kept.is_file():
            network.load_state_dict(load_file(kept))
        else:
            if trained:
                network.load_state_dict(trained[0])
            _train(network, each, root, here, progress=progress, on_step=told if on_step else None)
            if len(runs) > 1:
                with in_one_step(kept) as new:
                    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, new)
        trained.append({name: value.clone() for name, value in network.state_dict().items()})
        begun += each.schedule.steps
    network.load_state_dict(_mean(trained))
    return network.eval()


def _train(
    network: DenseNetwork, recipe: Recipe, root: Path, folder: Path, *, progress: bool, on_step: OnStep | None
) -> None:
    """One run, from the network's weights on."""
    teacher = load_model(recipe.teacher).network if recipe.teacher else None
    if teacher is not None and not isinstance(teacher, DenseNetwork):
        raise OptionsRefused(f"The teacher '{recipe.teacher}' does not label pixels.")
    task = DenseTask(network, recipe.losses, recipe.schedule, teacher=teacher, folder=folder)

    def data(done: int) -> CropData:
        return CropData(root, recipe, done)

    carry_out(task, recipe.schedule, folder, data, precision=recipe.precision, progress=progress, on_step=on_step)


def _mean(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of weights of one network; what counts is the first one's."""
    first = states[0]
    return {
        name: torch.stack([state[name] for state in states]).mean(0) if value.is_floating_point() else value
        for name, value in first.items()
    }


def carry_out(
    task: lightning.LightningModule,
    schedule: Schedule,
    folder: Path,
    data: Callable[[int], lightning.LightningDataModule],
    *,
    precision: str,
    progress: bool = True,
    on_step: OnStep | None = None,
) -> None:
    """Train a task, from the folder's checkpoint on; its weights are the averaged ones then.

    Args:
        task: what a step is.
        schedule: how many steps, how often they are kept, how weights are averaged.
        folder: takes checkpoints and the log of losses.
        data: makes what teaches from a step on.
        precision: Lightning's, or "auto".
        progress: whether a bar is shown.
        on_step: is told after each step how many are done, of how many, and its loss; what it raises ends the training.
    """
    torch.set_float32_matmul_precision("high")
    if precision == "auto":
        precision = "bf16-mixed" if choose_place().dtype == torch.bfloat16 else "32-true"
    folder.mkdir(parents=True, exist_ok=True)
    last = folder / LAST
    done = torch.load(last, map_location="cpu", weights_only=True)["global_step"] if last.is_file() else 0

    def told(trainer: lightning.Trainer, module: object, outputs: Mapping[str, Tensor], *about: object) -> None:
        if on_step is not None:
            on_step(trainer.global_step, schedule.steps, float(outputs["loss"]))

    average = EMAWeightAveraging(decay=schedule.average)
    trainer = lightning.Trainer(
        max_steps=schedule.steps,
        precision=precision,  # type: ignore[arg-type]
        gradient_clip_val=1.0,
        log_every_n_steps=min(10, schedule.checkpoint_steps),
        logger=CSVLogger(folder, name="log", version=f"from-{done:07d}"),
        callbacks=[
            average,
            ModelCheckpoint(
                folder, "step", every_n_train_steps=schedule.checkpoint_steps, save_last=True, save_top_k=0
            ),
            *([LambdaCallback(on_train_batch_end=told)] if on_step else []),
        ],
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(task, datamodule=data(done), ckpt_path=last if done else None, weights_only=True)


def read_losses(folder: Path) -> list[dict[str, float]]:
    """The losses of a training, step by step, over all of the pieces that it was carried out in."""
    pieces = sorted((folder / "log").glob("from-*/metrics.csv"))
    starts = [int(path.parent.name.removeprefix("from-")) for path in pieces]
    rows: list[dict[str, float]] = []
    for path, stop in zip(pieces, [*starts, None][1:], strict=True):
        with path.open(encoding="utf-8") as file:
            read = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
        rows += [row for row in read if stop is None or row["step"] < stop]
    return rows


def start(recipe: Recipe) -> DenseNetwork:
    """The recipe's network before its first step.

    Raises:
        OptionsRefused: the recipe's network or start does not fit.
        ModelMissing, ModelDamaged: what it starts from is missing or does not fit.
    """
    network = build_network(recipe.architecture, 3, len(recipe.classes), recipe.options)
    if not isinstance(network, DenseNetwork):
        raise OptionsRefused(f"The network '{recipe.architecture}' does not label pixels.")
    if recipe.init == "imagenet":
        if not isinstance(network, LiteUNet):
            raise OptionsRefused("Only lite-unet has ImageNet weights here. Name a timm file of ConvNeXt in init.")
        load_imagenet(network)
    elif recipe.init.endswith(".safetensors"):
        if not isinstance(network, ConvNeXtNetwork):
            raise OptionsRefused("A timm file fits ConvNeXt networks only.")
        load_timm_encoder(network, Path(recipe.init))
    elif recipe.init:
        _take_over(network, load_model(recipe.init).network)
    return network


def _take_over(network: nn.Module, other: nn.Module) -> None:
    """Give a network the weights of another one, but for a head of other classes.

    Raises:
        OptionsRefused: it is another network.
    """
    own, theirs = network.state_dict(), other.state_dict()
    odd = {name for name in own.keys() | theirs.keys() if _shape(own, name) != _shape(theirs, name)}
    if any(not name.startswith("head.") for name in odd):
        raise OptionsRefused("The recipe's network is not that of the model that it starts from.")
    network.load_state_dict({name: theirs[name] for name in theirs.keys() - odd}, strict=False)


def _shape(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(tensors[name].shape) if name in tensors else None
