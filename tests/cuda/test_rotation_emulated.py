"""The CUDA kernels of the rotation-invariant convolution on the emulator, against float64."""

from __future__ import annotations

import emulated
import pytest
import torch
import torch.nn.functional as F
from emulated import TYPES, Case, assert_near, some

F32, BF16, F16 = TYPES
CHANNELS_LAST = torch.channels_last
PASSES = {"scatter": 0, "fourier": 1, "backward": 2}


def each_rotation(x, weight, rotations, padding):
    """(rotations, B, O, H', W')."""
    turned = [torch.rot90(weight, r, (2, 3)) for r in range(rotations)]
    return torch.stack([F.conv2d(x, one, padding=padding) for one in turned])


def start(which, x, weight, rotations, padding, shared_limit=emulated.LARGE):
    outputs, kernel = weight.shape[0], weight.shape[2]
    case = Case(1, TYPES.index(x.dtype), *x.shape, outputs, kernel, padding, rotations, shared_limit=shared_limit)
    case.numbers(weight.dtype == F32)
    for tensor in (x, weight):
        case.tensor(tensor)
        case.strides(tensor)
    case.numbers(PASSES[which])
    return case


def forward(run, which, x, weight, bias, rotations, padding, want_index=True, **options):
    case = start(which, x, weight, rotations, padding, **options)
    case.tensor(bias)
    side = 2 * padding - weight.shape[2] + 1
    y = x.new_empty((x.shape[0], weight.shape[0], x.shape[2] + side, x.shape[3] + side))
    y = y if x.is_contiguous() or x.stride(1) != 1 else y.contiguous(memory_format=CHANNELS_LAST)
    words = (weight.shape[0] + 15) // 16
    index = torch.empty((y.shape[0], *y.shape[2:], words), dtype=torch.int32) if want_index else None
    case.output(y)
    case.strides(y)
    case.output(index)
    return run(case)


def backward(run, grad, index, x, weight, rotations, padding, **options):
    case = start("backward", x, weight, rotations, padding, **options)
    case.tensor(grad)
    case.strides(grad)
    case.tensor(index)
    grad_x = torch.empty_like(x)
    case.output(grad_x)
    case.strides(grad_x)
    case.output(torch.empty(weight.shape, dtype=weight.dtype))
    return run(case)


