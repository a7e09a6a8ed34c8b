"""The made town of the benchmark goes through blocks to a layer, and its roofs come out as they stand."""

from __future__ import annotations

import pytest

from rotacube.bench import roofs
from rotacube.inference import pieces


@pytest.mark.parametrize(("seed", "block"), [(0, 1024), (3, 700)])
def test_roofs_of_a_town_in_blocks_are_one_valid_coverage(seed, block, monkeypatch, tmp_path):
    monkeypatch.setattr(pieces, "BLOCK", block)
    monkeypatch.setattr(roofs, "SEED", seed)
    found = roofs.measure(tmp_path, 1000, 0.5)
    assert found["roofs"] >= 900 and found["megapixels"] > 4 * block**2 / 1e6
    assert found["valid"] and abs(found["overlap m2"]) < 1e-6 and found["as found"] < 0.02
    assert found["along the axes"] >= 0.98 and found["right corners"] >= 0.95
    assert found["shared walls, pairs"] >= 0.98 and found["shared walls, length"] >= 0.98
