"""The model card (`model.json`) and the weights beside it (safetensors): how a model is described, found and loaded.

A model is a folder. Its card says everything that a run needs to know (bands, ground sample distance, normalisation,
tile, classes) and that a person wants to know (licence, attribution, training data, measured accuracy), and names the
weights by their SHA-256, which is checked before they are used. No pickle is read.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from rotacube.errors import ModelDamaged, ModelMissing, OptionsRefused
from rotacube.networks.registry import create_model

CARD = "model.json"
Color = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CardClass(_Strict):
    """One class: its value in the mask, its name and its colour."""

    id: int = Field(ge=0, le=254)
    name: str
    color: Color


class Normalisation(_Strict):
    """How pixel values become the network's input: `(value / scale - mean) / std` per band.

    `scale` is that of 8-bit values. Other data types are first stretched so that the 2nd and 98th percentile of each
    band over the whole file become 0 and 1.
    """

    scale: float = Field(gt=0)
    mean: list[float]
    std: list[Annotated[float, Field(gt=0)]]


class Weights(_Strict):
    """The file with the weights."""

    file: str = Field(pattern=r"^[A-Za-z0-9_.-]+\.safetensors$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    parameters: int


class ModelCard(_Strict):
    """What `model.json` holds.

    `gsd` is the ground sample distance in metres; `tile` and `overlap` are pixels; `architecture` and `options` are a
    network's name and options, as `create_model` takes them.
    """

    format: int = Field(default=1, ge=1, le=1)
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    title: str
    task: str
    architecture: str
    options: dict[str, Any] = Field(default_factory=dict)
    source: str
    bands: list[str] = Field(min_length=1)
    gsd: float = Field(gt=0)
    tile: int = Field(ge=64, le=2048, multiple_of=32)
    overlap: int = Field(ge=0)
    normalisation: Normalisation
    classes: list[CardClass] = Field(min_length=2)
    threshold: float = Field(gt=0, lt=1)
    licence: str
    attribution: str
    training_data: str
    accuracy: dict[str, float]
    weights: Weights

    @model_validator(mode="after")
    def _fits_together(self) -> ModelCard:
        if len(self.normalisation.mean) != len(self.bands) or len(self.normalisation.std) != len(self.bands):
            raise ValueError("normalisation needs a mean and a std for each band")
        if [c.id for c in self.classes] != list(range(len(self.classes))):
            raise ValueError("class ids must be 0, 1, 2, ... in order")
        if self.overlap * 2 > self.tile:
            raise ValueError("overlap must be at most half the tile")
        return self


@dataclass(frozen=True)
class LoadedModel:
    """A card and its network, in eval mode, on the CPU, in float32."""

    card: ModelCard
    network: nn.Module
    folder: Path


def model_folders() -> list[Path]:
    """The folders that are searched for models, first hit wins.

    `ROTACUBE_MODELS` (several, separated as in PATH), the user's own, the wheel's, the checkout's.
    """
    named = [Path(p) for p in os.environ.get("ROTACUBE_MODELS", "").split(os.pathsep) if p]
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    package = Path(__file__).resolve().parents[1]
    return [
        *named,
        data / "rotacube" / "models",
        package / "resources" / "models",
        package.parents[1] / "resources" / "models",
    ]


def read_card(folder: Path) -> ModelCard:
    """Read and check a model's card.

    Raises:
        ModelMissing: the folder has no card.
        ModelDamaged: the card is not valid; the sentence names what is wrong.
    """
    path = folder / CARD
    if not path.is_file():
        raise ModelMissing(f"There is no model in '{folder}': it has no {CARD}. Choose a folder that holds one.")
    try:
        return ModelCard.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ModelDamaged(f"The model card '{path}' cannot be read ({error}). Install the model again.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"]) or "card"
        raise ModelDamaged(
            f"The model card '{path}' is not valid at '{place}': {first['msg']}. Install the model again."
        ) from error


def list_models() -> list[tuple[ModelCard, Path]]:
    """All installed models with a valid card, by name; a damaged one is left out (`find_model` says why)."""
    found: dict[str, tuple[ModelCard, Path]] = {}
    for parent in model_folders():
        for path in sorted(parent.glob(f"*/{CARD}")):
            try:
                card = read_card(path.parent)
            except (ModelDamaged, ModelMissing):
                continue
            found.setdefault(card.name, (card, path.parent))
    return [found[name] for name in sorted(found)]


def find_model(name: str) -> tuple[ModelCard, Path]:
    """Find a model by its name, or by the folder that holds its card.

    Raises:
        ModelMissing: there is none; the sentence names those that there are.
        ModelDamaged: its card is not valid.
    """
    if os.sep in name or (Path(name) / CARD).is_file():
        return read_card(Path(name)), Path(name)
    for parent in model_folders():
        if (parent / name / CARD).is_file():
            return read_card(parent / name), parent / name
    models = list_models()
    for card, folder in models:
        if card.name == name:
            return card, folder
    known = ", ".join(card.name for card, _ in models)
    hint = f"Installed are: {known}." if known else "No model is installed: set ROTACUBE_MODELS to a folder of models."
    raise ModelMissing(f"There is no model '{name}'. {hint}")


def load_model(name: str) -> LoadedModel:
    """Load a model, its weights checked against the card.

    Raises:
        ModelMissing: there is no such model.
        ModelDamaged: the weights are absent, have another hash, or do not fit the architecture.
    """
    card, folder = find_model(name)
    path = folder / card.weights.file
    again = "Install the model again."
    if not path.is_file():
        raise ModelDamaged(f"The model '{card.name}' has no weights: '{path}' is missing. {again}")
    if file_sha256(path) != card.weights.sha256:
        raise ModelDamaged(
            f"The weights '{path}' are not those that the card names (their SHA-256 differs): the file is damaged or "
            f"was exchanged. {again}"
        )
    build = partial(create_model, card.architecture, len(card.bands), len(card.classes), **card.options)
    try:
        with torch.device("meta"):  # so that no card makes us take more memory than its weights have
            wanted = build().state_dict()
    except OptionsRefused as error:
        raise ModelDamaged(f"The model card of '{card.name}' does not fit: {error.message} {again}") from error
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelDamaged(f"The weights '{path}' are no valid safetensors file ({error}). {again}") from error
    _check_tensors(card, tensors, wanted, again)
    network = build()
    network.load_state_dict({k: t.float() if t.is_floating_point() else t for k, t in tensors.items()})
    return LoadedModel(card, network.eval(), folder)


def _check_tensors(
    card: ModelCard, given: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], again: str
) -> None:
    problems = (
        [f"tensor '{key}' is missing" for key in wanted if key not in given]
        + [f"tensor '{key}' is unknown" for key in given if key not in wanted]
        + [
            f"tensor '{key}' has shape {tuple(given[key].shape)}, not {tuple(wanted[key].shape)}"
            for key in wanted
            if key in given and given[key].shape != wanted[key].shape
        ]
    )
    if problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise ModelDamaged(
            f"The weights of '{card.name}' do not fit its architecture ({card.architecture}): {problems[0]}{more}. "
            + again
        )


def save_model(network: nn.Module, card: dict[str, object], folder: Path, *, half: bool = True) -> ModelCard:
    """Write a model folder: the weights, and the card with their hash.

    Args:
        network: the trained network.
        card: the card's fields but for `weights`.
        folder: is created.
        half: whether weights are rounded to half precision; BatchNorm's statistics never are.

    Returns:
        The card as written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.safetensors"
    kept = ("running_mean", "running_var")
    tensors = {
        key: (tensor.half() if half and tensor.is_floating_point() and not key.endswith(kept) else tensor).contiguous()
        for key, tensor in network.state_dict().items()
    }
    save_file(tensors, path)
    path.chmod(0o644)
    weights = {
        "file": path.name,
        "sha256": file_sha256(path),
        "parameters": sum(p.numel() for p in network.parameters()),
    }
    full = ModelCard.model_validate({**card, "weights": weights})
    (folder / CARD).write_text(json.dumps(full.model_dump(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return full


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
