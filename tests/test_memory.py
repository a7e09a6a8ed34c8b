"""The allocator: what is freed is kept for the next array, and given back when it is asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import resource, sys
import numpy as np
from pathlib import Path
from rotacube.memory import give_back, set_allocator

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(1 << 25)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

usual = faults()
assert set_allocator()
faults()
print(usual, faults(), resident())
give_back()
print(resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_used_again_without_page_faults_and_given_back():
    path = str(Path(__file__).parents[1] / "backend")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env={"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    usual, kept, before, after = map(int, done.stdout.split())
    assert kept < usual / 5
    assert before - after > 2**27
