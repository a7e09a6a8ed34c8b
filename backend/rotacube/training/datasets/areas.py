"""Rooftop imagery with labels, split by place.

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
from typing import Literal

import numpy as np
import rasterio
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from rotacube.training.drawn.scenes import draw_scene

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
    path = Path(named) if named else Path(__file__).resolve().parents[5] / "shared" / "data"
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


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample (C, H, W) to (C, *size), averaging where it shrinks."""
    return F.interpolate(image[None], size=size, mode="bilinear", align_corners=False, antialias=True)[0]
