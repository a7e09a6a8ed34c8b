"""The Cube convolution: groups of four channels become a 2x2 lattice, and one K x K convolution strides over it by two.

Input `x` is (B, C, H, W) with C a multiple of 4; `weight` is (O, C/4, K, K) with K odd; the output is (B, O, H, W). The
channels 4g, 4g+1, 4g+2, 4g+3 of a pixel are the four phases (0,0), (0,1), (1,0), (1,1) of group g on a lattice of twice
the resolution (Cube Kernel, "reconstruction"). That lattice is sampled at its even positions (anchor "tl", the paper's)
or at its odd ones (anchor "br"), with zeros outside. For K = 3 the support on the coarse grid is one-sided: rows and
columns {-1, 0} for "tl", {0, +1} for "br"; alternating the two from block to block recentres a network.

The work is 2 * (C/4) * O * K^2 * H * W floating-point operations, a quarter of a standard convolution's.
"""

from __future__ import annotations

import platform
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from rotacube.ops import _library

Anchor = Literal["tl", "br"]

# What was measured decides. In float32 and bfloat16 the forward pass alone is faster on the compiled kernel (bfloat16:
# 1.1 to 1.6 times on a processor with AVX512_BF16, more without). Together with the backward pass, which has no kernel
# and fills the lattice again, it is up to 10 % slower.
WITH_GRADIENTS = "gradients are wanted, and forward and backward together the reference is faster"
GPU_REFERENCE = "on GPUs cuDNN runs the reference: the compiled kernel there is plain and not measured to be faster"
AMX_REFERENCE = (
    "this processor has AMX, which oneDNN uses for the reference in bfloat16: the compiled kernel does not, and is not "
    "measured to be faster"
)
ARCHITECTURE_REFERENCE = "in bfloat16 the compiled kernel is measured on x86-64 only"
# Sentences with which a kernel is left aside that would run all the same.
LEFT_ASIDE = (GPU_REFERENCE, AMX_REFERENCE, ARCHITECTURE_REFERENCE)


def _why_not_bfloat16() -> str | None:
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return ARCHITECTURE_REFERENCE
    return AMX_REFERENCE if torch.cpu._is_amx_tile_supported() else None


BFLOAT16_REFERENCE = _why_not_bfloat16()
_AUTOCAST_CASTS = (torch.float32, torch.bfloat16, torch.float16)


def cube_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, anchor: Anchor = "tl") -> Tensor:
    """Cube convolution, on the compiled kernel where that covers the case, else on the reference.

    The compiled kernel covers float32 and bfloat16 on the CPU, bfloat16 also under autocast, which casts as it does for
    a convolution; sums are float32. float16, float64, GPUs, and calls that record gradients take the reference (so does
    bfloat16 on processors with AMX); `torch.ops.rotacube.cube_conv2d` differentiates all the same.

    Args:
        x: (B, C, H, W), C a multiple of 4; any strides.
        weight: (O, C/4, K, K), K odd, of the type of `x`.
        bias: (O,) or None.
        anchor: "tl" samples the lattice at even positions, "br" at odd ones.

    Returns:
        (B, O, H, W); channels_last where `x` is; of the type of `x`, or of autocast.

    Raises:
        ValueError: The shapes do not fit each other, K is even, or the anchor is unknown.
    """
    check(x, weight, bias, anchor)
    if why_reference(x, weight, bias) is None:
        if torch.is_autocast_enabled("cpu"):
            x, weight, bias = _cast(x, weight, bias)
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
    tensors = [x, weight] if bias is None else [x, weight, bias]
    if any(t.device != x.device for t in tensors):
        return "weight or bias is on another device than the input"
    kind = x.dtype
    if torch.is_autocast_enabled(device):
        kind = torch.get_autocast_dtype(device)
        if kind == torch.bfloat16 and any(t.dtype not in _AUTOCAST_CASTS for t in tensors):
            return "autocast does not cast these types"
    elif any(t.dtype != kind for t in tensors):
        return "weight or bias is of another type than the input"
    if kind == torch.bfloat16:
        if BFLOAT16_REFERENCE is not None:
            return BFLOAT16_REFERENCE
    elif kind != torch.float32:
        return f"the compiled kernel is float32 and bfloat16, not {str(kind).removeprefix('torch.')}"
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
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


def _cast(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Casts to bfloat16, except a float32 weight with its bias: the kernel rounds those itself while it packs them."""
    x = x.to(torch.bfloat16)
    if weight.dtype != torch.float32 or (bias is not None and bias.dtype != torch.float32):
        weight = weight.to(torch.bfloat16)
        bias = None if bias is None else bias.to(torch.bfloat16)
    return x, weight, bias


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
        like = (x, weight, None if ctx.outputs is None else weight.new_empty(ctx.outputs))
        zeros = [torch.zeros_like(t) if t is not None and want else None for t, want in zip(like, wanted, strict=True)]
        return zeros[0], zeros[1], zeros[2], None
    fine, padding = _lattice(x, weight.shape[2], ctx.anchor)
    bias_sizes = None if ctx.outputs is None else [ctx.outputs]
    kernel = weight.to(x.dtype)  # a bfloat16 input may come with a float32 weight and bias
    grad_fine, grad_weight, grad_bias = torch.ops.aten.convolution_backward(
        grad, fine, kernel, bias_sizes, [2, 2], [padding, padding], [1, 1], False, [0, 0], 1, wanted
    )
    grad_x = None
    if wanted[0]:
        if ctx.anchor == "br":
            half = weight.shape[2] // 2
            grad_fine = F.pad(grad_fine, (1 - half, -half, 1 - half, -half))  # undoes the padding
        grad_x = F.pixel_unshuffle(grad_fine, 2)
    return (
        grad_x,
        grad_weight.to(weight.dtype) if wanted[1] else None,
        grad_bias.to(weight.dtype) if wanted[2] else None,
        None,
    )


if _library.CPU.loaded:  # it carries the schema
    torch.library.register_fake("rotacube::cube_conv2d", _fake)
    torch.library.register_autograd("rotacube::cube_conv2d", _backward, setup_context=_keep_for_backward)
