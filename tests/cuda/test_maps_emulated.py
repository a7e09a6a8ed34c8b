"""The CUDA kernels of Kronecker fusion and Involution on the emulator, against float64."""

from __future__ import annotations

import emulated
import pytest
import torch
from emulated import TYPES, Case, assert_near, some

from rotacube.ops.involution import involution2d_reference
from rotacube.ops.kronecker import kronecker_fusion_reference

F32, BF16, F16 = TYPES
CONTIGUOUS, CHANNELS_LAST = torch.contiguous_format, torch.channels_last


def misaligned(tensor):
    """The same values, one element past a border of 16 bytes."""
    flat = torch.empty(tensor.numel() + 1, dtype=tensor.dtype)[1:]
    return flat.as_strided(tensor.shape, tensor.stride()).copy_(tensor)


def kronecker(run, xs, weight, grad=None, wanted=("xs", "weight")):
    batch, channels, height, width = xs[0].shape
    last = xs[0].is_contiguous(memory_format=CHANNELS_LAST) and channels > 1
    outer, inner = (batch * height * width, channels) if last else (batch, channels * height * width)
    case = Case(2, TYPES.index(xs[0].dtype), len(xs), outer, inner, shared_limit=emulated.SMALL)
    for tensor in (*xs, weight):
        case.tensor(tensor)
    case.numbers(weight.dtype == F32)
    case.tensor(grad)
    if grad is None:
        layout = CHANNELS_LAST if last else CONTIGUOUS
        fused = torch.empty(batch, len(xs) * channels, height, width, dtype=xs[0].dtype)
        case.output(fused.contiguous(memory_format=layout))
    else:
        for x in xs:
            case.output(torch.empty_like(x) if "xs" in wanted else None)
        case.output(torch.empty_like(weight) if "weight" in wanted else None)
    return run(case)


KRONECKER = [
    # type, maps, shape of a map, memory format, type of the weight, aligned
    (F32, 2, (2, 8, 3, 5), CONTIGUOUS, F32, True),
    (F32, 3, (1, 12, 4, 4), CHANNELS_LAST, F32, True),
    (F32, 8, (2, 4, 3, 3), CHANNELS_LAST, F32, True),
    (F32, 2, (1, 8, 5, 5), CHANNELS_LAST, F32, False),
    (BF16, 4, (2, 16, 9, 7), CHANNELS_LAST, F32, True),
    (BF16, 5, (1, 7, 3, 3), CHANNELS_LAST, BF16, True),
    (F16, 2, (3, 8, 5, 9), CONTIGUOUS, F16, True),
    (F16, 3, (1, 24, 40, 40), CHANNELS_LAST, F32, True),  # many blocks
]


@pytest.mark.parametrize("dtype,maps,shape,layout,weight_type,whole", KRONECKER)
def test_kronecker_agrees_with_float64(run, dtype, maps, shape, layout, weight_type, whole):
    xs = [some(*shape, dtype=dtype, seed=j).contiguous(memory_format=layout) for j in range(maps)]
    xs = xs if whole else [misaligned(x) for x in xs]
    weight = some(maps, maps, seed=20).to(weight_type)
    exact = [t.double().requires_grad_() for t in (*xs, weight)]
    want = kronecker_fusion_reference(exact[:-1], exact[-1])
    (got,) = kronecker(run, xs, weight)
    assert_near(got, want, dtype)

    pull = some(*want.shape, dtype=dtype, seed=21).contiguous(memory_format=layout)
    got = kronecker(run, xs, weight, pull)
    for one, other in zip(got, torch.autograd.grad(want, exact, pull.double()), strict=True):
        assert_near(one, other, dtype)
    assert all(torch.equal(a, b) for a, b in zip(kronecker(run, xs, weight, pull, ("xs",)), got[:-1], strict=True))
    assert torch.equal(kronecker(run, xs, weight, pull, ("weight",))[0], got[-1])


def involution(run, x, kernel, groups, grad=None, wanted=("x", "kernel")):
    size = round((kernel.shape[1] // groups) ** 0.5)
    last = not x.is_contiguous()
    case = Case(3, TYPES.index(x.dtype), *x.shape, groups, size, last, shared_limit=emulated.SMALL)
    for tensor in (x, kernel, grad):
        case.tensor(tensor)
    if grad is None:
        case.output(torch.empty_like(x))
    else:
        case.output(torch.empty_like(x) if "x" in wanted else None)
        case.output(torch.empty_like(kernel) if "kernel" in wanted else None)
    return run(case)


INVOLUTION = [
    # type, shape, groups, K, memory format, aligned
    (F32, (2, 8, 5, 7), 2, 3, CONTIGUOUS, True),
    (F32, (1, 6, 4, 3), 2, 5, CONTIGUOUS, True),
    (F32, (1, 16, 6, 5), 2, 3, CHANNELS_LAST, True),
    (F32, (1, 16, 6, 5), 2, 7, CHANNELS_LAST, False),
    (BF16, (2, 32, 9, 8), 2, 7, CHANNELS_LAST, True),
    (BF16, (1, 10, 5, 4), 5, 3, CHANNELS_LAST, True),
    (F16, (1, 16, 2, 9), 1, 5, CHANNELS_LAST, True),
    (F16, (2, 12, 8, 6), 3, 7, CONTIGUOUS, True),
]


@pytest.mark.parametrize("dtype,shape,groups,size,layout,whole", INVOLUTION)
def test_involution_agrees_with_float64(run, dtype, shape, groups, size, layout, whole):
    batch, _, height, width = shape
    x = some(*shape, dtype=dtype).contiguous(memory_format=layout)
    kernel = some(batch, groups * size**2, height, width, dtype=dtype, seed=1).contiguous(memory_format=layout)
    pull = some(*shape, dtype=dtype, seed=2).contiguous(memory_format=layout)
    x = x if whole else misaligned(x)
    exact = [t.double().requires_grad_() for t in (x, kernel)]
    want = involution2d_reference(*exact, groups=groups)
    assert_near(involution(run, x, kernel, groups)[0], want, dtype)
    got = involution(run, x, kernel, groups, pull)
    for one, other in zip(got, torch.autograd.grad(want, exact, pull.double()), strict=True):
        assert_near(one, other, dtype)
    for number, name in enumerate(("x", "kernel")):
        assert torch.equal(involution(run, x, kernel, groups, pull, (name,))[0], got[number])


def test_nothing_to_do(run):
    xs = [some(0, 4, 3, 3), some(0, 4, 3, 3)]
    assert kronecker(run, xs, some(2, 2))[0].shape == (0, 8, 3, 3)
    got = kronecker(run, xs, some(2, 2), some(0, 8, 3, 3))
    assert torch.equal(got[-1], torch.zeros(2, 2))
    x, kernel = some(1, 4, 0, 3), some(1, 9, 0, 3)
    assert involution(run, x, kernel, 1)[0].shape == x.shape
    assert [t.numel() for t in involution(run, x, kernel, 1, x)] == [0, 0]
