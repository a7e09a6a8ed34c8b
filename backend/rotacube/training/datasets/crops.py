"""Random augmented crops of labelled areas, for training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.utils.data import Dataset

from rotacube.models.card import Normalisation
from rotacube.training.datasets.areas import Area, resize
from rotacube.training.datasets.colours import recolour, vary_colours
from rotacube.training.datasets.targets import border_of, depth_of, walls_of

TRIES = 30
"""How often a crop with enough imagery is looked for: ever less of it is enough, and the later ones are about a place
that is known.
"""
PASTED = 0.25
"""The share of crops that get roofs of other places."""
Item = dict[str, Tensor]


class Crops(Dataset[Item]):
    """Random augmented crops: "image" (3, S, S), and of (1, S, S) each:

    "labels" (the number of the class), "seen" (where there is imagery) and "valid" (where the class is known). Item i
    is the same whatever worker draws it.

    Args:
        areas: labelled areas with the weight by which each is drawn.
        length: crops in an epoch.
        size: S, pixels.
        gsd: the model's ground sample distance in metres; crops vary about it by `scales`.
        rule: the card's normalisation.
        seed: of the random choices.
        first: is added to the number of an item: where a run resumes.
        centred: the share of crops whose middle is a pixel of a class, every class of the area as often: rare ones are
            seen.
        scales: the smallest and the largest of a crop's pixel over the model's: other sensors, other roofs.
        light: how far light, colour and sharpness vary, as a share of what `vary_colours` does.
    """

    def __init__(
        self,
        areas: Sequence[tuple[Area, float]],
        length: int,
        size: int,
        gsd: float,
        rule: Normalisation,
        seed: int = 0,
        *,
        first: int = 0,
        centred: float = 0.0,
        scales: tuple[float, float] = (0.5, 2.0),
        light: float = 1.0,
    ) -> None:
        self.areas = [area for area, _ in areas]
        weights = np.array([weight for _, weight in areas])
        self.chances = weights / weights.sum()
        self.length, self.size, self.gsd, self.rule, self.seed = length, size, gsd, rule, seed
        self.first, self.centred, self.scales, self.light = first, centred, scales, light

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Item:
        rng = np.random.default_rng((self.seed, index + self.first))
        for number, enough in enumerate(np.linspace(0.3, 0, TRIES)):
            area = self.areas[rng.choice(len(self.areas), p=self.chances)]
            scale = math.exp(rng.uniform(*np.log(self.scales)))
            centred = bool(self.centred) and rng.random() < self.centred
            middle = _of_a_class(area, rng) if centred or number >= TRIES // 2 else None
            image, ids, labels, seen, valid = _turned_crop(area, self.size, self.gsd * scale / area.gsd, rng, middle)
            if seen.mean() > enough and (valid.any() or not area.labelled):
                break
        if area.labelled:
            self.change(image, ids, labels, seen, self.gsd * scale, rng)
        image = image.lerp(vary_colours(image, rng), self.light)
        if rng.random() < 0.15 and (valid & (flown := _half_plane(self.size, rng))).any():
            seen &= flown
        valid &= seen & area.labelled
        return {
            "image": torch.from_numpy(self.rule.apply(image.numpy(), seen)),
            "labels": _plane(labels),
            "seen": _plane(seen),
            "valid": _plane(valid),
            **self.targets(ids, labels, valid),
        }

    def change(
        self,
        image: Tensor,
        ids: NDArray[np.int32],
        labels: NDArray[np.uint8],
        seen: NDArray[np.bool_],
        gsd: float,
        rng: np.random.Generator,
    ) -> None:
        """Change a labelled crop of this resolution in place."""

    def targets(self, ids: NDArray[np.int32], labels: NDArray[np.uint8], valid: NDArray[np.bool_]) -> Item:
        """What else the outputs of a network are compared with."""
        return {}


class RoofCrops(Crops):
    """Crops with single roofs, to which roofs of other places are added. Beside what `Crops` have, of (1, S, S):

    "border" 0 or 1, "distance" 0 to 1 and "certain" (where single roofs are known); "direction" (2, S, S) where asked
    for.

    Args:
        given, more: as `Crops` takes them.
        direction: whether the walls' direction is wanted.
        ids: whether "ids" (1, S, S) are, a number a roof.
        recoloured: the share of crops whose roofs get other colours.
    """

    def __init__(
        self, *given: Any, direction: bool = False, ids: bool = False, recoloured: float = 0.3, **more: Any
    ) -> None:
        super().__init__(*given, **more)
        self.donors = [(area, box) for area in self.areas for box in _boxes(area)]
        self.direction, self.ids, self.recoloured = direction, ids, recoloured

    def change(
        self,
        image: Tensor,
        ids: NDArray[np.int32],
        labels: NDArray[np.uint8],
        seen: NDArray[np.bool_],
        gsd: float,
        rng: np.random.Generator,
    ) -> None:
        """Add roofs to some crops, and colour roofs and ground anew."""
        if self.donors and rng.random() < PASTED:
            self._paste(image, ids, labels, seen, gsd, rng)
        recolour(image, ids, labels, rng, self.recoloured)

    def targets(self, ids: NDArray[np.int32], labels: NDArray[np.uint8], valid: NDArray[np.bool_]) -> Item:
        """What tells roofs apart."""
        found = {
            "border": _plane(border_of(ids)),
            "distance": _plane(depth_of(ids)),
            "certain": _plane(valid & ((ids > 0) == (labels > 0))),
        }
        if self.direction:
            found["direction"] = torch.from_numpy(walls_of(ids))
        return found | ({"ids": _plane(ids)} if self.ids else {})

    def _paste(
        self,
        image: Tensor,
        ids: NDArray[np.int32],
        labels: NDArray[np.uint8],
        seen: NDArray[np.bool_],
        gsd: float,
        rng: np.random.Generator,
    ) -> None:
        """Lay up to four whole roofs of any place on free land, at the crop's resolution; all arrays are changed."""
        for _ in range(int(rng.integers(1, 5))):
            area, box = self.donors[rng.integers(len(self.donors))]
            number = np.bincount(area.ids[box].ravel())[1:].argmax() + 1
            shape = [max(1, round((s.stop - s.start) * area.gsd / gsd)) for s in box]
            if min(shape) < 4 or max(shape) >= self.size:
                continue
            part = torch.from_numpy(area.image[(slice(None), *box)]).float() / 255
            cut = torch.from_numpy((area.ids[box] == number)[None]).float()
            turns = int(rng.integers(4))
            part, cut = (torch.rot90(resize(x, (shape[0], shape[1])), turns, (1, 2)) for x in (part, cut))
            inside = cut[0].numpy() > 0.5
            top, left = (int(rng.integers(0, self.size - n)) for n in inside.shape)
            window = np.s_[top : top + inside.shape[0], left : left + inside.shape[1]]
            if (inside & ((labels[window] > 0) | ~seen[window])).any():
                continue
            target = image[(slice(None), *window)]
            target.copy_(torch.where(torch.from_numpy(inside), part, target))
            ids[window][inside] = ids.max() + 1
            labels[window][inside] = 1


