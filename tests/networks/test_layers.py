"""The parts that families share, against PyTorch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from rotacube.networks.layers import SqueezeExcite, pooled, scaled, to_channels_last
from rotacube.nn import RotationConv2d

sizes = st.integers(1, 33)


@settings(deadline=None)
@given(sizes, sizes, st.integers(1, 7), st.integers(1, 7))
def test_pooling_is_adaptive_average_pooling(height, width, rows, columns):
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    torch.testing.assert_close(pooled(x, rows, columns), F.adaptive_avg_pool2d(x, (rows, columns)))


@given(st.lists(st.integers(1, 2048), min_size=1), st.floats(0.0625, 4))
def test_scaled_widths_suit_a_cube(channels, width):
    found = scaled(channels, width)
    assert len(found) == len(channels) and all(c >= 4 and c % 4 == 0 for c in found)
    assert all(abs(f - c * width) <= max(2, 4 - c * width) for f, c in zip(found, channels, strict=True))


def test_published_widths_stay():
    assert scaled((96, 192, 384, 768), 1) == (96, 192, 384, 768)


def test_squeeze_and_excitation_scales_channels_by_all_means():
    torch.manual_seed(0)
    layer, x = SqueezeExcite(32), torch.randn(2, 32, 5, 6)
    means = x.mean((2, 3))
    hidden = (means @ layer.squeeze.weight.flatten(1).T).relu()
    scale = torch.sigmoid(hidden @ layer.excite.weight.flatten(1).T)
    torch.testing.assert_close(layer(x), x * scale[:, :, None, None])


def test_weights_of_five_axes_stay_as_they_are():
    layer = to_channels_last(RotationConv2d(4, 4, orientations=8))
    assert layer.weight.dim() == 5 and layer.weight.is_contiguous()
    with pytest.raises(RuntimeError):
        layer.to(memory_format=torch.channels_last)
