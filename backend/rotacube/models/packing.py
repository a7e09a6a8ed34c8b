"""How weights lie in a file: in half precision, or in 8 bits with a scale for each output channel."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

SCALE = "/scale"
"""What the name of a tensor's scales ends with: no network has a tensor of such a name."""
_STATISTICS = ("running_mean", "running_var")


def packed(tensors: Mapping[str, Tensor], bits: int) -> dict[str, Tensor]:
    """Tensors as they are written.

    Args:
        tensors: a network's, by name.
        bits: of a weight. 16: all but BatchNorm's statistics are rounded to half precision. 8: of those, what has two
            axes or more, (C, ...), becomes whole numbers from -127 to 127, with a scale for each of C. 32: as they are.
    """
    made: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu()
        if bits < 32 and tensor.is_floating_point() and not name.endswith(_STATISTICS):
            if bits == 8 and tensor.ndim > 1:
                scale = (tensor.flatten(1).abs().amax(1) / 127).clamp(min=torch.finfo(torch.float32).tiny)
                made[name + SCALE] = scale.float()
                tensor = (tensor / _beside(scale, tensor)).round().to(torch.int8)
            else:
                tensor = tensor.half()
        made[name] = tensor.contiguous()
    return made


def unpacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as a network has them, from those of a file; scales that fit nothing stay, under their own names."""
    made = dict(tensors)
    for name in [name for name in tensors if name.endswith(SCALE)]:
        tensor, scale = made.get(name.removesuffix(SCALE)), tensors[name]
        if tensor is not None and tensor.dtype == torch.int8 and scale.shape == tensor.shape[:1]:
            made[name.removesuffix(SCALE)] = tensor.float() * _beside(made.pop(name).float(), tensor)
    return made


def _beside(scale: Tensor, tensor: Tensor) -> Tensor:
    """A number for each channel, in the shape that multiplies it."""
    return scale.reshape(-1, *[1] * (tensor.ndim - 1))
