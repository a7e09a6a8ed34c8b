"""Mask R-CNN: the size that was published, and that it finds what it was shown."""

from __future__ import annotations

import pytest
import torch

from rotacube.networks.mask_rcnn import MaskRCNN, Objects
from rotacube.networks.published import BUILDINGS

BOXES = torch.tensor([[8.0, 8, 40, 36], [40.0, 8, 70, 36], [20.0, 56, 52, 88]])


def scene():
    """Three houses, two of which touch, in colours of their own."""
    image, masks = torch.zeros(1, 3, 96, 96), torch.zeros(3, 96, 96)
    for number, (left, top, right, bottom) in enumerate(BOXES.int().tolist()):
        image[0, number, top:bottom, left:right] = 2
        masks[number, top:bottom, left:right] = 1
    return image, masks


def test_on_resnet_50_it_has_the_papers_parameters():
    (row,) = [row for row in BUILDINGS if row.title == "Mask R-CNN"]
    with torch.device("meta"):
        parameters = sum(p.numel() for p in MaskRCNN(3).parameters())
    assert abs(parameters / 1e6 - row.parameters) < 1


def test_it_learns_to_tell_houses_apart_that_touch():
    torch.manual_seed(0)
    network = MaskRCNN(3, backbone="lite", width=24, hidden=48).train()
    image, masks = scene()
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3)
    sums = []
    for _ in range(120):
        losses = network.losses(image, [(BOXES, masks)])
        total = torch.stack(list(losses.values())).sum()
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        sums.append(total.item())
    assert set(losses) == {"objectness", "moves", "score", "correct", "draw"} and sums[-1] < 0.3 * sums[0]
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.track_running_stats, norm.running_mean, norm.running_var = False, None, None  # one image alone
    with torch.inference_mode():
        (found,) = network.eval()(image)
    ids = found.ids(96, 96)
    shares = []
    for mask in masks.bool():
        number = ids[mask].mode().values
        own = (ids == number) & (number > 0)
        shares.append(((own & mask).sum() / (own | mask).sum()).item())
    assert len(ids.unique()) == 4 and min(shares) > 0.8, shares


def test_an_image_without_objects_teaches_and_gives_none():
    network = MaskRCNN(3, backbone="lite", width=8, hidden=8).train()
    losses = network.losses(torch.randn(2, 3, 64, 64), [(torch.zeros(0, 4), torch.zeros(0, 64, 64))] * 2)
    torch.stack(list(losses.values())).sum().backward()
    assert all(torch.isfinite(value) for value in losses.values()) and losses["draw"] == 0
    with torch.inference_mode():
        found = network.eval()(torch.randn(1, 3, 64, 96), score=0.99)
    assert len(found[0].boxes) == 0 and not found[0].ids(64, 96).any()
    with pytest.raises(ValueError, match="multiple of 32"):
        network(torch.zeros(1, 3, 50, 64))


def test_better_objects_lie_on_top_of_others_and_hide_those_that_they_cover():
    boxes = torch.tensor([[2.0, 2, 12, 12], [6.0, 6, 30, 30], [3.0, 1, 12, 14]])
    found = Objects(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.ones(3, 28, 28))
    ids = found.ids(20, 24)
    assert (ids[2:12, 2:12] == 1).all() and ids[12:, 12:].unique().tolist() == [2] and not ids[:2].any()
