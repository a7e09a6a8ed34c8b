"""Kronecker fusion: the definition, the reference, the compiled kernel, and what PyTorch asks of an operator."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from cube_cases import PACKAGE_PARENT, compiled, relative_error, some
from hypothesis import given, settings
from hypothesis import strategies as st

from rotacube.ops import _library
from rotacube.ops.kronecker import kronecker_fusion, kronecker_fusion_reference, why_reference

LAYOUTS = (torch.contiguous_format, torch.channels_last)
TYPES = ((torch.float32, 1e-4), (torch.bfloat16, 1e-2), (torch.float16, 1e-2))
FACES = [kronecker_fusion, kronecker_fusion_reference]


def by_definition(xs, weight):
    """y = sum_j w_j (x) x_j, the Kronecker product along the channels."""
    return sum(torch.einsum("b,nchw->nbchw", weight[j], x).flatten(1, 2) for j, x in enumerate(xs))


def maps_of(n, *shape, dtype=torch.float32, layout=torch.contiguous_format):
    return [some(*shape, seed=10 + j).to(dtype).contiguous(memory_format=layout) for j in range(n)]


def gradients(run, xs, weight, pull):
    leaves = [t.detach().clone(memory_format=torch.preserve_format).requires_grad_() for t in (*xs, weight)]
    out = run(leaves[:-1], leaves[-1])
    return [out, *torch.autograd.grad(out, leaves, pull.to(out.dtype))]


def assert_right(xs, weight, tolerance, seed=7):
    """Result and all gradients against float64."""
    doubles = [x.double() for x in xs]
    pull = some(xs[0].shape[0], len(xs) * xs[0].shape[1], *xs[0].shape[2:], seed=seed).to(xs[0].dtype)
    got = gradients(kronecker_fusion, xs, weight, pull)
    want = gradients(by_definition, doubles, weight.double(), pull.double())
    for one, other in zip(got, want, strict=True):
        assert relative_error(one, other) < tolerance
    assert got[0].dtype == xs[0].dtype


@st.composite
def operands(draw):
    """Maps and weight of any small shape and number, in every way that they may lie in memory."""
    n = draw(st.integers(1, 8))
    shape = (draw(st.integers(0, 2)), draw(st.sampled_from([1, 2, 7, 16, 17, 40])), draw(st.integers(1, 9)))
    shape = (*shape, draw(st.integers(1, 13)))
    dtype, tolerance = draw(st.sampled_from(TYPES))
    xs = []
    for j in range(n):
        layout = draw(st.sampled_from(["contiguous", "channels_last", "sliced", "expanded"]))
        if layout == "sliced":
            x = some(shape[0], shape[1] + 2, 2 * shape[2], shape[3] + 1, seed=j)[:, 1:-1, ::2, 1:]
        elif layout == "expanded":
            x = some(shape[0], shape[1], 1, shape[3], seed=j).expand(shape)
        else:
            x = some(*shape, seed=j)
            x = x.contiguous(memory_format=torch.channels_last) if layout == "channels_last" else x
        xs.append(x.to(dtype))
    weight = some(n, n + 1, seed=20)[:, 1:] if draw(st.booleans()) else some(n, n, seed=20).t()
    return xs, weight.to(draw(st.sampled_from([dtype, torch.float32]))), tolerance


def test_the_reference_is_the_definition():
    xs, weight = [x.double() for x in maps_of(3, 2, 5, 4, 3)], some(3, 3, dtype=torch.float64)
    torch.testing.assert_close(kronecker_fusion_reference(xs, weight), by_definition(xs, weight))


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("n", [1, 2, 4, 9])
def test_concat_and_add_are_exact(face, layout, dtype, n):
    xs = maps_of(n, 2, 5, 6, 7, dtype=dtype, layout=layout)
    assert torch.equal(face(xs, torch.eye(n, dtype=dtype)), torch.cat(xs, 1))
    weight = torch.zeros(n, n, dtype=dtype)
    weight[:, 0] = 1
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    total = xs[0].to(wide)
    for x in xs[1:]:
        total = total + x.to(wide)
    out = face(xs, weight)
    assert torch.equal(out[:, :5], total.to(dtype))
    assert torch.equal(out[:, 5:], torch.zeros_like(out[:, 5:]))


def test_gradcheck_in_float64():
    leaves = [*(x.double().requires_grad_() for x in maps_of(3, 1, 2, 2, 3)), some(3, 3, dtype=torch.float64)]
    leaves[-1].requires_grad_()

    def run(*leaves):
        return kronecker_fusion(leaves[:-1], leaves[-1])

    assert torch.autograd.gradcheck(run, leaves)
    assert torch.autograd.gradgradcheck(run, leaves)


# The compiled kernel


@compiled
@settings(max_examples=80, deadline=None)
@given(case=operands())
def test_compiled_agrees_with_float64(case):
    xs, weight, tolerance = case
    assert why_reference(xs, weight) is None
    assert_right(xs, weight, tolerance)


@compiled
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype,tolerance", TYPES)
def test_compiled_over_many_shares(layout, dtype, tolerance):
    xs = maps_of(3, 2, 24, 61, 67, dtype=dtype, layout=layout)
    assert_right(xs, some(3, 3), tolerance)
    assert kronecker_fusion(xs, some(3, 3)).is_contiguous(memory_format=layout)


@compiled
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_results_larger_than_the_caches(layout, dtype):
    xs = maps_of(2, 2, 64, 256, 144, dtype=dtype, layout=layout)
    weight = torch.tensor([[1.0, 2.0], [0.5, -1.0]])
    out = kronecker_fusion(xs, weight)
    first, second = (x.float() for x in xs)
    assert torch.equal(out[:, :64], (first + 0.5 * second).to(dtype))
    assert torch.equal(out[:, 64:], (2 * first - second).to(dtype))
    grad_xs, _ = torch.ops.rotacube.kronecker_fusion_backward(out, xs, weight, True, False)
    top, bottom = out[:, :64].float(), out[:, 64:].float()
    assert torch.equal(grad_xs[0], (top + 2 * bottom).to(dtype))
    assert torch.equal(grad_xs[1], (0.5 * top - bottom).to(dtype))


@compiled
@pytest.mark.parametrize("layout", LAYOUTS)
def test_threads_change_nothing(layout):
    xs, weight = maps_of(3, 1, 40, 33, 47, layout=layout), some(3, 3)
    pull = some(1, 120, 33, 47, seed=5)
    threads = torch.get_num_threads()
    try:
        results = []
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            results.append(gradients(kronecker_fusion, xs, weight, pull))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@compiled
@pytest.mark.parametrize("shape", [(1, 8, 512, 512), (1024 * 1024, 1, 1, 1), (512 * 512, 3, 1, 1)])
def test_the_gradient_of_the_weight_is_exact_over_many_pixels(shape):
    x = torch.full(shape, 0.1)
    _, grad = torch.ops.rotacube.kronecker_fusion_backward(x, [x], torch.ones(1, 1), False, True)
    want = x[0, 0, 0, 0].double() ** 2 * x.numel()
    assert abs(grad.item() - want.item()) < 1e-5 * want.item()


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 3, 0, 4), (2, 0, 3, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_empty_maps(shape, dtype):
    xs, weight = [torch.zeros(shape, dtype=dtype, requires_grad=True) for _ in range(2)], torch.ones(2, 2, dtype=dtype)
    out = kronecker_fusion(xs, weight.requires_grad_())
    assert out.shape == (shape[0], 2 * shape[1], *shape[2:])
    out.sum().backward()
    assert xs[1].grad.shape == shape
    assert torch.equal(weight.grad, torch.zeros_like(weight))


@compiled
def test_only_the_wanted_gradients():
    xs, weight = maps_of(3, 1, 4, 3, 3), some(3, 3)
    xs[1].requires_grad_()
    kronecker_fusion(xs, weight).sum().backward()
    assert xs[0].grad is None
    torch.testing.assert_close(xs[1].grad, weight[1].sum().expand_as(xs[1]))
    weight.requires_grad_()
    kronecker_fusion([x.detach() for x in xs], weight).sum().backward()
    torch.testing.assert_close(weight.grad, torch.stack([x.detach().sum() for x in xs])[:, None].expand(3, 3))


@compiled
def test_gradients_of_gradients():
    xs, weight, pull = maps_of(2, 2, 3, 4, 5), some(2, 2), some(2, 6, 4, 5, seed=3)

    def twice(run, dtype):
        leaves = [t.to(dtype).requires_grad_() for t in (*xs, weight, pull)]
        out = run(leaves[:2], leaves[2])
        first = torch.autograd.grad(out, leaves[:3], leaves[3], create_graph=True)
        return torch.autograd.grad(sum((g**2).sum() for g in first), leaves)

    for got, want in zip(twice(kronecker_fusion, torch.float32), twice(by_definition, torch.float64), strict=True):
        assert relative_error(got, want) < 1e-4


@compiled
@pytest.mark.parametrize("layout", LAYOUTS)
def test_opcheck(layout):
    xs = [x.requires_grad_() for x in maps_of(2, 2, 3, 5, 4, layout=layout)]
    weight = some(2, 2).requires_grad_()
    torch.library.opcheck(torch.ops.rotacube.kronecker_fusion.default, (xs, weight))
    pull = some(2, 6, 5, 4).requires_grad_()
    for wanted in ((True, True), (True, False), (False, True)):
        arguments = (pull, xs, weight, *wanted)
        torch.library.opcheck(torch.ops.rotacube.kronecker_fusion_backward.default, arguments)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiles_as_one_graph(backend):
    torch._dynamo.reset()

    @torch.compile(fullgraph=True, backend=backend)
    def run(x, other, weight):
        return kronecker_fusion([x.relu(), other], weight).relu()

    x, other, weight = some(2, 3, 5, 6).requires_grad_(), some(2, 3, 5, 6, seed=1), some(2, 2).requires_grad_()
    want = kronecker_fusion_reference([x.relu(), other], weight).relu()
    got = run(x, other, weight)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    for one, two in zip(*(torch.autograd.grad(out.sum(), (x, weight)) for out in (got, want)), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)


class Fuse(torch.nn.Module):
    def forward(self, x, other, weight):
        return kronecker_fusion([x, other], weight)


def test_exports_with_the_operator_and_for_onnx_without(monkeypatch):
    arguments = (some(2, 3, 5, 6), some(2, 3, 5, 6, seed=1), some(2, 2))
    program = torch.export.export(Fuse(), arguments)
    torch.testing.assert_close(program.module()(*arguments), kronecker_fusion_reference(arguments[:2], arguments[2]))
    assert ("rotacube" in str(program.graph)) == _library.CPU.loaded
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    assert "rotacube" not in str(torch.export.export(Fuse(), arguments).graph)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_casts_the_maps(dtype):
    xs, weight = maps_of(2, 1, 4, 5, 6), some(2, 2)
    xs[1] = xs[1].to(torch.bfloat16)  # as a convolution under autocast leaves it, beside a map from elsewhere
    want = kronecker_fusion_reference([x.to(dtype).double() for x in xs], weight.double())
    for face in FACES:
        with torch.autocast("cpu", dtype=dtype):
            out = face(xs, weight)
        assert out.dtype == dtype
        assert relative_error(out, want) < 1e-2


NARROW = """
import torch
from rotacube.ops.kronecker import kronecker_fusion, kronecker_fusion_reference
torch.manual_seed(0)
for n in range(1, 9):
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 8e-3), (torch.float16, 1e-3)):
        for layout in (torch.contiguous_format, torch.channels_last):
            xs = [torch.randn(2, 21, 5, 7).to(dtype).contiguous(memory_format=layout) for _ in range(n)]
            xs = [x.requires_grad_() for x in xs]
            weight = torch.randn(n, n, requires_grad=True)
            out = kronecker_fusion(xs, weight)
            exact = [x.detach().double().requires_grad_() for x in (*xs, weight)]
            want = kronecker_fusion_reference(exact[:-1], exact[-1])
            pull = torch.randn_like(out)
            got = [out, *torch.autograd.grad(out, (*xs, weight), pull)]
            for one, other in zip(got, [want, *torch.autograd.grad(want, exact, pull.double())]):
                assert (one - other).abs().max() < tolerance * other.abs().max(), (n, dtype, layout)
