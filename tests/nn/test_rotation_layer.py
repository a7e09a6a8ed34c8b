"""The rotation layer: it is its operator, pooling makes it invariant, and its losses."""

from __future__ import annotations

import pytest
import torch

from rotacube.nn import RotationConv2d
from rotacube.ops import rotation_conv2d_reference


def some(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("orientations", [1, 4, 8, 16])
@pytest.mark.parametrize("pool", ["max", "mean", None])
@pytest.mark.parametrize("padding", ["same", 0])
def test_the_layer_is_its_operator(orientations, pool, padding):
    layer = RotationConv2d(5, 6, orientations=orientations, pool=pool, padding=padding)
    with torch.no_grad():
        layer.bias.copy_(some(layer.total_channels))
    x = some(2, 5, 7, 9)
    got = layer(x)
    assert layer.total_channels == 6 * max(orientations // 4, 1)
    assert got.shape[:2] == (2, layer.total_channels)
    want = rotation_conv2d_reference(
        x, layer.weight, orientations=orientations, pool=pool, padding=padding, bias=layer.bias
    )
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("orientations", [4, 8])
@pytest.mark.parametrize("pool", ["max", "mean"])
def test_turning_the_input_turns_the_output(orientations, pool):
    layer = RotationConv2d(4, 3, orientations=orientations, pool=pool)
    x = some(2, 4, 9, 9)
    for r in range(1, 4):
        turned = layer(torch.rot90(x, r, (2, 3)))
        torch.testing.assert_close(turned, torch.rot90(layer(x), r, (2, 3)), rtol=1e-4, atol=1e-5)


def test_the_losses_are_zero_for_a_steerable_pair_and_nowhere_else():
    layer = RotationConv2d(2, 3, orientations=8)
    flat = torch.zeros(2, 3, 18)
    flat[0, :, 0], flat[1, :, 1] = 2.0, 2.0
    with torch.no_grad():
        layer.weight.copy_(flat.reshape(layer.weight.shape))
    assert layer.magnitude_loss().item() == 0
    assert layer.orthogonality_loss().item() == 0
    with torch.no_grad():
        layer.weight[1].copy_(layer.weight[0] * 2)
    assert layer.magnitude_loss().item() == pytest.approx((4 - 16) ** 2)
    assert layer.orthogonality_loss().item() == pytest.approx(1, abs=1e-5)
    plain = RotationConv2d(2, 3)
    assert plain.magnitude_loss().item() == plain.orthogonality_loss().item() == 0


def test_the_losses_pull_the_pair_apart():
    layer = RotationConv2d(3, 4, orientations=8)
    optimiser = torch.optim.Adam(layer.parameters(), 0.01)
    before = layer.magnitude_loss().item() + layer.orthogonality_loss().item()
    for _ in range(100):
        loss = layer.magnitude_loss() + layer.orthogonality_loss()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.1 * before


@pytest.mark.parametrize("arguments", [{"kernel_size": 2}, {"orientations": 6}, {"orientations": 2}])
def test_what_does_not_fit(arguments):
    with pytest.raises(ValueError, match="rotation convolution"):
        RotationConv2d(2, 3, **arguments)
