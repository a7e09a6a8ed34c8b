"""Kills runs with all products at any moment, resumes them, and compares with what nobody disturbed.

A moment is a time, a while after a call of one of the parts of a run, or before or after one of its steps on the disk
(a file synced, linked, moved, removed), so that even what takes no time is hit. `fuzz_kills.py` carries it out.
"""

from __future__ import annotations

import mmap
import os
import random
import shutil
import signal
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import fuzz_seeds
import rasterio
from fuzz import make_model
from fuzz_forks import Killed, fork, wait

from rotacube.errors import RotacubeError
from rotacube.inference.device import choose_place
from rotacube.inference.engine import Engine
from rotacube.inference.outputs.polygons import Polygons
from rotacube.inference.outputs.statistics import Statistics
from rotacube.inference.pieces import Pieces
from rotacube.inference.scratch import is_whole
from rotacube.inference.store import MANIFEST, Store, folder_of
from rotacube.models.store import load_model
from rotacube.raster.destination import Destination
from rotacube.raster.file_source import FileSource
from rotacube.raster.write import CogWriter

sys.path.insert(0, str(Path(__file__).parents[1]))
from products import NAMES, contents, same

PHASES = ("starting", "reading", "inference", "storing", "making products", "placing", "ending")
CALLS: dict[str, tuple[list[tuple[type, str]], float]] = {
    "reading": ([(FileSource, "read")], 0.02),
    "inference": ([(Engine, "infer")], 0.05),
    "storing": ([(Store, "add")], 0.02),
    "making products": (
        [(CogWriter, "finish"), (Pieces, "find"), (Polygons, "finish"), (Statistics, "finish")],
        0.1,
    ),
    "placing": ([(Destination, "put")], 0.003),
    "ending": ([(Store, "drop")], 0.003),
}
"""Of each phase the calls that begin it, and seconds after such a call within which a run is killed."""
STEPS = ("fsync", "link", "replace", "unlink", "rmdir")


class Watch:
    """What a child tells of itself, in memory that it shares: its phase, tiles inferred, steps on the disk."""

    def __init__(self) -> None:
        self._shared, self._lock = mmap.mmap(-1, 12), threading.RLock()

    def clear(self) -> None:
        self._shared[:] = bytes(12)

    def read(self) -> tuple[str, int, int]:
        phase, tiles, steps = struct.unpack("iii", self._shared[:])
        return PHASES[phase], tiles, steps

    def note(self, phase: str | None = None, tiles: int = 0, steps: int = 0) -> int:
        """Add to what is known; the number of steps so far."""
        with self._lock:
            old = struct.unpack("iii", self._shared[:])
            at = old[0] if phase is None else PHASES.index(phase)
            self._shared[:] = struct.pack("iii", at, old[1] + tiles, old[2] + steps)
            return old[2] + steps


def die(*_: object) -> None:
    """As the kernel's own killer does it."""
    os.kill(os.getpid(), signal.SIGKILL)


def instrument(watch: Watch, moment: tuple | None) -> None:
    """In a child: let it tell of itself, and be killed at its moment.

    `moment` is ("call", phase, after so many calls, seconds) or ("step", number, whether after it).
    """
    for phase, (calls, _) in CALLS.items():
        for owner, name in calls:
            setattr(owner, name, _told(getattr(owner, name), watch, phase, moment))
    for name in STEPS:
        setattr(os, name, _stepped(getattr(os, name), watch, moment))


def _told(call: Callable, watch: Watch, phase: str, moment: tuple | None) -> Callable:
    left = [moment[2]] if moment and moment[:2] == ("call", phase) else None

    def told(self, *given, **named):
        watch.note(phase, tiles=len(given[0]) if phase == "inference" else 0)
        if left is not None:
            left[0] -= 1
            if left[0] == -1:
                threading.Timer(moment[3], die).start()
        return call(self, *given, **named)

    return told


def _stepped(step: Callable, watch: Watch, moment: tuple | None) -> Callable:
    def stepped(*given, **named):
        number = watch.note(steps=1) - 1
        here = moment is not None and moment[0] == "step" and moment[1] == number
        if here and not moment[2]:
            die()
        done = step(*given, **named)
        if here:
            die()
        return done

    return stepped


