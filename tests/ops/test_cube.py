"""The Cube convolution: the definition, the reference, the compiled kernel, and what PyTorch asks of an operator."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cube_cases import ANCHORS, PACKAGE_PARENT, compiled, operands, operator, relative_error, some
from hypothesis import given, settings
from hypothesis import strategies as st

from rotacube.ops import _library, cube_conv2d, cube_conv2d_reference
from rotacube.ops.cube import why_reference


def by_definition(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, anchor: str) -> np.ndarray:
    """The paper's words as loops: fill the 2x2 lattice, walk over it with stride 2, zeros outside."""
    batch, channels, height, width = x.shape
    outputs, groups, kernel, _ = weight.shape
    fine = np.zeros((batch, groups, 2 * height, 2 * width))
    for c in range(channels):
        g, phase = divmod(c, 4)
        down, right = divmod(phase, 2)
        fine[:, g, down::2, right::2] = x[:, c]
    shift = 1 if anchor == "br" else 0
    out = np.zeros((batch, outputs, height, width))
    for b, o, r, c in np.ndindex(*out.shape):
        total = 0.0 if bias is None else bias[o]
        for u in range(kernel):
            for v in range(kernel):
                row, column = 2 * r + shift + u - kernel // 2, 2 * c + shift + v - kernel // 2
                if 0 <= row < 2 * height and 0 <= column < 2 * width:
                    total += float(fine[b, :, row, column] @ weight[o, :, u, v])
        out[b, o, r, c] = total
    return out


# The reference


@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("size", [(3, 4), (1, 1), (1, 5)])
def test_reference_is_the_definition(anchor, kernel, size):
    x, weight, bias = some(2, 8, *size, dtype=torch.float64), some(3, 2, kernel, kernel, dtype=torch.float64), some(3)
    got = cube_conv2d_reference(x, weight, bias.double(), anchor=anchor)
    np.testing.assert_allclose(got.numpy(), by_definition(x.numpy(), weight.numpy(), bias.double().numpy(), anchor))


def test_the_papers_anchor_is_pixel_shuffle_and_a_strided_convolution():
    x, weight, bias = some(2, 16, 6, 5), some(7, 4, 3, 3), some(7)
    want = F.conv2d(F.pixel_shuffle(x, 2), weight, bias, stride=2, padding=1)
    torch.testing.assert_close(cube_conv2d(x, weight, bias), want)


