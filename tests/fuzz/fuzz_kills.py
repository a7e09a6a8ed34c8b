"""Kills `rotacube map` at random moments, and fills disks under it.

    python tests/fuzz/fuzz_kills.py [--seed S] [--kills N] [--resumes N] [--disks N]

A killed run leaves no half file under a final name and touches no earlier result; the next run in that folder leaves
nothing of it; one with all products that is resumed ends with those of an undisturbed one. On a full disk a run ends
with a sentence and leaves nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import fuzz_seeds
import numpy as np
import rasterio
import torch
from fuzz import make_model
from fuzz_forks import Killed, fork, wait
from fuzz_resume import Resumes
from torch import nn

from rotacube.errors import RotacubeError
from rotacube.inference.device import Place, choose_place
from rotacube.inference.run import MapRequest, Product, run_map
from rotacube.inference.store import folder_of
from rotacube.models.card import ModelCard
from rotacube.models.store import LoadedModel, load_model

CPU = Place(torch.device("cpu"), torch.float32, 2)
CLASSES = 16
SIDE = 1500


def command(raster: Path, model: Path, output: Path) -> Callable[[], object]:
    """The command line's own way to map, replacing what is there."""
    from rotacube.cli import app

    line = ["map", str(raster), str(output), "--model", str(model), "--overwrite"]
    return lambda: app(line, standalone_mode=False)


def state(folder: Path) -> dict[str, str]:
    """The files of a folder with their hashes; the folders that killed runs leave are there to be resumed."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


class Kills(Killed):
    """A folder with earlier results, in which runs are killed."""

    def __init__(self, seed: int, work: Path) -> None:
        self.rng, self.model = random.Random(seed), make_model(work / "good" / "model")
        self.folder = work / "masks"
        self.folder.mkdir()
        self.raster = fuzz_seeds.write(work / "a.tif", fuzz_seeds.town(3, 300, 360))
        self.small = fuzz_seeds.write(work / "b.tif", fuzz_seeds.town(3, 80, 90))
        choose_place()  # what is found out and imported here, children have at once
        load_model(str(self.model))
        start = time.monotonic()
        self._finish(self.raster, "earlier.tif")
        self.length = time.monotonic() - start
        self._finish(self.raster, "again.tif")
        self._finish(self.small, "next.tif")
        self.good = self._pixels("earlier.tif")
        self.before = state(self.folder)
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []

    def _finish(self, raster: Path, name: str) -> None:
        code = wait(fork(command(raster, self.model, self.folder / name)), 120)
        if code != 0:
            raise RuntimeError(f"a run that nobody kills ends with {code}")

    def _pixels(self, name: str) -> bytes:
        with rasterio.open(self.folder / name) as file:
            return file.crs.to_wkt().encode() + file.read(1).tobytes()

    def kill(self, number: int) -> None:
        """Kill one run, look at the folder, run again there, look again."""
        late = self.rng.random() < 0.4  # as often as not while the file is finished
        moment = self.length * (self.rng.uniform(0.75, 1.1) if late else self.rng.uniform(0, 1))
        name = self.rng.choice(["again.tif", f"new{number}.tif"])
        start = time.monotonic()
        code = wait(fork(command(self.raster, self.model, self.folder / name)), moment)
        if code == 0:
            self.length = min(self.length, time.monotonic() - start)
        self.counts["killed" if code is None else "ended before" if code == 0 else "failed"] += 1
        if code not in (None, 0):
            self.faults.append(f"kill {number}: the run ended by itself with {code}")
        now = state(self.folder)
        left = [n for n in now if n not in self.before and n != name]
        self.counts["left for the next run"] += len(left)
        self._look(number, name, now)
        self._finish(self.small, "next.tif")
        now = state(self.folder)
        extra = sorted(set(now) - set(self.before) - {name})
        if extra:
            self.faults.append(f"kill {number}: after the next run are left {extra}")
        self._look(number, name, now)
        if name != "again.tif":
            (self.folder / name).unlink(missing_ok=True)
            shutil.rmtree(folder_of(self.folder / name), ignore_errors=True)
        for odd in extra:
            (self.folder / odd).unlink()

    def _look(self, number: int, name: str, now: dict[str, str]) -> None:
        for known in ("earlier.tif", "again.tif", "next.tif"):
            if known not in now:
                self.faults.append(f"kill {number}: '{known}' is gone")
            elif known == "earlier.tif" and now[known] != self.before[known]:
                self.faults.append(f"kill {number}: '{known}' of an earlier run was touched")
        if name in now:
            try:
                whole = self._pixels(name) == self.good
            except rasterio.RasterioIOError:
                whole = False
            if not whole:
                self.faults.append(f"kill {number}: '{name}' is half a file")


class Noise(nn.Module):
    """Classes of pixels that no compression makes small."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.mix = nn.Conv2d(3, CLASSES, 1)
        self.mix.weight.data *= 500

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Logits by pixel."""
        return torch.sin(self.mix(values))


@contextlib.contextmanager
def disk(size: int, folder: Path) -> Iterator[bool]:
    """A small disk at `folder` for as long as it is needed; False where the system gives none."""
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
        ).returncode
    )
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def noisy(work: Path) -> tuple[Path, LoadedModel]:
    """A raster and a model whose mask is large."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from model_cards import card_fields

    raster = work / "noise.tif"
    if not raster.exists():
        fuzz_seeds.write(raster, np.random.default_rng(3).integers(0, 256, (3, SIDE, SIDE), np.uint8))
    classes = [{"id": n, "name": f"c{n}", "color": f"#0000{n:02x}"} for n in range(CLASSES)]
    weights = {"file": "model.safetensors", "sha256": "0" * 64, "parameters": 0}
    card = ModelCard.model_validate({"weights": weights, **card_fields(tile=512, overlap=32, classes=classes)})
    return raster, LoadedModel(card, Noise().eval(), work)


