"""The way from a raster to its map against the network alone: what reading, blending and writing cost.

`python -m rotacube.bench.map PAGE` writes the page; each figure comes from a process of its own, set up as a map's is.
The rasters are made: blocks of colour under noise.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from rasterio.windows import Window
from torch import Tensor, nn

from rotacube.bench.machine import describe_machine, describe_torch
from rotacube.bench.memory import high_water
from rotacube.files import write_text
from rotacube.inference.device import Place, choose_place
from rotacube.inference.run import MapRequest, Product, run_map
from rotacube.memory import set_allocator
from rotacube.models.card import ModelCard
from rotacube.models.store import LoadedModel, load_model
from rotacube.raster.file_source import FileSource
from rotacube.raster.grid import TileGrid
from rotacube.raster.source import Source

MODEL = "rooftop-small"
ROUNDS = 3
MOSAIC, PLAIN, WHOLE, EMPTY, SMALL, LARGE = (4096, 3072), 4096, 8192, 30000, 8192, 16384
"""Sides in pixels: of what is resampled, of what is not, for the model that does nothing, of the empty raster, and of
the two whose memory is compared."""
STRIP = 1024


class Nothing(nn.Module):
    """A model that always sees the same roofs."""

    def __init__(self, tile: int) -> None:
        super().__init__()
        rows, columns = np.mgrid[:tile, :tile] // 24
        self.picture = torch.from_numpy(np.where((rows + columns) % 3 == 0, 4, -4).astype(np.float32))[None, None]

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 1, H, W)."""
        return self.picture.expand(len(x), -1, -1, -1)


