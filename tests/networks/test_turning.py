"""What turning the input by 90 degrees does to the networks made for it."""

from __future__ import annotations

import pytest
import torch

from rotacube.networks.registry import create_model
from rotacube.nn import P4BatchNorm2d, P4Conv2d, RotationConv2d

QUARTERS = (1, 2, 3)


def whole_numbers(*shape, seed=0):
    """Sums of whole numbers are exact in any order, so that equality can be of every bit."""
    return torch.randint(-4, 5, shape, generator=torch.Generator().manual_seed(seed)).float()


def turned(x, quarters):
    return torch.rot90(x, quarters, (-2, -1))


def turned_fields(x, quarters):
    """Maps of fields turn, and each orientation moves to the next."""
    return turned(x.unflatten(1, (-1, 4)).roll(quarters, 2), quarters).flatten(1, 2)


@pytest.mark.parametrize("quarters", QUARTERS)
@pytest.mark.parametrize("name", ["ri-unet-4", "ri-unet-8", "ri-unet-16"])
def test_rotation_invariant_layers_turn_exactly_with_their_input(name, quarters):
    network = create_model(name, 3, 4, width=0.25).eval()
    layers = [layer for layer in network.modules() if isinstance(layer, RotationConv2d)]
    assert len(layers) == 9, "the first convolution of every base block"
    for layer in layers:
        # Steering mixes with sines: there doubles, and rounding.
        exact = layer.weight.dim() == 4
        if exact:
            layer.weight.data = whole_numbers(*layer.weight.shape, seed=1)
        layer = layer if exact else layer.double()
        x = whole_numbers(2, layer.in_channels, 12, 10).to(layer.weight.dtype)
        with torch.inference_mode():
            want, got = turned(layer(x), quarters), layer(turned(x, quarters))
        assert want.abs().max() > 0
        if exact:
            assert torch.equal(got, want)
        else:
            torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


def test_a_standard_convolution_does_not():
    network = create_model("ri-unet-1", 3, 4, width=0.25).eval()
    layer = next(layer for layer in network.modules() if isinstance(layer, RotationConv2d))
    x = whole_numbers(1, 3, 12, 10)
    with torch.inference_mode():
        assert not torch.allclose(layer(turned(x, 1)), turned(layer(x), 1), atol=1e-2)


@pytest.mark.parametrize("quarters", QUARTERS)
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_a_p4_convolution_turns_exactly_with_its_fields(kernel, quarters):
    layer = P4Conv2d(3, 5, kernel)
    layer.weight.data = whole_numbers(*layer.weight.shape, seed=1)
    x = whole_numbers(2, 12, 8, 10)
    with torch.inference_mode():
        assert torch.equal(layer(turned_fields(x, quarters)), turned_fields(layer(x), quarters))


def test_a_p4_convolution_can_tell_orientations_apart():
    """It is no pooled one: its orientations differ, and it sees which orientation a field comes in."""
    layer = P4Conv2d(1, 1)
    x = torch.zeros(1, 4, 5, 5)
    x[0, 0, 2, 2] = 1
    with torch.inference_mode():
        out = layer(x)
    assert len({tuple(o.flatten().tolist()) for o in out[0]}) == 4
    torch.testing.assert_close(out[0, 1, 1:4, 1:4], torch.rot90(layer.weight[0, 0, 3], 1).flip(0, 1).detach())


def test_p4_normalisation_has_one_mean_for_a_field():
    norm = P4BatchNorm2d(3).train()
    x = torch.randn(2, 12, 6, 6) * torch.arange(1, 13).view(1, -1, 1, 1)
    out = norm(x).unflatten(1, (3, 4))
    assert norm.num_features == 3
    torch.testing.assert_close(out.mean((0, 2, 3, 4)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.var((0, 2, 3, 4), unbiased=False), torch.ones(3), atol=1e-3, rtol=0)


def test_a_p4_convolution_with_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match="odd kernel size, not 4"):
        P4Conv2d(1, 1, 4)


@pytest.mark.parametrize("quarters", QUARTERS)
@pytest.mark.parametrize("skip", ["concat", "add", "kpff"])
def test_the_whole_output_of_the_p4_network_turns_with_its_input(skip, quarters):
    torch.manual_seed(0)
    network = create_model("p4-unet", 3, 4, width=0.25, skip=skip, further=["border"]).double()
    images = torch.randn(4, 3, 64, 48, dtype=torch.float64)
    network.train()(images)  # so that the statistics are none that hide anything
    network.eval()
    with torch.inference_mode():
        want, got = network(images), network(turned(images, quarters))
    for name, straight in want.items():
        rotated = got[name]
        assert straight.std() > 1e-3
        torch.testing.assert_close(rotated, turned(straight, quarters), rtol=1e-9, atol=1e-9)


def test_the_p4_network_learns_without_losing_it():
    torch.manual_seed(0)
    network = create_model("p4-unet", 3, 2, width=0.25).double().train()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(3):
        optimiser.zero_grad()
        (network(images) - images[:, :1]).square().mean().backward()
        optimiser.step()
    network.eval()
    with torch.inference_mode():
        torch.testing.assert_close(network(turned(images, 1)), turned(network(images), 1), rtol=1e-9, atol=1e-9)


def test_the_unet_does_not_turn():
    torch.manual_seed(0)
    network = create_model("unet", 3, 2, width=0.25).double().eval()
    images = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    with torch.inference_mode():
        straight = network(images)
        assert (network(turned(images, 1)) - turned(straight, 1)).abs().max() > 0.01 * straight.std()
