"""The CUDA kernels of the Cube convolution on the emulator, against float64."""

from __future__ import annotations

import emulated
import pytest
import torch
import torch.nn.functional as F
from emulated import TYPES, Case, assert_near, some

F32, BF16, F16 = TYPES
CHANNELS_LAST = torch.channels_last


def reference(x, weight, bias=None, order=None, mask=None, anchor="tl"):
    half = weight.shape[2] // 2
    fine = F.pixel_shuffle(x if order is None else x[:, order], 2)
    fine = fine if mask is None else fine * mask
    after = 0 if anchor == "tl" else 1
    fine = F.pad(fine, (half - after, half, half - after, half))
    return F.conv2d(fine, weight, bias, stride=2)[:, :, : x.shape[2], : x.shape[3]]


def start(x, weight, order, mask, anchor):
    shape = (*x.shape, weight.shape[0], weight.shape[2], anchor == "br")
    case = Case(0, TYPES.index(x.dtype), *shape, shared_limit=emulated.SMALL)  # it needs no more
    case.numbers(weight.dtype == F32)
    for tensor in (x, weight):
        case.tensor(tensor)
        case.strides(tensor)
    case.tensor(order)
    case.tensor(mask)
    case.strides(mask)
    return case


def forward(run, x, weight, bias=None, order=None, mask=None, anchor="tl"):
    case = start(x, weight, order, mask, anchor)
    case.numbers(0)
    case.tensor(bias)
    y = x.new_empty((x.shape[0], weight.shape[0], *x.shape[2:]))
    y = y if x.is_contiguous() or x.stride(1) != 1 else y.contiguous(memory_format=CHANNELS_LAST)
    case.output(y)
    case.strides(y)
    return run(case)[0]


def backward(run, grad, x, weight, order=None, mask=None, anchor="tl", wanted=("x", "mask", "weight")):
    case = start(x, weight, order, mask, anchor)
    case.numbers(1)
    case.tensor(grad)
    case.strides(grad)
    grad_x = torch.empty_like(x) if "x" in wanted else None
    case.output(grad_x)
    case.strides(grad_x)
    case.output(torch.empty(mask.shape, dtype=x.dtype) if mask is not None and "mask" in wanted else None)
    case.output(torch.empty(weight.shape, dtype=weight.dtype) if "weight" in wanted else None)
    return run(case)


def operands(dtype, shape, outputs, kernel, layout, weight_type, extras):
    batch, channels, height, width = shape
    if layout == "sliced":  # neither contiguous nor aligned
        x = some(batch, channels + 3, height, width + 1).to(dtype)[:, 2:-1, :, 1:]
    elif layout == "misaligned":
        x = some(batch, height, width, channels + 4).to(dtype)[..., 1:-3].permute(0, 3, 1, 2)
    else:
        x = some(*shape).to(dtype).contiguous(memory_format=layout)
    weight = some(outputs, channels // 4, kernel, kernel, seed=1).to(weight_type)
    weight = weight.contiguous(memory_format=CHANNELS_LAST) if "weight" in extras else weight
    bias = some(outputs, seed=2).to(weight_type) if "bias" in extras else None
    order = torch.randperm(channels, generator=torch.Generator().manual_seed(3)) if "order" in extras else None
    mask = some(batch, 1, 2 * height, 2 * width, seed=4).sigmoid().to(dtype) if "mask" in extras else None
    return x, weight, bias, order, mask


CASES = [
    # type, shape, outputs, K, layout, type of the weight, extras, anchor
    (F32, (2, 8, 5, 7), 5, 3, torch.contiguous_format, F32, "bias", "tl"),
    (F32, (1, 16, 6, 5), 8, 3, CHANNELS_LAST, F32, "bias order mask", "br"),
    (F32, (1, 4, 1, 3), 1, 1, "sliced", F32, "mask", "br"),
    (BF16, (2, 40, 9, 8), 104, 3, CHANNELS_LAST, F32, "bias mask", "tl"),
    (BF16, (1, 24, 11, 13), 17, 3, CHANNELS_LAST, BF16, "weight", "br"),
    (BF16, (1, 12, 5, 4), 8, 5, "misaligned", BF16, "bias order", "tl"),
    (F16, (1, 136, 6, 6), 40, 3, CHANNELS_LAST, F16, "bias", "tl"),
    (F16, (2, 20, 3, 8), 9, 5, torch.contiguous_format, F32, "order mask weight", "br"),
    (F16, (1, 8, 12, 12), 129, 1, CHANNELS_LAST, F16, "", "tl"),
    (F16, (1, 16, 4, 3), 16, 7, CHANNELS_LAST, F16, "mask", "br"),
    (F32, (1, 8, 20, 17), 3, 3, CHANNELS_LAST, F32, "", "tl"),  # pixels that some blocks share
    (BF16, (3, 8, 15, 17), 8, 3, torch.contiguous_format, F32, "order", "br"),
]


@pytest.mark.parametrize("dtype,shape,outputs,kernel,layout,weight_type,extras,anchor", CASES)
def test_agrees_with_float64(run, dtype, shape, outputs, kernel, layout, weight_type, extras, anchor):
    x, weight, bias, order, mask = operands(dtype, shape, outputs, kernel, layout, weight_type, extras.split())
    leaves = [x, weight, bias, mask]
    exact = [None if leaf is None else leaf.to(dtype).double().requires_grad_() for leaf in leaves]
    want = reference(exact[0], exact[1], exact[2], order, exact[3], anchor)
    assert_near(forward(run, x, weight, bias, order, mask, anchor), want, dtype)

    pull = some(*want.shape, seed=5).to(dtype)
    pull = pull.contiguous(memory_format=layout) if isinstance(layout, torch.memory_format) else pull
    inputs = [exact[0], exact[3], exact[1]] if mask is not None else [exact[0], exact[1]]
    wanted = torch.autograd.grad(want, inputs, pull.double())
    got = backward(run, pull, x, weight, order, mask, anchor)
    assert len(got) == len(wanted)
    for one, other in zip(got, wanted, strict=True):
        assert_near(one, other, dtype)


def test_only_what_is_wanted(run):
    x, weight, _, order, mask = operands(F32, (1, 8, 4, 5), 3, 3, CHANNELS_LAST, F32, ["order", "mask"])
    pull = some(1, 3, 4, 5, seed=5)
    every = backward(run, pull, x, weight, order, mask)
    for number, name in enumerate(("x", "mask", "weight")):
        (alone,) = backward(run, pull, x, weight, order, mask, wanted=(name,))
        assert torch.equal(alone, every[number])


@pytest.mark.parametrize("shape", [(0, 8, 4, 4), (2, 8, 0, 4)])
def test_empty_inputs(run, shape):
    x, weight = some(*shape), some(3, 2, 3, 3)
    assert forward(run, x, weight).shape == (shape[0], 3, *shape[2:])
    grad_x, grad_weight = backward(run, some(shape[0], 3, *shape[2:]), x, weight)
    assert grad_x.numel() == 0
    assert torch.equal(grad_weight, torch.zeros_like(weight))


def test_what_is_not_finite_stays_where_it_is(run):
    x = some(1, 8, 6, 9).contiguous(memory_format=CHANNELS_LAST)
    x[0, 4:8, 2, 3] = float("nan")
    got = forward(run, x, some(5, 2, 3, 3, seed=1))
    assert bool((~got[0, :, 2:4, 3:5].isfinite()).all())
    got[..., 2:4, 3:5] = 0
    assert bool(got.isfinite().all())
