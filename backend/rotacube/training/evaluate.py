"""How good a network is, through the engine that maps: the same tiling, blending and classes that users get."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    BinaryAccuracy,
    BinaryCohenKappa,
    BinaryF1Score,
    BinaryJaccardIndex,
    BinaryPrecision,
    BinaryRecall,
)

from rotacube.inference.device import Place
from rotacube.inference.engine import Engine
from rotacube.logits import probabilities
from rotacube.models.store import LoadedModel
from rotacube.raster.array_source import ArraySource
from rotacube.raster.grid import Box
from rotacube.training.datasets.areas import Area, resize


def predict(
    model: LoadedModel, area: Area, place: Place
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """Class probabilities (classes, H, W) of a whole area, with its labels and validity (H, W).

    Args:
        model: its card says at which ground sample distance, which H and W are in, and how it is tiled.
        area: is resampled.
        place: where the network runs.
    """
    card = model.card
    size = tuple(round(n * area.gsd / card.gsd) for n in area.valid.shape)
    image, roof, valid = (
        resize(torch.from_numpy(part).float(), (size[0], size[1])).numpy()
        for part in (area.image, area.roof[None], area.valid[None])
    )
    source = ArraySource((image / 255).astype(np.float32), valid[0] > 0.99, card.normalisation)
    whole = Box(0, 0, source.height, source.width)
    found = np.zeros((len(card.classes), source.height, source.width), np.float32)
    for strip in Engine.of(model, place).strips(source):
        found[(slice(None), *strip.box.within(whole))] = probabilities(strip.logits)
    return found, roof[0] > 0.5, valid[0] > 0.99


def choose_threshold(model: LoadedModel, areas: list[Area], place: Place) -> float:
    """The probability threshold with the best mean IoU over the areas, to two digits."""
    steps = np.arange(0.2, 0.801, 0.05)
    ious = []
    for chance, roof in _roofs(model, areas, place):
        found = [chance > t for t in steps]
        ious.append([(f & roof).sum() / max(1, (f | roof).sum()) for f in found])
    return round(float(steps[np.mean(ious, 0).argmax()]), 2)


def measure(model: LoadedModel, areas: list[Area], place: Place) -> dict[str, float]:
    """The Cube Kernel paper's metrics of class 1 at the card's threshold, by the areas' names."""
    threshold = model.card.threshold
    result: dict[str, float] = {}
    for town in sorted({area.name for area in areas}):
        metrics = MetricCollection(
            {
                "iou": BinaryJaccardIndex(threshold),
                "f1": BinaryF1Score(threshold),
                "precision": BinaryPrecision(threshold),
                "recall": BinaryRecall(threshold),
                "accuracy": BinaryAccuracy(threshold),
                "kappa": BinaryCohenKappa(threshold),
            }
        )
        for chance, roof in _roofs(model, [area for area in areas if area.name == town], place):
            metrics.update(torch.from_numpy(chance), torch.from_numpy(roof).long())
        result |= {f"{town} {key}": round(value.item(), 4) for key, value in metrics.compute().items()}
    return result


def _roofs(
    model: LoadedModel, areas: list[Area], place: Place
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Probability and truth of the pixels with data, area by area."""
    for area in areas:
        chances, roof, valid = predict(model, area, place)
        yield chances[1][valid], roof[valid]
