"""The short form of `make fuzz`, and that its watch sees what it is there for."""

from __future__ import annotations

import sys

import fuzz
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, FIFOs and devices of Linux")
SLOW = {
    *("many-bands", "huge-vrt", "huge-strip", "fifo-beside", "place-pole", "megametres-wanted", "thousand-deep"),
    *("model-sparse-weights", "huge-and-sparse", "large-tile", "tiles-of-sixteen", "png-bomb"),
    *("beside-RPB-large", "beside-IMD-large"),
}
"""Hand-made cases that take more than a second or two: only in `make fuzz`."""


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """The cases of seed 1, with their worker."""
    work = tmp_path_factory.mktemp("fuzz")
    made = fuzz.Fuzz(1, work, tmp_path_factory.mktemp("kept"))
    yield made
    made.close()


def faults(session, numbers):
    """What is wrong with some cases, in words."""
    found = []
    for number in numbers:
        kind, word = session.run(number)
        if kind not in fuzz.FINE:
            found.append(f"--seed {session.seed} --case {number}: {kind}: {word}")
    return found


def test_hand_made_rasters_and_models_give_a_mask_or_a_sentence(session):
    numbers = range(session.made_by_hand)
    slow = {n for n in numbers if session.name(n) in SLOW}
    assert faults(session, [n for n in numbers if n not in slow]) == []


def test_mutations_give_a_mask_or_a_sentence(session):
    assert faults(session, range(session.made_by_hand, session.made_by_hand + 60)) == []
    assert session.counts["result"] and session.counts["sentence"]


def test_a_case_is_the_same_when_made_again(session, tmp_path):
    number = session.made_by_hand + 7
    for again in "ab":
        session.make(number, tmp_path / again)
    first, second = (
        {p.relative_to(tmp_path / part): p.read_bytes() for p in (tmp_path / part).rglob("*") if p.is_file()}
        for part in "ab"
    )
    assert first == second and first


WORKERS = {
    "hang": "time.sleep(99)",
    "signal": "os.kill(os.getpid(), signal.SIGSEGV)",
    "ended": "os._exit(3)",
    "memory": "held = bytearray(400 * 2**20); held[::4096] = b'1' * len(held[::4096]); time.sleep(99)",
}


@pytest.mark.parametrize("kind", WORKERS)
def test_the_watch_sees_it(kind, tmp_path, monkeypatch):
    script = tmp_path / "worker.py"
    script.write_text(
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGUSR1, signal.SIG_IGN)\n"
        "lines, out = os.fdopen(int(sys.argv[1])), os.fdopen(int(sys.argv[2]), 'w')\n"
        "print('ready', file=out, flush=True)\n"
        f"lines.readline()\n{WORKERS[kind]}\n"
    )
    monkeypatch.setattr(fuzz, "WORKER", script)
    monkeypatch.setattr(fuzz, "HANG", 2.0)
    monkeypatch.setattr(fuzz, "MEMORY", 300 * 2**20)
    worker = fuzz.Worker(tmp_path / "model")
    assert worker.run({"a": 1})[0] == kind
    worker.stop()
