"""How good a model is, through the reading, tiling and blending that maps are made with: what users get."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from affine import Affine
from numpy.typing import NDArray
from scipy import ndimage

from rotacube.inference.device import Place
from rotacube.inference.engine import Engine
from rotacube.logits import probabilities
from rotacube.models.card import ModelCard, Separation
from rotacube.models.store import LoadedModel
from rotacube.raster.file_source import FileSource
from rotacube.raster.reading import Reading
from rotacube.training.datasets.areas import Area, resize
from rotacube.training.metrics import (
    Pixels,
    Roofs,
    calibration_error,
    compare_edges,
    compare_pixels,
    compare_roofs,
    reliability,
)
from rotacube.vector.instances import separate_roofs

EDGE = 0.5
"""Metres within which an edge is found."""
TURN = 37.0
"""Degrees by which an image is turned, to see what that changes."""


@dataclass(frozen=True)
class Answer:
    """What a model says of an area, on the model's grid.

    Attributes:
        area: image, truth and validity on that grid.
        logits: (outputs, H, W).
        further: the other outputs by name, (channels, H, W) each: as probabilities, but for directions.
    """

    area: Area
    logits: NDArray[np.float32]
    further: dict[str, NDArray[np.float32]]

    @property
    def chance(self) -> NDArray[np.float32]:
        """The probability of class 1, (H, W)."""
        chance: NDArray[np.float32] = probabilities(self.logits)[1]
        return chance

    def part(self, window: tuple[slice, slice]) -> Answer:
        """What it says of a window."""
        area, cut = self.area, (slice(None), *window)
        labels = {name: getattr(area, name)[window] for name in ("roof", "ids", "valid")}
        further = {name: values[cut] for name, values in self.further.items()}
        return Answer(replace(area, image=area.image[cut], **labels), self.logits[cut], further)

    def roofs(self, threshold: float, how: Separation) -> NDArray[np.int32]:
        """The single roofs of the pixels whose probability is above the threshold."""
        depth, border = (self.further[name][0] if name in self.further else None for name in ("distance", "border"))
        least = math.ceil(how.smallest / self.area.gsd**2)
        found = (self.chance > threshold) & self.area.valid
        return separate_roofs(found, depth, border, seed=how.seed, weight=how.border, smallest=least)


def ask(model: LoadedModel, areas: Iterable[Area], place: Place) -> Iterator[Answer]:
    """What a model says of areas, one after the other."""
    engine = Engine.of(model, place)
    for area in areas:
        with tempfile.TemporaryDirectory() as folder, _source(area, model.card, Path(folder)) as source:
            shape = (source.height, source.width)
            found: dict[str, NDArray[np.float32]] = {}
            valid = np.zeros(shape, bool)
            for strip in engine.strips(source):
                cut = strip.box.within(source.grid.extent)
                for name, part in {"logits": strip.logits, **strip.further}.items():
                    found.setdefault(name, np.zeros((len(part), *shape), np.float32))[(slice(None), *cut)] = part
                valid[cut] = strip.valid
            onto = ~Affine.scale(area.gsd) * source.grid.transform
        logits = found.pop("logits")
        further = {name: part if name == "direction" else _chance(part) for name, part in found.items()}
        yield Answer(_on_grid(area, shape, onto, valid, model.card.gsd), logits, further)


def _chance(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    chance: NDArray[np.float32] = 0.5 * (1 + np.tanh(0.5 * logits))
    return chance


def _source(area: Area, card: ModelCard, folder: Path) -> FileSource:
    """The area as a raster file on the equator, where a metre of its CRS is one on the ground."""
    path = folder / "area.tif"
    height, width = area.valid.shape
    crs = "+proj=laea +lat_0=0 +lon_0=0 +ellps=WGS84"
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "height": height, "width": width, "crs": crs}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", transform=Affine.scale(area.gsd), photometric="rgb", **profile) as target,
    ):
        target.write(area.image)
        target.write_mask(area.valid)
    return FileSource(str(path), card, Reading(any_resolution=True))


def _on_grid(area: Area, shape: tuple[int, int], onto: Affine, valid: NDArray[np.bool_], gsd: float) -> Area:
    """The area's truth on the model's grid: that of the nearest pixel; its image likewise."""
    columns, rows = onto * np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    at = tuple(
        np.clip(np.floor(place).astype(int), 0, size - 1)
        for place, size in zip((rows, columns), area.valid.shape, strict=True)
    )
    return replace(
        area,
        image=area.image[(slice(None), *at)],
        roof=area.roof[at],
        ids=area.ids[at],
        valid=valid & area.valid[at],
        gsd=gsd,
    )


def at_gsd(area: Area, gsd: float) -> Area:
    """An area resampled, so that a model's own reading has nothing to resample."""
    size = tuple(max(1, round(n * area.gsd / gsd)) for n in area.valid.shape)

    def nearest(values: NDArray[Any]) -> NDArray[Any]:
        rows, columns = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(size, values.shape, strict=True))
        return values[np.ix_(rows, columns)]

    image = resize(torch.from_numpy(area.image).float(), (size[0], size[1])).round().clamp(0, 255).byte().numpy()
    labels = {name: nearest(getattr(area, name)) for name in ("roof", "ids", "valid")}
    return replace(area, image=image, gsd=gsd, **labels)  # type: ignore[arg-type]


