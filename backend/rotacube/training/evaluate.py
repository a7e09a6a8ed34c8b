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
from rotacube.logits import class_ids, probabilities, sigmoid
from rotacube.models.card import ModelCard, Separation
from rotacube.models.store import LoadedModel
from rotacube.raster.file_source import FileSource
from rotacube.raster.reading import Reading
from rotacube.training.datasets.areas import Area, resize
from rotacube.training.metrics import (
    BINS,
    Roofs,
    agreement,
    calibration_error,
    compare_classes,
    compare_edges,
    compare_roofs,
    of_class,
    reliability,
)
from rotacube.vector.instances import separate_roofs, without_unsure

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
    def chances(self) -> NDArray[np.float32]:
        """The probability of each class, (classes, H, W)."""
        return probabilities(self.logits)

    def labels(self, threshold: float) -> NDArray[np.uint8]:
        """The class of each pixel, (H, W): of two classes the second where its probability is above the threshold."""
        return class_ids(self.logits, threshold)

    def part(self, window: tuple[slice, slice]) -> Answer:
        """What it says of a window."""
        area, cut = self.area, (slice(None), *window)
        planes = area.planes(lambda plane: plane[window])
        further = {name: values[cut] for name, values in self.further.items()}
        return Answer(replace(area, image=area.image[cut], **planes), self.logits[cut], further)

    def roofs(self, threshold: float, how: Separation) -> NDArray[np.int32]:
        """The single roofs of the pixels whose probability is above the threshold."""
        depth, border = (self.further[name][0] if name in self.further else None for name in ("distance", "border"))
        least = math.ceil(how.smallest / self.area.gsd**2)
        found = (self.labels(threshold) > 0) & self.area.seen
        ids = separate_roofs(found, depth, border, saddle=how.saddle, weight=how.border, smallest=least)
        return without_unsure(ids, self.chances[1], how.sure)


def ask(model: LoadedModel, areas: Iterable[Area], place: Place, turns: int = 1) -> Iterator[Answer]:
    """What a model says of areas, one after the other, each tile looked at so often."""
    engine = Engine.of(model, place, turns)
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
        further = {name: part if name == "direction" else sigmoid(part) for name, part in found.items()}
        yield Answer(_on_grid(area, shape, onto, valid, model.card.gsd), logits, further)


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
        target.write_mask(area.seen)
    return FileSource(str(path), card, Reading(any_resolution=True))


def _on_grid(area: Area, shape: tuple[int, int], onto: Affine, valid: NDArray[np.bool_], gsd: float) -> Area:
    """The area's truth on the model's grid: that of the nearest pixel; its image likewise."""
    columns, rows = onto * np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    at = tuple(
        np.clip(np.floor(place).astype(int), 0, size - 1)
        for place, size in zip((rows, columns), area.valid.shape, strict=True)
    )
    planes = area.planes(lambda plane: plane[at])
    return replace(area, image=area.image[(slice(None), *at)], gsd=gsd, **planes | {"valid": valid & planes["valid"]})


def at_gsd(area: Area, gsd: float) -> Area:
    """An area resampled, so that a model's own reading has nothing to resample."""
    size = tuple(max(1, round(n * area.gsd / gsd)) for n in area.valid.shape)

    def nearest(values: NDArray[Any]) -> NDArray[Any]:
        rows, columns = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(size, values.shape, strict=True))
        return values[np.ix_(rows, columns)]

    image = resize(torch.from_numpy(area.image).float(), (size[0], size[1])).round().clamp(0, 255).byte().numpy()
    return replace(area, image=image, gsd=gsd, **area.planes(nearest))


