"""The counter against counts by hand, and the published sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from rotacube.networks import sizes
from rotacube.networks.published import BUILDINGS
from rotacube.networks.registry import NETWORKS, create_model
from rotacube.networks.work import count_work, network_work
from rotacube.nn import CubeConv2d, Involution2d, KroneckerFusion, RotationConv2d

PAGE = Path(__file__).resolve().parents[2] / "docs" / "results" / "models.md"
PIXELS = 12 * 20


class Fused(nn.Module):
    def __init__(self):
        super().__init__()
        self.fusion = KroneckerFusion([8, 8, 4], 8)

    def forward(self, x):
        return self.fusion([x, x, x[:, :4]])


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        (nn.Conv2d(8, 16, 3, padding=1), 8 * 16 * 9),
        (nn.Conv2d(8, 8, 3, padding=1, groups=8), 8 * 9),
        (CubeConv2d(8, 16), 8 // 4 * 16 * 9),
        (RotationConv2d(8, 16, orientations=1), 8 * 16 * 9),
        (RotationConv2d(8, 16), 8 * 16 * 9),
        (RotationConv2d(8, 16, pool=None), 8 * 16 * 9),
        (RotationConv2d(8, 16, orientations=16, kernel_size=5), 8 * 64 * 25),
        # 1x1 to 2 channels, 1x1 to the kernels of one group, and the involution itself
        (Involution2d(8, 7), 8 * 2 + 2 * 49 + 8 * 49),
        # 1x1 of one map from 4 to 8 channels, and 3 x 3 shares of 8 channels
        (Fused(), 4 * 8 + 9 * 8),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_each_operator_counts_what_it_multiplies(layer, macs, device):
    work = count_work(layer.to(device).eval(), torch.zeros(2, 8, 12, 20, device=device))
    assert work.macs == 2 * macs * PIXELS
    assert work.parameters == sum(p.numel() for p in layer.parameters())
    assert not layer._forward_hooks and not layer._forward_pre_hooks


@pytest.mark.parametrize(
    "name", ["unet", "deeplabv3plus", "hrnet-w48", "fast-scnn", "swin-unet", "vgg-16", "convnext-u"]
)
def test_plain_networks_count_as_pytorch_counts_them(name):
    with torch.device("meta"):
        network = create_model(name, 3, 2, width=0.25).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 3, 128, 128))
    assert network_work(name, side=128, width=0.25).macs * 2 == counter.get_total_flops()


def test_a_plain_network_counts_as_its_layers_say():
    """A count that is not PyTorch's: from the sizes that each layer sees."""
    network = create_model("deeplabv3plus-cube", 3, 2, width=0.25).eval()
    total = 0

    def look(layer, args, out):
        nonlocal total
        per_pixel = layer.weight.numel() if layer.weight.dim() == 4 else 0
        total += per_pixel * out.shape[2] * out.shape[3]

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | CubeConv2d):
            layer.register_forward_hook(look)
    with torch.inference_mode():
        network(torch.zeros(1, 3, 64, 64))
    assert network_work("deeplabv3plus-cube", side=64, width=0.25).macs == total


def test_convnext_cube_has_the_published_size_and_work():
    work = network_work("convnext-cube")
    assert work.parameters == pytest.approx(45.35e6, rel=0.05)
    assert work.macs == pytest.approx(48.41e9, rel=0.05)


def test_the_small_sister_has_about_five_million_parameters():
    work = network_work("convnext-cube-small")
    assert 4.5e6 < work.parameters < 6e6
    assert work.macs < 12e9


def test_canonical_networks_have_the_sizes_known_of_them():
    """From the papers, or from their authors' code: not from ours."""
    known = {
        "unet": (31.04, 2),  # widths 64 to 1024 with BatchNorm
        "hrnet-w48": (65.86, 19),  # HRNetV2-W48 on Cityscapes
        "fast-scnn": (1.11, 19),
        "swin-unet": (27.17, 9),
        "vgg-16": (138.36, 1000),
        "alexnet": (61.10, 1000),
    }
    for name, (millions, classes) in known.items():
        assert network_work(name, classes=classes, side=64).parameters / 1e6 == pytest.approx(millions, rel=0.03), name


def test_the_cube_spares_what_it_should():
    """The last stage of UNet has 128 to 64 and 64 to 64 channels at 512 x 512: three quarters of it are spared."""
    plain, cube = network_work("unet"), network_work("unet-cube")
    weights = 9 * (128 * 64 + 64 * 64)
    assert plain.parameters - cube.parameters == weights * 3 // 4
    assert plain.macs - cube.macs == weights * 3 // 4 * 512 * 512
    kept, turned = network_work("convnext-u"), network_work("convnext-u-cube")
    assert turned.parameters / kept.parameters - 1 == pytest.approx(-0.092, abs=0.03)
    assert turned.macs / kept.macs - 1 == pytest.approx(-0.208, abs=0.05)


def test_every_published_network_is_in_the_table_and_the_page_is_what_the_command_writes():
    told = []
    found = sizes.sections(told.append)
    assert set(told) == set(NETWORKS)
    assert [row[1] for row in found[0].rows].count("finds objects") == 1
    assert len(found[0].rows) == len(BUILDINGS) == 12
    assert {row.network for row in BUILDINGS} - {None} <= set(NETWORKS)
    assert all(len(row) == len(section.head) for section in found for row in section.rows)
    assert PAGE.read_text(encoding="utf-8") == sizes.page(found), "run rotacube models table"
