"""The bench of frames, small: intervals of made flights hold the truth, and what is measured is what is meant."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rotacube.bench import frames as module
from rotacube.bench.flights import GSD, Place, Plan, World, exact, fly, learned

SIZES = {"FLIGHTS": 2, "THINNED": 1, "PLACED": 1, "FEW": 2, "MANY": 3, "LITTLE": (96, 72), "TIMED": 1, "ROUNDS": 1}
SIZES["LARGE"] = (640, 480)


@pytest.fixture
def small(monkeypatch):
    for name, value in SIZES.items():
        monkeypatch.setattr(module, name, value)


def test_intervals_of_made_flights_hold_the_true_shares(tmp_path):
    found = module.intervals(tmp_path, 12, seed=40_000)
    assert found["share"] >= 0.8 and found["vegetated_share"] >= 0.75  # 36 and 24 of them, 3 of a flight go together
    assert found["off"] < 0.015 and found["best off"] < 0.02 and found["width"] < 0.1


def test_the_card_of_a_made_model_is_that_of_single_frames(tmp_path):
    """The map has as many pixels right as the card says, but for those on the borders of patches."""
    rng, world = np.random.default_rng(1), replace(World(), spread=0.1)
    model = learned(world, 4, 0.5, rng)
    plan = Plan(lines=1, shots=2)
    ground = fly(plan, Place.drawn(world, plan.reach, 0.5, rng), tmp_path / "frames", rng)
    result = module.mapped(tmp_path / "frames", tmp_path / "map", model, ground)
    right = (result.found == result.truth)[result.found != module.NODATA].mean()
    card = np.array(list(model.card.confusion.values())).mean(0)
    assert right == pytest.approx(result.true @ np.diag(card), abs=0.06)


def test_what_lies_off_its_place_is_seen(tmp_path, monkeypatch):
    assert module.places(tmp_path, 1, seed=1)["most"] < 0.5
    at = module.Ground.at
    monkeypatch.setattr(module.Ground, "at", lambda self, x, y: at(self, x + 2 * GSD, y))
    shifted = module.mapped
    monkeypatch.setattr(module, "mapped", lambda *a: _moved(shifted(*a)))
    assert module.places(tmp_path, 1, seed=1)["median"] == pytest.approx(2, abs=0.3)


def _moved(result):
    return replace(result, truth=np.roll(result.truth, 2, axis=1))


def test_every_row_has_a_value_a_target_and_a_verdict(small, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "measured", lambda part, folder, cores=0: module.PARTS[part](folder))
    table = module.rows(tmp_path)
    assert len(table) == 7 and all(float(row[1]) >= 0 and row[2] and row[3] in ("yes", "no") for row in table)
    assert module.page(table).count("\n|") == 9


def test_a_part_is_measured_in_a_process_of_its_own(tmp_path):
    module.lines(tmp_path / "frames", 2, (96, 72), GSD)
    assert 0 < module.measured("peak", tmp_path / "frames", cores=1)["MiB"] < 2000


def test_frames_of_a_model_without_errors_show_the_truth(tmp_path):
    rng = np.random.default_rng(2)
    world, model = exact()
    plan = Plan(lines=1, shots=2)
    ground = fly(plan, Place.drawn(world, plan.reach, 1.0, rng), tmp_path / "frames", rng)
    result = module.mapped(tmp_path / "frames", tmp_path / "map", model, ground)
    assert (result.found == result.truth)[result.found != module.NODATA].mean() > 0.95
