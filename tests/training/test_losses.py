"""The losses: against their formulas in numpy, and pixels of which nothing is known count for nothing."""

from __future__ import annotations

import numpy as np
import torch

from rotacube.training.losses import (
    BORDER_WEIGHT,
    SMOOTH,
    class_loss,
    feature_loss,
    imitation_loss,
    separation_losses,
)


def cross(logits, target):
    chance = 1 / (1 + np.exp(-logits))
    return -(target * np.log(chance) + (1 - target) * np.log(1 - chance))


def test_the_loss_is_cross_entropy_and_half_a_soft_jaccard_of_the_pixels_with_data():
    rng = np.random.default_rng(1)
    logits, roof, valid = rng.normal(0, 2, (2, 1, 9, 8)), rng.random((2, 1, 9, 8)) > 0.6, rng.random((2, 1, 9, 8)) > 0.3
    chance = 1 / (1 + np.exp(-logits))
    both, either = (chance * roof * valid).sum((1, 2, 3)), ((chance + roof) * valid).sum((1, 2, 3))
    jaccard = (1 - (both + SMOOTH) / (either - both + SMOOTH)).mean()
    given = [torch.tensor(v, dtype=torch.float64) for v in (logits, roof, valid)]
    want = (cross(logits, roof) * valid).sum() / valid.sum() + 0.5 * jaccard
    np.testing.assert_allclose(class_loss(*given).item(), want, rtol=1e-9)
    spoilt = given[0].clone()
    spoilt[given[2] == 0] = 50
    np.testing.assert_allclose(class_loss(spoilt, *given[1:]).item(), class_loss(*given).item(), rtol=1e-12)


def test_without_data_the_loss_is_finite():
    zero = torch.zeros(1, 1, 4, 4)
    assert class_loss(zero, zero, zero).item() == 0
    assert class_loss(torch.zeros(1, 3, 4, 4), zero, zero).item() == 0


def test_of_many_classes_the_loss_weighs_them_and_those_that_are_there_overlap():
    rng = np.random.default_rng(1)
    logits, valid = rng.normal(0, 2, (2, 4, 9, 8)), rng.random((2, 1, 9, 8)) > 0.3
    labels, weights = rng.integers(0, 3, (2, 1, 9, 8)), [0.5, 1, 4, 2]  # nothing is of the last class
    chance = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    weight = np.array(weights)[labels] * valid
    each = -np.log(np.take_along_axis(chance, labels, 1))
    jaccards = []
    for number in range(3):
        truth, here = (labels == number) & valid, chance[:, number : number + 1] * valid
        both = (here * truth).sum()
        jaccards.append(1 - (both + SMOOTH) / (here.sum() + truth.sum() - both + SMOOTH))
    given = [torch.tensor(v, dtype=torch.float64) for v in (logits, labels, valid)]
    want = (each * weight).sum() / weight.sum() + 0.5 * np.mean(jaccards)
    np.testing.assert_allclose(class_loss(*given, weights).item(), want, rtol=1e-9)
    spoilt = given[0].clone()
    spoilt.movedim(1, -1)[given[2][:, 0] == 0] = torch.tensor([9.0, -9, 5, 0], dtype=torch.float64)
    np.testing.assert_allclose(class_loss(spoilt, *given[1:], weights).item(), want, rtol=1e-9)


def test_what_separates_roofs_counts_where_single_roofs_are_known():
    rng = np.random.default_rng(2)
    shape = (2, 1, 6, 7)
    maps = {name: rng.normal(size=shape) for name in ("logits", "border", "distance")}
    maps["direction"] = rng.normal(size=(2, 2, 6, 7))
    item = {name: (rng.random(shape) > 0.5).astype(float) for name in ("border", "certain", "labels")}
    item |= {"distance": rng.random(shape), "direction": rng.normal(size=(2, 2, 6, 7))}
    found = separation_losses(*({k: torch.tensor(v) for k, v in part.items()} for part in (maps, item)))
    certain = item["certain"]
    weight = certain * (1 + (BORDER_WEIGHT - 1) * item["border"])
    want = {
        "border": (cross(maps["border"], item["border"]) * weight).sum() / weight.sum(),
        "distance": (cross(maps["distance"], item["distance"]) * certain).sum() / certain.sum(),
        "direction": (
            ((maps["direction"] - item["direction"]) ** 2).sum(1, keepdims=True) * certain * item["labels"]
        ).sum()
        / (certain * item["labels"]).sum(),
    }
    assert found.keys() == want.keys()
    for name, value in want.items():
        np.testing.assert_allclose(found[name].item(), value, rtol=1e-9)


def test_a_teacher_is_imitated_best_by_itself_and_only_where_there_is_imagery():
    maps = {name: torch.randn(1, 1, 8, 8) for name in ("logits", "distance")} | {"direction": torch.randn(1, 2, 8, 8)}
    seen = (torch.rand(1, 1, 8, 8) > 0.5).float()
    alike = imitation_loss(maps, maps, seen)
    other = {name: torch.where(seen > 0, value, value + 9) for name, value in maps.items()}
    torch.testing.assert_close(imitation_loss(other, maps, seen), alike)
    assert imitation_loss({name: value + 1 for name, value in maps.items()}, maps, seen) > alike
    many = {"logits": torch.randn(1, 3, 8, 8)}
    alike = imitation_loss(many, many, seen)
    torch.testing.assert_close(imitation_loss({"logits": many["logits"] + 1}, many, seen), alike)
    assert imitation_loss({"logits": many["logits"].roll(1, 1)}, many, seen) > alike


def test_features_are_compared_by_their_direction_at_the_coarser_grid():
    maps = torch.randn(2, 5, 4, 4)
    fine = maps.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert feature_loss(3 * maps, fine).item() < 1e-6
    assert abs(feature_loss(-maps, maps).item() - 2) < 1e-6
