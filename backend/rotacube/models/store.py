"""Where models are: found by name or folder, loaded with their weights checked, saved in one step.

Weights are safetensors, named by the card with their SHA-256, which is checked before they are used. No pickle is read.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from rotacube.errors import ModelDamaged, ModelMissing, OptionsRefused, OutputUnwritable, RotacubeError, first_line
from rotacube.files import data_folder, in_one_step, is_file, is_folder, write_text
from rotacube.models import DEFAULT
from rotacube.models.card import AGAIN, CARD, ONNX, ModelCard, read_card
from rotacube.models.onnx_network import LARGEST, load_onnx
from rotacube.models.packing import packed, unpacked
from rotacube.networks.registry import Labels, Network, build_network, find_network
from rotacube.texts import trouble

log = logging.getLogger(__name__)
HEADER = 2**24
"""Bytes that a file of weights may have beside them."""

_told: set[str] = set()


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
    named = [Path(p) for p in _named_folders() if trouble(p) is None]
    package = Path(__file__).resolve().parents[1]
    return [
        *named,
        own_folder(),
        package / "resources" / "models",
        package.parents[1] / "resources" / "models",
    ]


def own_folder() -> Path:
    """The user's own folder of models."""
    return data_folder() / "models"


def _named_folders() -> list[str]:
    return [p for p in os.environ.get("ROTACUBE_MODELS", "").split(os.pathsep) if p]


def list_models() -> list[tuple[ModelCard, Path]]:
    """All installed models with a valid card, the default first, then by name; the log says why one is left out, once.

    >>> "rooftop-small" in [card.name for card, folder in list_models()]
    True
    """
    models, left_out = look_for_models()
    for error in left_out:
        if error.message not in _told:
            _told.add(error.message)
            log.warning("%s", error.message)
    return models


def look_for_models() -> tuple[list[tuple[ModelCard, Path]], list[RotacubeError]]:
    """All installed models with a valid card, the default first, then by name, and why others are left out."""
    found: dict[str, tuple[ModelCard, Path]] = {}
    left_out: list[RotacubeError] = [
        ModelMissing(f"The folder '{name}' is not searched for models: its name {wrong}.")
        for name in _named_folders()
        if (wrong := trouble(name))
    ]
    for parent in filter(is_folder, model_folders()):
        for path in sorted(parent.glob(f"*/{CARD}")):
            try:
                card = read_card(path.parent)
            except (ModelDamaged, ModelMissing) as error:
                left_out.append(error)
            else:
                found.setdefault(card.name, (card, path.parent))
    return [found[name] for name in sorted(found, key=lambda name: (name != DEFAULT, name))], left_out


def find_model(name: str) -> tuple[ModelCard, Path]:
    """Find a model by its name, or by the folder that holds its card.

    Raises:
        ModelMissing: there is none; the sentence names those that there are.
        ModelDamaged: its card is not valid.

    >>> card, folder = find_model("rooftop-small")
    >>> [c.name for c in card.classes]
    ['background', 'roof']
    """
    if wrong := trouble(name):
        raise ModelMissing(f"There is no model '{name[:40]}': its name {wrong}.")
    if os.sep in name or is_file(Path(name) / CARD):
        return read_card(Path(name)), Path(name)
    for parent in model_folders():
        if is_file(parent / name / CARD):
            return read_card(parent / name), parent / name
    models = list_models()
    for card, folder in models:
        if card.name == name:
            return card, folder
    known = ", ".join(card.name for card, _ in models)
    hint = f"Installed are: {known}." if known else "No model is installed: set ROTACUBE_MODELS to a folder of models."
    raise ModelMissing(f"There is no model '{name}'. {hint}")


def network_of(card: ModelCard) -> Network:
    """The network that a card names, not built.

    Raises:
        ModelDamaged: there is none of that name.
    """
    try:
        return find_network(card.architecture)
    except ModelMissing as error:
        raise ModelDamaged(f"The model card of '{card.name}' does not fit: {error.message} {AGAIN}") from error


