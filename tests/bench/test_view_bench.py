"""The bench of roofs by click: the figures are there, and without imagery the page says so."""

from __future__ import annotations

from rotacube.bench import view as module
from rotacube.bench.map import make_raster


def test_a_canvas_is_measured(tmp_path, monkeypatch):
    for name, value in {"HEIGHT": 200, "WIDTH": 300, "TOP": 90, "LEFT": 70, "ROUNDS": 1}.items():
        monkeypatch.setattr(module, name, value)
    make_raster(tmp_path / "a.tif", 640, 640, 0.15)
    found = module.view(tmp_path / "a.tif")
    assert found["tiles"] >= 1 and all(found[key] > 0 for key in ("first", "pan", "threshold", "network"))
    assert found["first"] < found["fresh"]
    monkeypatch.setattr(module, "apart", lambda *about: found)
    monkeypatch.setenv("ROTACUBE_DATA", str(tmp_path))
    assert "not measured" in module.page(module.rows(tmp_path))
    (tmp_path / module.IMAGERY).mkdir(parents=True)
    assert len(module.rows(tmp_path)) == 4 and "not measured" not in module.page(module.rows(tmp_path))