def turned(area: Area, degrees: float) -> Area:
    """An area turned about its middle, large enough that nothing is cut off."""

    def turn(values: NDArray[Any], order: int) -> NDArray[Any]:
        result: NDArray[Any] = (
            np.rot90(values, int(degrees // 90), (-2, -1))
            if degrees % 90 == 0
            else ndimage.rotate(values, degrees, axes=(-2, -1), order=order, mode="constant")
        )
        return result

    def turn_plane(plane: NDArray[Any]) -> NDArray[Any]:
        return turn(plane.astype(np.float32), 1) > 0.999 if plane.dtype == bool else turn(plane, 0)

    image = np.clip(turn(area.image.astype(np.float32), 1), 0, 255).round().astype(np.uint8)
    return replace(area, image=image, **area.planes(turn_plane))


def steps(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """How many borders between neighbouring pixels a mask has, and how many of them lie on multiples of 4 pixels."""
    every = on_four = 0
    for axis in (0, 1):
        at = np.nonzero(np.diff(mask.astype(np.int8), axis=axis))[axis] + 1
        every, on_four = every + len(at), on_four + int((at % 4 == 0).sum())
    return every, on_four


@dataclass
class Tally:
    """All counts of a place, tile by tile.

    Args:
        card: of the model.
    """

    card: ModelCard
    roofs: Roofs = field(default_factory=Roofs)
    edges: tuple[int, int, int, int] = (0, 0, 0, 0)
    stairs: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        count = len(self.card.classes)
        self.confusion = np.zeros((count, count), np.int64)
        self.bins = np.zeros((count, 3, BINS))

    def add(self, answer: Answer) -> None:
        """Count one answer."""
        area, card = answer.area, self.card
        found = answer.labels(card.threshold)
        self.confusion += compare_classes(area.labels, found, area.valid, len(self.confusion))
        for number, chance in enumerate(answer.chances):
            self.bins[number] += reliability(chance[area.valid], area.labels[area.valid] == number)
        if len(self.confusion) == 2:
            near = compare_edges(area.roof, found > 0, area.valid, EDGE / area.gsd)
            self.edges = tuple(a + b for a, b in zip(self.edges, near, strict=True))  # type: ignore[assignment]
            roofs = answer.roofs(card.threshold, card.separation)
            self.roofs = self.roofs.plus(compare_roofs(area.ids, roofs, area.certain, area.gsd))
            every, on_four = steps((found > 0) & area.valid)
            self.stairs = (self.stairs[0] + every, self.stairs[1] + on_four)

    def metrics(self) -> dict[str, float]:
        """Everything that was counted, as shares; on land without a roof only what is called one."""
        if len(self.confusion) > 2:
            return self._of_many()
        pixels = of_class(self.confusion, 1)
        hit, wrong, missed, rest = pixels
        if not hit + missed:
            return {f"called {self.card.classes[1].name}": wrong / max(1, wrong + rest)}
        result = pixels.metrics()
        found, near, truth, reached = self.edges
        precision, recall = near / max(1, found), reached / max(1, truth)
        result["edge f1"] = 2 * precision * recall / max(1e-9, precision + recall)
        if self.roofs.truth:
            low, high = self.roofs.f1_interval
            result |= {
                "roofs f1": self.roofs.f1,
                "roofs f1 low": low,
                "roofs f1 high": high,
                "roofs precision": self.roofs.precision,
                "roofs recall": self.roofs.recall,
                "roofs merged": self.roofs.merged / self.roofs.truth,
                "roofs split": self.roofs.split / self.roofs.truth,
            }
        result["borders on multiples of 4"] = self.stairs[1] / max(1, self.stairs[0])
        result["calibration error"] = calibration_error(self.bins[1])
        return result

    def _of_many(self) -> dict[str, float]:
        """Of more than two classes each that is there; the mean is over those beside the first."""
        there = [int(number) for number in np.flatnonzero(self.confusion.sum(1))]
        every = {number: of_class(self.confusion, number).metrics() for number in there}
        beside = [every[number]["iou"] for number in there if number]
        result = {"mean iou": float(np.mean(beside))} if beside else {}
        for number, found in every.items():
            name = self.card.classes[number].name
            result |= {f"{name} {key}": found[key] for key in ("iou", "precision", "recall", "f1")}
        result |= agreement(self.confusion)
        result["calibration error"] = max(calibration_error(bins) for bins in self.bins)
        return result


def measure(
    model: LoadedModel,
    areas: Iterable[Area],
    place: Place,
    *,
    turns: int = 1,
    on_answer: Callable[[Answer], None] = lambda answer: None,
) -> dict[str, dict[str, float]]:
    """All metrics, by the areas' places.

    Args:
        model: its card says the threshold and how roofs are told apart.
        areas: labelled.
        place: where the network runs.
        turns: how often each tile is looked at.
        on_answer: is called with each answer, to show it.
    """
    tallies: dict[str, Tally] = {}
    for answer in ask(model, areas, place, turns):
        tallies.setdefault(answer.area.name, Tally(model.card)).add(answer)
        on_answer(answer)
    return {name: tally.metrics() for name, tally in tallies.items()}


def measure_turned(model: LoadedModel, areas: Iterable[Area], place: Place) -> dict[str, dict[str, float]]:
    """How far a model depends on how an image lies, by the areas' places.

    "turned iou" is that with the truth after `TURN` degrees; "quarter turn" the intersection over union of the mask
    with that of the image turned by 90 degrees, turned back; of more than two classes each is a mean.
    """
    turns: dict[str, Any] = {}
    quarters: dict[str, Any] = {}
    count = len(model.card.classes)
    for area in areas:
        resampled = at_gsd(area, model.card.gsd)
        pictures = (resampled, turned(resampled, 90), turned(area, TURN))
        straight, quarter, tilted = ask(model, pictures, place)
        cut, name = model.card.threshold, area.name
        counts = compare_classes(tilted.area.labels, tilted.labels(cut), tilted.area.valid, count)
        turns[name] = turns.get(name, 0) + counts
        back = np.rot90(quarter.labels(cut), -1)
        quarters[name] = quarters.get(name, 0) + compare_classes(straight.labels(cut), back, straight.area.valid, count)
    return {
        name: {"turned iou": _mean_iou(turns[name]), "quarter turn": _mean_iou(quarters[name])}
        for name in turns
        if turns[name][1:].any()
    }


def _mean_iou(confusion: NDArray[np.int64]) -> float:
    """The mean over the classes beside the first that are there."""
    there = [number for number in range(1, len(confusion)) if confusion[number].any()]
    return float(np.mean([of_class(confusion, number).metrics()["iou"] for number in there])) if there else 1.0
