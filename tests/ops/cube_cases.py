"""What the tests of the Cube convolution share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import strategies as st

import rotacube
from rotacube.ops import _library

PACKAGE_PARENT = Path(rotacube.__file__).resolve().parents[1]
ANCHORS = ("tl", "br")
compiled = pytest.mark.skipif(not _library.CPU.loaded, reason=_library.CPU.why)


def some(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def relative_error(got: torch.Tensor, want: torch.Tensor) -> float:
    assert got.shape == want.shape
    if want.numel() == 0:
        return 0.0
    return ((got.double() - want).abs().max() / want.abs().max().clamp_min(1e-30)).item()


def operator(x, weight, bias=None, *, order=None, mask=None, anchor="tl"):
    return torch.ops.rotacube.cube_conv2d(x, weight, bias, order, mask, anchor)


@st.composite
def operands(draw):
    """Input, weight and bias (or None) of any small shape, in every way that they may lie in memory."""
    batch, height, width = draw(st.integers(0, 2)), draw(st.integers(1, 19)), draw(st.integers(1, 35))
    groups = draw(st.sampled_from([1, 2, 3, 5, 16, 17]))
    outputs = draw(st.sampled_from([1, 2, 15, 16, 17, 40, 48, 65, 96]))
    kernel = draw(st.sampled_from([1, 3, 3, 3, 5, 7]))
    layout = draw(st.sampled_from(["contiguous", "channels_last", "sliced", "transposed", "expanded"]))
    weight_layout = draw(st.sampled_from(["contiguous", "channels_last", "sliced"]))
    shape = (batch, 4 * groups, height, width)
    if layout == "sliced":
        x = some(batch, 4 * groups + 3, 2 * height, width + 1)[:, 2:-1, ::2, 1:]
    elif layout == "transposed":
        x = some(batch, width, height, 4 * groups).transpose(1, 3)
    elif layout == "expanded":
        x = some(batch, 4 * groups, 1, width).expand(shape)
    else:
        x = some(*shape)
        x = x.contiguous(memory_format=torch.channels_last) if layout == "channels_last" else x
    assert x.shape == shape
    if weight_layout == "sliced":
        weight = some(outputs, groups + 1, kernel, kernel, seed=1)[:, 1:]
    else:
        weight = some(outputs, groups, kernel, kernel, seed=1)
        if weight_layout == "channels_last":
            weight = weight.contiguous(memory_format=torch.channels_last)
    bias = some(2 * outputs, seed=2)[::2] if draw(st.booleans()) else None
    return x, weight, bias
