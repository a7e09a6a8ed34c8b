"""Maps of drone frames: whether their intervals hold the truth, how far off its place what they show lies, and what
memory and time they take.

`python -m rotacube.bench.frames PAGE` writes the page; what is timed or weighed has a process of its own, set up as a
map's is.
"""

from __future__ import annotations

import csv
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import rasterio
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.registration import phase_cross_correlation

from rotacube.bench.flights import FILM, GSD, HOME, Ground, Place, Plan, World, exact, fly, learned, offset, save
from rotacube.bench.machine import describe_machine, describe_torch
from rotacube.bench.map import in_pairs, network_alone, tiles_of
from rotacube.bench.memory import high_water
from rotacube.bench.parts import apart, carry_out
from rotacube.inference.device import Place as Device
from rotacube.inference.device import choose_place
from rotacube.inference.frames import map_frames
from rotacube.inference.frames_request import FramesRequest
from rotacube.models.store import LoadedModel, load_model
from rotacube.raster.array_source import ArraySource
from rotacube.raster.write import NODATA

FLIGHTS, THINNED, PLACED, SEED = 200, 20, 5, 90_000
"""How many are flown for intervals, with every second frame left out, for places; the seed of the first."""
NOISE = (2.0, 1.0, 0.01)
"""Of the tags: pixels of the position along each axis, degrees of yaw, share of the height."""
MODEL = "plants-potato"
FEW, MANY, LITTLE = 50, 500, (480, 360)
"""Frames of the two flights whose memory is compared, and pixels of each of them."""
LARGE, TIMED, ROUNDS = (4000, 3000), 8, 3
"""Pixels of frames that are timed, how many there are, and how often."""
PATCH = 64
ONE_CORE = Device(torch.device("cpu"), torch.float32, 1)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Mapped:
    """A map beside the truth.

    Attributes:
        found, truth: (H, W), class ids; `NODATA` where the map has none.
        rows: of the statistics.
    """

    found: NDArray[np.int64]
    truth: NDArray[np.int64]
    rows: list[dict[str, str]]

    @property
    def true(self) -> Array:
        """Shares of the classes on the ground that is mapped."""
        counts = np.bincount(self.truth[self.found != NODATA], minlength=len(self.rows))
        shares: Array = counts / counts.sum()
        return shares

    @property
    def shares(self) -> Array:
        """Shares of the classes as mapped."""
        return np.array([float(row["share"]) for row in self.rows])


def mapped(folder: Path, output: Path, model: LoadedModel, ground: Ground) -> Mapped:
    """Map a flight, and look up the truth."""
    map_frames(FramesRequest(folder, output, "made"), model, place=ONE_CORE)
    with rasterio.open(output / "mask.tif") as file:
        found, t = file.read(1).astype(np.int64), file.transform
    rows, columns = np.indices(found.shape) + 0.5
    truth = ground.place.truth[ground.at(t.c + t.a * columns, t.f + t.e * rows)]
    with (output / "shares.csv").open(encoding="utf-8-sig", newline="") as stream:
        return Mapped(found, truth, list(csv.DictReader(stream)))


def flown(folder: Path, seed: int) -> tuple[LoadedModel, Ground]:
    """A flight over a place, and a model that was measured at two to four others."""
    rng, world = np.random.default_rng(seed), World()
    alike = rng.uniform(0.3, 0.9)
    model = learned(world, int(rng.integers(2, 5)), alike, rng)
    forward, side = rng.uniform(0.6, 0.8, 2)
    plan = Plan(forward=forward, side=side, yaw=rng.uniform(0, 360), noise=NOISE)
    return model, fly(plan, Place.drawn(world, plan.reach, alike, rng), folder, rng)


def intervals(folder: Path, count: int, seed: int) -> dict[str, float]:
    """Of so many flights: how often intervals hold the true share, and how far off shares are."""
    held: dict[str, list[bool]] = {"share": [], "vegetated_share": []}
    off, best, width = [], [], []
    for number in range(count):
        with tempfile.TemporaryDirectory(dir=folder) as name:
            model, ground = flown(Path(name) / "frames", seed + number)
            result = mapped(Path(name) / "frames", Path(name) / "map", model, ground)
        true = result.true
        for kind, wanted in (("share", true), ("vegetated_share", np.append(0, true[1:] / true[1:].sum()))):
            for row, there in zip(result.rows, wanted, strict=True):
                if row[f"{kind}_low"]:
                    low, high = float(row[f"{kind}_low"]), float(row[f"{kind}_high"])
                    held[kind].append(low - 1e-6 <= there <= high + 1e-6)
        off += list(np.abs(result.shares - true))
        best += list(np.abs([float(row["share_best"]) for row in result.rows] - true))
        width += [float(row["share_high"]) - float(row["share_low"]) for row in result.rows]
    found = {kind: np.mean(values) for kind, values in held.items()}
    found |= {"off": np.mean(off), "best off": np.mean(best), "width": np.median(width)}
    return {name: float(value) for name, value in found.items()}


