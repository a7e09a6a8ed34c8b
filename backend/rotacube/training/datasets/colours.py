"""Changes of light and colour that a network must not mind: other sensors, days, roofs and grounds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from rotacube.training.datasets.areas import resize

COARSER = (0.25, 0.85)
"""The share of its pixels that a coarser sensor has along a side."""


def recolour(
    image: Tensor, ids: NDArray[np.int32], labels: NDArray[np.uint8], rng: np.random.Generator, share: float
) -> None:
    """Give roofs, or the ground, other colours, in place: a roof is a shape, and no colour.

    Args:
        image: (3, H, W), 0 to 1.
        ids: (H, W), a number a roof; what of the labels has none is changed with the ground.
        labels: (H, W), 0 where there is no roof.
        rng: chooses what is changed, and how.
        share: of the crops whose roofs are changed.
    """
    if rng.random() < share:
        for number, box in enumerate(ndimage.find_objects(ids), 1):
            if box is not None and rng.random() < 0.6:
                _tint(image[(slice(None), *box)], ids[box] == number, rng, (0.3, 1.3))
    if rng.random() < 0.15:
        _tint(image, labels == 0, rng, (0.5, 1.3))


def _tint(image: Tensor, where: NDArray[np.bool_], rng: np.random.Generator, light: tuple[float, float]) -> None:
    """Scale the light, take colour away and add a tint where `where` says, in place."""
    grey = image.mean(0, keepdim=True)
    keep, gain, tint = rng.uniform(0, 1.2), rng.uniform(*light), rng.uniform(0.8, 1.2, (3, 1, 1))
    changed = (grey + (image - grey) * keep) * torch.from_numpy(gain * tint).float()
    image.copy_(torch.where(torch.from_numpy(where), changed.clamp(0, 1), image))


def vary_colours(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Vary light, colour, shade, haze, sharpness and noise as other sensors and days would.

    Args:
        image: (3, S, S), 0 to 1; it is not changed.
        rng: makes the choices.
    """

    def draw(low: float, high: float, *shape: int) -> Any:
        return torch.from_numpy(rng.uniform(low, high, shape or None) * np.ones(shape or 1)).float()

    grey = image.mean(0, keepdim=True)
    image = grey + (image - grey) * draw(0.1, 1.7)
    image = image.clamp(0, 1) ** draw(0.55, 1.7)
    centre = image.mean()
    image = (image - centre) * draw(0.55, 1.6) + centre + draw(-0.2, 0.2)
    image = image * draw(0.82, 1.18, 3, 1, 1)
    size = image.shape[1]
    if rng.random() < 0.2:
        image = image * torch.from_numpy(_shade(size, rng))
    if rng.random() < 0.2:  # haze
        share = draw(0.1, 0.4)
        image = image * (1 - share) + share * draw(0.6, 0.95, 3, 1, 1)
    if rng.random() < 0.4:  # a coarser or softer sensor
        small = int(size * rng.uniform(*COARSER))
        image = resize(resize(image, (small, small)), (size, size))
    elif rng.random() < 0.15:  # sharpened
        soft = resize(resize(image, (size // 2, size // 2)), (size, size))
        image = image + (image - soft) * draw(0.3, 1.0)
    if rng.random() < 0.3:
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        image = image + torch.from_numpy(noise) * draw(0.0, 0.05)
    return image.clamp(0, 1)


def _shade(size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """The light that is left beside a house or under a cloud: (S, S), 1 outside of a strip with a soft edge."""
    angle, middle, half = rng.uniform(0, math.pi), rng.uniform(-0.5, 0.5) * size, rng.uniform(0.03, 0.3) * size
    y, x = np.mgrid[:size, :size] - size / 2
    inside = half - np.abs(x * math.cos(angle) + y * math.sin(angle) - middle)
    share = np.clip(inside / rng.uniform(1, 6) + 0.5, 0, 1)
    light: NDArray[np.float32] = (1 - share * (1 - rng.uniform(0.35, 0.75))).astype(np.float32)
    return light
