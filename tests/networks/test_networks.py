"""The networks of the registry: shapes, gradients, options, and how they lie in memory."""

from __future__ import annotations

import pytest
import torch

from rotacube.networks.dense import DenseNetwork
from rotacube.networks.layers import Stack
from rotacube.networks.registry import NETWORKS, create_model

DENSE = [name for name, network in NETWORKS.items() if network.labels == "pixels"]
SCENES = [name for name, network in NETWORKS.items() if network.labels == "images"]
SKIPS = [name for name in DENSE if "skip" in NETWORKS[name].options()]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize(("bands", "classes", "outputs"), [(1, 2, 1), (4, 5, 5)])
def test_gives_logits_for_every_pixel_of_any_multiple_of_its_stride(name, bands, classes, outputs):
    network = create_model(name, bands, classes, width=0.25).eval()
    height, width = 3 * network.stride, 4 * network.stride
    with torch.inference_mode():
        logits = network(torch.randn(2, bands, height, width))
        assert logits.shape == (2, outputs, height, width) and logits.isfinite().all()
        nothing = network(torch.zeros(1, bands, height, width))
        assert nothing.isfinite().all(), "all nodata"
        with pytest.raises(ValueError, match=f"multiple of {network.stride} pixels a side, not {height} x {width + 8}"):
            network(torch.randn(1, bands, height, width + 8))


@pytest.mark.parametrize("fusion", ["add", "concat"])
@pytest.mark.parametrize("name", SCENES)
def test_scene_networks_fuse_as_asked(name, fusion):
    network = create_model(name, 3, 4, width=0.25, fusion=fusion)
    network(torch.randn(2, 3, 64, 80)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert (network.fusion.out_channels == network.fusion.channels[-1]) == (fusion == "add")


@pytest.mark.parametrize("name", DENSE + SCENES)
def test_every_weight_learns_even_from_one_image_that_is_half_nodata(name):
    network = create_model(name, 3, 3, width=0.25, **({"fusion": "kpff"} if name in SCENES else {}))
    image = torch.randn(1, 3, 96, 96)
    image[..., 48:] = 0
    network(image).square().mean().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize("name", DENSE)
def test_an_image_of_a_batch_does_not_see_the_others(name):
    network = create_model(name, 3, 2, width=0.25).eval()
    images = torch.randn(3, 3, 64, 64)
    with torch.inference_mode():
        together = network(images)
        alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("skip", ["add", "kpff"])
@pytest.mark.parametrize("name", SKIPS)
def test_skips_are_fused_as_asked(name, skip):
    network = create_model(name, 3, 2, width=0.25, skip=skip)
    concat = create_model(name, 3, 2, width=0.25)
    weights = [p for n, p in network.named_parameters() if n.endswith("fusion.weight")]
    assert len(weights) == (len(network.decoder) if skip == "kpff" else 0)
    assert (sum(p.numel() for p in network.parameters()) < sum(p.numel() for p in concat.parameters())) == (
        skip == "add"
    )
    network(torch.randn(1, 3, 64, 64)).square().mean().backward()
    assert all(w.grad.abs().min() > 0 for w in weights), "every share learns"
    if skip == "kpff":  # it starts as the concatenation
        concat.load_state_dict({k: v for k, v in network.state_dict().items() if not k.endswith("fusion.weight")})
        image = torch.randn(1, 3, 64, 64)
        with torch.inference_mode():
            torch.testing.assert_close(network.eval()(image), concat.eval()(image), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", DENSE)
def test_pointwise_layers_are_convolutions_in_channels_last(name):
    network = create_model(name, 3, 2, width=0.25).eval()
    assert not any(isinstance(layer, torch.nn.Linear) for layer in network.modules())
    seen = []

    def look(layer, args):
        (x,) = args
        if min(x.shape[2:]) > 6:  # not the means over a few bins
            seen.append(x.is_contiguous(memory_format=torch.channels_last))

    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d) and layer.kernel_size == (1, 1):
            assert layer.weight.is_contiguous(memory_format=torch.channels_last)
            layer.register_forward_pre_hook(look)
    with torch.inference_mode():
        network(torch.randn(1, 3, 256, 256).contiguous(memory_format=torch.channels_last))
    assert seen and all(seen)


def test_the_fast_path_computes_what_the_plain_one_does(tiny_model):
    """Calls in float64 take the reference; its convolutions are PyTorch's own."""
    image = torch.randn(1, 3, 96, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        fast = tiny_model.network(image)
        plain = create_model("convnext-cube-small", 3, 2).double().eval()
        plain.load_state_dict(tiny_model.network.state_dict())
        want = plain(image.double()).float()
    torch.testing.assert_close(fast, want, rtol=1e-3, atol=1e-3 * float(want.std()))


@pytest.mark.parametrize("cube", [{"stride": 1}, {"router": True, "attention": True}, {"mode": "grouped"}])
@pytest.mark.parametrize("name", ["unet-cube", "convnext-u-cube", "deeplabv3plus-cube", "swin-unet-cube"])
def test_the_ablations_of_the_cube_can_be_built(name, cube):
    network = create_model(name, 3, 2, width=0.25, cube=cube)
    network(torch.randn(2, 3, 64, 64)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    with torch.inference_mode():
        assert network.eval()(torch.randn(1, 3, 64, 64)).shape == (1, 1, 64, 64)


def test_anchors_alternate_unless_the_papers_is_asked_for():
    def anchors(**options):
        network = create_model("convnext-cube-small", 3, 2, width=0.25, **options)
        return [layer.anchor for layer in network.modules() if hasattr(layer, "anchor")]

    both = anchors()
    assert set(both[::2]) == {"tl"} and set(both[1::2]) == {"br"}
    assert set(anchors(cube={"anchor": "tl"})) == {"tl"}


def test_a_stack_refuses_what_cannot_be():
    with pytest.raises(ValueError, match="cannot make 8 of 3"):
        Stack(3, 8, ("involution",))
    with pytest.raises(ValueError, match="no operator 'deconv'"):
        Stack(3, 8, ("deconv",))


def test_a_scene_that_is_too_small_is_told():
    network = create_model("alexnet", 3, 4, width=0.25).eval()
    with pytest.raises(ValueError, match="64 pixels a side or more, not 32 x 80"):
        network(torch.randn(1, 3, 32, 80))


def test_all_dense_networks_are_of_one_kind():
    assert all(isinstance(create_model(name, 3, 2, width=0.25), DenseNetwork) for name in DENSE)
