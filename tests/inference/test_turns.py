"""Tiles looked at turned and mirrored: what comes out is a mean, and turns with the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from rotacube.errors import OptionsRefused
from rotacube.inference.engine import Engine
from rotacube.inference.request import MapRequest, Product, prepared
from rotacube.inference.turns import TURNS, averaged
from rotacube.models.card import Normalisation
from rotacube.raster.array_source import ArraySource
from rotacube.raster.grid import Box

RULE = Normalisation(scale=1, mean=[0.0] * 3, std=[1.0] * 3)


class Leaning(nn.Module):
    """Looks at what lies to the right and above: no turn gives the same."""

    def __init__(self, outputs):
        super().__init__()
        self.conv = nn.Conv2d(3, outputs, 5, padding=2)

    def forward(self, x):
        return 3 * self.conv(x)


@pytest.fixture(params=[1, 3])
def engine(request, cpu):
    def make(turns):
        torch.manual_seed(2)
        network = Leaning(request.param).eval()
        return Engine(network, tile=32, overlap=8, outputs=request.param, place=cpu, turns=turns)

    return make


def mapped(engine, image, area=None):
    source = ArraySource(image, np.ones(image.shape[1:], bool), RULE)
    area = area or Box(0, 0, *image.shape[1:])
    found = np.zeros((engine.channels["logits"], area.height, area.width), np.float32)
    for strip in engine.strips(source, area):
        found[(slice(None), *strip.box.within(area))] = strip.logits
    return found


@pytest.mark.parametrize("turns", TURNS)
def test_a_turned_image_gives_the_turned_map(engine, turns):
    image = np.random.default_rng(1).random((3, 32, 32), np.float32)
    straight = mapped(engine(turns), image)
    quarter = mapped(engine(turns), np.ascontiguousarray(np.rot90(image, 1, (1, 2))))
    mirrored = mapped(engine(turns), np.ascontiguousarray(image[..., ::-1]))
    same = [
        np.allclose(np.rot90(quarter, -1, (1, 2)), straight, atol=1e-3),
        np.allclose(mirrored[..., ::-1], straight, atol=1e-3),
    ]
    assert same == [turns > 2, turns == 8]


def test_a_part_is_the_crop_of_the_whole(engine):
    image = np.random.default_rng(3).random((3, 90, 70), np.float32)
    part = Box(20, 10, 61, 55)
    whole = mapped(engine(4), image)
    np.testing.assert_array_equal(mapped(engine(4), image, part), whole[:, 20:61, 10:55])


def test_probabilities_are_the_mean():
    rng = np.random.default_rng(0)
    answers = iter([np.full((1, 2, 4, 4), value, np.float32) for value in (-2.0, 0.5, 3.0, 1.0)])
    found = averaged(lambda tiles: next(answers), [rng.random((3, 4, 4), np.float32)], 4, {"logits": 1, "border": 1})
    want = np.mean(1 / (1 + np.exp(-np.array([-2.0, 0.5, 3.0, 1.0]))))
    np.testing.assert_allclose(found, np.log(want / (1 - want)), rtol=1e-5)


def test_other_numbers_and_directions_are_refused_in_a_sentence(make_card, scene_path, tmp_path):
    products = (Product("mask", tmp_path / "mask.tif"),)
    card = make_card()
    with (
        pytest.raises(OptionsRefused, match="1, 2, 4, 8 times, not 3"),
        prepared(MapRequest(str(scene_path), "tiny", products, turns=3), card),
    ):
        pass
    card = make_card(further=[{"name": "direction", "channels": 2, "meaning": "walls"}])
    with (
        pytest.raises(OptionsRefused, match="cannot be averaged"),
        prepared(MapRequest(str(scene_path), "tiny", products, turns=4), card),
    ):
        pass
