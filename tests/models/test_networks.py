"""The networks: the published size and work, shapes, and the compiled operators against the plain ones."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from rotacube.errors import ModelMissing
from rotacube.models.registry import ARCHITECTURES, create_model


def size_and_work(name):
    """Parameters, and multiply-adds of one image of 3 x 512 x 512, counted by PyTorch without computing anything."""
    with torch.device("meta"):
        network = create_model(name, 3, 2).eval()
        image = torch.empty(1, 3, 512, 512)
    with FlopCounterMode(display=False) as counter:
        network(image)
    return sum(p.numel() for p in network.parameters()), counter.get_total_flops() / 2


def test_convnext_cube_has_the_published_size_and_work():
    parameters, work = size_and_work("convnext-cube")
    assert parameters == pytest.approx(45.35e6, rel=0.05)
    assert work == pytest.approx(48.41e9, rel=0.05)


def test_the_small_sister_has_about_five_million_parameters():
    parameters, work = size_and_work("convnext-cube-small")
    assert 4.5e6 < parameters < 6e6
    assert work < 12e9


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 32), (96, 160), (32, 224)])
@pytest.mark.parametrize(("bands", "classes", "outputs"), [(3, 2, 1), (4, 3, 3), (1, 5, 5)])
def test_any_multiple_of_32_gives_logits_for_every_pixel(height, width, bands, classes, outputs):
    network = create_model("convnext-cube-small", bands, classes).eval()
    with torch.inference_mode():
        logits = network(torch.randn(2, bands, height, width))
    assert logits.shape == (2, outputs, height, width) and logits.isfinite().all()


def test_an_image_of_a_batch_does_not_see_the_others(tiny_model):
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together = tiny_model.network(images)
        alone = torch.cat([tiny_model.network(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_the_fast_path_computes_what_the_plain_one_does(tiny_model):
    """Calls that record gradients take the reference; its convolutions are PyTorch's own."""
    image = torch.randn(1, 3, 96, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        fast = tiny_model.network(image)
    plain = tiny_model.network(image).detach()
    torch.testing.assert_close(fast, plain, rtol=1e-3, atol=1e-3 * float(plain.std()))


def test_every_weight_learns():
    network = create_model("convnext-cube-small", 3, 2)
    network(torch.randn(1, 3, 64, 64)).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_an_unknown_architecture_is_told():
    with pytest.raises(ModelMissing, match=", ".join(sorted(ARCHITECTURES))):
        create_model("unet", 3, 2)
