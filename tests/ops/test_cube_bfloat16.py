"""The Cube convolution in bfloat16: accurate to the rounding of its output, and what autocast does with it."""

from __future__ import annotations

import pytest
import torch
from cube_cases import ANCHORS, compiled, operands, operator, relative_error, some
from hypothesis import given, settings
from hypothesis import strategies as st

from rotacube.ops import _library, cube_conv2d, cube_conv2d_reference
from rotacube.ops._dispatch import HALF_REFERENCE
from rotacube.ops.cube import why_reference

BF16 = torch.bfloat16
LAYOUTS = (torch.contiguous_format, torch.channels_last)


@pytest.fixture(scope="module", autouse=True)
def bfloat16_is_compiled():
    """The kernel is tested on processors too where the reference is preferred."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(HALF_REFERENCE, BF16, None)
        yield


def autocast(dtype: torch.dtype = BF16) -> torch.autocast:
    return torch.autocast("cpu", dtype=dtype)


def exactly(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, anchor: str = "tl"):
    """The rounded operands, computed in float64."""
    return cube_conv2d_reference(
        x.to(BF16).double(),
        weight.to(BF16).double(),
        None if bias is None else bias.to(BF16).double(),
        anchor=anchor,
    )


def assert_rounded_once(got: torch.Tensor, want: torch.Tensor) -> None:
    """Each value is off by half a unit in the last place, and a trifle from sums in float32."""
    assert got.dtype == BF16
    assert got.shape == want.shape
    if want.numel():
        slack = 2.0**-8 * want.abs() + 2e-6 * want.abs().max() + 1e-6
        assert bool(((got.double() - want).abs() <= slack).all())


@compiled
@settings(max_examples=120, deadline=None)
@given(case=operands(), anchor=st.sampled_from(ANCHORS), cast=st.booleans())
def test_agrees_with_float64_to_the_last_place(case, anchor, cast):
    x, weight, bias = case
    want = exactly(x, weight, bias, anchor)
    if cast:
        with autocast():
            assert why_reference(x, weight, bias) is None
            assert_rounded_once(cube_conv2d(x, weight, bias, anchor=anchor), want)
    else:
        x, weight, bias = x.to(BF16), weight.to(BF16), None if bias is None else bias.to(BF16)
        assert why_reference(x, weight, bias) is None
        assert_rounded_once(cube_conv2d(x, weight, bias, anchor=anchor), want)


@compiled
@pytest.mark.parametrize("channels,size", [(40, 128), (96, 64), (768, 16), (1028, 9)])
def test_over_many_tiles(channels, size):
    x = some(2, channels, size, size).to(BF16).contiguous(memory_format=torch.channels_last)
    weight = some(channels // 4, channels // 4, 3, 3, seed=1).to(BF16)
    assert_rounded_once(cube_conv2d(x, weight), exactly(x, weight))


@compiled
@pytest.mark.parametrize("layout", LAYOUTS)
def test_output_lies_as_the_input(layout):
    out = cube_conv2d(some(2, 8, 6, 5).to(BF16).contiguous(memory_format=layout), some(3, 2, 3, 3).to(BF16))
    assert out.is_contiguous(memory_format=layout)


@compiled
def test_a_part_is_the_crop_of_the_whole():
    x, weight = some(1, 36, 40, 60).to(BF16), some(24, 9, 3, 3, seed=1).to(BF16)
    whole = cube_conv2d(x, weight)
    assert torch.equal(cube_conv2d(x[..., 7:31, 11:50], weight)[..., 1:, 1:], whole[..., 8:31, 12:50])


@compiled
@pytest.mark.parametrize("channels,size", [(64, 33), (768, 5)])
def test_neither_threads_nor_the_place_in_the_batch_change_the_result(channels, size):
    x = some(3, channels, size, 47).to(BF16).contiguous(memory_format=torch.channels_last)
    weight = some(200, channels // 4, 3, 3, seed=1).to(BF16)
    threads = torch.get_num_threads()
    try:
        results = []
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            results.append(cube_conv2d(x, weight))
            results.append(torch.cat([cube_conv2d(x[i : i + 1], weight) for i in range(3)]))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(result, results[0]) for result in results)


@compiled
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("cast", [True, False])
def test_what_is_not_finite_stays_where_it_is(layout, value, cast):
    x = some(1, 20, 6, 23).contiguous(memory_format=layout)  # five groups, so that pairs are filled up with zeros
    x[0, 16:20, 2, 9] = value
    weight = some(17, 5, 3, 3, seed=1)
    with autocast():
        got = cube_conv2d(x, weight) if cast else cube_conv2d(x.to(BF16), weight.to(BF16))
    assert bool((~got[0, :, 2:4, 9:11].isfinite()).all())
    got[..., 2:4, 9:11] = 0
    assert bool(got.isfinite().all())


# Autocast


@compiled
@pytest.mark.parametrize("types", [(torch.float32,) * 3, (BF16, torch.float32, torch.float32), (BF16,) * 3])
@pytest.mark.parametrize("mixed", [torch.float32, BF16, torch.float16])
@pytest.mark.parametrize("with_bias", [True, False])
def test_autocast_casts_as_for_a_convolution(types, mixed, with_bias):
    x, weight, bias = some(2, 24, 9, 10).to(types[0]), some(21, 6, 3, 3, seed=1).to(types[1]), some(21, seed=2)
    bias = bias.to(mixed) if with_bias else None
    cast = [None if t is None else t.to(BF16) for t in (x, weight, bias)]
    with autocast():
        assert why_reference(x, weight, bias) is None
        got = cube_conv2d(x, weight, bias)
        reference = cube_conv2d_reference(x, weight, bias)
    assert got.dtype == reference.dtype == BF16
    assert torch.equal(got, cube_conv2d(*cast))
    assert_rounded_once(got, exactly(*cast))


def test_autocast_without_the_kernel(monkeypatch):
    monkeypatch.setitem(HALF_REFERENCE, BF16, "so it is")
    x, weight = some(1, 8, 4, 5), some(3, 2, 3, 3)
    with autocast():
        assert why_reference(x, weight, None) == ("so it is" if _library.CPU.loaded else _library.CPU.why)
        out = cube_conv2d(x, weight)
    assert out.dtype == BF16
    assert relative_error(out, exactly(x, weight)) < 0.01
    assert why_reference(x, weight, None) is None or not _library.CPU.loaded  # float32 is not concerned


@compiled
def test_autocast_to_float16():
    x, weight = some(1, 8, 4, 5), some(3, 2, 3, 3)
    with autocast(torch.float16):
        assert why_reference(x, weight, None) is None
        assert cube_conv2d(x, weight).dtype == torch.float16


def test_autocast_leaves_float64_alone():
    x, weight = some(1, 8, 4, 5).double(), some(3, 2, 3, 3).double()
    with autocast():
        assert why_reference(x, weight, None) is not None
        assert cube_conv2d(x, weight).dtype == torch.float64


@compiled
def test_autocast_with_gradients():
    x, weight = some(1, 8, 4, 5), some(3, 2, 3, 3).requires_grad_()
    with autocast():
        assert why_reference(x, weight, None) is None
        cube_conv2d(x, weight).sum().backward()
    assert weight.grad.dtype == torch.float32


@compiled
@pytest.mark.parametrize("anchor", ANCHORS)
def test_compiles_as_one_graph_under_autocast(anchor):
    torch._dynamo.reset()

    @torch.compile(fullgraph=True, backend="aot_eager")
    def run(x, weight, bias):
        return cube_conv2d(x.relu(), weight, bias, anchor=anchor).relu()

    x, weight, bias = some(2, 8, 5, 6), some(3, 2, 3, 3), some(3)
    with torch.no_grad(), autocast():
        assert_rounded_once(run(x, weight, bias), exactly(x.relu(), weight, bias, anchor).relu())


# Gradients, and what PyTorch asks of an operator


@compiled
@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("weight_type", [BF16, torch.float32])
@pytest.mark.parametrize("with_bias", [True, False])
def test_gradients_of_the_compiled_path(anchor, kernel, weight_type, with_bias):
    leaves = [some(2, 12, 5, 6).to(BF16), some(7, 3, kernel, kernel, seed=1).to(weight_type)]
    leaves += [some(7, seed=2).to(weight_type)] if with_bias else []
    mine = [leaf.clone().requires_grad_() for leaf in leaves]
    theirs = [leaf.to(BF16).double().requires_grad_() for leaf in leaves]
    pull = some(2, 7, 5, 6, seed=3).to(BF16)
    got = torch.autograd.grad(operator(*mine, anchor=anchor), mine, pull)
    want = torch.autograd.grad(cube_conv2d_reference(*theirs, anchor=anchor), theirs, pull.double())
    assert [one.dtype for one in got] == [leaf.dtype for leaf in leaves]
    for one, other in zip(got, want, strict=True):
        assert relative_error(one, other) < 0.01


@compiled
@pytest.mark.parametrize("shape", [(0, 8, 4, 4), (2, 8, 0, 4)])
@pytest.mark.parametrize("weight_type", [BF16, torch.float32])
def test_empty_inputs_have_empty_outputs_and_zero_gradients(shape, weight_type):
    x = some(*shape).to(BF16).requires_grad_()
    weight, bias = (t.to(weight_type).requires_grad_() for t in (some(3, 2, 3, 3), some(3)))
    out = operator(x, weight, bias)
    assert (out.shape, out.dtype) == ((shape[0], 3, *shape[2:]), BF16)
    out.sum().backward()
    assert x.grad.shape == x.shape
    assert torch.equal(weight.grad, torch.zeros_like(weight))
    assert torch.equal(bias.grad, torch.zeros_like(bias))


@compiled
@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("weight_type", [BF16, torch.float32])
@pytest.mark.parametrize("with_bias", [True, False])
def test_opcheck(anchor, layout, weight_type, with_bias):
    x = some(2, 8, 5, 3).to(BF16).contiguous(memory_format=layout).requires_grad_()
    weight = some(3, 2, 3, 3).to(weight_type).requires_grad_()
    bias = some(3).to(weight_type).requires_grad_() if with_bias else None
    torch.library.opcheck(torch.ops.rotacube.cube_conv2d.default, (x, weight, bias, None, None, anchor))


@compiled
def test_what_the_operator_refuses():
    with pytest.raises(RuntimeError, match="a weight of its type or in float32; other types take the reference"):
        operator(some(1, 4, 3, 3).to(BF16), some(2, 1, 3, 3).half())
    with pytest.raises(RuntimeError, match="a bias of the weight's type"):
        operator(some(1, 4, 3, 3).to(BF16), some(2, 1, 3, 3).to(BF16), some(2))