x = torch.full((1, 8, 64, 512), 0.1)  # fewer lanes add up more terms each
_, grad = torch.ops.rotacube.kronecker_fusion_backward(x, [x], torch.ones(1, 1), False, True)
want = x[0, 0, 0, 0].double() ** 2 * x.numel()
assert abs(grad.item() - want.item()) < 1e-5 * want.item(), grad
print("right")
"""


@compiled
@pytest.mark.parametrize("instructions", ["generic", "avx2", "avx512"])
def test_narrower_instruction_sets(instructions):
    env = {**os.environ, "ROTACUBE_CPU": instructions, "PYTHONPATH": str(PACKAGE_PARENT)}
    done = subprocess.run([sys.executable, "-c", NARROW], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "right"


# Dispatch, and what does not fit


def test_what_takes_the_reference():
    xs, weight = maps_of(9, 1, 2, 3, 3), some(9, 9)
    cases = {
        "at most 8 maps, not 9": (xs, weight),
        "not float64": ([x.double() for x in xs[:2]], weight[:2, :2]),
        "different types": ([xs[0], xs[1].bfloat16()], weight[:2, :2]),
        "neither of the maps' type": (xs[:2], weight[:2, :2].half()),
        "device meta": ([x.to("meta") for x in xs[:2]], weight[:2, :2].to("meta")),
    }
    for sentence, (maps, shares) in cases.items():
        if _library.CPU.loaded or "meta" in sentence:
            assert sentence in why_reference(maps, shares)
        out = kronecker_fusion(maps, shares)
        assert out.shape == (1, 2 * len(maps), 3, 3)
        if out.device.type == "cpu":
            assert relative_error(out, by_definition([x.double() for x in maps], shares.double())) < 1e-2


BAD = [
    ([], (0, 0), "one map or more"),
    ([(2, 3, 4)], (1, 1), r"\(B, C, H, W\), not \(2, 3, 4\)"),
    ([(1, 2, 3, 4), (1, 2, 4, 3)], (2, 2), r"one shape, not \(1, 2, 3, 4\) and \(1, 2, 4, 3\)"),
    ([(1, 2, 3, 4)] * 2, (2, 3), r"of 2 maps has the shape \(2, 2\), not \(2, 3\)"),
]


@pytest.mark.parametrize("shapes,weight,sentence", BAD)
def test_bad_arguments_get_a_sentence(shapes, weight, sentence):
    xs = [torch.zeros(shape) for shape in shapes]
    for face in FACES:
        with pytest.raises(ValueError, match=sentence):
            face(xs, torch.zeros(weight))
    if _library.CPU.loaded and xs:
        with pytest.raises(RuntimeError, match=sentence):
            torch.ops.rotacube.kronecker_fusion(xs, torch.zeros(weight))


@compiled
def test_the_operator_itself_refuses_the_rest():
    with pytest.raises(RuntimeError, match="takes 1 to 8 maps, not 9"):
        torch.ops.rotacube.kronecker_fusion(maps_of(9, 1, 2, 3, 3), some(9, 9))
    with pytest.raises(RuntimeError, match="other types take the reference"):
        torch.ops.rotacube.kronecker_fusion([x.double() for x in maps_of(2, 1, 2, 3, 3)], some(2, 2))
    with pytest.raises(RuntimeError, match=r"has the shape \(1, 4, 3, 3\), not \(1, 2, 3, 3\)"):
        xs = maps_of(2, 1, 2, 3, 3)
        torch.ops.rotacube.kronecker_fusion_backward(xs[0], xs, some(2, 2), True, True)
