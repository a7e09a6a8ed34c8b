"""The Cube convolution: groups of four channels become a 2x2 lattice, and one K x K convolution strides over it by two.

Input `x` is (B, C, H, W) with C a multiple of 4; `weight` is (O, C/4, K, K) with K odd; the output is (B, O, H, W). The
channels 4g, 4g+1, 4g+2, 4g+3 of a pixel are the four phases (0,0), (0,1), (1,0), (1,1) of group g on a lattice of twice
the resolution (Cube Kernel, "reconstruction"), after an `order` of channels (the Channel Router's) where there is one.
A `mask` (the spatial attention's) multiplies the lattice. The lattice is sampled at its even positions (anchor "tl",
the paper's) or at its odd ones (anchor "br"), with zeros outside. For K = 3 the support on the coarse grid is
one-sided: rows and columns {-1, 0} for "tl", {0, +1} for "br"; alternating the two from block to block recentres a
network.

The work is 2 * (C/4) * O * K^2 * H * W floating-point operations, a quarter of a standard convolution's. Two ablations
of the paper run in plain PyTorch: stride 1, and mode "grouped", which reads equation (3) as a grouped convolution.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from rotacube.ops import _library
from rotacube.ops._dispatch import autocast, cast_weight, empty_as, of_nothing, why_no_convolution

Anchor = Literal["tl", "br"]
Mode = Literal["lattice", "grouped"]

ABLATION_REFERENCE = "stride 1 and the grouped mode are ablations, in plain PyTorch"


def cube_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    order: Tensor | None = None,
    mask: Tensor | None = None,
    stride: int = 2,
    anchor: Anchor = "tl",
    mode: Mode = "lattice",
) -> Tensor:
    """Cube convolution, on the compiled kernel where that covers the case, else on the reference.

    The compiled kernel covers float32, bfloat16 and float16 on the CPU, forward and backward, also under autocast,
    which casts as it does for a convolution; sums are float32. Neither the lattice nor a permuted copy is written to
    memory. float64, GPUs, stride 1 and mode "grouped" take the reference (so does bfloat16 on processors with AMX). The
    compiled path can be differentiated any number of times.

    Args:
        x: (B, C, H, W), C a multiple of 4; any strides.
        weight: (O, C/4, K, K), K odd, of the type of `x`.
        bias: (O,) or None.
        order: (C,) int64, a permutation: channel i of the lattice is channel `order[i]` of `x`. None: as they are.
        mask: (B, 1, 2H, 2W), of the type of `x`, multiplied into the lattice; or None.
        stride: of the convolution on the lattice; 1 is for the ablation.
        anchor: "tl" samples the lattice at even positions, "br" at odd ones.
        mode: "lattice", or "grouped": four groups of C/4 channels, O a multiple of 4, no mask.

    Returns:
        (B, O, H, W), or with stride 1 (B, O, 2H, 2W); channels_last where `x` is; of the type of `x`, or of autocast.

    Raises:
        ValueError: The shapes do not fit each other, K is even, the order is no permutation, or a choice is unknown or
            does not go with another.

    >>> cube_conv2d(torch.ones(1, 8, 6, 6), torch.ones(5, 2, 3, 3)).shape
    torch.Size([1, 5, 6, 6])
    """
    check(x, weight, bias, order, mask, stride, anchor, mode)
    if why_reference(x, weight, bias, mask, stride, mode) is None:
        x, *masks = autocast([x] if mask is None else [x, mask])
        weight, bias = cast_weight(x, weight, bias)
        out: Tensor = torch.ops.rotacube.cube_conv2d(x, weight, bias, order, masks[0] if masks else None, anchor)
        return out
    return _reference(x, weight, bias, order, mask, stride, anchor, mode)


def cube_conv2d_reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    order: Tensor | None = None,
    mask: Tensor | None = None,
    stride: int = 2,
    anchor: Anchor = "tl",
    mode: Mode = "lattice",
) -> Tensor:
    """Cube convolution in plain PyTorch: the oracle of the tests, and the path without a compiled library.

    Arguments, result and errors are those of `cube_conv2d`.
    """
    check(x, weight, bias, order, mask, stride, anchor, mode)
    return _reference(x, weight, bias, order, mask, stride, anchor, mode)


def why_reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    stride: int = 2,
    mode: Mode = "lattice",
) -> str | None:
    """Says why these arguments take the reference path, or None where the compiled kernel covers them."""
    if stride != 2 or mode != "lattice":
        return ABLATION_REFERENCE
    return why_no_convolution([t for t in (x, weight, bias, mask) if t is not None])


def check(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    order: Tensor | None = None,
    mask: Tensor | None = None,
    stride: int = 2,
    anchor: str = "tl",
    mode: str = "lattice",
) -> None:
    """Raises ValueError, with a sentence, where the arguments are no Cube convolution."""
    if anchor not in ("tl", "br"):
        raise ValueError(f'The anchor of a Cube convolution is "tl" or "br", not {anchor!r}.')
    if mode not in ("lattice", "grouped"):
        raise ValueError(f'The mode of a Cube convolution is "lattice" or "grouped", not {mode!r}.')
    if stride not in (1, 2):
        raise ValueError(f"The stride of a Cube convolution is 2, or 1 for the ablation, not {stride!r}.")
    if stride == 1 and (anchor != "tl" or mode != "lattice"):
        raise ValueError('Stride 1 samples the whole lattice: it goes with mode "lattice" and anchor "tl" only.')
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
    if mode == "grouped" and (weight.shape[0] % 4 != 0 or mask is not None):
        raise ValueError("A grouped Cube convolution has a multiple of 4 outputs and no mask.")
    _check_order(x, order)
    if mask is not None and mask.shape != (x.shape[0], 1, 2 * x.shape[2], 2 * x.shape[3]):
        raise ValueError(
            f"The mask of a Cube convolution over {tuple(x.shape)} has the shape ({x.shape[0]}, 1, {2 * x.shape[2]}, "
            f"{2 * x.shape[3]}), not {tuple(mask.shape)}."
        )


def _check_order(x: Tensor, order: Tensor | None) -> None:
    if order is None:
        return
    channels = x.shape[1]
    if order.shape != (channels,) or order.dtype != torch.int64 or order.device != x.device:
        raise ValueError(
            f"The order of a Cube convolution over {channels} channels is an int64 tensor of shape ({channels},) on "
            f"the input's device, not {order.dtype} {tuple(order.shape)} on {order.device}."
        )
    if order.device.type != "cpu" or torch.compiler.is_compiling():  # its values are not at hand
        return
    if not torch.equal(order.sort().values, torch.arange(channels)):
        raise ValueError("The order of a Cube convolution names each channel once.")


def _reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    order: Tensor | None = None,
    mask: Tensor | None = None,
    stride: int = 2,
    anchor: str = "tl",
    mode: str = "lattice",
) -> Tensor:
    if order is not None:
        x = x[:, order]
    half = weight.shape[2] // 2
    if x.numel() == 0 or weight.numel() == 0:
        scale = 3 - stride
        shape = (x.shape[0], weight.shape[0], scale * x.shape[2], scale * x.shape[3])
        return of_nothing(shape, [x, weight] if mask is None else [x, weight, mask], bias)
    if mode == "grouped":
        return F.conv2d(x, weight, bias, padding=half, groups=4)
    fine = F.pixel_shuffle(x, 2)
    if mask is not None:
        fine = fine * mask
    if anchor == "tl":
        return F.conv2d(fine, weight, bias, stride=stride, padding=half)
    return F.conv2d(F.pad(fine, (half - 1, half, half - 1, half)), weight, bias, stride=2)


def _fake(
    x: Tensor, weight: Tensor, bias: Tensor | None, order: Tensor | None, mask: Tensor | None, anchor: str
) -> Tensor:
    return empty_as(x, x.shape[0], weight.shape[0], x.shape[2], x.shape[3])


def _fake_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    order: Tensor | None,
    mask: Tensor | None,
    anchor: str,
    want_x: bool,
    want_weight: bool,
    want_mask: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    fine = (x.shape[0], 1, 2 * x.shape[2], 2 * x.shape[3])
    return (
        empty_as(x, *x.shape) if want_x else x.new_empty(0),
        weight.new_empty(weight.shape if want_weight else (0,)),
        x.new_empty(fine if want_mask else (0,)),
    )


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, bias, order, mask, ctx.anchor = inputs
    ctx.save_for_backward(x, weight, order, mask)
    ctx.bias_type = None if bias is None else bias.dtype


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, order, mask = ctx.saved_tensors
    want_x, want_weight, want_bias, _, want_mask, _ = ctx.needs_input_grad
    grad_x, grad_weight, grad_mask = torch.ops.rotacube.cube_conv2d_backward(
        grad, x, weight, order, mask, ctx.anchor, want_x, want_weight, want_mask
    )
    return (
        grad_x if want_x else None,
        grad_weight if want_weight else None,
        grad.sum((0, 2, 3), dtype=ctx.bias_type) if want_bias else None,
        None,
        grad_mask if want_mask else None,
        None,
    )


def _keep_twice(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    grad, x, weight, order, mask, ctx.anchor, *ctx.wanted = inputs
    ctx.save_for_backward(grad, x, weight, order, mask)


def _backward_twice(ctx: Any, *pulls: Tensor) -> tuple[Tensor | None, ...]:
    """The operator is linear in x, weight and mask: with a pull in the place of one, it gives the others' gradients."""
    grad, x, weight, order, mask = ctx.saved_tensors
    want_grad, want_x, want_weight, _, want_mask, *_ = ctx.needs_input_grad
    operators = torch.ops.rotacube
    sums: list[Tensor | None] = [None] * 4
    for place, pull in enumerate(pulls):
        if not ctx.wanted[place]:
            continue
        a, b, c = (pull if place == i else t for i, t in enumerate((x, weight, mask)))
        wanted = [want and place != i for i, want in enumerate((want_x, want_weight, want_mask))]
        parts: list[Any] = [operators.cube_conv2d(a, b, None, order, c, ctx.anchor) if want_grad else None]
        parts += operators.cube_conv2d_backward(grad, a, b, order, c, ctx.anchor, *wanted)
        for i, (part, want) in enumerate(zip(parts, (want_grad, *wanted), strict=True)):
            if want:
                before = sums[i]
                sums[i] = part if before is None else before + part
    by_grad, by_x, by_weight, by_mask = sums
    return by_grad, by_x, by_weight, None, by_mask, None, None, None, None


if _library.CPU.loaded:  # it carries the schemas
    torch.library.register_fake("rotacube::cube_conv2d", _fake)
    torch.library.register_autograd("rotacube::cube_conv2d", _backward, setup_context=_keep)
    torch.library.register_fake("rotacube::cube_conv2d_backward", _fake_backward)
    torch.library.register_autograd("rotacube::cube_conv2d_backward", _backward_twice, setup_context=_keep_twice)
