"""The rotation-invariant convolution: a kernel in several orientations, pooled over them at every pixel.

Input `x` is (B, C, H, W). With W_r the kernel turned by r * 90 degrees (counter-clockwise, as `torch.rot90` turns), the
four symmetric orientations of a filter are `y_r = W_r * x` (Accelerated Rotation-Invariant Convolution, equations 5 to
8), pooled by their maximum or mean (9, 10). N = 4m orientations take two base filters: `G_t = cos(theta_t) Gx +
sin(theta_t) Gy`, theta_t = t * 90/m degrees, t = 0 ... m-1 (17), each with its four symmetric orientations, pooled in
fours: m * O outputs, those of t = 0 first.

Turning the input by 90 degrees turns the pooled output. The mean of the four is one convolution with the kernel's mean
over its rotations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from rotacube.ops import _library
from rotacube.ops._dispatch import HALVES, autocast, cast_weight, empty_as, of_nothing, why_no_convolution
from rotacube.ops.rotation_plan import choose

Pool = Literal["max", "mean"] | None

DIRECT_REFERENCE = "the planner's table has PyTorch's own convolution for this layer"
UNPOOLED_REFERENCE = "without pooling all orientations are wanted: one convolution with all of them is the way"
MEAN_REFERENCE = (
    "the compiled mean is for K = 3 with a padding of at most 2: one convolution with the averaged kernel is used"
)


def rotation_conv2d(
    x: Tensor,
    weight: Tensor,
    *,
    orientations: int = 4,
    pool: Pool = "max",
    padding: int | Literal["same"] = "same",
    bias: Tensor | None = None,
) -> Tensor:
    """Rotation-invariant convolution, on the compiled kernels where the planner has them, else in plain PyTorch.

    The compiled kernels cover the maximum for K = 3, 5, 7 and the mean for K = 3, in float32, bfloat16 and float16 on
    the CPU, forward and backward, also under autocast; sums are float32. Only the index of the maximum is kept for the
    gradients, two bits an output.

    Args:
        x: (B, C, H, W); any strides.
        weight: (O, C, K, K) for 1 or 4 orientations; (2, O, C, K, K), the base filters Gx and Gy, for 4m with m > 1;
            K odd, of the type of `x`.
        orientations: 1 (a plain convolution), 4, 8, 12, ...
        pool: over the four of each group; None gives all of them.
        padding: zeros on every side; "same" is K // 2.
        bias: (m * O,), added after pooling, or None.

    Returns:
        (B, m * O, H', W') with H' = H + 2 * padding - K + 1; without pooling (B, m * O, 4, H', W'), or for one
        orientation (B, O, 1, H', W'). channels_last where `x` is; of the type of `x`, or of autocast.

    Raises:
        ValueError: The shapes do not fit each other, K is even, or a choice is unknown.

    >>> rotation_conv2d(torch.ones(1, 3, 6, 6), torch.ones(5, 3, 3, 3)).shape
    torch.Size([1, 5, 6, 6])
    """
    side = check(x, weight, orientations, pool, padding, bias)
    filters = steer(weight, orientations)
    rotations = min(orientations, 4)
    if why_reference(x, filters, rotations, pool, side, bias) is not None:
        return _reference(x, filters, rotations, pool, side, bias)
    (cast,) = autocast([x])
    filters, bias = cast_weight(cast, filters, bias)
    out: Tensor
    if pool == "mean":
        out = torch.ops.rotacube.rotation_mean(cast, filters, bias, side)
    else:
        wants = torch.is_grad_enabled() and any(t.requires_grad for t in (cast, filters))
        out, _ = torch.ops.rotacube.rotation_conv2d(cast, filters, bias, rotations, side, wants, "scatter")
    return out


def rotation_conv2d_reference(
    x: Tensor,
    weight: Tensor,
    *,
    orientations: int = 4,
    pool: Pool = "max",
    padding: int | Literal["same"] = "same",
    bias: Tensor | None = None,
) -> Tensor:
    """Rotation-invariant convolution in plain PyTorch: the oracle of the tests, and the path without a library.

    Arguments, result and errors are those of `rotation_conv2d`.
    """
    side = check(x, weight, orientations, pool, padding, bias)
    return _reference(x, steer(weight, orientations), min(orientations, 4), pool, side, bias)


def why_reference(
    x: Tensor, filters: Tensor, rotations: int, pool: Pool, padding: int, bias: Tensor | None = None
) -> str | None:
    """Says why these arguments take plain PyTorch, or None where a compiled kernel runs. `filters` are steered."""
    why = why_no_convolution([x, filters] if bias is None else [x, filters, bias])
    if why is not None:
        return why
    if pool is None:
        return UNPOOLED_REFERENCE
    kernel = filters.shape[2]
    if pool == "mean" and rotations == 4:
        return None if kernel == 3 and padding <= 2 else MEAN_REFERENCE
    kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    return None if choose(rotations, kernel, kind, x.shape[1]) == "scatter" else DIRECT_REFERENCE


def check(
    x: Tensor,
    weight: Tensor,
    orientations: int = 4,
    pool: str | None = "max",
    padding: int | str = "same",
    bias: Tensor | None = None,
) -> int:
    """Returns the padding in pixels; raises ValueError, with a sentence, where this is no rotation convolution."""
    if orientations != 1 and (orientations < 4 or orientations % 4 != 0):
        raise ValueError(f"A rotation convolution has 1 orientation or a multiple of 4, not {orientations}.")
    if pool not in ("max", "mean", None):
        raise ValueError(f'A rotation convolution pools by "max", "mean" or None, not {pool!r}.')
    if x.dim() != 4:
        raise ValueError(f"A rotation convolution takes an input of shape (B, C, H, W), not {tuple(x.shape)}.")
    steerable = orientations > 4
    wanted = f"({'2, ' if steerable else ''}O, {x.shape[1]}, K, K)"
    if (
        weight.dim() != 4 + steerable
        or weight.shape[-3] != x.shape[1]
        or (steerable and weight.shape[0] != 2)
        or weight.shape[-1] != weight.shape[-2]
    ):
        raise ValueError(
            f"The weight of a rotation convolution over {x.shape[1]} channels with {orientations} orientations has the "
            f"shape {wanted}, not {tuple(weight.shape)}."
        )
    kernel = weight.shape[-1]
    if kernel % 2 == 0:
        raise ValueError(f"The kernel of a rotation convolution is square and odd, not {kernel} x {kernel}.")
    if padding != "same" and (not isinstance(padding, int) or padding < 0):
        raise ValueError(f'The padding of a rotation convolution is "same" or a number of pixels, not {padding!r}.')
    side = kernel // 2 if padding == "same" else int(padding)
    if min(x.shape[2:]) + 2 * side < kernel:
        raise ValueError(
            f"A rotation convolution of {kernel} x {kernel} with padding {side} needs a larger input than "
            f"{x.shape[2]} x {x.shape[3]} pixels."
        )
    outputs = weight.shape[-4] * max(orientations // 4, 1)
    if bias is not None and bias.shape != (outputs,):
        raise ValueError(
            f"The bias of a rotation convolution with {outputs} outputs has the shape ({outputs},), "
            f"not {tuple(bias.shape)}."
        )
    return side


def steer(weight: Tensor, orientations: int) -> Tensor:
    """The filters before their four rotations: (O, C, K, K) as they are; (2, O, C, K, K) to (m * O, C, K, K)."""
    if orientations <= 4:
        return weight
    steps = orientations // 4
    angles = [t * math.pi / (2 * steps) for t in range(steps)]
    along, across = _wide(weight).unbind(0)
    return torch.cat([math.cos(angle) * along + math.sin(angle) * across for angle in angles]).to(weight.dtype)


def averaged(filters: Tensor) -> Tensor:
    """The mean of (O, C, K, K) over its four rotations."""
    wide = _wide(filters)
    return (sum((torch.rot90(wide, r, (2, 3)) for r in range(1, 4)), wide) / 4).to(filters.dtype)


def _wide(weight: Tensor) -> Tensor:
    """Half precisions as float32, so that what is computed of a weight is rounded once."""
    return weight.float() if weight.dtype in HALVES else weight


def _reference(x: Tensor, filters: Tensor, rotations: int, pool: Pool, padding: int, bias: Tensor | None) -> Tensor:
    if rotations == 1 or (filters.shape[2] == 1 and pool is not None):  # of one tap all rotations are equal
        out = _convolve(x, filters, bias, padding)
        return out if pool is not None else out.unsqueeze(2)
    if pool == "mean":
        return _convolve(x, averaged(filters), bias, padding)
    if pool is None:
        return torch.stack([_convolve(x, torch.rot90(filters, r, (2, 3)), bias, padding) for r in range(4)], 2)
    best = _convolve(x, filters, bias, padding)
    for r in range(1, 4):
        turned = _convolve(x, torch.rot90(filters, r, (2, 3)), bias, padding)
        # Of equal values the first, and what is no number stays: as the kernels do it.
        best = torch.where((turned > best) | turned.isnan(), turned, best)
    return best


def _convolve(x: Tensor, filters: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    if x.numel() == 0 or filters.numel() == 0:
        return of_nothing(_out_shape(x, filters.shape[0], filters.shape[2], padding), [x, filters], bias)
    return F.conv2d(x, filters, bias, padding=padding)


def _out_shape(x: Tensor, outputs: int, kernel: int, padding: int) -> Sequence[int]:
    return (x.shape[0], outputs, *(size + 2 * padding - kernel + 1 for size in x.shape[2:]))


def _fake(
    x: Tensor, weight: Tensor, bias: Tensor | None, rotations: int, padding: int, want_index: bool, algorithm: str
) -> tuple[Tensor, Tensor]:
    out = empty_as(x, *_out_shape(x, weight.shape[0], weight.shape[2], padding))
    words = (out.shape[0], out.shape[2], out.shape[3], (weight.shape[0] + 15) // 16)
    return out, x.new_empty(words if want_index and rotations > 1 else (0,), dtype=torch.int32)


def _fake_backward(
    grad: Tensor,
    index: Tensor,
    x: Tensor,
    weight: Tensor,
    rotations: int,
    padding: int,
    want_x: bool,
    want_weight: bool,
) -> tuple[Tensor, Tensor]:
    return (
        empty_as(x, *x.shape) if want_x else x.new_empty(0),
        weight.new_empty(weight.shape if want_weight else (0,)),
    )


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, weight, bias, ctx.rotations, ctx.padding, ctx.want_index, ctx.algorithm = inputs
    ctx.save_for_backward(x, weight, output[1])
    ctx.bias_type = None if bias is None else bias.dtype
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    x, weight, index = ctx.saved_tensors
    want_x, want_weight, want_bias, *_ = ctx.needs_input_grad
    grad_x = grad_weight = None
    if want_x or want_weight:
        if ctx.rotations > 1 and not ctx.want_index:  # the operator was called without: it is found again
            with torch.no_grad():
                _, index = torch.ops.rotacube.rotation_conv2d(
                    x, weight, None, ctx.rotations, ctx.padding, True, ctx.algorithm
                )
        grad_x, grad_weight = torch.ops.rotacube.rotation_conv2d_backward(
            grad, index, x, weight, ctx.rotations, ctx.padding, want_x, want_weight
        )
    return (
        grad_x if want_x else None,
        grad_weight if want_weight else None,
        grad.sum((0, 2, 3), dtype=ctx.bias_type) if want_bias else None,
        *(None,) * 4,
    )


def _keep_twice(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    grad, index, x, weight, ctx.rotations, ctx.padding, *ctx.wanted = inputs
    ctx.save_for_backward(grad, index, x, weight)


def _backward_twice(ctx: Any, *pulls: Tensor) -> tuple[Tensor | None, ...]:
    """At fixed maxima the operator is linear in x and weight: a pull in the place of one gives the other's gradient."""
    grad, index, x, weight = ctx.saved_tensors
    want_grad, _, want_x, want_weight, *_ = ctx.needs_input_grad
    by_grad = by_x = by_weight = None
    for place, (pull, wanted) in enumerate(zip(pulls, ctx.wanted, strict=True)):
        if not wanted:
            continue
        a, b = (pull, weight) if place == 0 else (x, pull)
        if want_grad:
            part = _at_maxima(a, b, index, ctx.rotations, ctx.padding)
            by_grad = part if by_grad is None else by_grad + part
        through = torch.ops.rotacube.rotation_conv2d_backward(
            grad, index, a, b, ctx.rotations, ctx.padding, want_x and place == 1, want_weight and place == 0
        )
        if place == 0:
            by_weight = through[1] if want_weight else None
        else:
            by_x = through[0] if want_x else None
    return (by_grad, None, by_x, by_weight, *(None,) * 4)


