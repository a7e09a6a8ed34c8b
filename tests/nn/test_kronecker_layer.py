"""Kronecker feature fusion as a layer: its modes, its start at the concatenation, and training."""

from __future__ import annotations

import pytest
import torch

from rotacube.nn.kronecker import KroneckerFusion


def maps_of(*channels):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, c, 5, 6, generator=generator) for c in channels]


def test_starts_at_the_concatenation():
    xs = maps_of(4, 4, 4)
    fusion = KroneckerFusion([4, 4, 4], 4)
    assert fusion.out_channels == 12
    assert torch.equal(fusion(xs), torch.cat(xs, 1))
    assert [name for name, _ in fusion.named_parameters()] == ["weight"]


def test_modes_of_equal_maps():
    xs = maps_of(4, 4)
    add, concat = KroneckerFusion([4, 4], 4, "add"), KroneckerFusion([4, 4], 4, "concat")
    assert (add.out_channels, concat.out_channels) == (4, 8)
    assert torch.equal(add(xs), xs[0] + xs[1])
    assert torch.equal(concat(xs), torch.cat(xs, 1))
    assert not list(add.parameters())


@pytest.mark.parametrize("mode,out_channels", [("kpff", 24), ("concat", 24), ("add", 8)])
def test_unequal_maps_are_brought_to_one_width(mode, out_channels):
    xs = maps_of(8, 3, 16)
    fusion = KroneckerFusion([8, 3, 16], 8, mode)
    out = fusion(xs)
    assert out.shape == (2, out_channels, 5, 6)
    assert fusion.out_channels == out_channels
    brought = [xs[0], fusion.bring[1](xs[1]), fusion.bring[2](xs[2])]
    assert torch.equal(out, sum(brought[1:], brought[0]) if mode == "add" else torch.cat(brought, 1))


def test_learns_a_mixture():
    xs = maps_of(3, 3)
    want = torch.cat([xs[0] + xs[1], xs[0] - xs[1]], 1)
    fusion = KroneckerFusion([3, 3], 3)
    optimiser = torch.optim.SGD(fusion.parameters(), lr=0.4)
    for _ in range(60):
        optimiser.zero_grad()
        (fusion(xs) - want).square().mean().backward()
        optimiser.step()
    torch.testing.assert_close(fusion.weight.detach(), torch.tensor([[1.0, 1.0], [1.0, -1.0]]), atol=1e-3, rtol=0)


def test_under_autocast_and_in_channels_last():
    fusion = KroneckerFusion([8, 4], 8)
    xs = [x.contiguous(memory_format=torch.channels_last) for x in maps_of(8, 4)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = fusion(xs)
    assert out.dtype == torch.bfloat16
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out.float(), fusion(xs), rtol=2e-2, atol=2e-2)


def test_what_does_not_fit():
    with pytest.raises(ValueError, match="one map or more"):
        KroneckerFusion([], 4)
    with pytest.raises(ValueError, match='"kpff", "add" or "concat"'):
        KroneckerFusion([4], 4, "mean")
    with pytest.raises(ValueError, match="takes 2 maps, not 1"):
        KroneckerFusion([4, 4], 4)(maps_of(4))
