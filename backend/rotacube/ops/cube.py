"""The Cube convolution: groups of four channels become a 2x2 lattice, and one K x K convolution strides over it by two.

Input `x` is (B, C, H, W) with C a multiple of 4; `weight` is (O, C/4, K, K) with K odd; the output is (B, O, H, W). The
channels 4g, 4g+1, 4g+2, 4g+3 of a pixel are the four phases (0,0), (0,1), (1,0), (1,1) of group g on a lattice of twice
the resolution (Cube Kernel, "reconstruction"). That lattice is sampled at its even positions (anchor "tl", the paper's)
or at its odd ones (anchor "br"), with zeros outside. For K = 3 the support on the coarse grid is one-sided: rows and
columns {-1, 0} for "tl", {0, +1} for "br"; alternating the two from block to block recentres a network.

The work is 2 * (C/4) * O * K^2 * H * W floating-point operations, a quarter of a standard convolution's.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from rotacube.ops import _library

Anchor = Literal["tl", "br"]

# What was measured decides: forward alone the compiled kernel is faster than the reference, but together with the
# backward pass, which has no kernel and fills the lattice again, 2 to 10 % slower.
WITH_GRADIENTS = "gradients are wanted, and forward and backward together the reference is faster"
GPU_REFERENCE = "on GPUs cuDNN runs the reference: the compiled kernel there is plain and not measured to be faster"


def cube_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, anchor: Anchor = "tl") -> Tensor:
    """Cube convolution, on the compiled kernel where that covers the case, else on the reference.

    The compiled kernel covers float32 on the CPU outside autocast. Half precision (also under autocast), float64, GPUs,
    and calls that record gradients take the reference; `torch.ops.rotacube.cube_conv2d` differentiates all the same.

    Args:
        x: (B, C, H, W), C a multiple of 4; any strides.
        weight: (O, C/4, K, K), K odd, of the type of `x`.
        bias: (O,) or None.
        anchor: "tl" samples the lattice at even positions, "br" at odd ones.

    Returns:
        (B, O, H, W); channels_last where `x` is.

    Raises:
        ValueError: The shapes do not fit each other, K is even, or the anchor is unknown.
    """
    check(x, weight, bias, anchor)
    if why_reference(x, weight, bias) is None:
        out: Tensor = torch.ops.rotacube.cube_conv2d(x, weight, bias, anchor)
        return out
    return _reference(x, weight, bias, anchor)


def cube_conv2d_reference(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, anchor: Anchor = "tl") -> Tensor:
    """Cube convolution in plain PyTorch: the oracle of the tests, and the path without a compiled library.

    Arguments, result and errors are those of `cube_conv2d`.
    """
    check(x, weight, bias, anchor)
    return _reference(x, weight, bias, anchor)


def why_reference(x: Tensor, weight: Tensor, bias: Tensor | None) -> str | None:
    """Says why these tensors take the reference path, or None where the compiled kernel covers them."""
    device = x.device.type
    if device == "cuda":
        return _library.CUDA.why if not _library.CUDA.loaded else GPU_REFERENCE
    if device != "cpu":
        return f"there is no compiled kernel for the device {device}"
    if not _library.CPU.loaded:
        return _library.CPU.why
    if x.dtype != torch.float32:
        return f"the compiled kernel is float32, the input is {str(x.dtype).removeprefix('torch.')}"
    if weight.dtype != x.dtype or (bias is not None and bias.dtype != x.dtype):
        return "weight or bias is of another type than the input"
    if weight.device != x.device or (bias is not None and bias.device != x.device):
        return "weight or bias is on another device than the input"
    if torch.is_autocast_enabled(device):
        return "autocast runs it in half precision"
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, weight, bias)):
        return WITH_GRADIENTS
    return None


def check(x: Tensor, weight: Tensor, bias: Tensor | None, anchor: str) -> None:
    """Raises ValueError, with a sentence, where the arguments are no Cube convolution."""
    if anchor not in ("tl", "br"):
        raise ValueError(f'The anchor of a Cube convolution is "tl" or "br", not {anchor!r}.')
    if x.dim() != 4:
        raise ValueError(f"A Cube convolution takes an input of shape (B, C, H, W), not {tuple(x.shape)}.")
    if x.shape[1] == 0 or x.shape[1] % 4 != 0:
        raise ValueError(f"A Cube convolution takes a multiple of 4 channels, the input has {x.shape[1]}.")
    if weight.dim() != 4 or weight.shape[1] * 4 != x.shape[1]:
        raise ValueError(
            f"The weight of a Cube convolution over {x.shape[1]} channels has the shape "
            f"(O, {x.shape[1] // 4}, K, K), not {tuple(weight.shape)}."
        )
    if weight.shape[2] != weight.shape[3] or weight.shape[2] % 2 == 0:
        raise ValueError(
            f"The kernel of a Cube convolution is square and odd, not {weight.shape[2]} x {weight.shape[3]}."
        )
    if bias is not None and (bias.dim() != 1 or bias.shape[0] != weight.shape[0]):
        raise ValueError(
            f"The bias of a Cube convolution with {weight.shape[0]} outputs has the shape ({weight.shape[0]},), "
            f"not {tuple(bias.shape)}."
        )


def _lattice(x: Tensor, k: int, anchor: str) -> tuple[Tensor, int]:
    """Returns the fine lattice as the strided convolution reads it, and the padding that is left to that."""
    fine = F.pixel_shuffle(x, 2)
    half = k // 2
    if anchor == "tl":
        return fine, half
    return F.pad(fine, (half - 1, half, half - 1, half)), 0


def _reference(x: Tensor, weight: Tensor, bias: Tensor | None, anchor: str) -> Tensor:
    if x.numel() == 0 or weight.numel() == 0:  # PyTorch refuses some empty shapes
        nothing = x.sum() * 0 + weight.sum() * 0  # keeps the graph: gradients are zeros, not missing
        if bias is not None:
            nothing = nothing + bias.reshape(1, -1, 1, 1)
        return x.new_zeros((x.shape[0], weight.shape[0], *x.shape[2:])) + nothing
    fine, padding = _lattice(x, weight.shape[2], anchor)
    return F.conv2d(fine, weight, bias, stride=2, padding=padding)


def _fake(x: Tensor, weight: Tensor, bias: Tensor | None, anchor: str) -> Tensor:
    channels_last = not x.is_contiguous() and x.stride(1) == 1
    return torch.empty(
        (x.shape[0], weight.shape[0], x.shape[2], x.shape[3]),
        dtype=x.dtype,
        device=x.device,
        memory_format=torch.channels_last if channels_last else torch.contiguous_format,
    )


def _keep_for_backward(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None, str], output: Tensor) -> None:
    x, weight, bias, anchor = inputs
    ctx.save_for_backward(x, weight)
    ctx.outputs = None if bias is None else bias.shape[0]
    ctx.anchor = anchor


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
    x, weight = ctx.saved_tensors
    wanted = list(ctx.needs_input_grad[:3])
    if x.numel() == 0 or weight.numel() == 0:
        like = (x, weight, None if ctx.outputs is None else x.new_empty(ctx.outputs))
        zeros = [torch.zeros_like(t) if t is not None and want else None for t, want in zip(like, wanted, strict=True)]
        return zeros[0], zeros[1], zeros[2], None
    fine, padding = _lattice(x, weight.shape[2], ctx.anchor)
    bias_sizes = None if ctx.outputs is None else [ctx.outputs]
    grad_fine, grad_weight, grad_bias = torch.ops.aten.convolution_backward(
        grad, fine, weight, bias_sizes, [2, 2], [padding, padding], [1, 1], False, [0, 0], 1, wanted
    )
    grad_x = None
    if wanted[0]:
        if ctx.anchor == "br":
            half = weight.shape[2] // 2
            grad_fine = F.pad(grad_fine, (1 - half, -half, 1 - half, -half))  # undoes the padding
        grad_x = F.pixel_unshuffle(grad_fine, 2)
    return grad_x, grad_weight if wanted[1] else None, grad_bias if wanted[2] else None, None


if _library.CPU.loaded:  # it carries the schema
    torch.library.register_fake("rotacube::cube_conv2d", _fake)
    torch.library.register_autograd("rotacube::cube_conv2d", _backward, setup_context=_keep_for_backward)