def thinned(folder: Path, count: int, seed: int) -> dict[str, float]:
    """By how much shares change where every second frame is left out, of 80% overlap."""
    changes = []
    for number in range(count):
        rng, world = np.random.default_rng(seed + number), World()
        plan = Plan(forward=0.8, yaw=rng.uniform(0, 360), noise=NOISE)
        model = learned(world, 3, 0.5, rng)
        with tempfile.TemporaryDirectory(dir=folder) as name:
            frames = Path(name) / "frames"
            ground = fly(plan, Place.drawn(world, plan.reach, 0.5, rng), frames, rng)
            every = mapped(frames, Path(name) / "all", model, ground).shares
            for path in sorted(frames.iterdir()):
                if int(path.stem.split("_")[1]) % 2:
                    path.unlink()
            changes.append(np.abs(mapped(frames, Path(name) / "half", model, ground).shares - every))
    return {"mean": float(np.mean(changes)), "most": float(np.max(changes))}


def places(folder: Path, count: int, seed: int) -> dict[str, float]:
    """How far what the map shows lies off its place, pixels, where the tags are right: of patches of `PATCH` pixels."""
    off = []
    for number in range(count):
        rng = np.random.default_rng(seed + number)
        world, model = exact()
        plan = Plan(yaw=rng.uniform(0, 360))
        with tempfile.TemporaryDirectory(dir=folder) as name:
            ground = fly(plan, Place.drawn(world, plan.reach, 1.0, rng), Path(name) / "frames", rng)
            result = mapped(Path(name) / "frames", Path(name) / "map", model, ground)
        high, wide = result.found.shape
        for top in range(0, high - PATCH + 1, PATCH):
            for left in range(0, wide - PATCH + 1, PATCH):
                found, truth = (part[top : top + PATCH, left : left + PATCH] for part in (result.found, result.truth))
                if (found != NODATA).all() and (found > 0).any() and (truth > 0).any():
                    shift = phase_cross_correlation(truth > 0, found > 0, upsample_factor=10, normalization=None)[0]
                    off.append(float(np.hypot(*shift)))
    return {"median": float(np.median(off)), "most": float(np.max(off)), "patches": len(off)}


