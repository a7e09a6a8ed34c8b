"""Random augmented crops of labelled areas, for training."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from rotacube.models.card import Normalisation
from rotacube.training.datasets.areas import Area, resize


class RoofCrops(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Random augmented crops: network input (3, S, S), roof (1, S, S), valid (1, S, S), all float32.

    Item i is the same whatever worker draws it.

    Args:
        areas: labelled areas with the weight by which each is drawn.
        length: crops in an epoch.
        size: S, pixels.
        gsd: the model's ground sample distance in metres; crops vary about it by 0.7 to 1.5.
        rule: the card's normalisation.
        seed: of the random choices.
    """

    def __init__(
        self, areas: list[tuple[Area, float]], length: int, size: int, gsd: float, rule: Normalisation, seed: int = 0
    ) -> None:
        self.areas = [area for area, _ in areas]
        weights = np.array([weight for _, weight in areas])
        self.chances = weights / weights.sum()
        self.length, self.size, self.gsd, self.rule, self.seed = length, size, gsd, rule, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        rng = np.random.default_rng((self.seed, index))
        while True:
            area = self.areas[rng.choice(len(self.areas), p=self.chances)]
            ratio = self.gsd * math.exp(rng.uniform(math.log(0.7), math.log(1.5))) / area.gsd
            high, wide = area.valid.shape
            side = min(round(self.size * ratio), high, wide)
            top, left = rng.integers(0, high - side + 1), rng.integers(0, wide - side + 1)
            window = np.s_[top : top + side, left : left + side]
            if area.valid[window].mean() > 0.3:
                break
        image, roof, valid = (
            resize(torch.from_numpy(part.astype(np.float32)), (self.size, self.size))
            for part in (area.image[(slice(None), *window)] / 255.0, area.roof[window][None], area.valid[window][None])
        )
        image = _colours(image, rng)
        roof, valid = (roof > 0.5).float(), (valid > 0.99).float()
        if rng.random() < 0.15:
            valid = valid * _cut(self.size, rng)
        stack = torch.cat([image, roof, valid])
        stack = torch.rot90(stack, int(rng.integers(4)), (1, 2))
        if rng.random() < 0.5:
            stack = stack.flip(2)
        stack = stack.contiguous()
        image, roof, valid = stack[:3], stack[3:4], stack[4:5]
        return torch.from_numpy(self.rule.apply(image.numpy(), valid[0].numpy() > 0)), roof, valid


def _colours(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Vary light, colour, sharpness and noise as other sensors and days would."""

    def draw(low: float, high: float, *shape: int) -> Any:
        return torch.from_numpy(rng.uniform(low, high, shape or None) * np.ones(shape or 1)).float()

    grey = image.mean(0, keepdim=True)
    image = grey + (image - grey) * draw(0.3, 1.5)
    image = image.clamp(0, 1) ** draw(0.65, 1.5)
    centre = image.mean()
    image = (image - centre) * draw(0.65, 1.4) + centre + draw(-0.12, 0.12)
    image = image * draw(0.88, 1.12, 3, 1, 1)
    if rng.random() < 0.2:
        size = image.shape[1]
        small = int(size * rng.uniform(0.4, 0.8))
        image = resize(resize(image, (small, small)), (size, size))
    if rng.random() < 0.3:
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        image = image + torch.from_numpy(noise) * draw(0.0, 0.05)
    return image.clamp(0, 1)


def _cut(size: int, rng: np.random.Generator) -> Tensor:
    """A half-plane of valid pixels, as at the edge of a flight."""
    angle, offset = rng.uniform(0, 2 * math.pi), rng.uniform(-0.3, 0.45) * size
    y, x = torch.meshgrid(*[torch.arange(size) - size / 2] * 2, indexing="ij")
    return ((x * math.cos(angle) + y * math.sin(angle)) < offset).float()[None]
