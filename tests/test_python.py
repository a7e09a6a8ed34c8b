"""What a Python user meets first: the exported names, their examples, the page, and how long importing takes."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import rotacube

REPO = Path(__file__).resolve().parents[1]
PAGE = REPO / "docs" / "python.md"
NAMES = [name for name in rotacube.__all__ if name != "__version__"]
OTHERS = ["rotacube.logits.outputs_of", "rotacube.raster.map_grid.metres"]


@pytest.fixture
def town(tmp_path, monkeypatch):
    """A folder with the raster that the examples speak of."""
    from rotacube.training.drawn.scenes import draw_scene, write_scene

    write_scene(tmp_path / "town.tif", draw_scene(3, 256, 256))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROTACUBE_MODELS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


def run(test):
    """Run a doctest; its report where it fails."""
    told = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    failed = runner.run(test, out=told.append).failed
    assert failed == 0, "".join(told)


@pytest.mark.parametrize("name", [*NAMES, *OTHERS])
def test_the_example_of_a_public_name_runs(name, town):
    module, _, last = name.rpartition(".")
    thing = getattr(importlib.import_module(module), last) if module else getattr(rotacube, name)
    globs = {"torch": torch, "np": np, "Path": Path, **vars(sys.modules[thing.__module__])}
    test = doctest.DocTestParser().get_doctest(thing.__doc__, globs, name, None, 0)
    assert test.examples, f"{name} has no example"
    run(test)


def test_the_page_runs_and_names_every_public_name(town):
    text = PAGE.read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```pycon\n(.*?)```", text, re.DOTALL))
    test = doctest.DocTestParser().get_doctest(code, {}, PAGE.name, None, 0)
    assert len(test.examples) > 15
    run(test)
    assert [name for name in NAMES if f"`{name}`" not in text and f"`rotacube.{name}()`" not in text] == []


def test_the_exported_names_are_there_and_no_others():
    assert rotacube.__all__ == sorted(rotacube.__all__) and len(NAMES) >= 20
    assert sorted(rotacube._HOME) == sorted(NAMES)
    for name in NAMES:
        thing = getattr(rotacube, name)
        home = importlib.import_module(f"rotacube.{rotacube._HOME[name]}")
        assert thing is getattr(home, name) and thing.__doc__
    with pytest.raises(AttributeError, match="no attribute 'dream'"):
        _ = rotacube.dream
    assert dir(rotacube) == rotacube.__all__


LIGHT = {
    "the writer of rasters": "import rotacube.raster.write",
    "the card": "import rotacube.models.card",
    "the package": "import rotacube",
    "help": "import sys; from rotacube.cli import app\ntry:\n    app(['--help'])\nexcept SystemExit:\n    pass",
}


@pytest.mark.parametrize("what", LIGHT)
def test_what_is_light_loads_no_pytorch_and_answers_at_once(what):
    """Seconds of processor time, the least of three, so that a busy machine changes little; the limit is half one."""
    code = f"{LIGHT[what]}\nimport sys, time; print('torch' in sys.modules, time.process_time())"
    env = {**os.environ, "PYTHONPATH": str(REPO / "backend")}
    found = [
        subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        .stdout.splitlines()[-1]
        .split()
        for _ in range(3)
    ]
    assert {loaded for loaded, _ in found} == {"False"}
    assert min(float(spent) for _, spent in found) < 0.5
