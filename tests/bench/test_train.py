"""A training step: the same losses whatever computes its rotation-invariant convolutions, and a page of them."""

from __future__ import annotations

import pytest

from rotacube.bench import train as module
from rotacube.bench.timing import QUICK
from rotacube.bench.train import WAYS, compared, page, training_step


@pytest.mark.parametrize("orientations", [4, 8])
def test_every_way_computes_the_same_steps(orientations, monkeypatch):
    monkeypatch.setattr(module, "SIDE", 32)
    ways = ["ours", "four convolutions", "one convolution with 4 x O outputs"]
    steps = {way: training_step(way, orientations, "float32", 0.125) for way in ways}
    losses = {way: [step() for _ in range(3)] for way, step in steps.items()}
    for way in ways[1:]:
        assert losses[way] == pytest.approx(losses["ours"], rel=1e-4), way
    assert losses["ours"][0] != losses["ours"][2]


def test_rows_say_what_was_measured_and_what_was_not(monkeypatch):
    monkeypatch.setattr(module, "SIDE", 32)
    monkeypatch.setattr(module, "EFFORT", QUICK)
    monkeypatch.setattr(module, "peak", lambda *given: 12.0)
    rows = compared(8, "float32", 0.0625)
    assert [row[2] for row in rows] == list(WAYS) and rows[0][4] == "1.00"
    assert rows[-1][3].startswith("not measured: e2cnn pools over all orientations")
    assert len(compared(1, "float32", 0.0625)) == 1
    assert "| 8 | float32 | ours |" in page(rows)


def test_a_peak_is_measured_in_a_process_of_its_own():
    found = module.peak("ours", 4, "float32", 0.0625)
    assert isinstance(found, float) and 5 < found < 2000
    assert str(module.peak("nobody", 4, "float32", 0.0625)).startswith("not measured: KeyError")