def full_disk(number: int, rng: random.Random, work: Path) -> tuple[str, str]:
    """Map onto a disk of 1 to 20 MB that fills up somewhere on the way.

    Returns:
        "sentence", "result" or "fault", and a word on it.
    """
    raster, model = noisy(work)
    size = (1 + number % 20) * 2**20
    folder, told = work / f"disk{number}", work / f"told{number}.json"
    room = min(size, rng.randint(SIDE * SIDE // 15 + 2**20, 3 * 2**20) if rng.random() < 0.8 else size)

    def run(mounted: bool) -> None:
        if not mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room // 3, room // 3))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        said = ["result", ""]
        try:
            run_map(MapRequest(str(raster), "x", (Product("mask", folder / "mask.tif"),)), model, place=CPU)
        except RotacubeError as error:
            said = ["sentence", f"{error.code}: {error.message}"]
        except BaseException as error:
            said = ["fault", f"{type(error).__name__}: {error}"]
        told.write_text(json.dumps(said))

    with disk(size, folder) as mounted:
        if mounted and size > room:
            (folder / "filler").write_bytes(b"\1" * (size - room))
        code = wait(fork(lambda: run(mounted)), 120)
        if code != 0 or not told.exists():
            return "fault", f"{size >> 20} MB: the process ended with {code}"
        kind, word = json.loads(told.read_text())
        left = {path.name for path in folder.iterdir()} - {"filler"}
        if left != ({"mask.tif"} if kind == "result" else set()):
            return "fault", f"{size >> 20} MB, {kind}: left {sorted(left)}"
        return kind, f"{size >> 20} MB, {room / 2**20:.2f} MB free: {word}"


def main() -> int:
    """Kill runs, fill disks, and print what has come of them."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--kills", type=int, default=100)
    options.add_argument("--resumes", type=int, default=100)
    options.add_argument("--disks", type=int, default=40)
    given = options.parse_args()
    torch.set_num_threads(1)
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="rotacube-kills-") as folder:
        if given.kills:
            kills = Kills(given.seed, Path(folder))
            kills.kill_often(given.kills)
            counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kills.counts.items()))
            print(f"{given.kills} kills of a run of {kills.length:.1f} s: {counts}; {len(kills.faults)} faults")
            faults += kills.faults
        if given.resumes:
            resumes = Resumes(given.seed, Path(folder))
            resumes.kill_often(given.resumes)
            counts = ", ".join(f"{count} {kind}" for kind, count in sorted(resumes.counts.items()))
            print(f"{given.resumes} kills of a run of {resumes.length:.1f} s with all products: {counts}; "
                  f"{len(resumes.faults)} faults")  # fmt: skip
            faults += resumes.faults
        found: Counter[str] = Counter()
        rng = random.Random(given.seed)
        for number in range(given.disks):
            kind, word = full_disk(number, rng, Path(folder))
            found[kind] += 1
            if kind == "fault":
                faults.append(f"disk {number}: {word}")
        print(f"{given.disks} full disks: {dict(found)}")
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