def lines(folder: Path, count: int, size: tuple[int, int], gsd: float, each: int = 10) -> None:
    """Frames of blocks of colour, in lines of `each`, which overlap by 70%."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    columns, rows = size
    focal = FILM / np.hypot(36, 24) * np.hypot(*size)
    for number in range(count):
        blocks = rng.integers(20, 236, (-(-rows // 32), -(-columns // 32), 3)).repeat(32, 0).repeat(32, 1)
        picture = blocks[:rows, :columns] + rng.integers(-12, 13, (rows, columns, 3))
        east, north = (0.3 * gsd * side * step for side, step in zip(size, divmod(number, each), strict=True))
        (longitude,), (latitude,) = offset(HOME, 0.0, np.array([east]), np.array([north]))
        tags = {"GpsLongitude": longitude, "GpsLatitude": latitude, "RelativeAltitude": gsd * focal}
        tags |= {"GimbalYawDegree": 12.0, "GimbalPitchDegree": -90.0, "GimbalRollDegree": 0.0}
        save(folder / f"{number:04d}.jpg", picture.astype(np.uint8), tags)


def peak(folder: Path) -> dict[str, float]:
    """Most MiB of memory of the map of a folder of small frames, and what of it is beyond its model and program."""
    _, model = exact()
    request = FramesRequest(folder, folder.with_suffix(".map"), "made", overwrite=True)
    before = psutil.Process().memory_info().rss
    extra = high_water(lambda: map_frames(request, model, place=ONE_CORE))
    return {"MiB": (before + extra) / 2**20, "beyond": extra / 2**20}


def timed(folder: Path) -> dict[str, float]:
    """Seconds a frame on the way to the map, and of the network alone on the same tiles; round by round."""
    model, place = load_model(MODEL), choose_place()
    request = FramesRequest(folder, folder.with_suffix(".map"), MODEL, overwrite=True)
    path = min(folder.iterdir())
    with Image.open(path) as image:
        pixels = np.asarray(image, np.float32).transpose(2, 0, 1) / np.float32(255)
    tiles = tiles_of(ArraySource(pixels, np.ones(pixels.shape[1:], bool), model.card.normalisation), model.card)
    pairs = in_pairs(tiles)
    network_alone(model, tiles[:4], pairs[:2], place)
    ratios, shares, whole = [], [], []
    for _ in range(ROUNDS):
        alone = network_alone(model, tiles, pairs, place)
        start, busy = time.perf_counter(), time.process_time()
        count = map_frames(request, model, place=place).frames
        spent = (time.perf_counter() - start) / count, (time.process_time() - busy) / count
        ratios.append(spent[0] / min(wall for wall, _ in alone))
        shares.append(spent[1] / min(cpu for _, cpu in alone))
        whole.append(spent[0])
    keys = {"ratio": ratios, "of the CPU": shares, "seconds": whole}
    return {"tiles": len(tiles), **{key: statistics.median(values) for key, values in keys.items()}}


PARTS: dict[str, Callable[[Path], dict[str, float]]] = {
    "intervals": lambda folder: intervals(folder, FLIGHTS, SEED),
    "thinned": lambda folder: thinned(folder, THINNED, SEED),
    "places": lambda folder: places(folder, PLACED, SEED),
    "peak": peak,
    "timed": timed,
}


measured = partial(apart, "rotacube.bench.frames")


def rows(folder: Path) -> list[list[str]]:
    """Rows of the table: what, value, target, whether it is met, and more about it."""
    out: list[list[str]] = []

    def add(what: str, value: float, digits: int, target: str, met: bool, more: str) -> None:
        out.append([what, f"{value:.{digits}f}", target, "yes" if met else "no", more])

    found = measured("intervals", folder, 1)
    flights = f"{FLIGHTS} flights"
    for kind, what in (("share", "the map"), ("vegetated_share", "the vegetated area")):
        name = f"{flights}: 95% intervals that hold the true share of {what}, %"
        of = f"median width {100 * found['width']:.1f} points" if kind == "share" else "classes but the ground"
        add(name, 100 * found[kind], 1, "92 to 98", 0.92 <= found[kind] <= 0.98, of)
    more = f"of the best estimate {100 * found['best off']:.2f}"
    add(f"{flights}: mean error of shares, points", 100 * found["off"], 2, "< 1", found["off"] < 0.01, more)
    found = measured("thinned", folder, 1)
    what = f"{THINNED} flights, every second frame left out: mean change of shares, points"
    add(what, 100 * found["mean"], 2, "< 1", found["mean"] < 0.01, f"at most {100 * found['most']:.2f}")
    found = measured("places", folder, 1)
    what = f"{PLACED} flights whose tags are right: most that patches of {PATCH}^2 lie off their place, pixels"
    more = f"{found['patches']:.0f} patches, median {found['median']:.2f}"
    add(what, found["most"], 2, "< 3", found["most"] < 3, more)
    peaks = []
    for count in (FEW, MANY):
        lines(folder / f"peak{count}", count, LITTLE, GSD)
        peaks.append(measured("peak", folder / f"peak{count}", 1))
    few, many = peaks
    ratio = many["MiB"] / few["MiB"]
    beyond = f"{many['beyond']:.0f} over {few['beyond']:.0f} beyond the program"
    more = f"{many['MiB']:.0f} over {few['MiB']:.0f} MiB, {beyond}"
    add(f"most memory, {MANY} frames over {FEW}", ratio, 2, "<= 1.1", ratio <= 1.1, more)
    lines(folder / "timed", TIMED, LARGE, load_model(MODEL).card.gsd, each=4)
    found = measured("timed", folder / "timed")
    what = f"{MODEL}, {TIMED} frames of {LARGE[0]} x {LARGE[1]}: seconds a frame over those of the network alone"
    more = f"{found['seconds']:.1f} s a frame, {found['tiles']:.0f} tiles; {found['of the CPU']:.2f} by CPU time"
    add(what, found["ratio"], 2, "<= 1.3", found["ratio"] <= 1.3, more)
    return out


def page(table: Sequence[Sequence[str]]) -> str:
    """The page."""
    position, yaw, height = NOISE
    how = (
        "Flights are made (`rotacube.bench.flights`): ten frames of 192 x 144 pixels over patches of three classes, 60 "
        f"to 80% of overlap, tags that are off by {position:g} pixels of the position along each axis, {yaw:g} degree "
        f"of yaw and {100 * height:g}% of the height (standard deviations). The model errs in clumps, 30 to 90% of it "
        "alike in all frames, and more or less from place to place and from frame to frame; its card is measured at "
        "two to four other places of the same kind. The truth of a flight are the classes of the ground under the "
        f"map's pixels. Seconds are medians of {ROUNDS} rounds, side by side; the network alone has a frame's tiles "
        "in memory, and goes the faster of two ways, as in [map.md](map.md). CPU time is what counts where other "
        "programs ran meanwhile."
    )
    text = [
        "# Maps of drone frames",
        "",
        f"Written by `make bench-frames`. {describe_machine('cpu')}; {describe_torch()}.",
        "",
        how,
        "",
        "| what | value | target | met | more |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*text, *("| " + " | ".join(row) + " |" for row in table)]) + "\n"


if __name__ == "__main__":
    carry_out(sys.argv[1:], PARTS, rows, page)
