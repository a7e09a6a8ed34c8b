"""Attention within windows against attention over all pixels, each told which others it may see."""

from __future__ import annotations

import pytest
import torch

from rotacube.networks.swin_unet import WINDOW, WindowAttention


def attention_over_all(layer, x, shift):
    """The same with one big table of who sees whom, made from the pixels' coordinates; no rolling, no padding."""
    batch, channels, height, width = x.shape
    query, key, value = (
        part.reshape(batch, layer.heads, -1, height * width).transpose(2, 3) for part in layer.qkv(x).chunk(3, 1)
    )
    y, column = (v.flatten() for v in torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
    shifts = [shift if -(-n // WINDOW) > 1 else 0 for n in (height, width)]
    window = torch.stack([(y - shifts[0]).div(WINDOW, rounding_mode="floor"), (column - shifts[1]) // WINDOW])
    together = (window[:, :, None] == window[:, None]).all(0)
    place = (y[:, None] - y + WINDOW - 1) * (2 * WINDOW - 1) + column[:, None] - column + WINDOW - 1
    bias = layer.positions[:, place.clamp(0, (2 * WINDOW - 1) ** 2 - 1)]
    scores = query @ key.mT / query.shape[-1] ** 0.5 + bias
    seen = scores.masked_fill(~together, float("-inf")).softmax(-1) @ value
    return layer.project(seen.transpose(2, 3).reshape(batch, channels, height, width))


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("size", [(8, 8), (16, 24), (4, 4), (2, 2), (12, 20), (8, 20), (4, 16), (17, 9)])
def test_windows_see_what_they_should(size, shifted):
    torch.manual_seed(0)
    layer = WindowAttention(12, 3, shifted).double()
    torch.nn.init.normal_(layer.positions)
    x = torch.randn(2, 12, *size, dtype=torch.float64)
    with torch.no_grad():
        want = attention_over_all(layer, x, layer.shift)
        torch.testing.assert_close(layer(x), want, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(layer(x.contiguous(memory_format=torch.channels_last)), want, rtol=1e-10, atol=1e-10)


def test_a_shift_lets_neighbouring_windows_meet():
    layer = WindowAttention(12, 3, True)
    x = torch.randn(1, 12, 16, 16, requires_grad=True)
    layer(x)[..., 7, 7].sum().backward()
    reached = x.grad.abs().sum((0, 1)) > 0
    rows, columns = reached.any(1).nonzero().flatten(), reached.any(0).nonzero().flatten()
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 11, 4, 11)