def rotations_in(index, outputs):
    """The arg-max as numbers, (B, O, H', W')."""
    o = torch.arange(outputs)
    words = index.long()[..., o // 16]
    return ((words >> o % 16 & 1) | (words >> (16 + o % 16) & 1) << 1).permute(0, 3, 1, 2)


def index_of(rotations):
    """The words of an arg-max (B, O, H', W'); what stands beyond the last output is set, so that it must be ignored."""
    batch, outputs, height, width = rotations.shape
    words = (outputs + 15) // 16
    full = torch.full((batch, height, width, 16 * words), 3)
    full[..., :outputs] = rotations.permute(0, 2, 3, 1)
    full, o = full.unflatten(-1, (words, 16)), torch.arange(16)
    bits = ((full & 1) << o).sum(-1) | ((full >> 1) << (16 + o)).sum(-1)
    return torch.where(bits >= 2**31, bits - 2**32, bits).int()


def operands(dtype, shape, outputs, kernel, layout, weight_type):
    batch, channels, height, width = shape
    if layout == "sliced":
        x = some(batch, channels + 3, height, width + 1).to(dtype)[:, 2:-1, :, 1:]
    elif layout == "misaligned":
        x = some(batch, height, width, channels + 4).to(dtype)[..., 1:-3].permute(0, 3, 1, 2)
    else:
        x = some(*shape).to(dtype).contiguous(memory_format=layout)
    weight = some(outputs, channels, kernel, kernel, seed=1).to(weight_type)
    return x, weight, some(outputs, seed=2).to(weight_type)


def check_forward(run, which, x, weight, bias, rotations, padding, **options):
    got = forward(run, which, x, weight, bias, rotations, padding, want_index=rotations == 4, **options)
    each = each_rotation(x.double(), weight.to(x.dtype).double(), rotations, padding)
    want = each.amax(0) + (0 if bias is None else bias.to(x.dtype).double().reshape(-1, 1, 1))
    assert_near(got[0], want, x.dtype)
    if rotations == 4:  # the rotation that was taken is the largest, or as large to rounding
        taken = each.gather(0, rotations_in(got[1], weight.shape[0])[None])[0]
        assert_near(taken.to(x.dtype), each.amax(0), x.dtype)
        assert (taken == each.amax(0)).float().mean() > 0.99 or taken.numel() < 200


CASES = [
    # type, shape, outputs, K, padding, layout, type of the weight, rotations
    (F32, (2, 5, 7, 9), 6, 3, 1, torch.contiguous_format, F32, 4),
    (F32, (1, 8, 16, 15), 20, 3, 1, CHANNELS_LAST, F32, 4),
    (BF16, (2, 24, 9, 18), 17, 3, 1, CHANNELS_LAST, F32, 4),
    (BF16, (1, 35, 6, 5), 65, 3, 0, "misaligned", BF16, 4),
    (F16, (1, 16, 5, 33), 16, 3, 2, CHANNELS_LAST, F16, 4),
    (F16, (2, 72, 3, 3), 8, 3, 1, CHANNELS_LAST, F32, 4),
    (BF16, (1, 3, 4, 4), 1, 3, 3, "sliced", F32, 4),
    (F16, (1, 8, 17, 19), 18, 5, 2, CHANNELS_LAST, F16, 4),
    (F32, (1, 4, 13, 12), 3, 7, 3, torch.contiguous_format, F32, 4),
    (BF16, (1, 8, 7, 7), 33, 7, 0, CHANNELS_LAST, BF16, 4),
    (F16, (2, 9, 15, 14), 5, 3, 1, "sliced", F32, 1),
    (BF16, (1, 16, 6, 7), 24, 5, 1, CHANNELS_LAST, F32, 1),
    (F32, (1, 4, 9, 9), 4, 7, 3, CHANNELS_LAST, F32, 1),
    (F16, (2, 8, 19, 16), 8, 3, 1, CHANNELS_LAST, F32, 4),  # pixels that some blocks share
]
ARGUMENTS = "dtype,shape,outputs,kernel,padding,layout,weight_type,rotations"


@pytest.mark.parametrize(ARGUMENTS, CASES)
def test_scatter(run, dtype, shape, outputs, kernel, padding, layout, weight_type, rotations):
    x, weight, bias = operands(dtype, shape, outputs, kernel, layout, weight_type)
    check_forward(run, "scatter", x, weight, bias, rotations, padding)


@pytest.mark.parametrize("shared_limit", [emulated.SMALL, emulated.LARGE])
@pytest.mark.parametrize(ARGUMENTS, [case for case in CASES if case[3] == 3 and case[7] == 4])
def test_fourier(run, shared_limit, dtype, shape, outputs, kernel, padding, layout, weight_type, rotations):
    x, weight, bias = operands(dtype, shape, outputs, kernel, layout, weight_type)
    check_forward(run, "fourier", x, weight, bias, rotations, padding, shared_limit=shared_limit)


@pytest.mark.parametrize("shared_limit", [emulated.SMALL, emulated.LARGE])
@pytest.mark.parametrize(ARGUMENTS, CASES)
def test_backward(run, shared_limit, dtype, shape, outputs, kernel, padding, layout, weight_type, rotations):
    x, weight, _ = operands(dtype, shape, outputs, kernel, layout, weight_type)
    exact = [leaf.to(dtype).double().requires_grad_() for leaf in (x, weight)]
    each = each_rotation(*exact, rotations, padding)
    best, which = each.max(0)
    pull = some(*best.shape, seed=5).to(dtype)
    pull = pull.contiguous(memory_format=layout) if isinstance(layout, torch.memory_format) else pull
    index = index_of(which) if rotations == 4 else None
    got = backward(run, pull, index, x, weight, rotations, padding, shared_limit=shared_limit)
    want = torch.autograd.grad(each.gather(0, which[None])[0], exact, pull.double())
    for one, other in zip(got, want, strict=True):
        assert_near(one, other, dtype)


@pytest.mark.parametrize("which", ["scatter", "fourier"])
def test_of_equal_rotations_the_first_is_taken(run, which):
    x, weight = some(1, 4, 5, 6), torch.zeros(18, 4, 3, 3)
    weight[:, :, 1, 1] = 1  # of the centre alone all rotations are equal
    _, index = forward(run, which, x, weight, None, 4, 1)
    assert int(index.abs().max()) == 0


@pytest.mark.parametrize("which", ["scatter", "fourier"])
def test_turning_the_input_turns_the_output(run, which):
    x, weight = some(1, 5, 9, 9), some(7, 5, 3, 3, seed=1)
    plain, _ = forward(run, which, x, weight, None, 4, 1)
    turned, _ = forward(run, which, torch.rot90(x, 1, (2, 3)).contiguous(), weight, None, 4, 1)
    assert_near(turned, torch.rot90(plain, 1, (2, 3)).double(), F32)


def test_fourier_refuses_what_it_does_not_cover(run):
    x = some(1, 4, 6, 6)
    assert forward(run, "fourier", x, some(2, 4, 5, 5), None, 4, 2) is None
    assert forward(run, "fourier", x, some(2, 4, 3, 3), None, 1, 1, want_index=False) is None


@pytest.mark.parametrize("which", ["scatter", "fourier"])
def test_empty_inputs(run, which):
    x, weight = some(0, 4, 5, 5), some(3, 4, 3, 3)
    y, index = forward(run, which, x, weight, None, 4, 1)
    assert (y.shape, index.shape) == ((0, 3, 5, 5), (0, 5, 5, 1))
    grad_x, grad_weight = backward(run, some(0, 3, 5, 5), index, x, weight, 4, 1)
    assert grad_x.shape == x.shape
    assert torch.equal(grad_weight, torch.zeros_like(weight))
