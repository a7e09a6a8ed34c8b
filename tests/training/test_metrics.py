"""Metrics: counts that a person can check, and scikit-learn's and torchmetrics' figures where there are such."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.classification import (
    BinaryCalibrationError,
    BinaryCohenKappa,
    BinaryJaccardIndex,
    MulticlassConfusionMatrix,
    MulticlassJaccardIndex,
)

from rotacube.training.metrics import (
    Roofs,
    calibration_error,
    compare_classes,
    compare_edges,
    compare_roofs,
    of_class,
    reliability,
)

KNOWN = np.ones((40, 60), bool)


def plan(*boxes):
    """Roofs as boxes (top, left, height, width)."""
    ids = np.zeros(KNOWN.shape, np.int32)
    for number, (top, left, height, width) in enumerate(boxes, start=1):
        ids[top : top + height, left : left + width] = number
    return ids


TWO = plan((10, 10, 20, 15), (10, 25, 20, 15))


@pytest.mark.parametrize(
    ("truth", "found", "want"),
    [
        (TWO, TWO, Roofs(2, 2, 2, 0, 0)),
        (TWO, plan((10, 10, 20, 30)), Roofs(2, 1, 0, 2, 0)),
        (TWO, plan((10, 10, 20, 15), (10, 25, 10, 15), (20, 25, 10, 15)), Roofs(2, 3, 1, 0, 1)),
        (TWO, plan(), Roofs(2, 0, 0, 0, 0)),
        (plan(), TWO, Roofs(0, 2, 0, 0, 0)),
        (TWO, plan((10, 10, 20, 15), (0, 45, 8, 15)), Roofs(2, 2, 1, 0, 0)),
    ],
    ids=["same", "merged", "split", "missed", "false", "one of each"],
)
def test_roofs_are_counted(truth, found, want):
    assert compare_roofs(truth, found, KNOWN, 0.5) == want


def test_half_is_not_enough_for_a_match():
    assert compare_roofs(plan((10, 10, 20, 20)), plan((10, 10, 20, 10)), KNOWN, 0.5).matched == 0
    assert compare_roofs(plan((10, 10, 20, 20)), plan((10, 10, 20, 11)), KNOWN, 0.5).matched == 1


def test_where_nobody_knows_nothing_counts():
    known = KNOWN.copy()
    known[:, 25:] = False
    assert compare_roofs(TWO, TWO, known, 0.5) == Roofs(1, 1, 1, 0, 0)
    assert compare_roofs(plan(), TWO, known, 0.5) == Roofs(0, 1, 0, 0, 0)


def test_slivers_are_neither_missed_nor_mistakes():
    sliver = plan((0, 0, 2, 3))
    assert compare_roofs(sliver, sliver, KNOWN, 0.5) == Roofs()
    assert compare_roofs(sliver, plan(), KNOWN, 0.5) == Roofs()


@pytest.mark.parametrize("true", [0.2, 0.5, 0.85])
@pytest.mark.parametrize("count", [20, 200])
def test_the_interval_of_f1_holds_the_true_one_in_19_of_20_draws(true, count):
    share = true / (2 - true)  # of what is there or found, that is both
    drawn = np.random.default_rng(1).binomial(count, share, 2000)
    intervals = [Roofs(truth=count, found=int(matched), matched=int(matched)).f1_interval for matched in drawn]
    assert 0.93 < np.mean([low <= true <= high for low, high in intervals]) < 0.98
    for matched, (low, high) in zip(drawn, intervals, strict=True):
        assert low <= Roofs(count, int(matched), int(matched)).f1 <= high


def test_without_a_roof_f1_may_be_anything():
    assert Roofs().f1_interval == (0.0, 1.0)


def test_counts_add_up():
    sum_ = Roofs(4, 5, 3, 1, 0).plus(Roofs(6, 5, 4, 0, 2))
    assert sum_ == Roofs(10, 10, 7, 1, 2) and (sum_.precision, sum_.recall, sum_.f1) == (0.7, 0.7, 0.7)
    assert Roofs().f1 == 0


def test_pixels_are_those_of_torchmetrics():
    rng = np.random.default_rng(0)
    truth, found, valid = rng.random((3, 50, 40)) > np.array([0.6, 0.5, 0.2])[:, None, None]
    counts = compare_classes(truth.astype(np.uint8), found.astype(np.uint8), valid, 2)
    own = of_class(counts, 1).metrics()
    guess, target = torch.tensor(found[valid]).int(), torch.tensor(truth[valid]).int()
    assert own["iou"] == pytest.approx(BinaryJaccardIndex()(guess, target).item(), abs=1e-6)
    assert own["kappa"] == pytest.approx(BinaryCohenKappa()(guess, target).item(), abs=1e-6)


def test_classes_are_confused_as_torchmetrics_says():
    rng = np.random.default_rng(1)
    truth, found = rng.integers(0, 4, (2, 50, 40)).astype(np.uint8)
    valid = rng.random((50, 40)) > 0.2
    counts = compare_classes(truth, found, valid, 4)
    guess, target = torch.tensor(found[valid]).int(), torch.tensor(truth[valid]).int()
    np.testing.assert_array_equal(counts, MulticlassConfusionMatrix(4)(guess, target).numpy())
    shares = [of_class(counts, number).metrics()["iou"] for number in range(4)]
    np.testing.assert_allclose(shares, MulticlassJaccardIndex(4, average="none")(guess, target).numpy(), atol=1e-6)


def test_calibration_is_that_of_torchmetrics():
    rng = np.random.default_rng(0)
    chance = rng.random(20000).astype(np.float32)
    truth = rng.random(20000) < chance**1.5
    want = BinaryCalibrationError(n_bins=15, norm="l1")(torch.tensor(chance), torch.tensor(truth).int()).item()
    halves = reliability(chance[:7000], truth[:7000]) + reliability(chance[7000:], truth[7000:])
    assert calibration_error(halves) == pytest.approx(calibration_error(reliability(chance, truth)))
    assert abs(calibration_error(halves) - want) < 0.02, "theirs bins the confidence of either class"


def test_edges_are_found_within_the_distance():
    truth, moved = TWO > 0, np.roll(TWO > 0, 2, 1)
    assert compare_edges(truth, truth, KNOWN, 1)[0] == compare_edges(truth, truth, KNOWN, 1)[1]
    found, near, there, reached = compare_edges(truth, moved, KNOWN, 1)
    assert 0 < near < found and 0 < reached < there
    found, near, there, reached = compare_edges(truth, moved, KNOWN, 2)
    assert (near, reached) == (found, there)
    assert compare_edges(truth, ~truth & False, KNOWN, 1)[:2] == (0, 0)
