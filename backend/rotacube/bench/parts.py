"""A benchmark of parts, each measured in a process of its own, and the page that they come to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rotacube.files import write_text
from rotacube.memory import set_allocator

Figures = dict[str, float]


def apart(module: str, part: str, path: Path, cores: int = 0) -> Figures:
    """A part's figures, from a process of its own, on so many cores; all of them if 0.

    Args:
        module: whose `main` is `carry_out`.
        part: its name.
        path: what it works on.
        cores: how many.
    """
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    if cores:
        env["OMP_NUM_THREADS"] = str(cores)
    command = [sys.executable, "-m", module, "--part", part, str(path), str(cores)]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    found: Figures = json.loads(done.stdout)
    print(part, found, file=sys.stderr)  # it takes minutes
    return found


def carry_out(
    arguments: Sequence[str],
    parts: Mapping[str, Callable[[Path], Figures]],
    rows: Callable[[Path], list[list[str]]],
    page: Callable[[Sequence[Sequence[str]]], str],
) -> None:
    """Measure a part in this process, set up as a map's is, or everything, and write the page."""
    if arguments[0] == "--part":
        set_allocator()
        if int(arguments[3]):
            os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: int(arguments[3])]))
        print(json.dumps(parts[arguments[1]](Path(arguments[2]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        table = rows(Path(folder))
    print(*table, sep="\n")
    write_text(Path(arguments[0]), page(table))
