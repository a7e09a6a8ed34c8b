"""Outputs beside the logits: roofs that touch are told apart by their border."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fit import fit, iou
from scipy import ndimage

from rotacube.errors import OptionsRefused
from rotacube.networks.registry import NETWORKS, create_model

FULL = os.environ.get("ROTACUBE_FULL") == "1"
DENSE = [name for name, network in NETWORKS.items() if network.labels == "pixels"]


def rows_of_houses(side=64):
    """Four tiles with three roofs each that share their walls: image, roofs, and borders one pixel to each side."""
    rng = np.random.default_rng(0)
    images, roofs, borders = [], [], []
    for k in range(4):
        houses = np.zeros((side, side), int)
        cuts = [8, 8 + 14 + k, 8 + 30 + k, side - 8]
        for number, (left, right) in enumerate(zip(cuts, cuts[1:], strict=False), start=1):
            houses[12 : 40 + 2 * k, left:right] = number
        houses = houses if k % 2 else houses.T
        tones = np.array([0.2, 0.9, 0.5, 0.7])[houses]
        images.append(tones + 0.03 * rng.standard_normal((3, side, side)))
        roofs.append(houses > 0)
        borders.append(ndimage.maximum_filter(houses, 3) != ndimage.minimum_filter(houses, 3))
    image = torch.from_numpy(np.stack(images)).float()
    image = (image - image.mean()) / image.std()
    return image, *(torch.from_numpy(np.stack(a))[:, None].float() for a in (roofs, borders))


def pieces(mask, least=20):
    """Connected pieces of each tile, specks left out."""
    labels = [ndimage.label(m[0].numpy())[0] for m in mask]
    return [int((np.bincount(found.ravel())[1:] >= least).sum()) for found in labels]


@pytest.mark.parametrize("name", ["unet-cube", "convnext-u-cube", "swin-unet-cube"] if FULL else ["convnext-u-cube"])
def test_the_border_parts_roofs_that_touch(name):
    torch.manual_seed(0)
    image, roof, border = rows_of_houses()
    network = create_model(name, 3, 2, width=0.25, further=["border"])

    def loss():
        maps = network(image)
        return F.binary_cross_entropy_with_logits(maps["logits"], roof) + F.binary_cross_entropy_with_logits(
            maps["border"], border
        )

    fit(network, loss, 150, 5e-3)
    with torch.inference_mode():
        maps = network(image)
    found = maps["logits"] > 0
    assert iou(found, roof > 0) > 0.95
    assert pieces(found) == [1, 1, 1, 1], "the roofs alone are one piece"
    assert pieces(found & (maps["border"] <= 0)) == [3, 3, 3, 3], "less their border they are three"


@pytest.mark.parametrize("name", DENSE)
def test_every_dense_network_has_further_outputs_if_asked(name):
    network = create_model(name, 3, 4, width=0.25, further=["distance", "direction"])
    maps = network(torch.randn(2, 3, 64, 96))
    assert {key: tuple(part.shape) for key, part in maps.items()} == {
        "logits": (2, 4, 64, 96),
        "distance": (2, 1, 64, 96),
        "direction": (2, 2, 64, 96),
    }
    maps["distance"].square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.head.parameters() if p.dim() > 1)


@pytest.mark.parametrize("further", ["border", ["roof"], ["border", "border"]])
def test_outputs_that_no_network_has_are_refused(further):
    with pytest.raises(OptionsRefused, match="each one of border, distance, direction"):
        create_model("unet", 3, 2, width=0.0625, further=further)
