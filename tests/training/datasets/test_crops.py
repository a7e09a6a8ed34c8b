"""Crops: the same for the same number, of the model's resolution, normalised, nodata left out."""

from __future__ import annotations

import numpy as np
import torch

from rotacube.models.card import Normalisation
from rotacube.training.datasets.areas import Area
from rotacube.training.datasets.crops import RoofCrops

RULE = Normalisation(scale=255.0, mean=[0.5, 0.4, 0.3], std=[0.2, 0.3, 0.1])


def an_area(name="here", seed=0, gsd=0.15):
    """An area of which the left third has no data, all of that labelled as roof."""
    rng = np.random.default_rng(seed)
    valid = np.ones((200, 240), bool)
    valid[:, :80] = False
    roof = ~valid
    return Area(name, rng.integers(0, 256, (3, 200, 240), np.uint8), roof, valid, gsd)


def test_a_crop_is_the_same_whoever_draws_it_and_in_whatever_order():
    crops, others = (RoofCrops([(an_area(), 1.0), (an_area(seed=1), 2.0)], 8, 64, 0.15, RULE, seed=3) for _ in range(2))
    first = [crops[index] for index in range(8)]
    for index in reversed(range(8)):
        for a, b in zip(first[index], others[index], strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert not torch.equal(first[0][0], first[1][0])
    other = RoofCrops([(an_area(), 1.0)], 8, 64, 0.15, RULE, seed=4)
    assert not torch.equal(other[0][0], first[0][0])


def test_crops_have_shapes_and_ranges_that_a_network_takes():
    crops = RoofCrops([(an_area(), 1.0)], 12, 96, 0.15, RULE)
    assert len(crops) == 12
    for image, roof, valid in (crops[index] for index in range(12)):
        assert image.shape == (3, 96, 96) and roof.shape == valid.shape == (1, 96, 96)
        assert image.dtype == roof.dtype == valid.dtype == torch.float32
        low, high = ((limit - np.array(RULE.mean)) / np.array(RULE.std) for limit in (0, 1))
        seen = image[:, valid[0] > 0].numpy()
        assert (seen >= low[:, None] - 1e-5).all() and (seen <= high[:, None] + 1e-5).all()
        assert (image[:, valid[0] == 0] == 0).all()
        assert set(torch.unique(roof).tolist()) | set(torch.unique(valid).tolist()) <= {0.0, 1.0}


def test_pixels_without_data_count_neither_as_roof_nor_as_ground():
    crops = RoofCrops([(an_area(), 1.0)], 40, 64, 0.15, RULE)
    shares = []
    for _, roof, valid in (crops[index] for index in range(40)):
        assert not (roof * valid).any(), "only what has no data is labelled in this area"
        shares.append(float(valid.mean()))
    assert min(shares) < 0.9 and max(shares) == 1.0


def test_crops_have_the_models_resolution_whatever_the_areas():
    """Stripes of 3 m stay about 20 pixels wide at 0.15 m, from an area of 0.05 m as from one of 0.3 m."""
    widths = []
    for gsd in (0.05, 0.3):
        period = round(6 / gsd)
        stripes = (np.arange(900) % period) < period // 2
        roof = np.broadcast_to(stripes, (900, 900)).copy()
        area = Area("stripes", np.zeros((3, 900, 900), np.uint8), roof, np.ones((900, 900), bool), gsd)
        crops = RoofCrops([(area, 1.0)], 12, 128, 0.15, RULE)
        for _, roof, _ in (crops[index] for index in range(12)):
            steps = max(roof[0].diff(dim=d).abs().sum(d).mean() for d in (0, 1))
            widths.append(128 / float(steps))
    assert all(20 / 1.5 * 0.8 < width < 20 / 0.7 * 1.3 for width in widths)
