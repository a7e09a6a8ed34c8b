"""Maps damaged rasters with damaged models, and counts what comes of it.

    python tests/fuzz/fuzz.py [--seed S] [--count N] [--case N] [--keep FOLDER]

The cases of a seed are the hand-made ones and then mutations; `--case` makes one of them again and keeps its files.
What may come of a case is a mask that is what it is said to be, or a sentence; anything else fails: a traceback, a
signal, 60 seconds without an answer, more than 3 GB. Each case runs in a worker process that is watched from here.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fuzz_beside  # noqa: F401  (its cases)
import fuzz_bytes
import fuzz_evil
import fuzz_models
import fuzz_seeds
import psutil

HANG = 60.0
MEMORY = 3 * 2**30
FINE = ("result", "sentence", "left")
WORKER = Path(__file__).with_name("fuzz_worker.py")


def make_model(folder: Path) -> Path:
    """A small model whose random weights make masks of both classes."""
    import torch

    from rotacube.models.store import save_model
    from rotacube.networks.registry import create_model

    sys.path.insert(0, str(Path(__file__).parents[1]))
    from model_cards import card_fields

    torch.manual_seed(7)
    network = create_model("convnext-cube-small", 3, 2)
    network.head[1].weight.data *= 20
    save_model(network, card_fields(name="good", gsd_factors=[0.1, 3.0]), folder)
    return folder


class Worker:
    """A process that carries cases out, started anew where one was its end."""

    def __init__(self, model: Path) -> None:
        self.model, self.stacks = model, model.parent / "stacks.txt"
        self._process: subprocess.Popen | None = None
        self.peak = 0

    def start(self) -> None:
        """Start the process; its standard input is a pipe that nobody writes to."""
        theirs, self._commands = os.pipe()
        self._answers, back = os.pipe()
        env = {**os.environ, "FUZZ_MODEL": str(self.model), "FUZZ_STACKS": str(self.stacks), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER), str(theirs), str(back)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, pass_fds=(theirs, back), env=env)  # fmt: skip
        os.close(theirs)
        os.close(back)
        if self._line(120.0)[0] != "ready":
            raise RuntimeError("the worker does not start")

    def stop(self) -> None:
        """End the process, whatever hangs in it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for number in (self._commands, self._answers):
                os.close(number)
            self._process.stdin.close()
            self._process = None

    def run(self, case: dict[str, Any]) -> tuple[str, str]:
        """The class of what comes of a case, and a word on it."""
        if self._process is None:
            self.start()
        os.write(self._commands, (json.dumps(case) + "\n").encode())
        kind, word = self._line(HANG)
        if kind not in (*FINE, "traceback", "wrong"):
            self.stop()
        return kind, word

    def _line(self, limit: float) -> tuple[str, str]:
        start, text = time.monotonic(), b""
        process = psutil.Process(self._process.pid)
        while True:
            if select.select([self._answers], [], [], 0.05)[0]:
                part = os.read(self._answers, 65536)
                if not part:
                    code = self._process.wait()
                    return ("signal", f"signal {-code}") if code < 0 else ("ended", f"the process ended with {code}")
                text += part
                if text.endswith(b"\n"):
                    said = text.decode()
                    return ("ready", "") if said == "ready\n" else tuple(json.loads(said))
            try:
                self.peak = max(self.peak, process.memory_info().rss)
                if process.memory_info().rss > MEMORY:
                    return "memory", f"{process.memory_info().rss / 2**30:.1f} GB"
            except psutil.Error:
                continue
            if time.monotonic() - start > limit:
                process.send_signal(signal.SIGUSR1)  # it writes where it is
                time.sleep(0.5)
                return "hang", f"no answer in {limit:.0f} s"


