"""The benchmark's allocator: kept memory is given back where it piles up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import torch
from pathlib import Path
from rotacube.bench import allocator

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

allocator.renew(1 << 28)
assert not allocator.keeps_freed_memory() and resident() < 1 << 30
allocator.keep_freed_memory()
assert allocator.keeps_freed_memory()
blocks = [torch.ones(1 << 26) for _ in range(6)]
del blocks
kept = resident()
allocator.renew(1 << 28, most=1 << 40)
again = resident()
allocator.renew(1 << 28, most=1 << 30)
print(kept, again, resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_kept_and_given_back():
    path = str(Path(__file__).parents[2] / "backend")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env={"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    kept, again, renewed = map(int, done.stdout.split())
    assert kept > 6 << 28 and again >= kept  # 1.5 GiB were freed, and stay
    assert renewed < 1 << 30
