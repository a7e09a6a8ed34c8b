"""Evaluation goes through the engine: what it measures is what a map shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rotacube.models.store import LoadedModel
from rotacube.training.datasets.areas import Area
from rotacube.training.evaluate import choose_threshold, measure, predict


class Red(nn.Module):
    """The logit of a pixel is its red band, which lies in 0..1, as a probability."""

    def forward(self, x):
        return torch.logit(x[:, :1].clamp(1e-4, 1 - 1e-4))


@pytest.fixture
def model(make_card):
    rule = {"scale": 255.0, "mean": [0.0] * 3, "std": [1.0] * 3}
    card = make_card(tile=64, overlap=24, threshold=0.4, normalisation=rule)
    return LoadedModel(card, Red().eval(), Path())


def an_area(name, seed):
    """Red is high on most roofs; the left quarter has no data."""
    rng = np.random.default_rng(seed)
    roof = rng.random((90, 130)) > 0.5
    image = np.where(roof, rng.integers(90, 250, roof.shape), rng.integers(5, 140, roof.shape)).astype(np.uint8)
    valid = np.ones(roof.shape, bool)
    valid[:, :32] = False
    return Area(name, np.repeat(image[None], 3, 0), roof, valid, 0.15)


def test_probabilities_are_those_of_the_pixels(model, cpu):
    area = an_area("here", 1)
    chances, roof, valid = predict(model, area, cpu)
    assert chances.shape == (2, 90, 130)
    np.testing.assert_allclose(chances[1][valid], area.image[0][valid] / 255, atol=1e-4)
    np.testing.assert_array_equal(roof, area.roof)
    np.testing.assert_array_equal(valid, area.valid)


def test_metrics_are_those_of_the_counts_of_pixels(model, cpu):
    areas = [an_area("here", 1), an_area("here", 2), an_area("there", 3)]
    found = measure(model, areas, cpu)
    truth = np.concatenate([a.roof[a.valid] for a in areas[:2]])
    guess = np.concatenate([a.image[0][a.valid] / 255 > 0.4 for a in areas[:2]])
    hit, wrong, missed = (truth & guess).sum(), (~truth & guess).sum(), (truth & ~guess).sum()
    agreed = (truth == guess).mean()
    by_chance = truth.mean() * guess.mean() + (1 - truth.mean()) * (1 - guess.mean())
    want = {
        "iou": hit / (hit + wrong + missed),
        "f1": 2 * hit / (2 * hit + wrong + missed),
        "precision": hit / (hit + wrong),
        "recall": hit / (hit + missed),
        "accuracy": agreed,
        "kappa": (agreed - by_chance) / (1 - by_chance),
    }
    assert {key: found[f"here {key}"] for key in want} == pytest.approx(want, abs=2e-4)
    assert {key.split()[0] for key in found} == {"here", "there"}


def test_the_threshold_is_the_one_with_the_best_iou(model, cpu):
    areas = [an_area("here", 4)]
    chosen = choose_threshold(model, areas, cpu)
    truth, chance = areas[0].roof[areas[0].valid], areas[0].image[0][areas[0].valid] / 255
    ious = {t: (truth & (chance > t)).sum() / (truth | (chance > t)).sum() for t in np.arange(0.2, 0.801, 0.05)}
    assert chosen == pytest.approx(max(ious, key=ious.get), abs=0.006)


def test_the_shipped_weights_measure_as_their_card_says(data_root, cpu):
    from rotacube.models.store import load_model
    from rotacube.training.datasets.areas import rooftop_areas

    shipped = load_model("rooftop-small")
    areas = [area for area in rooftop_areas(data_root, "test") if area.name == "banepa"]
    found = measure(shipped, areas, cpu)
    for key, value in found.items():
        assert value == pytest.approx(shipped.card.accuracy[key], abs=0.01), key
