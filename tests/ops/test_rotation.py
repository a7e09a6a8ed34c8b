"""The rotation-invariant convolution: definition, invariance, kernels, gradients, what PyTorch asks of operators."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from cube_cases import PACKAGE_PARENT, compiled, relative_error, some
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rotacube.ops import rotation, rotation_conv2d, rotation_conv2d_reference
from rotacube.ops.rotation import steer, unpack_index, why_reference
from rotacube.ops.rotation_plan import PLAN, choose

TYPES = (torch.float32, torch.bfloat16, torch.float16)
LAYOUTS = (torch.contiguous_format, torch.channels_last)
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 1e-2, torch.float16: 1e-2}


def operator(x, weight, bias=None, rotations=4, padding=1, want_index=True):
    return torch.ops.rotacube.rotation_conv2d(x, weight, bias, rotations, padding, want_index, "scatter")


def turned(x, weight, rotations, padding):
    return torch.stack([F.conv2d(x, torch.rot90(weight, r, (2, 3)), padding=padding) for r in range(rotations)])


@st.composite
def operands(draw):
    """Input, weight, bias (or None) and padding of any small shape, in the ways that they may lie in memory."""
    batch, channels = draw(st.integers(0, 2)), draw(st.sampled_from([1, 2, 3, 5, 8, 16, 17, 33]))
    height, width = draw(st.integers(1, 15)), draw(st.integers(1, 40))
    outputs = draw(st.sampled_from([1, 2, 7, 15, 16, 17, 31, 48]))
    kernel = draw(st.sampled_from([3, 3, 3, 5, 7]))
    padding = draw(st.integers(0, kernel))
    assume(min(height, width) + 2 * padding >= kernel)
    layout = draw(st.sampled_from(["contiguous", "channels_last", "sliced", "odd"]))
    if layout == "sliced":
        x = some(batch, channels + 3, 2 * height, width + 1)[:, 2:-1, ::2, 1:]
    elif layout == "odd":  # channels_last in memory, but for an odd distance between pixels
        x = some(batch, height, width, channels + 1)[..., 1:].permute(0, 3, 1, 2)
    else:
        memory = torch.channels_last if layout == "channels_last" else torch.contiguous_format
        x = some(batch, channels, height, width).contiguous(memory_format=memory)
    weight = some(outputs, channels + 1, kernel, kernel, seed=1)[:, 1:]
    if draw(st.booleans()):
        weight = weight.contiguous()
    return x, weight, some(outputs, seed=2) if draw(st.booleans()) else None, padding


# The reference


@pytest.mark.parametrize("pool", ["max", "mean", None])
@pytest.mark.parametrize("orientations", [1, 4, 8, 12])
def test_reference_is_the_definition(pool, orientations):
    steps, rotations = max(orientations // 4, 1), min(orientations, 4)
    x, base = some(2, 3, 6, 7).double(), some(*(2,) * (steps > 1), 5, 3, 3, 3, seed=1).double()
    bias = some(5 * steps, seed=2).double()
    blocks = []
    for t in range(steps):
        angle = torch.tensor(t * 90 / steps, dtype=torch.float64).deg2rad()
        filters = base if steps == 1 else angle.cos() * base[0] + angle.sin() * base[1]
        blocks.append(turned(x, filters, rotations, 1))
    every = torch.cat(blocks, 2).permute(1, 2, 0, 3, 4)
    want = every if pool is None else every.amax(2) if pool == "max" else every.mean(2)
    want = want + bias.reshape(1, -1, *(1,) * (want.dim() - 2))
    got = rotation_conv2d_reference(x, base, orientations=orientations, pool=pool, bias=bias)
    torch.testing.assert_close(got, want if pool or orientations > 1 else every + bias.reshape(1, -1, 1, 1, 1))


def test_one_tap_is_a_plain_convolution():
    x, weight = some(2, 3, 6, 7), some(5, 3, 1, 1, seed=1)
    for pool in ("max", "mean"):
        torch.testing.assert_close(rotation_conv2d(x, weight, pool=pool), F.conv2d(x, weight), rtol=1e-4, atol=1e-5)


def test_the_e2cnn_library_agrees():
    gspaces = pytest.importorskip("e2cnn.gspaces", reason="e2cnn is not installed (pip install --no-deps e2cnn scipy)")
    nn = pytest.importorskip("e2cnn.nn")
    space = gspaces.Rot2dOnR2(N=4)
    plain, regular = nn.FieldType(space, 5 * [space.trivial_repr]), nn.FieldType(space, 6 * [space.regular_repr])
    layer = nn.R2Conv(plain, regular, kernel_size=3, padding=1, bias=False, frequencies_cutoff=None).eval()
    x = some(2, 5, 9, 11)
    every = layer(nn.GeometricTensor(x, plain)).tensor.detach().unflatten(1, (6, 4))
    filters = layer.filter.detach().unflatten(0, (6, 4))[:, 0]
    got = rotation_conv2d(x, filters, pool=None)
    torch.testing.assert_close(got, every, rtol=1e-4, atol=1e-4)
    pooled = nn.GroupPooling(regular)(layer(nn.GeometricTensor(x, plain))).tensor
    torch.testing.assert_close(rotation_conv2d(x, filters), pooled, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("orientations", [4, 8])
@pytest.mark.parametrize("pool", ["max", "mean"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_turning_the_input_turns_the_output(orientations, pool, dtype):
    x, weight = some(2, 5, 9, 12).to(dtype), some(*(2,) * (orientations > 4), 6, 5, 5, 5, seed=1).to(dtype)
    out = rotation_conv2d(x, weight, orientations=orientations, pool=pool)
    for r in range(1, 4):
        again = rotation_conv2d(torch.rot90(x, r, (2, 3)), weight, orientations=orientations, pool=pool)
        slack = 1e-5 if dtype == torch.float32 else 1e-12
        torch.testing.assert_close(again, torch.rot90(out, r, (2, 3)), rtol=slack, atol=20 * slack)


@pytest.mark.parametrize("pool", ["max", "mean", None])
@pytest.mark.parametrize("orientations", [4, 8])
def test_gradcheck_in_float64(pool, orientations):
    x = some(1, 2, 4, 3).double().requires_grad_()
    weight = some(*(2,) * (orientations > 4), 2, 2, 3, 3, seed=1).double().requires_grad_()
    bias = some(2 * (orientations // 4)).double().requires_grad_()

    def run(x, weight, bias):
        return rotation_conv2d(x, weight, orientations=orientations, pool=pool, bias=bias)

    assert torch.autograd.gradcheck(run, (x, weight, bias))


# The compiled kernels


@compiled
@settings(max_examples=200, deadline=None)
@given(case=operands(), dtype=st.sampled_from(TYPES), rotations=st.sampled_from([1, 4, 4]), wide=st.booleans())
def test_maximum_index_and_gradients_agree_with_float64(case, dtype, rotations, wide):
    x, weight, bias, padding = (t.to(dtype) if isinstance(t, torch.Tensor) else t for t in case)
    if wide:  # weights in float32, which the kernel rounds
        weight, bias = case[1], case[2]
    out, index = operator(x, weight, bias, rotations, padding)
    theirs = [t.detach().to(dtype).double().requires_grad_() for t in (x, weight)]
    if x.numel() == 0:
        sides = [size + 2 * padding - weight.shape[2] + 1 for size in x.shape[2:]]
        assert out.shape == (0, weight.shape[0], *sides)
        return
    every = turned(*theirs, rotations, padding)
    offset = 0 if bias is None else bias.to(dtype).double().reshape(1, -1, 1, 1)
    assert out.dtype == dtype
    assert relative_error(out, every.amax(0).detach() + offset) < TOLERANCE[dtype]
    chosen = torch.zeros_like(out, dtype=torch.int64)
    if rotations == 4:
        chosen = unpack_index(index, weight.shape[0])
        at = every.detach().gather(0, chosen[None])[0]
        assert relative_error(at, every.amax(0).detach()) < TOLERANCE[dtype]  # whichever is found, it is a maximum
    pull = some(*out.shape, seed=6).to(dtype)
    got = torch.ops.rotacube.rotation_conv2d_backward(pull, index, x, weight, rotations, padding, True, True)
    want = torch.autograd.grad(every.gather(0, chosen[None])[0], theirs, pull.double())
    for one, other in zip(got, want, strict=True):
        assert relative_error(one, other) < TOLERANCE[dtype]


@compiled
@settings(max_examples=80, deadline=None)
@given(case=operands(), dtype=st.sampled_from(TYPES))
def test_mean_and_gradients_agree_with_float64(case, dtype):
    x, weight, bias, padding = (t.to(dtype) if isinstance(t, torch.Tensor) else t for t in case)
    assume(weight.shape[2] == 3 and padding <= 2)
    leaves = [t for t in (x, weight, bias) if t is not None]
    mine = [t.detach().requires_grad_() for t in leaves]
    theirs = [t.detach().double().requires_grad_() for t in leaves]
    assert why_reference(x, weight, 4, "mean", padding, bias) is None
    got = rotation_conv2d(*mine[:2], pool="mean", padding=padding, bias=mine[2] if bias is not None else None)
    want = rotation_conv2d_reference(
        *theirs[:2], pool="mean", padding=padding, bias=theirs[2] if bias is not None else None
    )
    assert relative_error(got, want) < TOLERANCE[dtype]
    pull = some(*got.shape, seed=6).to(dtype)
    for one, other in zip(
        torch.autograd.grad(got, mine, pull), torch.autograd.grad(want, theirs, pull.double()), strict=True
    ):
        assert relative_error(one, other) < TOLERANCE[dtype]


@compiled
@pytest.mark.parametrize("shape", [(64, 48, 40, 67), (130, 96, 20, 300), (512, 33, 16, 16), (6, 20, 5, 1030)])
@pytest.mark.parametrize("dtype", TYPES)
def test_over_many_tiles(shape, dtype):
    channels, outputs, height, width = shape
    x = some(2, channels, height, width).to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = (some(outputs, channels, 3, 3, seed=1) * 0.1).to(dtype).requires_grad_()
    out = rotation_conv2d(x, weight)
    theirs = [t.detach().double().requires_grad_() for t in (x, weight)]
    every = turned(*theirs, 4, 1)
    assert relative_error(out.detach(), every.amax(0).detach()) < TOLERANCE[dtype]
    assert out.is_contiguous(memory_format=torch.channels_last)
    chosen = unpack_index(operator(x.detach(), weight.detach())[1], outputs)
    pull = some(*out.shape, seed=6).to(dtype)
    got = torch.autograd.grad(out, [x, weight], pull)
    want = torch.autograd.grad(every.gather(0, chosen[None])[0], theirs, pull.double())
    for one, other in zip(got, want, strict=True):
        assert relative_error(one, other) < TOLERANCE[dtype]


@compiled
def test_of_equal_values_the_first_counts():
    x, weight = torch.ones(1, 3, 5, 5), torch.ones(20, 3, 3, 3)
    _, index = operator(x, weight)
    assert bool((unpack_index(index, 20) == 0).all())
    assert bool((turned(x, weight, 4, 1).max(0).indices == 0).all())


@pytest.mark.parametrize("run", [rotation_conv2d, rotation_conv2d_reference])
def test_what_is_no_number_stays_where_it_is(run):
    x = some(1, 3, 7, 9)
    x[0, 1, 3, 4] = float("nan")
    out = run(x, some(5, 3, 3, 3, seed=1))
    assert bool(out[..., 2:5, 3:6].isnan().all())
    out[..., 2:5, 3:6] = 0
    assert bool(out.isfinite().all())


@compiled
def test_threads_do_not_change_the_result():
    x, weight = some(1, 32, 33, 47), some(40, 32, 3, 3, seed=1)
    threads = torch.get_num_threads()
    try:
        results = []
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            results.append(rotation_conv2d(x, weight))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@compiled
@pytest.mark.parametrize("pool", ["max", "mean"])
def test_gradients_of_gradients(pool):
    def twice(run, dtype):
        x, weight = some(2, 3, 5, 6).to(dtype).requires_grad_(), some(4, 3, 3, 3, seed=1).to(dtype).requires_grad_()
        out = run(x, weight, pool=pool)
        grad = some(*out.shape, seed=6).to(dtype).requires_grad_()
        first = torch.autograd.grad(out, [x, weight], grad, create_graph=True)
        return torch.autograd.grad(first, [x, weight, grad], [some(*f.shape, seed=7).to(dtype) for f in first])

    mine, theirs = twice(rotation_conv2d, torch.float32), twice(rotation_conv2d_reference, torch.float64)
    for one, other in zip(mine, theirs, strict=True):
        assert relative_error(one, other) < 1e-4


@compiled
def test_an_index_that_was_not_kept_is_found_again():
    x, weight = some(2, 3, 5, 6).requires_grad_(), some(4, 3, 3, 3, seed=1).requires_grad_()
    kept, lost = operator(x, weight)[0], operator(x, weight, want_index=False)[0]
    pull = some(*kept.shape, seed=6)
    for one, other in zip(
        torch.autograd.grad(kept, [x, weight], pull), torch.autograd.grad(lost, [x, weight], pull), strict=True
    ):
        assert torch.equal(one, other)


# What PyTorch asks of operators


@compiled
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("rotations", [1, 4])
def test_opcheck(layout, dtype, rotations):
    x = some(2, 4, 5, 6).to(dtype).contiguous(memory_format=layout).requires_grad_()
    weight, bias = some(3, 4, 3, 3).to(dtype).requires_grad_(), some(3).to(dtype).requires_grad_()
    operators = torch.ops.rotacube
    torch.library.opcheck(operators.rotation_conv2d.default, (x, weight, bias, rotations, 1, True, "scatter"))
    torch.library.opcheck(operators.rotation_mean.default, (x, weight, bias, 1))
    _, index = operators.rotation_conv2d(x.detach(), weight.detach(), None, rotations, 1, True, "scatter")
    basic = ("test_schema", "test_faketensor", "test_autograd_registration")
    grad = some(2, 3, 5, 6).to(dtype).requires_grad_()
    torch.library.opcheck(
        operators.rotation_conv2d_backward.default,
        (grad, index, x, weight, rotations, 1, True, True),
        test_utils=basic,
    )
    torch.library.opcheck(operators.rotation_mean_backward_weight.default, (grad, x, weight, 1), test_utils=basic)


@compiled
@pytest.mark.parametrize("pool", ["max", "mean"])
@pytest.mark.parametrize("orientations", [4, 8])
def test_compiles_as_one_graph(pool, orientations):
    torch._dynamo.reset()

    @torch.compile(fullgraph=True, backend="aot_eager")
    def run(x, weight):
        return rotation_conv2d(x.relu(), weight, orientations=orientations, pool=pool).relu()

    x = some(2, 3, 6, 7).requires_grad_()
    weight = some(*(2,) * (orientations > 4), 4, 3, 3, 3, seed=1).requires_grad_()
    want = rotation_conv2d_reference(x.relu(), weight, orientations=orientations, pool=pool).relu()
    got = run(x, weight)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    for one, other in zip(
        torch.autograd.grad(got.sum(), (x, weight)), torch.autograd.grad(want.sum(), (x, weight)), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@compiled
def test_exports_as_one_operator(monkeypatch):
    class Layer(torch.nn.Module):
        def forward(self, x, weight):
            return rotation_conv2d(x, weight)

    operands = some(2, 3, 5, 6), some(4, 3, 3, 3)
    exported = torch.export.export(Layer(), operands)
    assert any("rotation_conv2d" in str(node.target) for node in exported.graph.nodes)
    torch.testing.assert_close(exported.module()(*operands), Layer()(*operands))
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)  # ONNX gets plain operators
    plain = torch.export.export(Layer(), operands)
    assert not any("rotacube" in str(node.target) for node in plain.graph.nodes)


@compiled
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("pool", ["max", "mean"])
def test_autocast_casts(kind, pool):
    x, weight = some(2, 3, 5, 6), some(4, 3, 3, 3, seed=1).requires_grad_()
    with torch.autocast("cpu", dtype=kind):
        assert why_reference(x, weight, 4, pool, 1, None) is None
        out = rotation_conv2d(x, weight, pool=pool)
    assert out.dtype == kind
    want = rotation_conv2d_reference(x.to(kind).double(), weight.detach().to(kind).double(), pool=pool)
    assert relative_error(out.detach(), want) < 1e-2
    out.float().sum().backward()
    assert weight.grad.dtype == torch.float32


# Where no kernel of ours runs (the mean for K > 3), the gradient of x is PyTorch's, and on a processor without bfloat16
# in oneDNN (below AVX-512) its slow_conv2d takes it: one product per tap, rounded to bfloat16, and the K * K of them
# added up in bfloat16. Each addition rounds by up to eps / 2 of the sum so far; K * K of them, of either sign, come to
# about K * eps / 2, and K * eps is allowed, for the largest of many. All else is rounded once or twice from float32, as
# are our own kernels.
NARROW = """
import torch
from rotacube.ops import rotation_conv2d, rotation_conv2d_reference, operator_status
from rotacube.ops.rotation import why_reference
torch.manual_seed(0)
for c, o, h, w, k in [(8, 3, 5, 7, 3), (24, 40, 9, 33, 3), (5, 17, 12, 20, 5), (3, 16, 8, 9, 7)]:
    for pool in ("max", "mean"):
        for layout in (torch.contiguous_format, torch.channels_last):
            for kind, slack in ((torch.float32, 1e-4), (torch.bfloat16, 1e-2), (torch.float16, 1e-2)):
                x = torch.randn(2, c, h, w).to(kind).contiguous(memory_format=layout).requires_grad_()
                weight = torch.randn(o, c, k, k).to(kind).requires_grad_()
                theirs = [t.detach().double().requires_grad_() for t in (x, weight)]
                got, want = rotation_conv2d(x, weight, pool=pool), rotation_conv2d_reference(*theirs, pool=pool)
                assert (got - want).abs().max() < slack * want.abs().max(), (c, o, h, w, k, pool, layout, kind)
                if pool == "mean" or kind == torch.float32:
                    pull = torch.randn_like(got)
                    mine = torch.autograd.grad(got, [x, weight], pull)
                    allowed = [slack, slack]
                    if why_reference(x, weight, 4, pool, k // 2) is not None:
                        allowed[0] = max(slack, k * torch.finfo(kind).eps)
                    for a, b, most in zip(mine, torch.autograd.grad(want, theirs, pull.double()), allowed):
                        assert (a - b).abs().max() < most * b.abs().max(), (c, o, h, w, k, pool, layout, kind)
print({one.name: one.path for one in operator_status()}["rotation_conv2d"])
"""


@compiled
@pytest.mark.parametrize("instructions", ["generic", "avx2", "avx512"])
def test_narrower_instruction_sets(instructions):
    env = {**os.environ, "ROTACUBE_CPU": instructions, "PYTHONPATH": str(PACKAGE_PARENT)}
    done = subprocess.run([sys.executable, "-c", NARROW], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "compiled"


# Dispatch, and what does not fit


def test_the_planner_takes_the_first_row_that_covers_a_layer():
    assert choose(4, 3, torch.float32, 64) == "scatter"
    assert choose(4, 7, torch.bfloat16, 3) == "direct"
    assert choose(1, 3, torch.float32, 64) == "direct"
    assert choose(4, 9, torch.float16, 64) == "direct"
    assert all(str(choice) for choice in PLAN)


def test_other_devices_and_types_take_the_reference():
    out = rotation_conv2d(some(1, 3, 4, 5).to("meta"), some(2, 3, 3, 3).to("meta"))
    assert out.shape == (1, 2, 4, 5)
    assert why_reference(some(1, 3, 4, 5).double(), some(2, 3, 3, 3).double(), 4, "max", 1, None) is not None


@pytest.mark.parametrize("shape", [(0, 3, 6, 6), (2, 3, 6, 6)])
@pytest.mark.parametrize("pool", ["max", "mean"])
def test_empty_batches_have_zero_gradients(shape, pool):
    x, weight, bias = some(*shape)[:0].requires_grad_(), some(4, 3, 3, 3).requires_grad_(), some(4).requires_grad_()
    out = rotation_conv2d(x, weight, pool=pool, bias=bias)
    assert out.shape == (0, 4, 6, 6)
    out.sum().backward()
    assert torch.equal(weight.grad, torch.zeros_like(weight))
    assert torch.equal(bias.grad, torch.zeros_like(bias))


@pytest.mark.parametrize(
    "shape,weight,choices,sentence",
    [
        ((3, 4, 4), (2, 3, 3, 3), {}, r"\(B, C, H, W\)"),
        ((1, 3, 4, 4), (2, 4, 3, 3), {}, r"shape \(O, 3, K, K\), not \(2, 4, 3, 3\)"),
        ((1, 3, 4, 4), (2, 3, 3, 3), {"orientations": 8}, r"shape \(2, O, 3, K, K\)"),
        ((1, 3, 4, 4), (2, 3, 3, 3), {"orientations": 6}, "multiple of 4, not 6"),
        ((1, 3, 4, 4), (2, 3, 2, 2), {}, "square and odd, not 2 x 2"),
        ((1, 3, 4, 4), (2, 3, 3, 3), {"pool": "sum"}, "not 'sum'"),
        ((1, 3, 4, 4), (2, 3, 3, 3), {"padding": -1}, "number of pixels, not -1"),
        ((1, 3, 2, 4), (2, 3, 3, 3), {"padding": 0}, "needs a larger input than 2 x 4"),
        ((1, 3, 4, 4), (2, 3, 3, 3), {"bias": torch.zeros(3)}, r"shape \(2,\), not \(3,\)"),
    ],
)
def test_bad_arguments_get_a_sentence(shape, weight, choices, sentence):
    for run in (rotation_conv2d, rotation_conv2d_reference):
        with pytest.raises(ValueError, match=sentence):
            run(torch.zeros(shape), torch.zeros(weight), **choices)


@compiled
def test_what_the_operator_refuses():
    x, weight = some(1, 3, 5, 5), some(2, 3, 3, 3)
    with pytest.raises(RuntimeError, match='knows the algorithm "scatter"'):
        torch.ops.rotacube.rotation_conv2d(x, weight, None, 4, 1, False, "fourier")
    with pytest.raises(RuntimeError, match="1 or 4 rotations, not 2"):
        torch.ops.rotacube.rotation_conv2d(x, weight, None, 2, 1, False, "scatter")
    with pytest.raises(RuntimeError, match="what the forward pass left"):
        torch.ops.rotacube.rotation_conv2d_backward(
            some(1, 2, 5, 5), torch.zeros(1, 5, 5, 2, dtype=torch.int32), x, weight, 4, 1, True, True
        )
    with pytest.raises(RuntimeError, match="padding of at most 2"):
        torch.ops.rotacube.rotation_mean(x, weight, None, 3)


def test_steering_begins_with_the_first_filter():
    base = some(2, 3, 4, 5, 5)
    filters = steer(base, 8)
    assert filters.shape == (6, 4, 5, 5)
    torch.testing.assert_close(filters[:3], base[0])
    torch.testing.assert_close(filters[3:], (base[0] + base[1]) / 2**0.5)
    assert rotation.averaged(filters).shape == filters.shape
