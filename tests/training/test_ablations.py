"""Ablations: a run is done once, and the page says what was measured and what was not."""

from __future__ import annotations

import numpy as np
import pytest

from rotacube.networks.registry import NETWORKS, create_model
from rotacube.training import ablations as module
from rotacube.training import data
from rotacube.training.ablations import main, page, spread, verdict
from rotacube.training.datasets.areas import Area
from rotacube.training.studies import STUDIES, Study


@pytest.mark.parametrize("name", STUDIES)
def test_each_variant_is_a_network(name):
    study = STUDIES[name]
    for architecture, options in study.variants.values():
        assert architecture in NETWORKS
        create_model(architecture, 3, 2, **{**study.options, "width": 0.0625, **options})
    assert {variant for pair in study.better for variant in pair} <= set(study.variants)
    assert not study.better or study.judged in study.figures


def test_a_study_is_carried_out_seed_by_seed_and_once(tmp_path, monkeypatch, cpu):
    labels = np.kron(np.eye(6), np.ones((16, 16))).astype(np.uint8)
    image = np.repeat((labels * 150 + 40)[None], 3, 0).astype(np.uint8)
    area = Area("dhaka", image, labels, labels.astype(np.int32), np.ones(labels.shape, bool), 0.15)
    for where in (data, module):
        monkeypatch.setattr(where, "read_set", lambda root, name, split, faults=None, *, classes: [area])
    base = {
        "tile": 64,
        "overlap": 32,
        "precision": "32-true",
        "data": {"sets": {"dhaka": 1}, "crop": 64, "batch": 2, "workers": 0},
        "schedule": {"steps": 2, "rate": 1e-3, "average": 0.5},
    }
    variants = {"plain": ("unet", {}), "a Cube": ("unet-cube", {})}
    more = {"seeds": (1, 2), "better": (("a Cube", "plain"),)}
    study = Study("Which?", "None.", base, variants, ("iou", "quarter turn"), {"width": 0.0625}, **more)
    monkeypatch.setattr(module, "STUDIES", {"small": study})
    monkeypatch.setattr(module, "choose_place", lambda: cpu)
    monkeypatch.setattr(module, "known_root", lambda: tmp_path)
    nothing = page(tmp_path / "runs")
    assert "| plain |  |  |  | not measured | not measured |" in nothing and "*plain*: not measured." in nothing
    main(tmp_path / "runs", tmp_path / "page.md", "schedule.steps=3")
    written = (tmp_path / "page.md").read_text()
    assert written.count("| 3 | 2 |") == 2 and "not measured" not in written and "±" in written
    assert "- *a Cube* is better than *plain*: " in written
    fitted = []
    monkeypatch.setattr(module, "fit", lambda *given, **more: fitted.append(given))
    main(tmp_path / "runs", tmp_path / "page.md", "small")
    assert not fitted and (tmp_path / "page.md").read_text() == written


def test_a_place_left_out_is_not_learned_from_and_tested_all_the_same(tmp_path, monkeypatch, cpu):
    labels = np.kron(np.eye(4), np.ones((16, 16))).astype(np.uint8)
    image = np.repeat((labels * 150 + 40)[None], 3, 0).astype(np.uint8)
    asked = []

    def read_set(root, name, split, faults=None, *, classes):
        asked.append((name, split))
        return [Area(name, image, labels, labels.astype(np.int32), np.ones(labels.shape, bool), 0.15)]

    for where in (data, module):
        monkeypatch.setattr(where, "read_set", read_set)
    base = {
        "tile": 64,
        "overlap": 32,
        "precision": "32-true",
        "data": {"sets": {"dhaka": 0.5, "banepa": 0.5}, "crop": 64, "batch": 2, "workers": 0},
        "schedule": {"steps": 1, "rate": 1e-3, "average": 0.5},
    }
    variants = {"all": ("unet", {}), "without dhaka": ("unet", {})}
    figures = ("iou in dhaka", "iou in banepa")
    study = Study("Where?", "None.", base, variants, figures, {"width": 0.0625}, without={"without dhaka": "dhaka"})
    monkeypatch.setattr(module, "STUDIES", {"places": study})
    for variant, learned in (("all", {"dhaka", "banepa"}), ("without dhaka", {"banepa"})):
        asked.clear()
        found = module.run("places", variant, 1, tmp_path, tmp_path, cpu, ())
        assert {name for name, split in asked if split == "train"} == learned
        assert {name for name, split in asked if split == "test"} == {"dhaka", "banepa"} and set(figures) <= set(found)
    assert (tmp_path / "places" / "without-dhaka" / "1" / "result.json").is_file()


def test_what_a_paper_says_is_confirmed_only_where_the_seeds_agree():
    rng = np.random.default_rng(0)
    words = [verdict(rng.normal(0, 1, 3).tolist()).split(",")[0] for _ in range(2000)]
    assert 0.035 < words.count("confirmed") / 2000 < 0.065 and 0.035 < words.count("contradicted") / 2000 < 0.065
    assert verdict([-0.1, -0.11, -0.12]).startswith("contradicted, by -0.110")
    assert verdict([0.1]) == "not confirmed, one seed alone, by 0.100"


def test_the_spread_is_that_of_the_sample():
    values = [0.2, 0.4, 0.9]
    assert spread(values) == f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