@pytest.mark.parametrize("anchor", ANCHORS)
def test_support_is_one_sided(anchor):
    x = torch.zeros(1, 4, 5, 5)
    x[..., 2, 2] = 1
    touched = cube_conv2d(x, torch.ones(1, 1, 3, 3), anchor=anchor)[0, 0].nonzero().tolist()
    near = (2, 3) if anchor == "tl" else (1, 2)
    assert touched == [[r, c] for r in near for c in near]


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_anchors_mirror_each_other(kernel):
    x, weight = some(2, 12, 6, 7), some(5, 3, kernel, kernel)
    mirrored = x.reshape(2, 3, 4, 6, 7).flip(2, 3, 4).reshape_as(x)  # turns the fine lattice by 180 degrees
    turned = cube_conv2d(mirrored, weight.flip(2, 3), anchor="br").flip(2, 3)
    torch.testing.assert_close(turned, cube_conv2d(x, weight, anchor="tl"), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("kernel", [1, 3])
def test_gradcheck_in_float64(anchor, kernel):
    x, weight, bias = (
        some(1, 4, 3, 2, dtype=torch.float64).requires_grad_(),
        some(2, 1, kernel, kernel, dtype=torch.float64).requires_grad_(),
        some(2, dtype=torch.float64).requires_grad_(),
    )

    def run(x, weight, bias):
        return cube_conv2d(x, weight, bias, anchor=anchor)

    assert torch.autograd.gradcheck(run, (x, weight, bias))
    assert torch.autograd.gradgradcheck(run, (x, weight, bias))


# The compiled kernel


@compiled
@settings(max_examples=120, deadline=None)
@given(case=operands(), anchor=st.sampled_from(ANCHORS))
def test_compiled_agrees_with_float64(case, anchor):
    x, weight, bias = case
    assert why_reference(x, weight, bias) is None
    got = cube_conv2d(x, weight, bias, anchor=anchor)
    want = cube_conv2d_reference(x.double(), weight.double(), None if bias is None else bias.double(), anchor=anchor)
    assert got.dtype == torch.float32
    assert relative_error(got, want) < 1e-4


@compiled
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_output_lies_as_the_input(layout):
    out = cube_conv2d(some(2, 8, 6, 5).contiguous(memory_format=layout), some(3, 2, 3, 3))
    assert out.is_contiguous(memory_format=layout)


@compiled
@pytest.mark.parametrize("channels,size", [(40, 128), (96, 64), (768, 16), (1028, 9)])
def test_compiled_over_many_tiles(channels, size):
    x = some(2, channels, size, size).contiguous(memory_format=torch.channels_last)
    weight = some(channels // 4, channels // 4, 3, 3, seed=1)
    want = cube_conv2d_reference(x.double(), weight.double())
    assert relative_error(cube_conv2d(x, weight), want) < 1e-4


@compiled
def test_a_part_is_the_crop_of_the_whole():
    x, weight = some(1, 32, 40, 60), some(24, 8, 3, 3, seed=1)
    whole = cube_conv2d(x, weight)
    torch.testing.assert_close(cube_conv2d(x[..., 7:31, 11:50], weight)[..., 1:, 1:], whole[..., 8:31, 12:50])


@compiled
def test_threads_do_not_change_the_result():
    x, weight = some(1, 64, 33, 47), some(40, 16, 3, 3, seed=1)
    threads = torch.get_num_threads()
    try:
        results = []
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            results.append(cube_conv2d(x, weight))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize("shape", [(0, 8, 4, 4), (2, 8, 0, 4), (2, 8, 4, 0)])
@pytest.mark.parametrize("run", [cube_conv2d, pytest.param(operator, marks=compiled)])
def test_empty_inputs_have_empty_outputs_and_zero_gradients(shape, run):
    x, weight, bias = some(*shape).requires_grad_(), some(3, 2, 3, 3).requires_grad_(), some(3).requires_grad_()
    out = run(x, weight, bias)
    assert out.shape == (shape[0], 3, *shape[2:])
    out.sum().backward()
    assert x.grad.shape == x.shape
    assert torch.equal(weight.grad, torch.zeros_like(weight))
    assert torch.equal(bias.grad, torch.zeros_like(bias))


@compiled
@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("with_bias", [True, False])
def test_gradients_of_the_compiled_path(anchor, kernel, layout, with_bias):
    leaves = [some(2, 12, 5, 6).contiguous(memory_format=layout), some(7, 3, kernel, kernel, seed=1), some(7, seed=2)]
    mine = [leaf.clone().requires_grad_() for leaf in leaves[: 2 + with_bias]]
    theirs = [leaf.double().requires_grad_() for leaf in leaves[: 2 + with_bias]]
    pull = some(2, 7, 5, 6, seed=3)
    got = torch.autograd.grad(operator(*mine, anchor=anchor), mine, pull)
    want = torch.autograd.grad(cube_conv2d_reference(*theirs, anchor=anchor), theirs, pull.double())
    for one, other in zip(got, want, strict=True):
        assert relative_error(one, other) < 1e-4


@compiled
def test_only_the_wanted_gradients():
    x, weight = some(1, 4, 3, 3), some(2, 1, 3, 3).requires_grad_()
    operator(x, weight).sum().backward()
    assert x.grad is None
    assert weight.grad is not None


@compiled
@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("with_bias", [True, False])
def test_opcheck(anchor, layout, with_bias):
    x = some(2, 8, 5, 3).contiguous(memory_format=layout).requires_grad_()
    weight = some(3, 2, 3, 3).requires_grad_()
    bias = some(3).requires_grad_() if with_bias else None
    torch.library.opcheck(torch.ops.rotacube.cube_conv2d.default, (x, weight, bias, None, None, anchor))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("face", [cube_conv2d, pytest.param(operator, marks=compiled)])
def test_compiles_as_one_graph(backend, anchor, face):
    torch._dynamo.reset()  # the cases share one code object, whose recompilations are counted

    @torch.compile(fullgraph=True, backend=backend)
    def run(x, weight, bias):
        return face(x.relu(), weight, bias, anchor=anchor).relu()

    x, weight, bias = some(2, 8, 5, 6).requires_grad_(), some(3, 2, 3, 3).requires_grad_(), some(3)
    want = cube_conv2d_reference(x.relu(), weight, bias, anchor=anchor).relu()
    got = run(x, weight, bias)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(run(x, weight, bias), want, rtol=1e-4, atol=1e-5)
    got_x, got_weight = torch.autograd.grad(got.sum(), (x, weight))
    want_x, want_weight = torch.autograd.grad(want.sum(), (x, weight))
    torch.testing.assert_close(got_x, want_x, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got_weight, want_weight, rtol=1e-4, atol=1e-4)


NARROW = """
import torch
from rotacube.ops import cube_conv2d, cube_conv2d_reference, operator_status
torch.manual_seed(0)
for c, o, h, w, k in [(8, 3, 5, 7, 3), (96, 96, 9, 33, 3), (64, 40, 12, 20, 5), (20, 17, 1, 3, 1)]:
    for anchor in ("tl", "br"):
        for layout in (torch.contiguous_format, torch.channels_last):
            x = torch.randn(2, c, h, w).contiguous(memory_format=layout)
            weight, bias = torch.randn(o, c // 4, k, k), torch.randn(o)
            want = cube_conv2d_reference(x.double(), weight.double(), bias.double(), anchor=anchor)
            got = cube_conv2d(x, weight, bias, anchor=anchor)
            assert (got - want).abs().max() < 1e-4 * want.abs().max(), (c, o, h, w, k, anchor, layout)
            x, half, half_bias = x.bfloat16(), weight.bfloat16(), bias.bfloat16()
            want = cube_conv2d_reference(x.double(), half.double(), half_bias.double(), anchor=anchor)
            got = torch.ops.rotacube.cube_conv2d(x, half, half_bias, None, None, anchor)
            assert (got - want).abs().max() < 4e-3 * want.abs().max(), (c, o, h, w, k, anchor, layout)
            assert torch.equal(torch.ops.rotacube.cube_conv2d(x, weight, bias, None, None, anchor), got)
print(operator_status()[0].path)
"""


@compiled
@pytest.mark.parametrize("instructions", ["generic", "avx2", "avx512"])
def test_narrower_instruction_sets(instructions):
    env = {**os.environ, "ROTACUBE_CPU": instructions, "PYTHONPATH": str(PACKAGE_PARENT)}
    done = subprocess.run([sys.executable, "-c", NARROW], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "compiled"


# Dispatch


def test_other_types_take_the_reference():
    x, weight = some(1, 8, 4, 5).double(), some(3, 2, 3, 3).double()
    assert why_reference(x, weight, None) is not None
    assert cube_conv2d(x, weight).dtype == torch.float64


@compiled
def test_recorded_gradients_take_the_kernel():
    x, weight = some(1, 8, 4, 5), some(3, 2, 3, 3).requires_grad_()
    assert why_reference(x, weight, None) is None
    with torch.inference_mode():
        assert why_reference(x, weight, None) is None


def test_other_devices_take_the_reference():
    out = cube_conv2d(some(1, 8, 4, 5).to("meta"), some(3, 2, 3, 3).to("meta"), anchor="br")
    assert out.shape == (1, 3, 4, 5)


# What does not fit

BAD = [
    ((8, 4, 4), (3, 2, 3, 3), None, "tl", r"\(B, C, H, W\), not \(8, 4, 4\)"),
    ((1, 6, 4, 4), (3, 2, 3, 3), None, "tl", "multiple of 4 channels, the input has 6"),
    ((1, 0, 4, 4), (3, 0, 3, 3), None, "tl", "multiple of 4 channels, the input has 0"),
    ((1, 8, 4, 4), (3, 8, 3, 3), None, "tl", r"over 8 channels has the shape \(O, 2, K, K\), not \(3, 8, 3, 3\)"),
    ((1, 8, 4, 4), (3, 2, 3), None, "tl", r"has the shape \(O, 2, K, K\), not \(3, 2, 3\)"),
    ((1, 8, 4, 4), (3, 2, 2, 2), None, "tl", "square and odd, not 2 x 2"),
    ((1, 8, 4, 4), (3, 2, 3, 5), None, "tl", "square and odd, not 3 x 5"),
    ((1, 8, 4, 4), (3, 2, 3, 3), (4,), "tl", r"with 3 outputs has the shape \(3,\), not \(4,\)"),
    ((1, 8, 4, 4), (3, 2, 3, 3), None, "center", '"tl" or "br"'),
]


@pytest.mark.parametrize("x,weight,bias,anchor,sentence", BAD)
def test_bad_arguments_get_a_sentence(x, weight, bias, anchor, sentence):
    arguments = (torch.zeros(x), torch.zeros(weight), None if bias is None else torch.zeros(bias))
    for run in (cube_conv2d, cube_conv2d_reference):
        with pytest.raises(ValueError, match=sentence):
            run(*arguments, anchor=anchor)
    if _library.CPU.loaded:  # the operator itself says the same, for who calls it past Python's face
        with pytest.raises(RuntimeError, match=sentence):
            torch.ops.rotacube.cube_conv2d(*arguments, None, None, anchor)


@compiled
def test_the_operator_itself_refuses_other_types():
    with pytest.raises(RuntimeError, match="takes a float32, bfloat16 or float16 input"):
        torch.ops.rotacube.cube_conv2d(some(1, 4, 3, 3).double(), some(2, 1, 3, 3).double(), None, None, None, "tl")
    with pytest.raises(RuntimeError, match="takes a float32, bfloat16 or float16 input"):
        torch.ops.rotacube.cube_conv2d(some(1, 4, 3, 3), some(2, 1, 3, 3).bfloat16(), None, None, None, "tl")
    with pytest.raises(RuntimeError, match="a bias of the weight's type"):
        torch.ops.rotacube.cube_conv2d(some(1, 4, 3, 3), some(2, 1, 3, 3), some(2).double(), None, None, "tl")
