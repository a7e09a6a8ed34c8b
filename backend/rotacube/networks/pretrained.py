"""Loads a ConvNeXt encoder from a file in timm's layout, as far as shapes agree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from rotacube.errors import ModelDamaged, ModelMissing
from rotacube.networks.convnext import ConvNeXtNetwork

_RULES = (
    (r"stem\.(\d)\.(\w+)", r"stem.\1.\2"),
    (r"stages\.(\d+)\.blocks\.(\d+)\.conv_dw\.(\w+)", r"stages.\1.\2.depthwise.\3"),
    (r"stages\.(\d+)\.blocks\.(\d+)\.norm\.(\w+)", r"stages.\1.\2.norm.\3"),
    (r"stages\.(\d+)\.blocks\.(\d+)\.mlp\.fc1\.(\w+)", r"stages.\1.\2.expand.\3"),
    (r"stages\.(\d+)\.blocks\.(\d+)\.mlp\.fc2\.(\w+)", r"stages.\1.\2.reduce.\3"),
)


class Loaded(NamedTuple):
    """What became of a file.

    Attributes:
        taken: names in the network whose weights are the file's now.
        left: why the others of the file were left, by their name there.
    """

    taken: list[str]
    left: dict[str, str]


def load_timm_encoder(network: ConvNeXtNetwork, path: Path) -> Loaded:
    """Give a ConvNeXt network the encoder weights of a timm file (`convnext_*`, as safetensors).

    Layer scale (`gamma`) is multiplied into the last layer of its block, which is the same function. Depthwise
    convolutions have no place in ConvNeXt-Cube, and the classifier has none in any of our networks: they are left.

    Args:
        network: is changed in place; its weights are as they were if an error is raised.
        path: the file; timm publishes it as `model.safetensors`.

    Raises:
        ModelMissing: There is no such file.
        ModelDamaged: It is no safetensors file, or none of its tensors fits.
    """
    if not path.is_file():
        raise ModelMissing(f"There is no file '{path}'. Name a timm ConvNeXt file in safetensors format.")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelDamaged(
            f"'{path}' is no valid safetensors file ({error}). Take timm's model.safetensors, not a pickle."
        ) from error
    wanted = network.state_dict()
    taken: dict[str, Tensor] = {}
    left: dict[str, str] = {}
    for name, tensor in tensors.items():
        if re.fullmatch(r"stages\.\d+\.blocks\.\d+\.gamma", name):
            continue
        target = _target(name)
        if target is None or target not in wanted:
            left[name] = "no counterpart"
            continue
        value = _scaled(name, tensor, tensors)
        if tensor.dim() == 2:  # a pointwise layer: ours are 1x1 convolutions
            value = value[:, :, None, None]
        if value.shape != wanted[target].shape:
            left[name] = f"shape {tuple(value.shape)}, not {tuple(wanted[target].shape)}"
        elif not value.isfinite().all():
            raise ModelDamaged(f"'{path}' holds a value in '{name}' that is not finite. Fetch the file again.")
        else:
            taken[target] = value
    if not taken:
        raise ModelDamaged(f"No tensor of '{path}' fits this network: is it a timm ConvNeXt of the same size?")
    network.load_state_dict(taken, strict=False)
    return Loaded(sorted(taken), left)


def _target(name: str) -> str | None:
    """Our name for a tensor of timm's."""
    down = re.fullmatch(r"stages\.([1-9]\d*)\.downsample\.(\d)\.(\w+)", name)
    if down:
        return f"downs.{int(down[1]) - 1}.{down[2]}.{down[3]}"
    for pattern, ours in _RULES:
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(ours)
    return None


def _scaled(name: str, tensor: Tensor, tensors: dict[str, Tensor]) -> Tensor:
    """The tensor in float32; the last layer of a block times its layer scale."""
    value = tensor.to(torch.float32)
    block = re.fullmatch(r"(stages\.\d+\.blocks\.\d+)\.mlp\.fc2\.\w+", name)
    gamma = tensors.get(f"{block[1]}.gamma") if block else None
    if gamma is None or gamma.dim() != 1 or len(gamma) != len(value):
        return value
    return value * gamma.to(torch.float32).view(-1, *[1] * (value.dim() - 1))