def labels_of(card: ModelCard) -> Labels:
    """What a model's logits label: every pixel, or whole images.

    Raises:
        ModelDamaged: there is no network as the card names it.
    """
    return "pixels" if card.architecture == ONNX else network_of(card).labels


def load_model(name: str) -> LoadedModel:
    """Load a model, its weights checked against the card.

    Raises:
        ModelMissing: there is no such model.
        ModelDamaged: the weights are absent, have another hash, or do not fit the architecture.
        OptionsRefused: it is an ONNX file, and what runs such is not installed.

    >>> model = load_model("rooftop-small")
    >>> model.network(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 1, 64, 64])
    """
    card, folder = find_model(name)
    path = folder / card.weights.file
    network = _load_onnx(card, path) if card.architecture == ONNX else _load_ours(card, path)
    log.info("model %s, %s, of %s: %d parameters", card.name, card.weights.sha256[:12], folder, card.weights.parameters)
    return LoadedModel(card, network.eval(), folder)


def _load_onnx(card: ModelCard, path: Path) -> nn.Module:
    _check_file(card, path, LARGEST)
    return load_onnx(card, path)


def _load_ours(card: ModelCard, path: Path) -> nn.Module:
    network_of(card)
    build = partial(build_network, card.architecture, len(card.bands), len(card.classes), card.options)
    try:
        with torch.device("meta"):  # so that no card makes us take more memory than its weights have
            wanted = build().state_dict()
    except OptionsRefused as error:
        raise ModelDamaged(f"The model card of '{card.name}' does not fit: {error.message} {AGAIN}") from error
    _check_file(card, path, 8 * sum(tensor.numel() for tensor in wanted.values()) + HEADER)
    try:
        tensors = unpacked(load_file(path))
    except (SafetensorError, OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise ModelDamaged(
            f"The weights '{path}' are no valid safetensors file ({first_line(error)}). {AGAIN}"
        ) from error
    _check_tensors(card, tensors, wanted)
    network = build()
    network.load_state_dict({k: t.float() if t.is_floating_point() else t for k, t in tensors.items()})
    return network


def _check_tensors(card: ModelCard, given: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    """Names, shapes and kinds are the architecture's, and every value is a number."""
    problems = (
        [f"tensor '{key}' is missing" for key in wanted if key not in given]
        + [f"tensor '{key}' is unknown" for key in given if key not in wanted]
        + [
            f"tensor '{key}' has shape {tuple(given[key].shape)}, not {tuple(wanted[key].shape)}"
            for key in wanted
            if key in given and given[key].shape != wanted[key].shape
        ]
        + [
            f"tensor '{key}' is of {str(given[key].dtype).removeprefix('torch.')}, "
            f"not {_kind(wanted[key]) or 'one of its kind'}"
            for key in wanted
            if key in given and _kind(given[key]) != _kind(wanted[key])
        ]
    )
    if not problems:
        problems = [
            f"tensor '{key}' holds values that are no numbers (NaN or infinite)"
            for key, tensor in given.items()
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor.float()).all())
        ]
    if problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise ModelDamaged(
            f"The weights of '{card.name}' do not fit its architecture ({card.architecture}): {problems[0]}{more}. "
            + AGAIN
        )


def _kind(tensor: torch.Tensor) -> str | None:
    """What a tensor's values are: weights are floating, counters whole; None for what no network has."""
    if tensor.is_floating_point():
        return "floating point"
    return None if tensor.dtype == torch.bool or tensor.is_complex() else "integers"


def _check_file(card: ModelCard, path: Path, most: int) -> None:
    """The weights' file is there, not larger than the network can need, and the one that the card names."""
    try:
        if not path.is_file():
            raise ModelDamaged(f"The model '{card.name}' has no weights: '{path}' is missing. {AGAIN}")
        size = path.stat().st_size
        if size > most:
            raise ModelDamaged(
                f"The weights '{path}' have {size:,} bytes, more than the network of '{card.name}' can have. {AGAIN}"
            )
        same = file_sha256(path) == card.weights.sha256
    except OSError as error:
        raise ModelDamaged(f"The weights '{path}' cannot be read ({error.strerror}). {AGAIN}") from error
    if not same:
        raise ModelDamaged(
            f"The weights '{path}' are not those that the card names (their SHA-256 differs): the file is damaged or "
            f"was exchanged. {AGAIN}"
        )