def _plane(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))[None]


def _boxes(area: Area) -> list[tuple[slice, slice]]:
    """The windows of an area's single roofs that stand free of its edge, a metre about them at most."""
    height, width = area.ids.shape
    return [
        box
        for box in ndimage.find_objects(area.ids)
        if box is not None
        and box[0].start > 0
        and box[1].start > 0
        and box[0].stop < height
        and box[1].stop < width
        and area.valid[box].all()
    ]


def _of_a_class(area: Area, rng: np.random.Generator) -> tuple[float, float] | None:
    """The place of a pixel of one of the area's classes, rows and columns; None where nothing is known."""
    counts = np.bincount(area.labels[area.valid])
    if not area.labelled or not counts.any():
        return None
    at = np.flatnonzero((area.labels == rng.choice(np.flatnonzero(counts))) & area.valid)
    row, column = divmod(int(at[rng.integers(len(at))]), area.labels.shape[1])
    return float(row), float(column)


def _turned_crop(
    area: Area, size: int, ratio: float, rng: np.random.Generator, about: tuple[float, float] | None = None
) -> tuple[Tensor, NDArray[np.int32], NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
    """A window of an area, turned and mirrored: image in 0..1, ids, labels, what is seen and what is known.

    Args:
        area: what is beyond it is not seen.
        size: pixels a side of the crop.
        ratio: the area's pixels in one of the crop.
        rng: chooses the place and the turn: any angle, or as often a multiple of 90 degrees.
        about: where its middle is wanted, rows and columns; as near to it as the area goes.
    """
    quarter = rng.random() < 0.5
    angle = rng.integers(4) * math.pi / 2 if quarter else rng.uniform(0, 2 * math.pi)
    mirror = 1 if rng.random() < 0.5 else -1
    cos, sin = math.cos(angle), math.sin(angle)
    reach = size * ratio * (abs(cos) + abs(sin)) / 2  # half the side of what is seen
    limits = [(min(reach, n / 2), max(n - reach, n / 2)) for n in area.ids.shape]
    middle = [rng.uniform(*limit) for limit in limits] if about is None else np.clip(about, *np.transpose(limits))
    starts = [max(0, math.floor(m - reach - 2)) for m in middle]
    stops = [min(n, math.ceil(m + reach + 2)) for m, n in zip(middle, area.ids.shape, strict=True)]
    window = np.s_[starts[0] : stops[0], starts[1] : stops[1]]
    sides = (stops[0] - starts[0], stops[1] - starts[1])
    image = torch.from_numpy(area.image[(slice(None), *window)]).float() / 255
    if ratio > 1.2:
        image = resize(image, (max(1, round(sides[0] / ratio)), max(1, round(sides[1] / ratio))))
    planes = (area.ids, area.labels, area.seen, area.valid)
    layers = torch.from_numpy(np.stack([plane[window] for plane in planes]).astype(np.float32))
    steps = (torch.arange(size) - (size - 1) / 2) * ratio
    v, u = torch.meshgrid(steps, steps * mirror, indexing="ij")
    y, x = middle[0] + u * sin + v * cos - starts[0], middle[1] + u * cos - v * sin - starts[1]
    grid = torch.stack([2 * x / sides[1] - 1, 2 * y / sides[0] - 1], -1)[None].float()
    image = F.grid_sample(image[None], grid, padding_mode="border", align_corners=False)[0]
    ids, labels, seen, valid = F.grid_sample(layers[None], grid, mode="nearest", align_corners=False)[0].numpy()
    return image, ids.astype(np.int32), labels.astype(np.uint8), seen > 0.5, valid > 0.5


def _half_plane(size: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A half-plane of valid pixels, as at the edge of a flight."""
    angle, offset = rng.uniform(0, 2 * math.pi), rng.uniform(-0.3, 0.45) * size
    y, x = np.mgrid[:size, :size] - size / 2
    inside: NDArray[np.bool_] = (x * math.cos(angle) + y * math.sin(angle)) < offset
    return inside