def turned(area: Area, degrees: float) -> Area:
    """An area turned about its middle, large enough that nothing is cut off."""

    def turn(values: NDArray[Any], order: int) -> NDArray[Any]:
        result: NDArray[Any] = (
            np.rot90(values, int(degrees // 90), (-2, -1))
            if degrees % 90 == 0
            else ndimage.rotate(values, degrees, axes=(-2, -1), order=order, mode="constant")
        )
        return result

    return replace(
        area,
        image=np.clip(turn(area.image.astype(np.float32), 1), 0, 255).round().astype(np.uint8),
        roof=turn(area.roof.astype(np.uint8), 0) > 0,
        ids=turn(area.ids, 0).astype(np.int32),
        valid=turn(area.valid.astype(np.float32), 1) > 0.999,
    )


def steps(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """How many borders between neighbouring pixels a mask has, and how many of them lie on multiples of 4 pixels."""
    every = on_four = 0
    for axis in (0, 1):
        at = np.nonzero(np.diff(mask.astype(np.int8), axis=axis))[axis] + 1
        every, on_four = every + len(at), on_four + int((at % 4 == 0).sum())
    return every, on_four


@dataclass
class Tally:
    """All counts of a place, tile by tile."""

    pixels: Pixels = field(default_factory=Pixels)
    roofs: Roofs = field(default_factory=Roofs)
    edges: tuple[int, int, int, int] = (0, 0, 0, 0)
    bins: NDArray[np.float64] | None = None
    stairs: tuple[int, int] = (0, 0)

    def add(self, answer: Answer, card: ModelCard) -> None:
        """Count one answer."""
        area = answer.area
        found = answer.chance > card.threshold
        self.pixels = self.pixels.plus(compare_pixels(area.roof, found, area.valid))
        near = compare_edges(area.roof, found, area.valid, EDGE / area.gsd)
        self.edges = tuple(a + b for a, b in zip(self.edges, near, strict=True))  # type: ignore[assignment]
        roofs = answer.roofs(card.threshold, card.separation)
        self.roofs = self.roofs.plus(compare_roofs(area.ids, roofs, area.certain, area.gsd))
        bins = reliability(answer.chance[area.valid], area.roof[area.valid])
        self.bins = bins if self.bins is None else self.bins + bins
        every, on_four = steps(found & area.valid)
        self.stairs = (self.stairs[0] + every, self.stairs[1] + on_four)

    def metrics(self) -> dict[str, float]:
        """Everything that was counted, as shares; on land without a roof only what is called one."""
        hit, wrong, missed, rest = self.pixels
        if not hit + missed:
            return {"called roof": wrong / max(1, wrong + rest)}
        result = self.pixels.metrics()
        found, near, truth, reached = self.edges
        precision, recall = near / max(1, found), reached / max(1, truth)
        result["edge f1"] = 2 * precision * recall / max(1e-9, precision + recall)
        if self.roofs.truth:
            result |= {
                "roofs f1": self.roofs.f1,
                "roofs precision": self.roofs.precision,
                "roofs recall": self.roofs.recall,
                "roofs merged": self.roofs.merged / self.roofs.truth,
                "roofs split": self.roofs.split / self.roofs.truth,
            }
        result["borders on multiples of 4"] = self.stairs[1] / max(1, self.stairs[0])
        if self.bins is not None:
            result["calibration error"] = calibration_error(self.bins)
        return result


def measure(
    model: LoadedModel,
    areas: Iterable[Area],
    place: Place,
    *,
    on_answer: Callable[[Answer], None] = lambda answer: None,
) -> dict[str, dict[str, float]]:
    """All metrics of class 1, by the areas' places.

    Args:
        model: its card says the threshold and how roofs are told apart.
        areas: labelled.
        place: where the network runs.
        on_answer: is called with each answer, to show it.
    """
    tallies: dict[str, Tally] = {}
    for answer in ask(model, areas, place):
        tallies.setdefault(answer.area.name, Tally()).add(answer, model.card)
        on_answer(answer)
    return {name: tally.metrics() for name, tally in tallies.items()}


def measure_turned(model: LoadedModel, areas: Iterable[Area], place: Place) -> dict[str, dict[str, float]]:
    """How far a model depends on how an image lies, by the areas' places.

    "turned iou" is that with the truth after `TURN` degrees; "quarter turn" the intersection over union of the mask
    with that of the image turned by 90 degrees, turned back.
    """
    turns: dict[str, Pixels] = {}
    quarters: dict[str, Pixels] = {}
    for area in areas:
        resampled = at_gsd(area, model.card.gsd)
        straight, quarter, tilted = ask(model, (resampled, turned(resampled, 90), turned(area, TURN)), place)
        name, cut = area.name, model.card.threshold
        counts = compare_pixels(tilted.area.roof, tilted.chance > cut, tilted.area.valid)
        turns[name] = turns.get(name, Pixels()).plus(counts)
        back = np.rot90(quarter.chance > cut, -1)
        counts = compare_pixels(straight.chance > cut, back, straight.area.valid)
        quarters[name] = quarters.get(name, Pixels()).plus(counts)
    return {
        name: {"turned iou": turns[name].metrics()["iou"], "quarter turn": quarters[name].metrics()["iou"]}
        for name in turns
        if turns[name].hit + turns[name].missed
    }