class Resumes(Killed):
    """Runs that are killed, once or twice, and resumed."""

    def __init__(self, seed: int, work: Path) -> None:
        self.rng, self.model = random.Random(seed), make_model(work / "resumed" / "model")
        self.raster = fuzz_seeds.write(work / "resumed" / "a.tif", fuzz_seeds.town(3, 300, 360))
        self.work, self.watch = work / "resumed", Watch()
        choose_place()
        self.card = load_model(str(self.model)).card
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        folder = self._folder("undisturbed")
        start = time.monotonic()
        code = self._run(folder, None, 120)
        self.length = time.monotonic() - start
        if code != 0:
            raise RuntimeError(f"a run that nobody kills ends with {code}")
        _, self.tiles, self.steps = self.watch.read()
        self.good = contents(folder)

    def kill(self, number: int) -> None:
        """Kill one run, at times also the one that resumes it, and let the last one end."""
        folder = self._folder(f"run{number}")
        moment, limit = self._moment(number)
        code = self._run(folder, moment, limit)
        said = f"kill {number}, {moment or f'after {limit:.3f} s'}, {self.watch.read()[0]}"
        if code == 0:
            self.counts["ended before"] += 1
        elif code in (None, -signal.SIGKILL):
            self.counts["killed"] += 1
            self.counts[f"while {moment[1] if moment and moment[0] == 'call' else self.watch.read()[0]}"] += 1
            if self.rng.random() < 0.25:
                self.counts["killed again"] += 1
                moment, limit = self._moment(self.rng.randrange(100))
                self._run(folder, moment, limit, "--resume")
                said += f", then {moment or f'after {limit:.3f} s'}"
        else:
            self.faults.append(f"{said}: the run ended by itself with {code}")
        if code != 0:
            self._resume(folder, said)
        if not self._whole(folder):
            self.faults.append(f"{said}: its products are not those of the undisturbed run")
        left = {path.name for path in folder.iterdir()} - set(NAMES.values())
        if left:
            self.faults.append(f"{said}: left {sorted(left)}")
        shutil.rmtree(folder)

    def _resume(self, folder: Path, said: str) -> None:
        job = folder_of(folder / NAMES["mask"])
        kept = sum(map(self._kept, job.glob("strip_*.tif"))) if (job / MANIFEST).exists() else 0
        if not (job / MANIFEST).exists() and self._whole(folder):  # it had ended, but for what it tidies up
            self.counts["ended, but for tidying up"] += 1
            shutil.rmtree(job, ignore_errors=True)
            return
        code = self._run(folder, None, 120, "--resume")
        rows = 5
        again = self.watch.read()[1] - self.tiles // rows * (rows - kept)
        if code != 0:
            self.faults.append(f"{said}: resumed it ends with {code}")
        elif again > self.tiles // rows:
            self.faults.append(f"{said}: {again} tiles were worked out twice")
        self.counts["strips gone on with"] += kept

    def _kept(self, path: Path) -> bool:
        try:
            with rasterio.open(path) as file:
                shape = file.count, file.height, file.width
            return is_whole(path, shape)
        except (rasterio.RasterioIOError, RotacubeError):
            return False

    def _whole(self, folder: Path) -> bool:
        return all((folder / name).exists() for name in NAMES.values()) and same(contents(folder), self.good)

    def _moment(self, number: int) -> tuple[tuple | None, float]:
        """What instrumentation kills a run by, or the seconds after which it is killed from here."""
        kind = number % 3
        if kind == 0:
            return None, self.rng.uniform(0, self.length)
        if kind == 1:
            return ("step", self.rng.randrange(self.steps), self.rng.random() < 0.5), 120
        phase = list(CALLS)[number // 3 % len(CALLS)]
        most = {"reading": self.tiles, "inference": self.tiles // 2, "storing": 5}.get(phase, 4)
        calls = self.rng.randrange(1 if phase == "ending" else most)
        return ("call", phase, calls, self.rng.uniform(0, CALLS[phase][1])), 120

    def _folder(self, name: str) -> Path:
        folder = self.work / name
        folder.mkdir()
        return folder

    def _run(self, folder: Path, moment: tuple | None, limit: float, *more: str) -> int | None:
        from rotacube.cli import app

        beside = [f"--{kind}={folder / name}" for kind, name in NAMES.items() if kind != "mask"]
        line = ["map", str(self.raster), str(folder / NAMES["mask"]), "--model", str(self.model), *beside, *more]
        self.watch.clear()

        def work() -> None:
            instrument(self.watch, moment)
            app(line, standalone_mode=False)

        return wait(fork(work), limit)
