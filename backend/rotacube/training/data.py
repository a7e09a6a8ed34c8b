"""Rooftop imagery with labels, split by place, and random crops of it for training.

The folders are those of the data's own README: `rooftop/kampala` (zoom-21 tiles are used; lower zooms show the same
place) and `rooftop/banepa`. A tile's name holds its web-tile address, which gives its place in the mosaic, its ground
sample distance and its split: of the distinct tile columns the last fifth in x is test, the fifth before validation.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from rotacube.training.scenes import draw_scene

Split = Literal["train", "validation", "test"]
_NAME = re.compile(r"OAM-(\d+)-(\d+)-(\d+)$")
_EQUATOR = 2 * math.pi * 6378137.0


@dataclass(frozen=True)
class Area:
    """A labelled piece of ground: image (3, H, W) uint8, roof (H, W) bool, valid (H, W) bool, gsd in metres."""

    name: str
    image: NDArray[np.uint8]
    roof: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    gsd: float


def data_root() -> Path | None:
    """The folder with the imagery: `ROTACUBE_DATA`, or `../shared/data` beside a checkout; None if there is none."""
    named = os.environ.get("ROTACUBE_DATA")
    path = Path(named) if named else Path(__file__).resolve().parents[4] / "shared" / "data"
    return path if (path / "rooftop").is_dir() else None


def rooftop_areas(root: Path, split: Split) -> list[Area]:
    """The real areas of a split."""
    return [*_tiles(root / "rooftop" / "kampala", 21, split), *_tiles(root / "rooftop" / "banepa", 19, split)]


def drawn_areas(count: int, size: int, gsd: float, seed: int = 0) -> Iterator[Area]:
    """Scenes of our own generator."""
    for index in range(count):
        scene = draw_scene(seed + index, size, size, gsd)
        yield Area("drawn", scene.image, scene.mask.astype(bool), ~scene.nodata, gsd)


def _tiles(folder: Path, zoom: int, split: Split) -> list[Area]:
    tiles: dict[tuple[int, int], Path] = {}
    for path in sorted((folder / "images").iterdir()):
        match = _NAME.match(path.stem)
        if match and path.suffix in (".png", ".tif") and int(match[3]) == zoom:
            tiles[int(match[1]), int(match[2])] = path
    columns = sorted({x for x, _ in tiles})
    fifth = round(len(columns) / 5)
    chosen = {"train": columns[: -2 * fifth], "validation": columns[-2 * fifth : -fifth], "test": columns[-fifth:]}
    areas = []
    for run in _runs(chosen[split]):
        part = {address: path for address, path in tiles.items() if address[0] in run}
        if part:
            areas.append(_mosaic(folder, part, zoom))
    return areas


def _runs(columns: list[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for x in columns:
        if runs and runs[-1][-1] == x - 1:
            runs[-1].append(x)
        else:
            runs.append([x])
    return runs


def _mosaic(folder: Path, tiles: dict[tuple[int, int], Path], zoom: int) -> Area:
    left, top = (min(address[i] for address in tiles) for i in (0, 1))
    wide, high = (max(address[i] for address in tiles) - low + 1 for i, low in ((0, left), (1, top)))
    size = 0
    for (x, y), path in tiles.items():
        with rasterio.open(path) as source:
            bands = source.read()
        with rasterio.open(folder / "masks" / f"{path.stem}.png") as source:
            label = source.read(1)
        if not size:
            size = bands.shape[1]
            image = np.zeros((3, high * size, wide * size), np.uint8)
            roof, valid = np.zeros((2, high * size, wide * size), bool)
        place = np.s_[(y - top) * size : (y - top + 1) * size, (x - left) * size : (x - left + 1) * size]
        image[(slice(None), *place)] = bands[:3]
        roof[place] = label > 127
        valid[place] = bands[3] > 127 if len(bands) > 3 else True
    middle = math.pi * (1 - 2 * (top + high / 2) / 2**zoom)
    gsd = _EQUATOR / 2**zoom / size / math.cosh(middle)
    return Area(folder.name, image, roof, valid, gsd)


class RoofCrops(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Random augmented crops: image (3, S, S) in 0..1, roof (1, S, S), valid (1, S, S), all float32.

    Item i is the same whatever worker draws it.

    Args:
        areas: labelled areas with the weight by which each is drawn.
        length: crops in an epoch.
        size: S, pixels.
        gsd: the model's ground sample distance in metres; crops vary about it by 0.7 to 1.5.
        seed: of the random choices.
    """

    def __init__(self, areas: list[tuple[Area, float]], length: int, size: int, gsd: float, seed: int = 0) -> None:
        self.areas = [area for area, _ in areas]
        weights = np.array([weight for _, weight in areas])
        self.chances = weights / weights.sum()
        self.length, self.size, self.gsd, self.seed = length, size, gsd, seed

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
        return stack[:3], stack[3:4], stack[4:5]


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample (C, H, W) to (C, *size), averaging where it shrinks."""
    return F.interpolate(image[None], size=size, mode="bilinear", align_corners=False, antialias=True)[0]


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
