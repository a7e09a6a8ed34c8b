"""Involution: every pixel and group of channels has a K x K kernel of its own.

Input `x` is (B, C, H, W), `kernel` is (B, G*K*K, H, W) as a 1x1 convolution gives it: the K*K taps of group 0, row
after row, then those of group 1. With `g(c) = c // (C / G)` the output is

    y[b, c, h, w] = sum over u, v of kernel[b, g(c)*K*K + u*K + v, h, w] * x[b, c, h + u - K//2, w + v - K//2]

with zeros outside (Li et al., "Involution: Inverting the Inherence of Convolution for Visual Recognition", CVPR 2021,
equation 4). The work is 2 * K^2 * C * H * W floating-point operations; no unfolded copy of the input is made.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rotacube.ops import _library
from rotacube.ops._dispatch import COMPILED, HALVES, autocast, empty_as, no_kernel_for, why_no_kernel

KERNEL_SIZES = (3, 5, 7)  # of the compiled kernels


def involution2d(x: Tensor, kernel: Tensor, *, groups: int = 1) -> Tensor:
    """Involution, on the compiled kernel where that covers the case, else on the reference.

    The compiled kernel covers K = 3, 5 and 7 in float32, bfloat16 or float16 on the CPU, forward and backward; sums are
    float32 and do not depend on the number of threads. Tensors that lie neither contiguous nor channels_last, or not as
    `x` does, are copied first. Under autocast both are cast to its type. The operator may be differentiated any number
    of times.

    Args:
        x: (B, C, H, W); any strides.
        kernel: (B, groups*K*K, H, W), K odd.
        groups: divides C; the channels of a group share their kernels.

    Returns:
        (B, C, H, W); channels_last where `x` is; of the type of `x`, or of autocast's.

    Raises:
        ValueError: The shapes do not fit each other, the groups do not divide the channels, or K is even.

    >>> involution2d(torch.ones(1, 4, 6, 6), torch.ones(1, 9, 6, 6))[0, 0, 0, :3]
    tensor([4., 6., 6.])
    """
    check(x, kernel, groups)
    x, kernel = autocast([x, kernel])
    if why_reference(x, kernel, groups) is None:
        out: Tensor = torch.ops.rotacube.involution2d(x, kernel, groups)
        return out
    return _reference(x, kernel, groups)


def involution2d_reference(x: Tensor, kernel: Tensor, *, groups: int = 1) -> Tensor:
    """Involution in plain PyTorch: the oracle of the tests, and the path without a compiled library.

    Arguments, result and errors are those of `involution2d`.
    """
    check(x, kernel, groups)
    x, kernel = autocast([x, kernel])
    return _reference(x, kernel, groups)


def why_reference(x: Tensor, kernel: Tensor, groups: int) -> str | None:
    """Says why these tensors, autocast aside, take the reference path; None where the compiled kernel covers them."""
    why = why_no_kernel([x, kernel])
    if why is not None:
        return why
    if kernel.dtype != x.dtype:
        return "the kernel is of another type than the input"
    if x.dtype not in COMPILED:
        return no_kernel_for(x.dtype)
    size = _kernel_size(kernel, groups)
    if size not in KERNEL_SIZES:
        return f"the compiled kernel takes K = 3, 5 and 7, not {size}"
    return None


def check(x: Tensor, kernel: Tensor, groups: int) -> None:
    """Raises ValueError, with a sentence, where the arguments are no involution."""
    if x.dim() != 4:
        raise ValueError(f"An involution takes an input of shape (B, C, H, W), not {tuple(x.shape)}.")
    channels = x.shape[1]
    if groups < 1 or channels == 0 or channels % groups != 0:
        raise ValueError(
            f"An involution divides its channels into groups: {channels} channels are no multiple of {groups}."
        )
    if kernel.dim() != 4 or kernel.shape[0] != x.shape[0] or kernel.shape[2:] != x.shape[2:]:
        raise ValueError(
            f"The kernel of an involution over {tuple(x.shape)} with {groups} groups has the shape ({x.shape[0]}, "
            f"{groups} * K * K, {x.shape[2]}, {x.shape[3]}), not {tuple(kernel.shape)}."
        )
    size = _kernel_size(kernel, groups)
    if size % 2 == 0 or groups * size * size != kernel.shape[1]:
        raise ValueError(
            f"The kernel of an involution with {groups} groups has {groups} * K * K channels with K odd, "
            f"not {kernel.shape[1]}."
        )


def _kernel_size(kernel: Tensor, groups: int) -> int:
    return math.isqrt(kernel.shape[1] // groups)


def _reference(x: Tensor, kernel: Tensor, groups: int) -> Tensor:
    kind = torch.promote_types(x.dtype, kernel.dtype)
    wide = torch.float32 if kind in HALVES else kind
    size, height, width = _kernel_size(kernel, groups), x.shape[2], x.shape[3]
    half = size // 2
    rimmed = F.pad(x.to(wide), (half, half, half, half)).chunk(groups, 1)
    taps = kernel.to(wide).chunk(groups, 1)
    outs = []
    for own, group in zip(taps, rimmed, strict=True):
        total = own[:, :1] * group[..., :height, :width]
        for tap in range(1, size * size):
            u, v = divmod(tap, size)
            total = total + own[:, tap : tap + 1] * group[..., u : u + height, v : v + width]
        outs.append(total)
    return torch.cat(outs, 1).to(kind)


def _fake(x: Tensor, kernel: Tensor, groups: int) -> Tensor:
    return empty_as(x, *x.shape)


def _fake_backward(
    grad: Tensor, x: Tensor, kernel: Tensor, groups: int, want_x: bool, want_kernel: bool
) -> tuple[Tensor, Tensor]:
    return (
        empty_as(x, *x.shape) if want_x else x.new_empty(0),
        empty_as(x, *kernel.shape) if want_kernel else x.new_empty(0),
    )


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
    x, kernel, ctx.groups = inputs
    ctx.save_for_backward(x, kernel)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    x, kernel = ctx.saved_tensors
    want_x, want_kernel, _ = ctx.needs_input_grad
    grad_x, grad_kernel = torch.ops.rotacube.involution2d_backward(grad, x, kernel, ctx.groups, want_x, want_kernel)
    return grad_x if want_x else None, grad_kernel if want_kernel else None, None


def _keep_twice(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, int, bool, bool], output: Any) -> None:
    grad, x, kernel, ctx.groups, ctx.want_x, ctx.want_kernel = inputs
    ctx.save_for_backward(grad, x, kernel)


def _backward_twice(
    ctx: Any, pull_x: Tensor, pull_kernel: Tensor
) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None, None]:
    """The backward pass is linear in grad, and in x or kernel: its gradients are involutions and their gradients."""
    grad, x, kernel = ctx.saved_tensors
    involve, pull_back = torch.ops.rotacube.involution2d, torch.ops.rotacube.involution2d_backward
    to_grad = to_x = to_kernel = None
    if ctx.want_x:
        to_grad = involve(pull_x, kernel, ctx.groups)
        to_kernel = pull_back(grad, pull_x, kernel, ctx.groups, False, True)[1]
    if ctx.want_kernel:
        through_kernel = involve(x, pull_kernel, ctx.groups)
        to_grad = through_kernel if to_grad is None else to_grad + through_kernel
        to_x = pull_back(grad, x, pull_kernel, ctx.groups, True, False)[0]
    return to_grad, to_x, to_kernel, None, None, None


if _library.CPU.loaded:  # it carries the schemas
    torch.library.register_fake("rotacube::involution2d", _fake)
    torch.library.register_autograd("rotacube::involution2d", _backward, setup_context=_keep)
    torch.library.register_fake("rotacube::involution2d_backward", _fake_backward)
    torch.library.register_autograd("rotacube::involution2d_backward", _backward_twice, setup_context=_keep_twice)
