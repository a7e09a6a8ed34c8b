"""Crops: the same for the same number, of the model's resolution, normalised, what is not known left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from rotacube.models.card import Normalisation
from rotacube.training.datasets import crops as module
from rotacube.training.datasets.areas import Area
from rotacube.training.datasets.crops import Crops, RoofCrops

RULE = Normalisation(scale=255.0, mean=[0.5, 0.4, 0.3], std=[0.2, 0.3, 0.1])


def an_area(name="here", seed=0, gsd=0.15):
    """An area of which the left third has no data, all of that labelled as roof."""
    rng = np.random.default_rng(seed)
    valid = np.ones((200, 240), bool)
    valid[:, :80] = False
    roof = ~valid
    return Area(
        name, rng.integers(0, 256, (3, 200, 240), np.uint8), roof.astype(np.uint8), roof.astype(np.int32), valid, gsd
    )


def a_town(seed=0):
    """Roofs of 30 x 40 pixels on black land, each of one grey of its own."""
    rng = np.random.default_rng(seed)
    image, ids = np.zeros((3, 300, 300), np.uint8), np.zeros((300, 300), np.int32)
    for number, (top, left) in enumerate([(20, 20), (120, 20), (20, 150), (200, 200)], start=1):
        image[:, top : top + 30, left : left + 40] = rng.integers(120, 250)
        ids[top : top + 30, left : left + 40] = number
    return Area("town", image, (ids > 0).astype(np.uint8), ids, np.ones(ids.shape, bool), 0.15)


def test_a_crop_is_the_same_whoever_draws_it_and_in_whatever_order():
    crops, others = (RoofCrops([(an_area(), 1.0), (a_town(), 2.0)], 8, 64, 0.15, RULE, seed=3) for _ in range(2))
    first = [crops[index] for index in range(8)]
    for index in reversed(range(8)):
        assert first[index].keys() == others[index].keys()
        for name, value in first[index].items():
            torch.testing.assert_close(value, others[index][name], rtol=0, atol=0)
    assert not torch.equal(first[0]["image"], first[1]["image"])
    other = RoofCrops([(an_area(), 1.0)], 8, 64, 0.15, RULE, seed=4)
    assert not torch.equal(other[0]["image"], first[0]["image"])
    later = RoofCrops([(an_area(), 1.0), (a_town(), 2.0)], 8, 64, 0.15, RULE, seed=3, first=5)
    torch.testing.assert_close(later[1]["image"], first[6]["image"], rtol=0, atol=0)


def test_crops_have_shapes_and_ranges_that_a_network_takes():
    crops = RoofCrops([(an_area(), 1.0)], 12, 96, 0.15, RULE, direction=True)
    assert len(crops) == 12
    for item in (crops[index] for index in range(12)):
        image, seen = item.pop("image"), item["seen"]
        assert image.shape == (3, 96, 96) and item.pop("direction").shape == (2, 96, 96)
        assert all(value.shape == (1, 96, 96) and value.dtype == torch.float32 for value in item.values())
        assert set(item) == {"labels", "border", "distance", "seen", "valid", "certain"}
        low, high = ((limit - np.array(RULE.mean)) / np.array(RULE.std) for limit in (0, 1))
        given = image[:, seen[0] > 0].numpy()
        assert (given >= low[:, None] - 1e-5).all() and (given <= high[:, None] + 1e-5).all()
        assert (image[:, seen[0] == 0] == 0).all()
        assert all(value.min() >= 0 and value.max() <= 1 for value in item.values())


def test_pixels_without_data_count_neither_as_roof_nor_as_ground():
    crops = RoofCrops([(an_area(), 1.0)], 40, 64, 0.15, RULE)
    shares = []
    for item in (crops[index] for index in range(40)):
        assert not (item["labels"] * item["valid"]).any(), "only what has no data is labelled in this area"
        assert (item["certain"] <= item["valid"]).all() and (item["valid"] <= item["seen"]).all()
        shares.append(float(item["valid"].mean()))
    assert min(shares) < 0.9 and max(shares) == 1.0


def test_unlabelled_imagery_is_seen_and_says_nothing_of_roofs():
    crops = RoofCrops([(replace(a_town(), labelled=False), 1.0)], 6, 64, 0.15, RULE)
    for item in (crops[index] for index in range(6)):
        assert item["seen"].any() and not item["valid"].any() and not item["certain"].any()


def test_where_single_roofs_are_not_known_pixels_still_are():
    town = a_town()
    crops = RoofCrops([(replace(town, ids=town.ids * 0), 1.0)], 20, 128, 0.15, RULE)
    for item in (crops[index] for index in range(20)):
        assert torch.equal(item["certain"], item["valid"] * (1 - item["labels"]))


def test_roofs_of_one_place_are_laid_on_free_land_of_another(monkeypatch):
    monkeypatch.setattr(module, "PASTED", 1.0)
    town = a_town()
    bare = replace(town, labels=town.labels * 0, ids=town.ids * 0, name="bare")
    crops = RoofCrops([(bare, 1.0), (town, 1e-9)], 10, 128, 0.15, RULE)
    shares = [float(crops[index]["labels"].mean()) for index in range(10)]
    assert sum(share > 0.01 for share in shares) >= 8
    for item in (crops[index] for index in range(10)):
        assert torch.equal(item["certain"], item["valid"]), "a roof that was laid there is known"


def test_crops_have_the_models_resolution_whatever_the_areas():
    """Stripes of 3 m stay 20 pixels wide at 0.15 m, times the scale, from an area of 0.05 m as from one of 0.3 m."""
    for gsd in (0.05, 0.3):
        period = round(6 / gsd)
        stripes = (np.arange(900) % period) < period // 2
        roof = np.broadcast_to(stripes, (900, 900)).copy()
        known = np.ones((900, 900), bool)
        area = Area(
            "stripes", np.zeros((3, 900, 900), np.uint8), roof.astype(np.uint8), roof.astype(np.int32), known, gsd
        )
        crops = RoofCrops([(area, 1.0)], 12, 128, 0.15, RULE, scales=(1.0, 1.0))
        for item in (crops[index] for index in range(12)):
            steps = [float(item["labels"][0].diff(dim=d).abs().sum(d).mean()) for d in (0, 1)]
            width = 128 / float(np.hypot(*steps))
            assert 15 < width < 27, "whatever the turn"


def test_rare_classes_are_seen_where_crops_are_centred():
    """One pixel in ten thousand is of the last class; every third crop is about one of them."""
    labels = np.zeros((600, 600), np.uint8)
    labels[:300], labels[500:506, 200:206] = 1, 2
    area = Area("field", np.zeros((3, 600, 600), np.uint8), labels, labels * np.int32(0), labels < 9, 0.01)
    shares = []
    for centred in (0.0, 1.0):
        crops = Crops([(area, 1.0)], 60, 64, 0.01, RULE, centred=centred, scales=(1.0, 1.0))
        items = [crops[index] for index in range(60)]
        assert all(set(item) == {"image", "labels", "seen", "valid"} for item in items)
        shares.append(np.mean([bool((item["labels"] == 2).any()) for item in items]))
    assert shares[0] < 0.1 and 0.2 < shares[1] < 0.5


def test_a_strip_of_imagery_that_is_narrower_than_a_crop_is_drawn_all_the_same():
    area = an_area()
    narrow = replace(area, valid=area.valid & (np.arange(240) > 225))
    crops = Crops([(narrow, 1.0)], 6, 128, 0.15, RULE)
    assert all(0 < crops[index]["seen"].mean() < 0.3 for index in range(6))


def test_as_many_crops_have_roofs_of_other_colours_as_is_asked_for():
    def coloured(share):
        crops = RoofCrops([(a_town(), 1.0)], 40, 64, 0.15, RULE, light=0.0, recoloured=share)
        mean, std = (np.array(numbers)[:, None, None] for numbers in (RULE.mean, RULE.std))
        items = [crops[number] for number in range(40)]
        shades = [(item["image"].numpy() * std + mean) * item["seen"].numpy() for item in items]
        return sum(bool(np.ptp(shade, axis=0).max() > 0.01) for shade in shades)

    assert coloured(0.0) == 0
    assert 5 < coloured(0.5) < coloured(1.0)
