"""The Cube convolution's order of channels, its mask, its ablations, and the gradients of all of it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from cube_cases import ANCHORS, compiled, operands, operator, relative_error, some
from hypothesis import given, settings
from hypothesis import strategies as st

from rotacube.ops import _library, cube_conv2d, cube_conv2d_reference
from rotacube.ops._dispatch import ONNX_REFERENCE
from rotacube.ops.cube import why_reference

TYPES = (torch.float32, torch.bfloat16, torch.float16)
LAYOUTS = (torch.contiguous_format, torch.channels_last)
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 1e-2, torch.float16: 1e-2}


def shuffled(channels: int) -> torch.Tensor:
    return torch.randperm(channels, generator=torch.Generator().manual_seed(4))


def some_mask(x: torch.Tensor) -> torch.Tensor:
    return some(x.shape[0], 1, 2 * x.shape[2], 2 * x.shape[3], seed=5).sigmoid().to(x.dtype)


def pull_back(out: torch.Tensor, leaves: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(out, leaves, some(*out.shape, seed=6).to(out.dtype))


# The reference


def test_order_and_mask_are_what_they_say():
    x, weight = some(2, 8, 5, 6), some(3, 2, 3, 3, seed=1)
    order, mask = shuffled(8), some_mask(x)
    want = F.conv2d(F.pixel_shuffle(x[:, order], 2) * mask, weight, stride=2, padding=1)
    torch.testing.assert_close(cube_conv2d_reference(x, weight, order=order, mask=mask), want)
    torch.testing.assert_close(cube_conv2d(x, weight, order=order, mask=mask), want)


def test_stride_1_is_the_whole_lattice():
    x, weight, bias = some(2, 8, 5, 6), some(3, 2, 3, 3, seed=1), some(3)
    whole = cube_conv2d(x, weight, bias, stride=1)
    assert whole.shape == (2, 3, 10, 12)
    torch.testing.assert_close(whole[..., ::2, ::2], cube_conv2d(x, weight, bias), rtol=1e-4, atol=1e-5)
    assert cube_conv2d(x[:0], weight, bias, stride=1).shape == (0, 3, 10, 12)


def test_grouped_is_a_grouped_convolution():
    x, weight, bias = some(2, 8, 5, 6), some(4, 2, 3, 3, seed=1), some(4)
    want = F.conv2d(x, weight, bias, padding=1, groups=4)
    torch.testing.assert_close(cube_conv2d(x, weight, bias, mode="grouped"), want)


@pytest.mark.parametrize(
    "choices,sentence",
    [
        ({"stride": 3}, "stride of a Cube convolution is 2, or 1"),
        ({"stride": 1, "anchor": "br"}, 'anchor "tl" only'),
        ({"mode": "block"}, '"lattice" or "grouped"'),
        ({"mode": "grouped"}, "multiple of 4 outputs"),
        ({"order": torch.arange(7)}, r"int64 tensor of shape \(8,\)"),
        ({"order": torch.arange(8).float()}, "int64"),
        ({"mask": torch.ones(1, 1, 4, 4)}, r"the shape \(1, 1, 8, 10\)"),
    ],
)
def test_bad_choices_get_a_sentence(choices, sentence):
    for run in (cube_conv2d, cube_conv2d_reference):
        with pytest.raises(ValueError, match=sentence):
            run(some(1, 8, 4, 5), some(3, 2, 3, 3), **choices)


@pytest.mark.parametrize("order", [[0, 1, 2, 2], [0, 1, 2, 4], [-1, 1, 2, 3]])
def test_an_order_that_is_no_permutation_is_refused(order):
    x, weight, order = some(1, 4, 3, 3), some(2, 1, 3, 3), torch.tensor(order)
    for run in (cube_conv2d, cube_conv2d_reference):
        with pytest.raises(ValueError, match="names each channel once"):
            run(x, weight, order=order)
    if _library.CPU.loaded:
        with pytest.raises(RuntimeError, match="names each channel once"):
            operator(x, weight, order=order)


@pytest.mark.parametrize("anchor", ANCHORS)
def test_gradcheck_in_float64(anchor):
    x, weight = some(1, 8, 3, 2).double().requires_grad_(), some(2, 2, 3, 3, seed=1).double().requires_grad_()
    order, mask = shuffled(8), some_mask(x.detach()).requires_grad_()

    def run(x, weight, mask):
        return cube_conv2d(x, weight, order=order, mask=mask, anchor=anchor)

    assert torch.autograd.gradcheck(run, (x, weight, mask))
    assert torch.autograd.gradgradcheck(run, (x, weight, mask))


# The compiled kernels


@compiled
@settings(max_examples=150, deadline=None)
@given(
    case=operands(),
    anchor=st.sampled_from(ANCHORS),
    dtype=st.sampled_from(TYPES),
    with_order=st.booleans(),
    with_mask=st.booleans(),
)
def test_forward_and_gradients_agree_with_float64(case, anchor, dtype, with_order, with_mask):
    x, weight, bias = (None if t is None else t.to(dtype) for t in case)
    order = shuffled(x.shape[1]) if with_order else None
    leaves = {"x": x, "weight": weight, "bias": bias, "mask": some_mask(x) if with_mask else None}
    mine = {name: t.detach().requires_grad_() for name, t in leaves.items() if t is not None}
    theirs = {name: t.detach().double().requires_grad_() for name, t in leaves.items() if t is not None}
    got = torch.ops.rotacube.cube_conv2d(mine["x"], mine["weight"], mine.get("bias"), order, mine.get("mask"), anchor)
    want = cube_conv2d_reference(
        theirs["x"], theirs["weight"], theirs.get("bias"), order=order, mask=theirs.get("mask"), anchor=anchor
    )
    assert got.dtype == dtype
    assert relative_error(got, want) < TOLERANCE[dtype]
    pulled = pull_back(got, list(mine.values()))
    wanted = torch.autograd.grad(want, list(theirs.values()), some(*got.shape, seed=6).to(dtype).double())
    for name, one, other in zip(mine, pulled, wanted, strict=True):
        assert one.dtype == dtype
        assert relative_error(one, other) < TOLERANCE[dtype], name


@compiled
@pytest.mark.parametrize("channels,size,batch", [(40, 96, 2), (96, 48, 1), (768, 16, 1), (1028, 9, 3)])
@pytest.mark.parametrize("dtype", TYPES)
def test_gradients_over_many_tiles(channels, size, batch, dtype):
    x = some(batch, channels, size, size).to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = (some(channels // 4, channels // 4, 3, 3, seed=1) * 0.1).to(dtype).requires_grad_()
    got = pull_back(operator(x, weight), [x, weight])
    theirs = [t.detach().double().requires_grad_() for t in (x, weight)]
    want = torch.autograd.grad(
        cube_conv2d_reference(*theirs), theirs, some(batch, channels // 4, size, size, seed=6).to(dtype).double()
    )
    for one, other in zip(got, want, strict=True):
        assert relative_error(one, other) < TOLERANCE[dtype]
    assert got[0].is_contiguous(memory_format=torch.channels_last)


@compiled
@pytest.mark.parametrize("layout", LAYOUTS)
def test_float16_is_rounded_once(layout):
    x = some(2, 20, 9, 13).half().contiguous(memory_format=layout)
    weight, bias = some(17, 5, 3, 3, seed=1).half(), some(17).half()
    assert why_reference(x, weight, bias) is None
    got, want = cube_conv2d(x, weight, bias), cube_conv2d_reference(x.double(), weight.double(), bias.double())
    assert bool(((got.double() - want).abs() <= 2.0**-11 * want.abs() + 1e-5 * want.abs().max()).all())


@compiled
def test_float16_keeps_what_is_special():
    values = torch.tensor([float("inf"), float("-inf"), 65504.0, -65504.0, 6e-8, 6.1e-5, 0.0, -0.0, 1.0, 1.0009765625])
    x = torch.zeros(1, 4, 1, len(values)).half()
    x[0, 0, 0] = values.half()
    weight = torch.zeros(1, 1, 3, 3).half()
    weight[0, 0, 1, 1] = 1
    assert torch.equal(cube_conv2d(x, weight)[0, 0, 0, 6:], x[0, 0, 0, 6:])
    x[0, 0, 0, :2] = 0
    assert torch.equal(cube_conv2d(x, weight)[0, 0, 0], x[0, 0, 0])


@compiled
@pytest.mark.parametrize("wanted", [(True, False, False), (False, True, False), (False, False, True)])
def test_only_what_is_wanted_is_computed(wanted):
    x, weight = some(1, 8, 4, 5), some(3, 2, 3, 3)
    results = torch.ops.rotacube.cube_conv2d_backward(some(1, 3, 4, 5), x, weight, None, some_mask(x), "tl", *wanted)
    assert [result.numel() > 0 for result in results] == list(wanted)


@compiled
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", TYPES)
def test_opcheck(layout, dtype):
    x = some(2, 8, 5, 3).to(dtype).contiguous(memory_format=layout).requires_grad_()
    weight = some(3, 2, 3, 3).to(dtype).requires_grad_()
    order, mask = shuffled(8), some_mask(x.detach()).requires_grad_()
    torch.library.opcheck(torch.ops.rotacube.cube_conv2d.default, (x, weight, None, order, mask, "br"))
    grad = some(2, 3, 5, 3).to(dtype).requires_grad_()
    # Only schema, fake kernel and registration: the gradients of gradients have a test of their own.
    torch.library.opcheck(
        torch.ops.rotacube.cube_conv2d_backward.default,
        (grad, x, weight, order, mask, "br", True, True, True),
        test_utils=("test_schema", "test_faketensor", "test_autograd_registration"),
    )


@compiled
@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_of_gradients_of_gradients(anchor, layout):
    order = shuffled(8)
    values = [some(2, 8, 4, 5).contiguous(memory_format=layout), some(3, 2, 3, 3, seed=1), some_mask(some(2, 8, 4, 5))]

    def thrice(run, dtype):
        leaves, orders = [t.to(dtype).requires_grad_() for t in values], []
        out = run(leaves[0], leaves[1], order=order, mask=leaves[2], anchor=anchor)
        for _ in range(3):
            found = torch.autograd.grad((out.tanh() * out).sum(), leaves, create_graph=True)
            orders += found
            out = sum(f.square().mean() for f in found)
        return orders

    for one, other in zip(
        thrice(cube_conv2d, torch.float32), thrice(cube_conv2d_reference, torch.float64), strict=True
    ):
        assert relative_error(one, other) < 1e-4


@compiled
def test_gradients_of_gradients_that_are_wanted_alone():
    x, weight = some(2, 8, 4, 5), some(3, 2, 3, 3, seed=1).requires_grad_()
    (first,) = torch.autograd.grad(cube_conv2d(x, weight).square().sum(), weight, create_graph=True)
    wide = weight.detach().double().requires_grad_()
    out = cube_conv2d_reference(x.double(), wide).square().sum()
    (want,) = torch.autograd.grad(out, wide, create_graph=True)
    assert (
        relative_error(
            torch.autograd.grad(first.square().sum(), weight)[0], torch.autograd.grad(want.square().sum(), wide)[0]
        )
        < 1e-4
    )


@compiled
def test_exports_as_one_operator():
    class Layer(torch.nn.Module):
        def forward(self, x, weight, mask):
            return cube_conv2d(x, weight, mask=mask, anchor="br")

    x, weight = some(2, 8, 5, 6), some(3, 2, 3, 3)
    exported = torch.export.export(Layer(), (x, weight, some_mask(x)))
    assert any("cube_conv2d" in str(node.target) for node in exported.graph.nodes)
    torch.testing.assert_close(exported.module()(x, weight, some_mask(x)), Layer()(x, weight, some_mask(x)))


@compiled
def test_onnx_gets_plain_operators(monkeypatch):
    x, weight = some(1, 8, 4, 5), some(3, 2, 3, 3)
    assert why_reference(x, weight) is None
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    assert why_reference(x, weight) == ONNX_REFERENCE


@compiled
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_what_lies_elsewhere_takes_the_reference(device):
    """An order or mask on another device than the input does not reach the kernel."""
    x, weight = some(1, 8, 4, 5), some(3, 2, 3, 3)
    mask = some_mask(x).to(device)
    assert (why_reference(x, weight, None, mask) is None) == (device == "cpu")
    if device == "meta":
        with pytest.raises(ValueError, match="on the input's device"):
            cube_conv2d(x, weight, order=shuffled(8).to(device))
