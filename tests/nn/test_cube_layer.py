"""The Cube layer: router, attention, ablations, and that it trains."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from rotacube.nn import ChannelRouter, CubeConv2d, LatticeAttention
from rotacube.ops import cube_conv2d_reference


def some(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_plain_layer_has_the_weights_that_models_were_saved_with():
    assert set(CubeConv2d(8, 3).state_dict()) == {"weight", "bias"}


def test_the_router_starts_with_the_natural_order():
    router = ChannelRouter(12)
    assert router.order().tolist() == list(range(12))
    torch.testing.assert_close(router(some(2, 12, 3, 4)), some(2, 12, 3, 4))


def test_the_matrix_is_a_permutation_forward_and_the_relaxation_backward():
    router = ChannelRouter(6)
    with torch.no_grad():
        router.scores.copy_(torch.tensor([0.1, 0.9, -0.5, 0.3, 0.2, 0.7]))
    matrix = router.matrix()
    torch.testing.assert_close(matrix, F.one_hot(router.order(), 6).float(), rtol=0, atol=1e-6)
    assert router.order().tolist() == [1, 5, 3, 4, 0, 2]
    pull = some(6, 6, seed=3)
    (got,) = torch.autograd.grad(matrix, router.scores, pull)
    scores = router.scores.detach().clone().requires_grad_()
    soft = F.softmax(-(scores.sort(descending=True).values[:, None] - scores[None]).abs() / router.temperature, 1)
    (want,) = torch.autograd.grad(soft, scores, pull)
    torch.testing.assert_close(got, want)
    assert bool((got != 0).any())


@pytest.mark.parametrize("attention", [False, True])
def test_eval_is_what_training_computes(attention):
    layer = CubeConv2d(16, 5, router=True, attention=attention)
    with torch.no_grad():
        layer.router.scores.copy_(some(16, seed=5))
    x = some(2, 16, 5, 7)
    trained = layer.train()(x)
    torch.testing.assert_close(layer.eval()(x), trained, rtol=1e-4, atol=1e-5)
    again = CubeConv2d(16, 5, router=True, attention=attention).eval()
    again.load_state_dict(layer.state_dict())
    torch.testing.assert_close(again(x), trained, rtol=1e-4, atol=1e-5)


def test_the_router_learns_an_order():
    """The target reads the channels in another order; the layer's weights are fixed, only the scores may help.

    It ends when the order is found: without an error Adam makes whole steps of rounding's noise, away from it again.
    """
    torch.manual_seed(0)
    channels = 8
    wanted = torch.tensor([0, 1, 3, 2, 4, 5, 6, 7])
    layer = CubeConv2d(channels, 6, router=True, bias=False)
    layer.weight.requires_grad_(False)
    optimiser = torch.optim.Adam([layer.router.scores], 0.02)
    losses = []
    for step in range(60):
        x = some(4, channels, 6, 6, seed=step)
        loss = F.mse_loss(layer(x), cube_conv2d_reference(x, layer.weight, order=wanted))
        losses.append(loss.item())
        if loss < 1e-9:
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert layer.router.order().tolist() == wanted.tolist()
    assert losses[0] > 0.01
    assert losses[-1] < 1e-9


def test_attention_is_the_papers_mask():
    attention = LatticeAttention()
    x = some(2, 12, 5, 6)
    fine = F.pixel_shuffle(x, 2)
    want = attention.conv(torch.cat([fine.mean(1, keepdim=True), fine.amax(1, keepdim=True)], 1)).sigmoid()
    torch.testing.assert_close(attention(x), want)
    layer = CubeConv2d(12, 4, attention=True)
    got = layer(x)
    torch.testing.assert_close(
        got, cube_conv2d_reference(x, layer.weight, layer.bias, mask=layer.attention(x)), rtol=1e-4, atol=1e-5
    )
    got.square().sum().backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in layer.parameters())


@pytest.mark.parametrize("choices", [{"stride": 1}, {"mode": "grouped"}, {"router": True, "attention": True}])
def test_every_choice_keeps_the_shape_and_trains(choices):
    layer = CubeConv2d(8, 4, **choices)
    x = some(2, 8, 6, 5).requires_grad_()
    out = layer(x)
    assert out.shape == (2, 4, 6, 5)
    out.sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize(
    "arguments", [{"stride": 3}, {"stride": 1, "anchor": "br"}, {"mode": "grouped", "attention": True}]
)
def test_choices_that_do_not_go_together(arguments):
    with pytest.raises(ValueError, match="Cube convolution"):
        CubeConv2d(8, 4, **arguments)