def make_raster(path: Path, height: int, width: int, gsd: float, share: float = 1.0, **options: Any) -> None:
    """Write 8-bit red, green and blue in tiles; with a share below one a square of that share of the pixels alone."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(20, 236, (3, STRIP // 32, STRIP // 32)).repeat(32, 1).repeat(32, 2)
    picture = (blocks + rng.integers(-12, 13, blocks.shape)).astype(np.uint8)
    profile = {
        **{"driver": "GTiff", "height": height, "width": width, "count": 3, "dtype": "uint8", "crs": "EPSG:32645"},
        **{"transform": rasterio.Affine(gsd, 0, 353000, 0, -gsd, 3060000), "SPARSE_OK": True, "BIGTIFF": "IF_SAFER"},
        **{"tiled": True, "blockxsize": 512, "blockysize": 512, "interleave": "pixel", **options},
    }
    side = round((share * height * width) ** 0.5)
    top, left = ((height - side) // 2, (width - side) // 2) if share < 1 else (0, 0)
    bottom, right = (top + side, left + side) if share < 1 else (height, width)
    with rasterio.open(path, "w", **profile) as file:
        for row in range(top, bottom, STRIP):
            for column in range(left, right, STRIP):
                part = picture[:, : bottom - row, : right - column]
                file.write(part, window=Window(column, row, part.shape[2], part.shape[1]))


def _mapped(raster: Path, model: LoadedModel, place: Place) -> tuple[float, float]:
    """Seconds, and seconds of CPU, of a map."""
    product = Product("mask", raster.with_suffix(".mask.tif"))
    start, busy = time.perf_counter(), time.process_time()
    run_map(MapRequest(str(raster), MODEL, (product,), overwrite=True), model, place=place)
    return time.perf_counter() - start, time.process_time() - busy


def _bare(model: LoadedModel, batches: Sequence[Tensor], place: Place, workers: int) -> tuple[float, float]:
    """Seconds, and seconds of CPU, of the network alone, PyTorch's threads shared out among some batches at once."""
    threads = torch.get_num_threads()

    def infer(batch: Tensor) -> None:
        with torch.inference_mode(), torch.autocast("cpu", place.dtype, enabled=place.dtype != torch.float32):
            model.network(batch)

    with ThreadPoolExecutor(workers, initializer=lambda: torch.set_num_threads(threads // workers)) as pool:
        start, busy = time.perf_counter(), time.process_time()
        list(pool.map(infer, batches))
        spent = time.perf_counter() - start, time.process_time() - busy
    torch.set_num_threads(threads)
    return spent


def tiles_of(source: Source, card: ModelCard) -> list[Tensor]:
    """What the network sees of a source, tile by tile (1, bands, tile, tile)."""
    grid = TileGrid.over(source.height, source.width, card.tile, card.overlap)
    boxes = [grid.box(i, j) for i in range(grid.rows.count) for j in range(grid.columns.count)]
    return [torch.from_numpy(source.read(box)[0][None]) for box in boxes]


def in_pairs(tiles: Sequence[Tensor]) -> list[Tensor]:
    """The same tiles, two in a batch."""
    return [torch.cat([*tiles[k : k + 2]]).to(memory_format=torch.channels_last) for k in range(0, len(tiles), 2)]


def network_alone(
    model: LoadedModel, tiles: Sequence[Tensor], pairs: Sequence[Tensor], place: Place
) -> list[tuple[float, float]]:
    """Seconds, and seconds of CPU, of the network alone, two ways: two tiles on all threads, and a tile a thread."""
    return [_bare(model, pairs, place, 1), _bare(model, tiles, place, torch.get_num_threads())]


def efficiency(raster: Path) -> dict[str, float]:
    """The network alone, the faster way, over the whole map; round by round."""
    model, place = load_model(MODEL), choose_place()
    with FileSource(str(raster), model.card) as source:
        tiles = tiles_of(source, model.card)
    pairs = in_pairs(tiles)
    _bare(model, pairs[:2], place, 1)
    walls, shares, seconds = [], [], []
    for _ in range(ROUNDS):
        alone = network_alone(model, tiles, pairs, place)
        whole = _mapped(raster, model, place)
        walls.append(min(wall for wall, _ in alone) / whole[0])
        shares.append(min(busy for _, busy in alone) / whole[1])
        seconds.append(whole[0])
    keys = {"efficiency": walls, "of the CPU": shares, "seconds": seconds}
    return {"tiles": len(tiles), **{key: statistics.median(values) for key, values in keys.items()}}


def rate(raster: Path) -> dict[str, float]:
    """Megapixels a second, and a second of CPU, with a model that does nothing, on one core."""
    model = load_model(MODEL)
    idle = replace(model, network=Nothing(model.card.tile))
    found = [_mapped(raster, idle, Place(torch.device("cpu"), torch.float32, 1)) for _ in range(ROUNDS)]
    wall, busy = (statistics.median(values) for values in zip(*found, strict=True))
    return {"Mpx/s": WHOLE**2 / wall / 1e6, "Mpx/s of CPU": WHOLE**2 / busy / 1e6}


def empty(raster: Path) -> dict[str, float]:
    """Seconds of the map of a raster with next to nothing in it."""
    found = [_mapped(raster, load_model(MODEL), choose_place()) for _ in range(ROUNDS)]
    wall, busy = (statistics.median(values) for values in zip(*found, strict=True))
    return {"seconds": wall, "seconds of CPU": busy}


def peak(raster: Path) -> dict[str, float]:
    """MiB that a map takes beyond its model and program."""
    model = load_model(MODEL)
    idle = replace(model, network=Nothing(model.card.tile))
    extra = high_water(lambda: _mapped(raster, idle, choose_place("float32"))) / 2**20
    return {"MiB": max(1.0, extra)}  # less is not seen


PARTS: dict[str, Callable[[Path], dict[str, float]]] = {part.__name__: part for part in (efficiency, rate, empty, peak)}


def measured(part: str, raster: Path, cores: int = 0) -> dict[str, float]:
    """A part's figures, from a process of its own, on so many cores; all of them if 0."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    if cores:
        env["OMP_NUM_THREADS"] = str(cores)
    command = [sys.executable, "-m", "rotacube.bench.map", "--part", part, str(raster), str(cores)]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def rows(folder: Path) -> list[list[str]]:
    """Rows of the table: what, value, target, and more about it."""
    jpeg: dict[str, Any] = {"compress": "JPEG", "photometric": "YCBCR"}
    out = []
    kinds = {"resampled from 0.13 m, JPEG": (*MOSAIC, 0.13), "not resampled, JPEG": (PLAIN, PLAIN, 0.15)}
    for kind, size in kinds.items():
        raster = folder / "efficiency.tif"
        make_raster(raster, *size, **jpeg)
        found = measured("efficiency", raster)
        what = f"{MODEL}, {size[0]} x {size[1]}, {kind}: network alone over the whole"
        more = f"{found['seconds']:.1f} s, {found['tiles']:.0f} tiles; {found['of the CPU']:.2f} by CPU time"
        out.append([what, f"{found['efficiency']:.2f}", ">= 0.92", more])
    raster = folder / "whole.tif"
    make_raster(raster, WHOLE, WHOLE, 0.15)
    found = measured("rate", raster, cores=1)
    what = f"a model that does nothing, {WHOLE}^2, not packed, one core: Mpx/s"
    out.append([what, f"{found['Mpx/s']:.1f}", ">= 40", f"{found['Mpx/s of CPU']:.1f} by CPU time"])
    raster = folder / "empty.tif"
    make_raster(raster, EMPTY, EMPTY, 0.15, 0.0005, nodata=0, compress="DEFLATE")
    found = measured("empty", raster)
    what = f"{MODEL}, {EMPTY}^2 with data in 0.05 % of it, sparse: seconds"
    out.append([what, f"{found['seconds']:.1f}", "< 5", f"{found['seconds of CPU']:.1f} of CPU"])
    peaks = []
    for side in (SMALL, LARGE):
        raster = folder / "peak.tif"
        make_raster(raster, side, side, 0.15, compress="DEFLATE", zlevel=1)
        peaks.append(measured("peak", raster)["MiB"])
    what = f"most memory beyond the model, {LARGE}^2 over {SMALL}^2"
    out.append([what, f"{peaks[1] / peaks[0]:.2f}", "<= 1.1", f"{peaks[1]:.0f} over {peaks[0]:.0f} MiB"])
    return out


def page(table: Sequence[Sequence[str]]) -> str:
    """The page."""
    lines = [
        "# From a raster to its map",
        "",
        f"Written by `make bench-map`. {describe_machine('cpu')}; {describe_torch()}. Medians of {ROUNDS} rounds, side "
        "by side. The network alone has the same tiles in memory, and goes the faster of two ways: two tiles on all "
        "threads, or a tile a thread. CPU time is what counts where other programs ran meanwhile. Rasters are made, "
        "and smaller than those that the targets speak of for memory: 40,000^2 over 10,000^2 pixels.",
        "",
        "| what | value | target | more |",
        "|---|---|---|---|",
    ]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in table)]) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Measure a part in this process, or everything, and write the page."""
    if arguments[0] == "--part":
        set_allocator()
        if int(arguments[3]):
            os.sched_setaffinity(0, range(int(arguments[3])))
        print(json.dumps(PARTS[arguments[1]](Path(arguments[2]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        table = rows(Path(folder))
    print(*table, sep="\n")
    write_text(Path(arguments[0]), page(table))


if __name__ == "__main__":
    main(sys.argv[1:])
