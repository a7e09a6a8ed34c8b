"""Involution: the definition, the reference, the compiled kernel, and what PyTorch asks of an operator."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cube_cases import PACKAGE_PARENT, compiled, relative_error, some
from hypothesis import given, settings
from hypothesis import strategies as st

from rotacube.ops import _library
from rotacube.ops.involution import involution2d, involution2d_reference, why_reference

LAYOUTS = (torch.contiguous_format, torch.channels_last)
TYPES = ((torch.float32, 1e-4), (torch.bfloat16, 1e-2), (torch.float16, 1e-2))
FACES = [involution2d, involution2d_reference]


def by_definition(x: np.ndarray, kernel: np.ndarray, groups: int) -> np.ndarray:
    """The equation as loops, zeros outside."""
    channels, height, width = x.shape[1:]
    size = round((kernel.shape[1] // groups) ** 0.5)
    out = np.zeros_like(x)
    for b, c, h, w in np.ndindex(*x.shape):
        for u in range(size):
            for v in range(size):
                row, column = h + u - size // 2, w + v - size // 2
                if 0 <= row < height and 0 <= column < width:
                    tap = (c // (channels // groups)) * size * size + u * size + v
                    out[b, c, h, w] += kernel[b, tap, h, w] * x[b, c, row, column]
    return out


def unfolded(x, kernel, groups):
    """The paper's own way, with a copy of the input for every tap."""
    batch, channels, height, width = x.shape
    size = round((kernel.shape[1] // groups) ** 0.5)
    windows = F.unfold(x, size, padding=size // 2).view(batch, groups, channels // groups, size**2, height, width)
    return (windows * kernel.view(batch, groups, 1, size**2, height, width)).sum(3).reshape(x.shape)


def operands_of(batch, channels, groups, size, height, width, dtype=torch.float32, layout=torch.contiguous_format):
    shapes = ((batch, channels, height, width), (batch, groups * size**2, height, width))
    return [some(*shape, seed=j).to(dtype).contiguous(memory_format=layout) for j, shape in enumerate(shapes)]


def gradients(run, x, kernel, groups, pull):
    leaves = [t.detach().clone(memory_format=torch.preserve_format).requires_grad_() for t in (x, kernel)]
    out = run(*leaves, groups=groups)
    return [out, *torch.autograd.grad(out, leaves, pull.to(out.dtype))]


def assert_right(x, kernel, groups, tolerance):
    """Result and both gradients against float64."""
    pull = some(*x.shape, seed=7).to(x.dtype)
    got = gradients(involution2d, x, kernel, groups, pull)
    want = gradients(involution2d_reference, x.double(), kernel.double(), groups, pull)
    for one, other in zip(got, want, strict=True):
        assert relative_error(one, other) < tolerance
    assert got[0].dtype == x.dtype


@st.composite
def operands(draw):
    """Input and kernel of any small shape, in every way that they may lie in memory."""
    batch, height, width = draw(st.integers(0, 2)), draw(st.integers(1, 11)), draw(st.integers(1, 70))
    groups, channels = draw(st.sampled_from([1, 1, 2, 3, 5])), draw(st.sampled_from([1, 2, 4, 7, 13, 16, 17, 32]))
    size, (dtype, tolerance) = draw(st.sampled_from([3, 5, 7])), draw(st.sampled_from(TYPES))
    tensors = []
    for count in (groups * channels, groups * size**2):
        layout = draw(st.sampled_from(["contiguous", "channels_last", "channels_last", "sliced", "expanded"]))
        shape = (batch, count, height, width)
        if layout == "sliced":
            t = some(batch, count + 2, 2 * height, width + 1, seed=count)[:, 1:-1, ::2, 1:]
        elif layout == "expanded":
            t = some(batch, count, 1, width, seed=count).expand(shape)
        else:
            t = some(*shape, seed=count)
            t = t.contiguous(memory_format=torch.channels_last) if layout == "channels_last" else t
        tensors.append(t.to(dtype))
    return (*tensors, groups, tolerance)


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("groups", [1, 2])
def test_the_reference_is_the_definition(size, groups):
    x, kernel = operands_of(2, 4, groups, size, 4, 3, dtype=torch.float64)
    want = torch.from_numpy(by_definition(x.numpy(), kernel.numpy(), groups))
    torch.testing.assert_close(involution2d_reference(x, kernel, groups=groups), want)
    torch.testing.assert_close(unfolded(x, kernel, groups), want)


@pytest.mark.parametrize("face", FACES)
def test_equal_kernels_everywhere_are_a_depthwise_convolution(face):
    x, taps = some(2, 6, 8, 9), some(2, 3, 3, seed=1)
    kernel = taps.reshape(1, 18, 1, 1).expand(2, 18, 8, 9)
    want = F.conv2d(x, taps.repeat_interleave(3, 0).unsqueeze(1), padding=1, groups=6)
    torch.testing.assert_close(face(x, kernel, groups=2), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [1, 3])
def test_gradcheck_in_float64(size):
    leaves = [t.requires_grad_() for t in operands_of(1, 4, 2, size, 3, 2, dtype=torch.float64)]

    def run(x, kernel):
        return involution2d(x, kernel, groups=2)

    assert torch.autograd.gradcheck(run, leaves)
    assert torch.autograd.gradgradcheck(run, leaves)


# The compiled kernel


@compiled
@settings(max_examples=80, deadline=None)
@given(case=operands())
def test_compiled_agrees_with_float64(case):
    x, kernel, groups, tolerance = case
    assert why_reference(x, kernel, groups) is None
    assert_right(x, kernel, groups, tolerance)


@compiled
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype,tolerance", TYPES)
@pytest.mark.parametrize(
    "channels,groups,size,height,width",
    [
        (80, 5, 7, 70, 66),
        (160, 1, 3, 9, 40),
        (48, 48, 5, 9, 65),
        (72, 3, 5, 17, 67),
        (96, 3, 7, 11, 3),
        (39, 3, 3, 9, 6),
    ],
)
def test_compiled_over_many_tiles(channels, groups, size, height, width, layout, dtype, tolerance):
    x, kernel = operands_of(1, channels, groups, size, height, width, dtype=dtype, layout=layout)
    assert_right(x, kernel, groups, tolerance)
    assert involution2d(x, kernel, groups=groups).is_contiguous(memory_format=layout)


@compiled
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("half", [16, 24])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_results_larger_than_the_caches(layout, half, dtype):
    x = some(4, 2 * half, 256, 272).to(dtype).contiguous(memory_format=layout)
    kernel = torch.zeros(4, 18, 256, 272, dtype=dtype).contiguous(memory_format=layout)
    kernel[:, 3] = 1  # group 0: the left neighbour
    kernel[:, 9 + 7] = 2  # group 1: twice the lower one
    out = involution2d(x, kernel, groups=2)
    assert torch.equal(out[:, :half, :, 1:], x[:, :half, :, :-1])
    assert torch.equal(out[:, half:, :-1], 2 * x[:, half:, 1:])
    assert torch.equal(out[:, half:, -1], torch.zeros_like(out[:, half:, -1]))
    grad_x, _ = torch.ops.rotacube.involution2d_backward(x, x, kernel, 2, True, False)
    assert torch.equal(grad_x[:, :half, :, :-1], x[:, :half, :, 1:])
    assert torch.equal(grad_x[:, half:, 1:], 2 * x[:, half:, :-1])


@compiled
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype,tolerance", TYPES)
@pytest.mark.parametrize("size", [3, 5, 7])
def test_an_infinite_value_reaches_its_windows_only(size, dtype, tolerance, layout):
    x, kernel = operands_of(1, 32, 2, size, 12, 21, dtype=dtype, layout=layout)
    x[:, :, 6, 10] = float("inf")
    finite = involution2d(x, kernel, groups=2).isfinite()
    want = torch.ones(12, 21, dtype=torch.bool)
    half = size // 2
    want[6 - half : 7 + half, 10 - half : 11 + half] = False
    assert torch.equal(finite, want.expand_as(finite))


@compiled
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [3, 7])
def test_threads_change_nothing(layout, size):
    x, kernel = operands_of(1, 48, 3, size, 41, 70, layout=layout)
    pull = some(*x.shape, seed=5)
    threads = torch.get_num_threads()
    try:
        results = []
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            results.append(gradients(involution2d, x, kernel, 3, pull))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("shape", [(0, 4, 4, 4), (2, 4, 0, 4), (2, 4, 4, 0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_empty_inputs(shape, dtype):
    x = torch.zeros(shape, dtype=dtype, requires_grad=True)
    kernel = torch.zeros(shape[0], 18, *shape[2:], dtype=dtype, requires_grad=True)
    out = involution2d(x, kernel, groups=2)
    assert out.shape == shape
    out.sum().backward()
    assert x.grad.shape == shape
    assert kernel.grad.shape == kernel.shape


@compiled
def test_only_the_wanted_gradients():
    x, kernel = operands_of(1, 4, 2, 3, 5, 6)
    both = gradients(involution2d, x, kernel, 2, torch.ones_like(x))
    involution2d(x.requires_grad_(), kernel, groups=2).sum().backward()
    assert kernel.grad is None
    assert torch.equal(x.grad, both[1])
    involution2d(x.detach(), kernel.requires_grad_(), groups=2).sum().backward()
    assert torch.equal(kernel.grad, both[2])


@compiled
def test_gradients_of_gradients():
    x, kernel = operands_of(2, 4, 2, 3, 5, 6)
    pull = some(*x.shape, seed=3)

    def twice(run, dtype):
        leaves = [t.to(dtype).requires_grad_() for t in (x, kernel, pull)]
        first = torch.autograd.grad(run(*leaves[:2], groups=2), leaves[:2], leaves[2], create_graph=True)
        return torch.autograd.grad(sum((g**2).sum() for g in first), leaves)

    for got, want in zip(twice(involution2d, torch.float32), twice(unfolded, torch.float64), strict=True):
        assert relative_error(got, want) < 1e-4


@compiled
@pytest.mark.parametrize("layout", LAYOUTS)
def test_opcheck(layout):
    x, kernel = (t.requires_grad_() for t in operands_of(2, 4, 2, 3, 5, 4, layout=layout))
    torch.library.opcheck(torch.ops.rotacube.involution2d.default, (x, kernel, 2))
    pull = some(*x.shape).requires_grad_()
    for wanted in ((True, True), (True, False), (False, True)):
        arguments = (pull, x, kernel, 2, *wanted)
        torch.library.opcheck(torch.ops.rotacube.involution2d_backward.default, arguments)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiles_as_one_graph(backend):
    torch._dynamo.reset()

    @torch.compile(fullgraph=True, backend=backend)
    def run(x, kernel):
        return involution2d(x.relu(), kernel, groups=2).relu()

    x, kernel = (t.requires_grad_() for t in operands_of(2, 4, 2, 3, 5, 6))
    want = involution2d_reference(x.relu(), kernel, groups=2).relu()
    got = run(x, kernel)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    for one, two in zip(*(torch.autograd.grad(out.sum(), (x, kernel)) for out in (got, want)), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)


class Involve(torch.nn.Module):
    def forward(self, x, kernel):
        return involution2d(x, kernel, groups=2)


def test_exports_with_the_operator_and_for_onnx_without(monkeypatch):
    arguments = tuple(operands_of(2, 4, 2, 3, 5, 6))
    program = torch.export.export(Involve(), arguments)
    torch.testing.assert_close(program.module()(*arguments), involution2d_reference(*arguments, groups=2))
    assert ("rotacube" in str(program.graph)) == _library.CPU.loaded
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    assert "rotacube" not in str(torch.export.export(Involve(), arguments).graph)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_casts_both(dtype):
    x, kernel = operands_of(1, 4, 2, 5, 6, 7)
    kernel = kernel.to(torch.bfloat16)  # as a convolution under autocast leaves it
    want = involution2d_reference(x.to(dtype).double(), kernel.to(dtype).double(), groups=2)
    for face in FACES:
        with torch.autocast("cpu", dtype=dtype):
            out = face(x, kernel, groups=2)
        assert out.dtype == dtype
        assert relative_error(out, want) < 1e-2


NARROW = """
import torch
from rotacube.ops.involution import involution2d, involution2d_reference
torch.manual_seed(0)
for size, groups, channels in ((3, 2, 16), (5, 3, 7), (7, 1, 24), (3, 1, 1)):
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 8e-3), (torch.float16, 1e-3)):
        for layout in (torch.contiguous_format, torch.channels_last):
            x, kernel = torch.randn(2, groups * channels, 6, 37), torch.randn(2, groups * size**2, 6, 37)
            x, kernel = (t.to(dtype).contiguous(memory_format=layout).requires_grad_() for t in (x, kernel))
            out = involution2d(x, kernel, groups=groups)
            exact = [t.detach().double().requires_grad_() for t in (x, kernel)]
            want = involution2d_reference(*exact, groups=groups)
            pull = torch.randn_like(out)
            got = [out, *torch.autograd.grad(out, (x, kernel), pull)]
            for one, other in zip(got, [want, *torch.autograd.grad(want, exact, pull.double())]):
                assert (one - other).abs().max() < tolerance * other.abs().max(), (size, groups, dtype, layout)
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
    x, kernel = operands_of(1, 4, 2, 3, 5, 6)
    cases = {
        "not float64": (x.double(), kernel.double()),
        "another type": (x, kernel.bfloat16()),
        "K = 3, 5 and 7, not 9": (x, some(1, 2 * 81, 5, 6)),
        "device meta": (x.to("meta"), kernel.to("meta")),
    }
    for sentence, (one, other) in cases.items():
        if _library.CPU.loaded or "meta" in sentence:
            assert sentence in why_reference(one, other, 2)
        out = involution2d(one, other, groups=2)
        assert out.shape == x.shape
        if out.device.type == "cpu":
            assert relative_error(out, unfolded(one.double(), other.double(), 2)) < 1e-4


BAD = [
    ((4, 5, 6), (1, 9, 5, 6), 1, r"\(B, C, H, W\), not \(4, 5, 6\)"),
    ((1, 4, 5, 6), (1, 27, 5, 6), 3, "4 channels are no multiple of 3"),
    ((1, 4, 5, 6), (1, 9, 5, 6), 0, "4 channels are no multiple of 0"),
    ((1, 4, 5, 6), (1, 18, 5, 5), 2, r"has the shape \(1, 2 \* K \* K, 5, 6\), not \(1, 18, 5, 5\)"),
    ((1, 4, 5, 6), (1, 17, 5, 6), 2, r"2 \* K \* K channels"),
    ((1, 4, 5, 6), (1, 8, 5, 6), 2, r"2 \* K \* K channels"),
]


@pytest.mark.parametrize("x,kernel,groups,sentence", BAD)
def test_bad_arguments_get_a_sentence(x, kernel, groups, sentence):
    for face in FACES:
        with pytest.raises(ValueError, match=sentence):
            face(torch.zeros(x), torch.zeros(kernel), groups=groups)
    if _library.CPU.loaded:
        with pytest.raises(RuntimeError, match=sentence):
            torch.ops.rotacube.involution2d(torch.zeros(x), torch.zeros(kernel), groups)


@compiled
def test_the_operator_itself_refuses_the_rest():
    x, kernel = operands_of(1, 4, 2, 3, 5, 6)
    with pytest.raises(RuntimeError, match="other types take the reference"):
        torch.ops.rotacube.involution2d(x.double(), kernel.double(), 2)
    with pytest.raises(RuntimeError, match=r"has the shape \(1, 4, 5, 6\), not \(1, 4, 5, 5\)"):
        torch.ops.rotacube.involution2d_backward(x[..., 1:], x, kernel, 2, True, True)
