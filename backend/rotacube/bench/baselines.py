"""What the rotation-invariant convolution is measured against: plain PyTorch, ORN's construction, and e2cnn.

Each takes x (B, C, H, W), the weight (O, C, K, K) or what `turned` or `stacked` made of it, and bias (O,), and returns
the maximum over the four rotations of the convolution with "same" padding. e2cnn holds its own weights.
"""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from rotacube.bench.calls import Convolution

ROTATIONS = 4


def turned(weight: Tensor) -> list[Tensor]:
    """The weight turned by 0, 90, 180 and 270 degrees, each as it lies best in memory."""
    last = not weight.is_contiguous()
    memory = torch.channels_last if last else torch.contiguous_format
    return [torch.rot90(weight, turn, (2, 3)).contiguous(memory_format=memory) for turn in range(ROTATIONS)]


def stacked(weight: Tensor) -> Tensor:
    """The four turned weights as one of shape (4 * O, C, K, K)."""
    return torch.cat(turned(weight))


def four_convolutions(x: Tensor, weights: list[Tensor], bias: Tensor) -> Tensor:
    """Four convolutions, one a rotation, and the running maximum of their outputs."""
    padding = weights[0].shape[2] // 2
    y = F.conv2d(x, weights[0], bias, padding=padding)
    for weight in weights[1:]:
        other = F.conv2d(x, weight, bias, padding=padding)
        in_place = not (torch.is_grad_enabled() or torch.compiler.is_compiling())
        y = torch.maximum(y, other, out=y) if in_place else torch.maximum(y, other)
    return y


def one_convolution(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One convolution with 4 * O outputs, and the maximum over the rotations."""
    return torch.amax(_stack(x, weight, bias), 1)


def one_convolution_argmax(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The same, where the maximum keeps its index and the gradient goes there."""
    return torch.max(_stack(x, weight, bias), 1).values


def orn(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """ORN (Zhou et al., 2017): active rotating filters, made by an index over the taps, one convolution, maximum.

    The four rotated copies of a filter lie beside each other, as ORN lays them, and are pooled there.
    """
    outputs, channels, kernel, _ = weight.shape
    filters = weight.reshape(outputs, channels, -1)[:, :, _rotation_index(kernel, x.device)]  # (O, C, 4, K * K)
    filters = filters.permute(0, 2, 1, 3).reshape(outputs * ROTATIONS, channels, kernel, kernel)
    y = F.conv2d(x, filters, None, padding=kernel // 2)
    y = torch.unflatten(y, 1, (outputs, ROTATIONS))
    return torch.amax(y, 2) + bias.reshape(1, -1, 1, 1)


def compiled(function: Convolution) -> Convolution:
    """The function under torch.compile, for fixed shapes."""
    made: Convolution = torch.compile(function, fullgraph=True, dynamic=False)
    return made


def e2cnn_c4(
    channels: int, outputs: int, device: str, dtype: torch.dtype
) -> tuple[torch.nn.Module, Callable[[Tensor], Tensor]]:
    """e2cnn's C4 convolution of scalar maps, 3x3, pooled over the group: the module, and the function x -> y.

    Raises:
        ImportError: e2cnn is not installed.
        TypeError: From the function, where e2cnn does not compute in the type of x.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gspaces, nn = (importlib.import_module(f"e2cnn.{part}") for part in ("gspaces", "nn"))
            space = gspaces.Rot2dOnR2(N=ROTATIONS)
            before = nn.FieldType(space, channels * [space.trivial_repr])
            after = nn.FieldType(space, outputs * [space.regular_repr])
            convolution = nn.R2Conv(before, after, kernel_size=3, padding=1, bias=True, initialize=False)
    except ModuleNotFoundError as error:
        raise ImportError("e2cnn is not installed") from error
    with torch.no_grad():
        convolution.weights.normal_()
    pool = nn.GroupPooling(after)
    module = torch.nn.ModuleList([convolution, pool]).to(device, dtype)

    def run(x: Tensor) -> Tensor:
        y: Tensor = pool(convolution(nn.GeometricTensor(x, before))).tensor
        if y.dtype != x.dtype:
            raise TypeError(f"e2cnn computes {x.dtype} as {y.dtype}")
        return y

    return module, run


def _stack(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    y = F.conv2d(x, weight, bias.repeat(ROTATIONS), padding=weight.shape[2] // 2)
    return torch.unflatten(y, 1, (ROTATIONS, -1))


@functools.cache
def _rotation_index(kernel: int, device: torch.device) -> Tensor:
    """(4, K * K): the tap that each tap of the filter turned by r * 90 degrees comes from."""
    taps = torch.arange(kernel * kernel, device=device).reshape(kernel, kernel)
    return torch.stack([torch.rot90(taps, turn).reshape(-1) for turn in range(ROTATIONS)])
