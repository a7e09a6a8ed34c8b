"""Kronecker feature fusion: n maps become n blocks, each a learnable mixture of all maps.

Maps `x_0 ... x_{n-1}` are (B, r, H, W) each, `weight` is (n, n) with rows `w_j`; the output is (B, n*r, H, W),
whose block b of r channels is `sum_j w_j[b] * x_j` (Kronecker Product Feature Fusion, `y = sum_j w_j (x) x_j`).
`w_j = e_j` is the concatenation, and `w_j = e_0` the sum of the maps in block 0, zeros below: both exactly.

The work is 2 * n^2 * r * H * W floating-point operations; the maps are read once and the output is written once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from rotacube.ops import _library
from rotacube.ops._dispatch import COMPILED, HALVES, autocast, empty_as, no_kernel_for, why_no_kernel

MOST_MAPS = 8  # that the compiled kernels take


def kronecker_fusion(xs: Sequence[Tensor], weight: Tensor) -> Tensor:
    """Kronecker feature fusion, on the compiled kernel where that covers the case, else on the reference.

    The compiled kernel covers 1 to 8 maps in float32, bfloat16 or float16 on the CPU, forward and backward; sums are
    float32, and so may be the weight of maps in half precision. The gradient of the weight does not depend on the
    number of threads. Maps that lie neither contiguous nor channels_last are copied first. Under autocast the maps are
    cast to its type, the weight is not. The operator may be differentiated any number of times.

    Args:
        xs: n maps (B, r, H, W) of one shape; any strides.
        weight: (n, n); row j holds the shares of map j in the n blocks.

    Returns:
        (B, n*r, H, W); channels_last where the first map is; of the maps' type, or of autocast's.

    Raises:
        ValueError: There are no maps, or the shapes do not fit each other.

    >>> kronecker_fusion([torch.ones(1, 4, 6, 6), torch.zeros(1, 4, 6, 6)], torch.eye(2)).mean((0, 2, 3))
    tensor([1., 1., 1., 1., 0., 0., 0., 0.])
    """
    check(xs, weight)
    maps = autocast(xs)
    if why_reference(maps, weight) is None:
        out: Tensor = torch.ops.rotacube.kronecker_fusion(maps, weight)
        return out
    return _reference(maps, weight)


def kronecker_fusion_reference(xs: Sequence[Tensor], weight: Tensor) -> Tensor:
    """Kronecker feature fusion in plain PyTorch: the oracle of the tests, and the path without a compiled library.

    Arguments, result and errors are those of `kronecker_fusion`.
    """
    check(xs, weight)
    return _reference(autocast(xs), weight)


def why_reference(xs: Sequence[Tensor], weight: Tensor) -> str | None:
    """Says why these tensors, autocast aside, take the reference path; None where the compiled kernel covers them."""
    why = why_no_kernel([*xs, weight])
    if why is not None:
        return why
    if len(xs) > MOST_MAPS:
        return f"the compiled kernel takes at most {MOST_MAPS} maps, not {len(xs)}"
    kind = xs[0].dtype
    if any(x.dtype != kind for x in xs):
        return "the maps are of different types"
    if kind not in COMPILED:
        return no_kernel_for(kind)
    if weight.dtype not in (kind, torch.float32):
        return "the weight is neither of the maps' type nor float32"
    return None


def check(xs: Sequence[Tensor], weight: Tensor) -> None:
    """Raises ValueError, with a sentence, where the arguments are no Kronecker fusion."""
    n = len(xs)
    if n == 0:
        raise ValueError("A Kronecker fusion takes one map or more, not none.")
    for x in xs:
        if x.dim() != 4:
            raise ValueError(f"A Kronecker fusion takes maps of shape (B, C, H, W), not {tuple(x.shape)}.")
        if x.shape != xs[0].shape:
            raise ValueError(
                f"A Kronecker fusion takes maps of one shape, not {tuple(xs[0].shape)} and {tuple(x.shape)}."
            )
    if weight.shape != (n, n):
        raise ValueError(
            f"The weight of a Kronecker fusion of {n} maps has the shape ({n}, {n}), not {tuple(weight.shape)}."
        )


def _reference(xs: Sequence[Tensor], weight: Tensor) -> Tensor:
    kind = reduce(torch.promote_types, (x.dtype for x in xs))
    wide = torch.float32 if kind in HALVES else kind
    maps, shares = [x.to(wide) for x in xs], weight.to(wide)
    blocks = []
    for b in range(len(maps)):
        block = shares[0, b] * maps[0]
        for j in range(1, len(maps)):
            block = block + shares[j, b] * maps[j]
        blocks.append(block)
    return torch.cat(blocks, 1).to(kind)


def _fake(xs: Sequence[Tensor], weight: Tensor) -> Tensor:
    batch, channels, *size = xs[0].shape
    return empty_as(xs[0], batch, len(xs) * channels, *size)


def _fake_backward(
    grad: Tensor, xs: Sequence[Tensor], weight: Tensor, want_xs: bool, want_weight: bool
) -> tuple[list[Tensor], Tensor]:
    grad_xs = [empty_as(xs[0], *xs[0].shape) for _ in xs] if want_xs else []
    return grad_xs, weight.new_empty(weight.shape if want_weight else (0,))


def _keep(ctx: Any, inputs: tuple[Sequence[Tensor], Tensor], output: Tensor) -> None:
    xs, weight = inputs
    ctx.save_for_backward(*xs, weight)


def _backward(ctx: Any, grad: Tensor) -> tuple[list[Tensor | None], Tensor | None]:
    *xs, weight = ctx.saved_tensors
    wanted, want_weight = ctx.needs_input_grad
    grad_xs, grad_weight = torch.ops.rotacube.kronecker_fusion_backward(grad, xs, weight, any(wanted), want_weight)
    pulls = [pull if want else None for pull, want in zip(grad_xs or [None] * len(xs), wanted, strict=True)]
    return pulls, grad_weight if want_weight else None


def _keep_twice(ctx: Any, inputs: tuple[Tensor, Sequence[Tensor], Tensor, bool, bool], output: Any) -> None:
    grad, xs, weight, ctx.want_xs, ctx.want_weight = inputs
    ctx.save_for_backward(grad, *xs, weight)


def _backward_twice(
    ctx: Any, pulls: list[Tensor], pull_weight: Tensor
) -> tuple[Tensor | None, list[Tensor | None], Tensor | None, None, None]:
    """The backward pass is linear in grad, and in maps and weight: its gradients are fusions and their gradients."""
    grad, *xs, weight = ctx.saved_tensors
    fuse, pull_back = torch.ops.rotacube.kronecker_fusion, torch.ops.rotacube.kronecker_fusion_backward
    to_grad: Tensor | None = None
    to_xs: list[Tensor | None] = [None] * len(xs)
    to_weight: Tensor | None = None
    if ctx.want_xs:
        to_grad = fuse(pulls, weight)
        to_weight = pull_back(grad, pulls, weight, False, True)[1]
    if ctx.want_weight:
        through_weight = fuse(xs, pull_weight)
        to_grad = through_weight if to_grad is None else to_grad + through_weight
        to_xs = pull_back(grad, xs, pull_weight, True, False)[0]
    return to_grad, to_xs, to_weight, None, None


if _library.CPU.loaded:  # it carries the schemas
    torch.library.register_fake("rotacube::kronecker_fusion", _fake)
    torch.library.register_autograd("rotacube::kronecker_fusion", _backward, setup_context=_keep)
    torch.library.register_fake("rotacube::kronecker_fusion_backward", _fake_backward)
    torch.library.register_autograd("rotacube::kronecker_fusion_backward", _backward_twice, setup_context=_keep_twice)
