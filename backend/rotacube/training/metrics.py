"""How far what was found is from what is there: single roofs, pixels, borders, probabilities."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.stats import binomtest

LEAST = 2.0
"""Square metres: smaller roofs are slivers that the edge of a tile left, and are not counted."""
SHARE = 0.1
"""Of a roof: what a part has to cover to be one of two that a roof was split into."""
BINS = 15


class Roofs(NamedTuple):
    """Counts of roofs, which add up over tiles.

    Attributes:
        truth: roofs that are there.
        found: roofs that were found, but for those that lie where nobody knows.
        matched: pairs with an intersection over union of more than a half.
        merged: roofs that are there, the larger part of which lies in a found one that holds another one as well.
        split: roofs that are there, on which two or more found ones lie, each a tenth of it or more.
    """

    truth: int = 0
    found: int = 0
    matched: int = 0
    merged: int = 0
    split: int = 0

    def plus(self, other: Roofs) -> Roofs:
        """The counts of both."""
        return Roofs(*(a + b for a, b in zip(self, other, strict=True)))

    @property
    def precision(self) -> float:
        """The share of the found ones that are there."""
        return self.matched / max(1, self.found)

    @property
    def recall(self) -> float:
        """The share of those that are there which were found."""
        return self.matched / max(1, self.truth)

    @property
    def f1(self) -> float:
        """F1 of single roofs at an intersection over union of 0.5."""
        return 2 * self.matched / max(1, self.truth + self.found)

    @property
    def f1_interval(self) -> tuple[float, float]:
        """The 95% interval of F1, as if each roof were drawn for itself.

        Of all that is there or was found a share p is both, and F1 is 2 p / (1 + p): Wilson's interval of p gives that
        of F1. It says nothing of another place, and is too narrow where neighbours succeed or fail together.
        """
        every = self.truth + self.found - self.matched
        if not every:
            return 0.0, 1.0
        low, high = binomtest(self.matched, every).proportion_ci(method="wilson")
        return 2 * low / (1 + low), 2 * high / (1 + high)


def compare_roofs(truth: NDArray[np.int32], found: NDArray[np.int32], certain: NDArray[np.bool_], gsd: float) -> Roofs:
    """Count the roofs of one tile.

    Args:
        truth: (H, W), a number a roof, 0 elsewhere.
        found: (H, W), likewise.
        certain: (H, W), where it is known which roof a pixel belongs to, if to any.
        gsd: metres a pixel.
    """
    least = LEAST / gsd**2
    all_found = np.bincount(found.ravel())
    truth, found = np.where(certain, truth, 0), np.where(certain, found, 0)
    sizes, here = np.bincount(truth.ravel()), np.bincount(found.ravel(), minlength=len(all_found))
    counted = (here > 0.5 * all_found) & (here >= least)
    counted[0] = False
    pairs, areas = np.unique(truth.astype(np.int64) * len(here) + found, return_counts=True)
    rows, columns = pairs // len(here), pairs % len(here)
    both = (rows > 0) & (columns > 0)
    rows, columns, areas = rows[both], columns[both], areas[both]
    matching = areas > 0.5 * (sizes[rows] + here[columns] - areas)
    real = sizes >= least
    real[0] = False
    held = areas > 0.5 * sizes[rows]
    holds = np.bincount(columns[held & real[rows]], minlength=len(here))
    merged = held & real[rows] & (holds[columns] > 1)
    parts = (areas > 0.5 * here[columns]) & (areas >= SHARE * sizes[rows]) & real[rows]
    small = np.unique(columns[matching & ~real[rows]])  # what was found of a sliver is no mistake
    counted[small] = False
    matched = matching & real[rows] & counted[columns]
    return Roofs(
        int(real.sum()),
        int(counted.sum()),
        int(matched.sum()),
        int(merged.sum()),
        int((np.bincount(rows[parts]) > 1).sum()),
    )


class Pixels(NamedTuple):
    """Counts of the pixels of a class: hits, false alarms, misses, and the rest."""

    hit: int = 0
    wrong: int = 0
    missed: int = 0
    rest: int = 0

    def metrics(self) -> dict[str, float]:
        """The Cube Kernel paper's metrics of the class."""
        hit, wrong, missed, rest = self
        return {
            "iou": hit / max(1, hit + wrong + missed),
            "f1": 2 * hit / max(1, 2 * hit + wrong + missed),
            "precision": hit / max(1, hit + wrong),
            "recall": hit / max(1, hit + missed),
            **agreement(np.array([[rest, wrong], [missed, hit]])),
        }


def agreement(confusion: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy, and Cohen's kappa: what is agreed beyond chance; of pixels (classes, classes), true class by found."""
    count = max(1, int(confusion.sum()))
    agreed = float(np.trace(confusion)) / count
    chance = float((confusion.sum(0) / count) @ (confusion.sum(1) / count))
    return {"accuracy": agreed, "kappa": (agreed - chance) / (1 - chance) if chance < 1 else 1.0}


def compare_classes(
    truth: NDArray[np.uint8], found: NDArray[np.uint8], valid: NDArray[np.bool_], classes: int
) -> NDArray[np.int64]:
    """How the classes of one tile are confused: (classes, classes) pixels that are valid, true class by found one."""
    pairs = truth[valid].astype(np.int64) * classes + found[valid]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def of_class(confusion: NDArray[np.int64], number: int) -> Pixels:
    """The counts of one class against all others, from `compare_classes`."""
    hit = confusion[number, number]
    wrong, missed = confusion[:, number].sum() - hit, confusion[number].sum() - hit
    return Pixels(int(hit), int(wrong), int(missed), int(confusion.sum() - hit - wrong - missed))


def compare_edges(
    truth: NDArray[np.bool_], found: NDArray[np.bool_], valid: NDArray[np.bool_], reach: float
) -> tuple[int, int, int, int]:
    """Edge pixels of a mask: how many found ones, of them near a true one; how many true ones, of them near a found.

    Args:
        truth: (H, W).
        found: (H, W).
        valid: (H, W); edges beside what is not valid are none.
        reach: pixels that are near.
    """
    inner = ndimage.binary_erosion(valid, iterations=2, border_value=1)
    edges = [mask & ~ndimage.binary_erosion(mask, border_value=1) & inner for mask in (truth & valid, found & valid)]
    counts = []
    for edge, other in ((edges[1], edges[0]), (edges[0], edges[1])):
        far = ndimage.distance_transform_edt(~other) if other.any() else np.full(other.shape, np.inf)
        counts += [int(edge.sum()), int((edge & (far <= reach)).sum())]
    return counts[0], counts[1], counts[2], counts[3]


def reliability(chance: NDArray[np.float32], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of `BINS` bins of a probability: how many pixels, their summed probability, and how many are of the class."""
    bins = np.minimum((chance * BINS).astype(int), BINS - 1)
    return np.stack([np.bincount(bins, weights, BINS) for weights in (None, chance, truth)]).astype(np.float64)


def calibration_error(bins: NDArray[np.float64]) -> float:
    """The expected calibration error of the summed results of `reliability` (Guo et al. 2017)."""
    count, chance, truth = bins
    return float(np.abs(chance - truth).sum() / max(1.0, count.sum()))