def save_model(network: nn.Module, card: dict[str, object], folder: Path, *, bits: int = 16) -> ModelCard:
    """Write a model folder: the weights, and the card with their hash.

    The weights' name has their hash in it, and the card names them: replacing the card is the one step that replaces
    a model. Whatever goes wrong before it, the folder holds the model that it held.

    Args:
        network: the trained network.
        card: the card's fields but for `weights`.
        folder: is created.
        bits: of a weight in the file, see `packed`: 8, 16 or 32.

    Returns:
        The card as written.

    Raises:
        OutputUnwritable: the folder cannot be written to.
        ValidationError: the card's fields do not fit.

    >>> from rotacube import create_model
    >>> fields = load_model("rooftop-small").card.model_dump(exclude={"weights"})
    >>> fields |= {"name": "mine", "architecture": "unet", "options": {"width": 0.0625}}
    >>> card = save_model(create_model("unet", 3, 2, width=0.0625), fields, Path("mine"))
    >>> load_model("./mine").card == card
    True
    """
    parameters = sum(p.numel() for p in network.parameters())
    return save_weights(save(packed(network.state_dict(), bits)), ".safetensors", parameters, card, folder)


def save_weights(content: bytes, suffix: str, parameters: int, card: dict[str, object], folder: Path) -> ModelCard:
    """Write a model folder as `save_model` does, of a file with weights.

    Args:
        content: of that file.
        suffix: of its name.
        parameters: how many it holds.
        card: the card's fields but for `weights`.
        folder: is created.

    Raises:
        OutputUnwritable, ValidationError: as `save_model` says.
    """
    sha256 = hashlib.sha256(content).hexdigest()
    name = f"weights-{sha256[:12]}{suffix}"
    full = ModelCard.model_validate({**card, "weights": {"file": name, "sha256": sha256, "parameters": parameters}})
    before = _named_weights(folder)
    with in_one_step(folder / name, make_folder=True) as new:
        new.write_bytes(content)
    text = json.dumps(full.model_dump(), indent=2, ensure_ascii=False)
    write_text(folder / CARD, text + "\n")
    if before is not None and before != name:
        (folder / before).unlink(missing_ok=True)
    return full


def install_model(folder: Path, overwrite: bool = False) -> tuple[ModelCard, Path]:
    """Copy a model to the user's own folder, weights first, after it was loaded once.

    Raises:
        ModelMissing, ModelDamaged: the folder holds none, or its weights are not whole.
        OutputUnwritable: there is one of that name already, or the folder cannot be written to.
    """
    card = read_card(folder)
    load_model(str(folder.resolve()))
    target = place_for(card.name, overwrite, f"Rename the new one in its {CARD}")
    with in_one_step(target / card.weights.file, make_folder=True) as new:
        shutil.copyfile(folder / card.weights.file, new)
    write_text(target / CARD, (folder / CARD).read_text(encoding="utf-8"))
    return card, target


def place_for(name: str, overwrite: bool, rename: str) -> Path:
    """The folder in the user's own that a model of that name is installed in.

    Args:
        name: of the model.
        overwrite: whether one that is there may be replaced.
        rename: what else can be done, as the begin of a sentence.

    Raises:
        OutputUnwritable: there is one of that name already.
    """
    target = own_folder() / name
    if is_file(target / CARD) and not overwrite:
        raise OutputUnwritable(
            f"A model '{name}' is installed already, in '{target}'. {rename}, or say that it may be replaced."
        )
    return target


def _named_weights(folder: Path) -> str | None:
    """The name of the weights that a folder's card has now."""
    try:
        return read_card(folder).weights.file
    except (ModelMissing, ModelDamaged):
        return None


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
