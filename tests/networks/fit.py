"""Tiles to learn by heart, and the training that does it."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from rotacube.training.drawn.scenes import draw_scene

# What differs from 60 steps at a rate of 5e-3 on tiles of 64 pixels of 0.15 m. Fast-SCNN labels 8 x 8 pixels
# at once; the norms of lite-unet have to see more than 2 x 2 of its coarsest pixels.
STEPS = {
    "convnext-cube": 100,
    "convnext-cube-small": 160,
    "convnext-u": 70,
    "fast-scnn": 140,
    "hrnet-w48": 45,
    "lite-unet": 120,
    "swin-unet": 180,
    "unet-involution": 80,
}
SIDES = {"fast-scnn": (128, 0.1), "lite-unet": (128, 0.1)}
RATES = {"fast-scnn": 1e-2, "swin-unet": 3e-3}
FULL_RATES = {"convnext-cube": 1e-3}


def four_tiles(side=64, gsd=0.15):
    """Drawn scenes (4, 3, side, side), normalised, and their roofs (4, 1, side, side): each has roofs and ground."""
    images, roofs = [], []
    seed = 0
    while len(images) < 4:
        scene = draw_scene(seed, side, side, gsd)
        seed += 1
        if 0.2 < scene.mask.mean() < 0.7:
            values = scene.image.astype(np.float32) / 255
            images.append((values - values.mean()) / values.std())
            roofs.append(scene.mask[None].astype(np.float32))
    stacked = torch.from_numpy(np.stack(images)).contiguous(memory_format=torch.channels_last)
    return stacked, torch.from_numpy(np.stack(roofs))


def fit(network, loss, steps, rate):
    """Adam with one cycle on `loss()`; the network is in eval mode afterwards."""
    optimiser = torch.optim.Adam(network.parameters(), rate)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    network.train()
    for _ in range(steps):
        optimiser.zero_grad()
        loss().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        cycle.step()
    return network.eval()


def fit_dense(name, network, full=False):
    """Learn four tiles by heart; returns images and roofs. `full` is of the published width."""
    rate = RATES.get(name, 5e-3)
    image, roof = four_tiles(*SIDES.get(name, ()))
    fit(
        network,
        lambda: F.binary_cross_entropy_with_logits(network(image), roof),
        STEPS.get(name, 60),
        FULL_RATES.get(name, rate) if full else rate,
    )
    return image, roof


def iou(found, true):
    return float((found & true).sum() / (found | true).sum())
