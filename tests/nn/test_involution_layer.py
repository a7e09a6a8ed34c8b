"""Involution as a layer: its kernels are made from each pixel, and it trains."""

from __future__ import annotations

import pytest
import torch

from rotacube.nn.involution import Involution2d
from rotacube.ops.involution import involution2d_reference


def some(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("channels,groups,size", [(32, None, 3), (32, None, 7), (12, 3, 5), (5, None, 3)])
def test_kernels_are_made_of_each_pixel(channels, groups, size):
    layer, x = Involution2d(channels, size, groups=groups).eval(), some(2, channels, 9, 8)
    kernel = layer.span(torch.relu(layer.norm(layer.reduce(x))))
    assert layer.groups == (groups or (2 if channels == 32 else 1))
    assert kernel.shape == (2, layer.groups * size**2, 9, 8)
    want = involution2d_reference(x, kernel, groups=layer.groups)
    torch.testing.assert_close(layer(x), want, rtol=1e-4, atol=1e-5)


def test_parameters_are_the_papers():
    layer = Involution2d(64, 7, reduction=4)
    assert sum(p.numel() for p in layer.parameters()) == 64 * 16 + 2 * 16 + 16 * 4 * 49 + 4 * 49


def test_learns_to_shift():
    torch.manual_seed(0)
    layer, x = Involution2d(16, 3), some(4, 16, 8, 8)
    want = torch.roll(x, 1, 3)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = (layer(x) - want)[..., 1:].square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in layer.parameters())
    assert losses[-1] < 0.1 * losses[0]


def test_under_autocast_and_in_channels_last():
    layer = Involution2d(32, 5).eval()
    x = some(1, 32, 10, 11).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = layer(x)
    assert out.dtype == torch.bfloat16
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out.float(), layer(x), rtol=5e-2, atol=5e-2)


def test_what_does_not_fit():
    with pytest.raises(ValueError, match="odd kernel size, not 4"):
        Involution2d(16, 4)
    with pytest.raises(ValueError, match="16 is no multiple of 3"):
        Involution2d(16, 3, groups=3)
