"""`rotacube bench ops` as a person meets it: a quick run, an interrupt, and the baselines it measures against."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import rotacube
from rotacube.bench import allocator, baselines, ops
from rotacube.bench.calls import path_of
from rotacube.cli.bench import bench_ops
from rotacube.errors import JobCancelled

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(rotacube.__file__).parents[1])}
COMMAND = [sys.executable, "-m", "rotacube", "bench", "ops", "--quick"]


def test_a_quick_run_writes_the_rows_and_the_page(tmp_path):
    done = subprocess.run(
        [*COMMAND, "--only", "kronecker,single", "--record", "page.md", "--plan", "plan.json"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "build" / "bench" / "ops.json").read_text())
    assert {row["section"] for row in rows} == {"kronecker", "single"}
    assert all(row["ok"] is None and row["value"] is None for row in rows if row["device"] == "cuda")
    for row in rows:  # verdicts follow from the values, whatever those are
        if row["value"] is not None and row["target"] is not None:
            assert row["ok"] is (row["value"] >= row["target"])
    page = (tmp_path / "page.md").read_text()
    assert "rotacube bench ops --only kronecker,single --quick" in page and str(tmp_path) not in page
    assert json.loads((tmp_path / "plan.json").read_text()) == []
    assert "rows pass" in done.stdout and "Measured peaks" in done.stdout


def test_an_interrupt_leaves_the_old_file(tmp_path):
    (tmp_path / "ops.json").write_text("old")

    def interrupt(what, done, total):
        if done == 1:
            raise KeyboardInterrupt

    options = ops.Options(json=tmp_path / "ops.json", record=tmp_path / "ops.md", only=("single",), quick=True)
    with pytest.raises(KeyboardInterrupt):
        ops.run(options, interrupt)
    assert (tmp_path / "ops.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["ops.json"]


def test_an_interrupt_is_told_in_a_sentence(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ops, "run", interrupted)
    monkeypatch.setattr(allocator, "keep_freed_memory", lambda: None)  # it would hold for all tests of the process
    with pytest.raises(JobCancelled, match="nothing was written"):
        bench_ops()


def test_the_command_refuses_what_it_does_not_know(tmp_path):
    done = subprocess.run(
        [*COMMAND, "--only", "cubes"], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "There is no section 'cubes'" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("gradients", [False, True])
def test_the_baselines_compute_the_same_maximum(last, gradients):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 5, 9, 7, generator=generator, dtype=torch.float64)
    weight = torch.randn(6, 5, 3, 3, generator=generator, dtype=torch.float64)
    bias = torch.randn(6, generator=generator, dtype=torch.float64)
    if last:
        x, weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))
    turns = [F.conv2d(x, torch.rot90(weight, r, (2, 3)), bias, padding=1) for r in range(4)]
    want = torch.stack(turns).amax(0)
    with torch.set_grad_enabled(gradients):
        found = [
            baselines.four_convolutions(x, baselines.turned(weight), bias),
            baselines.one_convolution(x, baselines.stacked(weight), bias),
            baselines.one_convolution_argmax(x, baselines.stacked(weight), bias),
            baselines.orn(x, weight, bias),
        ]
    for y in found:
        torch.testing.assert_close(y, want)


def test_the_path_is_seen_from_what_is_called():
    x = torch.ones(1, 4, 4, 4)
    assert path_of({"a": lambda: F.conv2d(x, torch.ones(1, 4, 1, 1))}) == "plain PyTorch"
