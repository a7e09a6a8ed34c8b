"""The bench of maps: every part gives its figures, and the page says what they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from rotacube.bench import map as module


@pytest.fixture
def small(monkeypatch):
    sizes = {"MOSAIC": (600, 500), "PLAIN": 520, "WHOLE": 600, "EMPTY": 4000, "SMALL": 520, "LARGE": 700, "ROUNDS": 1}
    sizes |= {"TOWN": 100, "IMAGERY": Path("none")}
    for name, value in sizes.items():
        monkeypatch.setattr(module, name, value)


def test_every_row_has_a_value_and_a_target(small, tmp_path, monkeypatch):
    monkeypatch.setitem(module.PARTS, "dask", lambda raster: {"ratio": 1.5, "seconds": 1.0})  # see test_cluster.py
    monkeypatch.setattr(module, "measured", lambda part, raster, cores=0: module.PARTS[part](raster))
    table = module.rows(tmp_path)
    assert len(table) == 17 and all(row[2] for row in table)
    assert all(float(row[1].split()[0]) for row in table if row[1] not in ("yes", "not measured"))
    assert module.page(table).count("\n|") == 19


def test_a_part_is_measured_in_a_process_of_its_own(small, tmp_path):
    raster = tmp_path / "a.tif"
    module.make_raster(raster, 520, 520, 0.15)
    assert 1 < module.measured("peak", raster, cores=1)["MiB"] < 2000
