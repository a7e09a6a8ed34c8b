"""The short form of `make test-kills`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks and small disks of Linux")


def test_killed_runs_leave_no_half_file_and_full_disks_end_with_a_sentence(tmp_path):
    """In a process of its own, which forks."""
    code = (
        "import json, sys, random, torch; from pathlib import Path; import fuzz_kills as k; torch.set_num_threads(1);"
        "work = Path(sys.argv[1]); kills = k.Kills(3, work); kills.kill_often(4);"
        "rng = random.Random(3); disks = [k.full_disk(n, rng, work) for n in (2,)];"
        "print(json.dumps([kills.faults, dict(kills.counts), disks]))"
    )
    done = run_python(code, tmp_path)
    found, counts, disks = json.loads(done.splitlines()[-1])
    assert found == [] and counts["killed"] == 4
    assert all(kind in ("sentence", "result") for kind, _ in disks), disks


def test_killed_runs_are_resumed_to_what_an_undisturbed_run_makes(tmp_path):
    code = (
        "import json, sys, torch; from pathlib import Path; import fuzz_resume as r; torch.set_num_threads(1);"
        "runs = r.Resumes(3, Path(sys.argv[1])); runs.rng.seed(5); "
        "[runs.kill(n) for n in range(1, 31, 3) if runs.counts['killed'] < 3];"  # some end before
        "print(json.dumps([runs.faults, dict(runs.counts)]))"
    )
    found, counts = json.loads(run_python(code, tmp_path).splitlines()[-1])
    assert found == [] and counts["killed"] == 3


def run_python(code, folder):
    """What a program prints that imports from here."""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    made = subprocess.run([sys.executable, "-c", code, str(folder)], env={**os.environ, "PYTHONPATH": path},
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert made.returncode == 0, made.stderr[-3000:]
    return made.stdout
