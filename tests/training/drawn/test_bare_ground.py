"""Car parks and bare yards are full of edges, but hold hardly a roof."""

from __future__ import annotations

import numpy as np
import pytest

from rotacube.training.drawn.canvas import Canvas
from rotacube.training.drawn.ground import car, lorry, works
from rotacube.training.drawn.scenes import Scene, draw_scene


@pytest.fixture(scope="module")
def drawn() -> dict[str, list[Scene]]:
    return {
        name: [draw_scene(seed, 256, 256, 0.25, setting=name) for seed in range(8)] for name in ("car park", "yards")
    }


@pytest.mark.parametrize("setting", ["car park", "yards"])
def test_hardly_a_roof(drawn, setting):
    shares = np.array([scene.mask.mean() for scene in drawn[setting]])
    assert shares.max() < 0.15 and (shares > 0).any()


@pytest.mark.parametrize("setting", ["car park", "yards"])
def test_the_ground_is_as_busy_as_a_town(drawn, setting):
    """So that texture does not tell roofs from ground."""
    town = draw_scene(1, 256, 256, 0.25, setting="town")
    steps = [np.abs(np.diff(scene.image.astype(float), axis=1)).mean() for scene in drawn[setting]]
    assert np.mean(steps) > 0.4 * np.abs(np.diff(town.image.astype(float), axis=1)).mean()


def test_asphalt_is_grey_and_soil_is_brown(drawn):
    warmth = {name: np.mean([np.median(scene.image[0] - scene.image[2].astype(float)) for scene in scenes])
              for name, scenes in drawn.items()}  # fmt: skip
    assert warmth["yards"] > warmth["car park"] + 5


@pytest.mark.parametrize("thing", [car, lorry])
def test_vehicles_stand_high_but_are_no_roofs(thing):
    canvas = Canvas(np.random.default_rng(0), 120, 120, 0.15)
    thing(canvas, 0j, 0.3)
    assert canvas.height.max() > 0.9 and not canvas.ids.any()


def test_yards_are_painted_whole_and_some_have_a_hut():
    huts = set()
    for seed in range(16):
        canvas = Canvas(np.random.default_rng(seed), 100, 100, 0.3)
        works(canvas, (-15.0, -15.0, 15.0, 15.0))
        assert (canvas.rgb[:, 30:70, 30:70] > 0).all()
        huts.add(canvas.roofs > 0)
    assert huts == {True, False}