def _at_maxima(x: Tensor, weight: Tensor, index: Tensor, rotations: int, padding: int) -> Tensor:
    """The convolution with the rotations that the index names, in plain PyTorch: second derivatives are rare."""
    with torch.autocast(x.device.type, enabled=False):
        turned = [_convolve(x, torch.rot90(weight.to(x.dtype), r, (2, 3)), None, padding) for r in range(rotations)]
    if rotations == 1:
        return turned[0]
    return torch.stack(turned).gather(0, unpack_index(index, weight.shape[0])[None])[0]


def unpack_index(index: Tensor, outputs: int) -> Tensor:
    """The rotations (B, O, H', W') int64 of the maxima, from the compiled kernel's words (B, H', W', ceil(O / 16))."""
    output = torch.arange(outputs, device=index.device)
    words = index[..., output // 16]
    low, high = (words >> (output % 16)) & 1, (words >> (16 + output % 16)) & 1
    return (low + 2 * high).permute(0, 3, 1, 2).long()


def _fake_mean(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    return empty_as(x, *_out_shape(x, weight.shape[0], 3, padding))


def _fake_mean_backward(grad: Tensor, x: Tensor, weight: Tensor, padding: int) -> Tensor:
    return weight.new_empty(weight.shape)


def _keep_mean(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, bias, ctx.padding = inputs
    ctx.save_for_backward(x, weight)
    ctx.bias_type = None if bias is None else bias.dtype


def _backward_mean(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """The kernel is its own half turn: the gradient of x is the same operator, outputs and channels exchanged."""
    x, weight = ctx.saved_tensors
    want_x, want_weight, want_bias, _ = ctx.needs_input_grad
    operators = torch.ops.rotacube
    return (
        operators.rotation_mean(grad, weight.transpose(0, 1), None, 2 - ctx.padding) if want_x else None,
        operators.rotation_mean_backward_weight(grad, x, weight, ctx.padding) if want_weight else None,
        grad.sum((0, 2, 3), dtype=ctx.bias_type) if want_bias else None,
        None,
    )


def _keep_mean_twice(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    grad, x, _, ctx.padding = inputs
    ctx.save_for_backward(grad, x)


def _backward_mean_twice(ctx: Any, pull: Tensor) -> tuple[Tensor | None, ...]:
    grad, x = ctx.saved_tensors
    operators = torch.ops.rotacube
    return (
        operators.rotation_mean(x, pull, None, ctx.padding),
        operators.rotation_mean(grad, pull.transpose(0, 1), None, 2 - ctx.padding),
        None,
        None,
    )


if _library.CPU.loaded:  # it carries the schemas
    torch.library.register_fake("rotacube::rotation_conv2d", _fake)
    torch.library.register_autograd("rotacube::rotation_conv2d", _backward, setup_context=_keep)
    torch.library.register_fake("rotacube::rotation_conv2d_backward", _fake_backward)
    torch.library.register_autograd("rotacube::rotation_conv2d_backward", _backward_twice, setup_context=_keep_twice)
    torch.library.register_fake("rotacube::rotation_mean", _fake_mean)
    torch.library.register_autograd("rotacube::rotation_mean", _backward_mean, setup_context=_keep_mean)
    torch.library.register_fake("rotacube::rotation_mean_backward_weight", _fake_mean_backward)
    torch.library.register_autograd(
        "rotacube::rotation_mean_backward_weight", _backward_mean_twice, setup_context=_keep_mean_twice
    )