@dataclass
class Fuzz:
    """The cases of a seed, and what has come of them."""

    seed: int
    work: Path
    keep: Path | None = None
    counts: Counter = field(default_factory=Counter)
    failures: list[tuple[int, str, str, str]] = field(default_factory=list)
    slowest: tuple[float, int, str] = (0.0, 0, "")

    def __post_init__(self) -> None:
        self.model = make_model(self.work / "good" / "model")
        self.seeds = fuzz_seeds.make_seeds(self.work / "seeds")
        self.evil_models = list(fuzz_models.evil_models(self.model, self.work / "evil"))
        self.evil = list(fuzz_evil.CASES)
        self.worker = Worker(self.model)

    @property
    def made_by_hand(self) -> int:
        """How many cases come before the mutations."""
        return len(self.evil) + len(self.evil_models)

    def name(self, number: int) -> str:
        """The name of a case that is made by hand."""
        return [*self.evil, *(f"model-{name}" for name, _, _ in self.evil_models)][number]

    def make(self, number: int, folder: Path) -> tuple[str, str, dict[str, Any]]:
        """A case's name, what must come of it, and what the worker is told."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        rng = random.Random(f"{self.seed} {number}")
        raster, model, must, asked = str(self.work / "seeds" / self.seeds[0]), str(self.model), "any", {}
        if number < len(self.evil):
            name = self.evil[number]
            must, raster, asked = fuzz_evil.CASES[name](folder)
        elif number < self.made_by_hand:
            name, path, must = self.evil_models[number - len(self.evil)]
            name, model = f"model-{name}", str(path)
        elif rng.random() < 0.68:
            name, raster = self._damaged_raster(folder, rng)
            asked = _asked(rng, raster)
        else:
            copy = folder / "models" / "model"
            shutil.copytree(self.model, copy)
            model = str(copy)
            if rng.random() < 0.6:
                name = "card"
                fuzz_models.damage_card(copy, rng)
            else:
                name = "weights"
                must = fuzz_models.damage_weights(copy, rng)
        asked = {"output": str(folder / "out" / "mask.tif"), **asked}
        asked["output"] = asked["output"].replace("FOLDER", str(folder))
        (folder / "out").mkdir(exist_ok=True)
        return name, must, {"folder": str(folder), "raster": raster, "model": model, "asked": asked}

    def _damaged_raster(self, folder: Path, rng: random.Random) -> tuple[str, str]:
        seed = rng.choice(self.seeds)
        source = self.work / "seeds" / seed
        shutil.copytree(source.parent, folder / "raster")
        raster = folder / "raster" / source.name
        parts = sorted(p for p in (folder / "raster").rglob("*") if p.is_file())
        target = rng.choice([raster, raster, raster, *parts])
        data = target.read_bytes()
        for _ in range(rng.choice([1, 1, 1, 2])):
            data = fuzz_bytes.damaged(data, rng, rng.choice(parts).read_bytes())
        target.write_bytes(data)
        if rng.random() < 0.05:
            suffix = rng.choice([".aux.xml", ".msk", ".ovr"])
            raster.with_name(raster.name + suffix).write_bytes(rng.choice([b"", b"\0" * 64, data, b"<PAMDataset>"]))
        return f"raster {seed.split('/')[-1]}", str(raster)

    def run(self, number: int) -> tuple[str, str]:
        """Carry a case out and count what comes of it."""
        folder = (self.keep or self.work) / f"case-{self.seed}-{number}"
        name, must, case = self.make(number, folder)
        before = {p.name for p in (folder / "out").iterdir()}
        start = time.monotonic()
        kind, word = self.worker.run(case)
        self.slowest = max(self.slowest, (time.monotonic() - start, number, name))
        if kind in FINE:
            left = {os.fsencode(p.name) for p in (folder / "out").iterdir() if p.name not in before}
            if left - ({b"mask.tif"} if kind == "result" else set()):
                kind, word = "wrong", f"a run that ended as {kind} left {sorted(left)}"
            elif (must == "bad" and kind != "sentence") or (must == "good" and kind != "result"):
                kind, word = "wrong", f"must be {'a sentence' if must == 'bad' else 'a mask'}, is {kind}: {word}"
        self.counts[kind] += 1
        if kind in FINE:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            self.failures.append((number, name, kind, word))
            if kind in ("hang", "signal", "memory"):
                shutil.copy(self.worker.stacks, folder / "stacks.txt")
            (folder / "case.json").write_text(json.dumps(case, indent=1))
        return kind, f"{name}: {word}"

    def close(self) -> None:
        """End the worker."""
        self.worker.stop()


def _asked(rng: random.Random, raster: str) -> dict[str, Any]:
    """What a person may ask beside the raster: mostly what is needed for it to be mapped."""
    asked: dict[str, Any] = {"any_resolution": rng.random() < 0.8}
    odd = [float("nan"), float("inf"), 0.0, -1.0, 3.0, 255.0, 1e300, -1e300]
    if Path(raster).suffix[1:] in fuzz_seeds.SINGLE:
        asked["bands"] = (1, 1, 1)
    if rng.random() < 0.1:
        asked["bands"] = rng.choice([(1, 1, 1), (1, 1, 1), (3, 2, 1), (1, 2, 4), (0, 1, 2)])
    if rng.random() < 0.1:
        asked["nodata"] = [(rng.choice(odd), rng.choice(odd), rng.choice([None, 1, 99])) for _ in range(2)]
        asked["declared_nodata"] = rng.random() < 0.5
    if rng.random() < 0.05:
        asked["alpha_band"] = rng.choice([0, 1, 4, 99])
    if rng.random() < 0.05:
        asked["bounds"] = (353000.0, 3059985.0, 353020.0 + rng.choice(odd), 3060000.0)
    return asked


def main() -> int:
    """Run cases and print what has come of them."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--count", type=int, default=600, help="how many cases, the hand-made ones first")
    options.add_argument("--first", type=int, default=0, help="the number of the first case")
    options.add_argument("--case", type=int, help="one case, whose files are kept")
    options.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="where failing cases are kept")
    given = options.parse_args()
    keep = given.keep.resolve()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rotacube-fuzz-") as work:
        fuzz = Fuzz(given.seed, Path(work), keep)
        numbers = [given.case] if given.case is not None else range(given.first, given.first + given.count)
        print(f"seed {given.seed}: {fuzz.made_by_hand} made by hand, {len(fuzz.seeds)} rasters to damage", flush=True)
        for number in numbers:
            kind, word = fuzz.run(number)
            if kind not in FINE or given.case is not None:
                print(f"case {number}, {kind}: {word}".encode("ascii", "backslashreplace").decode(), flush=True)
        fuzz.close()
        if given.case is not None:
            fuzz.make(given.case, keep / f"case-{given.seed}-{given.case}-again")
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(fuzz.counts.items()))
    peak = fuzz.worker.peak / 2**30
    print(f"{sum(fuzz.counts.values())} cases in {time.monotonic() - start:.0f} s: {counts}; peak {peak:.2f} GB")
    print(f"the slowest: {fuzz.slowest[0]:.1f} s, case {fuzz.slowest[1]}, {fuzz.slowest[2]}")
    for number, name, kind, _ in fuzz.failures:
        print(f"  again: --seed {given.seed} --case {number}  ({name}, {kind})  in {keep}/case-{given.seed}-{number}")
    return 1 if fuzz.failures else 0


if __name__ == "__main__":
    sys.exit(main())
