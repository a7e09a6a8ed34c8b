"""The way from a raster to its map against the network alone: what reading, blending and writing cost.

`python -m rotacube.bench.map PAGE` writes the page; each figure comes from a process of its own, set up as a map's is.
The rasters are made, blocks of colour under noise; products are timed on imagery of a town, where it is at hand.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from rasterio.windows import Window
from torch import Tensor, nn

from rotacube.bench.machine import describe_machine, describe_torch
from rotacube.bench.memory import high_water
from rotacube.bench.parts import apart, carry_out
from rotacube.bench.roofs import measure
from rotacube.inference.cluster import Cluster
from rotacube.inference.device import Place, choose_place
from rotacube.inference.outputs import format_of
from rotacube.inference.run import MapRequest, Product, run_map
from rotacube.models.card import ModelCard
from rotacube.models.store import LoadedModel, load_model
from rotacube.networks.folding import folded
from rotacube.raster.file_source import FileSource
from rotacube.raster.grid import TileGrid
from rotacube.raster.source import Source

MODEL, ROOFS = "rooftop-small", "rooftop-lite"
ROUNDS = 3
MOSAIC, PLAIN, WHOLE, EMPTY, SMALL, LARGE = (4096, 3072), 4096, 8192, 30000, 10000, 40000
"""Sides in pixels: of what is resampled, of what is not, for the model that does nothing, of the empty raster, and of
the two whose memory is compared."""
TOWN, NOISES = 100_000, (0.4, 0.8)
"""Roofs of the made town, and pixels by which their outlines wander."""
IMAGERY = Path("rooftop", "banepa", "images")
"""Within ROTACUBE_DATA: a town in tiles, mapped as one."""
STRIP = 1024
FILES = {"mask": "mask.tif", "probability": "probability.tif", "polygons": "roofs.gpkg", "statistics": "shares.csv"}
NAMES = {
    "shared walls, length": "shared walls kept, by length",
    "along the axes": "walls within 2 degrees of their group's axes, by length",
    "right corners": "right corners",
}


class Nothing(nn.Module):
    """A model that always sees the same roofs, of six metres a side."""

    def __init__(self, tile: int) -> None:
        super().__init__()
        rows, columns = np.mgrid[:tile, :tile] // 40
        roof = (rows % 3 == 1) & (columns % 3 == 1)
        self.picture = torch.from_numpy(np.where(roof, 4, -4).astype(np.float32))[None, None]

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


def _mapped(
    raster: Path,
    model: LoadedModel,
    place: Place,
    kinds: Sequence[str] = ("mask",),
    beside: Path | None = None,
    cluster: Cluster | None = None,
) -> tuple[float, float]:
    """Seconds, and seconds of CPU, of a map with these products, in files named after the raster or another path."""
    paths = {kind: (beside or raster).with_name(f"{raster.stem}.{FILES[kind]}") for kind in kinds}
    products = tuple(Product(kind, path, format_of(kind, path.name)) for kind, path in paths.items())
    start, busy = time.perf_counter(), time.process_time()
    run_map(MapRequest(str(raster), model.card.name, products, overwrite=True), model, place=place, cluster=cluster)
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
    """Seconds, and seconds of CPU, of the network alone, as it is run, two ways: two tiles on all threads, and a tile a
    thread.
    """
    model = replace(model, network=folded(model.network))
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
    """MiB that a map with all products takes beyond its model and program."""
    model = load_model(MODEL)
    idle = replace(model, network=Nothing(model.card.tile))
    extra = high_water(lambda: _mapped(raster, idle, choose_place("float32"), tuple(FILES))) / 2**20
    return {"MiB": max(1.0, extra)}  # less is not seen


def products(raster: Path) -> dict[str, float]:
    """How much longer a map of a town takes with polygons and statistics than with mask and probability alone."""
    imagery = Path(os.environ.get("ROTACUBE_DATA", "")) / IMAGERY
    if not imagery.is_dir():
        return {}
    model, place = load_model(ROOFS), choose_place()
    walls, shares = [], []
    for _ in range(ROUNDS):
        few, all_of_it = (
            _mapped(imagery, model, place, kinds, raster) for kinds in (("mask", "probability"), tuple(FILES))
        )
        walls.append(all_of_it[0] / few[0] - 1)
        shares.append(all_of_it[1] / few[1] - 1)
    return {"more": statistics.median(walls), "more CPU": statistics.median(shares), "seconds": few[0]}


def dask(raster: Path) -> dict[str, float]:
    """How much faster two workers of one thread are than one, both started before."""
    from rotacube.inference.cluster import joined

    model, place = load_model(MODEL), choose_place()
    warm, seconds = raster.with_name("warm.tif"), {}
    make_raster(warm, 2048, 2048, 0.15)
    for workers in (1, 2):
        with joined(f"local:{workers}", "auto") as cluster:
            _mapped(warm, model, place, cluster=cluster)  # the models are loaded then
            seconds[workers] = _mapped(raster, model, place, cluster=cluster)[0]
    return {"ratio": seconds[1] / seconds[2], "seconds": seconds[2]}


def town(raster: Path) -> dict[str, float]:
    """A made town's label raster to regularised roofs, with outlines of each roughness."""
    found: dict[str, float] = {}
    for noise in NOISES:
        with tempfile.TemporaryDirectory(dir=raster.parent) as folder:
            found |= {f"{key} {noise:g}": value for key, value in measure(Path(folder), TOWN, noise).items()}
    return found


PARTS: dict[str, Callable[[Path], dict[str, float]]] = {
    part.__name__: part for part in (efficiency, rate, empty, peak, products, dask, town)
}


measured = partial(apart, "rotacube.bench.map")


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
    what = f"most memory beyond the model, polygons included, {LARGE}^2 over {SMALL}^2"
    more = f"{peaks[1]:.0f} over {peaks[0]:.0f} MiB; target also < 1,500"
    out.append([what, f"{peaks[1] / peaks[0]:.2f}", "<= 1.1", more])
    return [*out, *_rows_of_products(folder)]


def _rows_of_products(folder: Path) -> list[list[str]]:
    """Rows on what comes after the tiles, and on workers."""
    found = measured("products", folder / "town.tif")
    what = f"{ROOFS}, a town in tiles (Banepa): polygons and statistics on top of mask and probability"
    more = f"{100 * found['more CPU']:.1f} % by CPU time; on {found['seconds']:.1f} s" if found else "no imagery"
    out = [[what, f"{100 * found['more']:.1f} %" if found else "not measured", "<= 8 %", more]]
    raster = folder / "dask.tif"
    make_raster(raster, WHOLE, WHOLE, 0.15, compress="JPEG", photometric="YCBCR")
    found = measured("dask", raster)
    what = f"{MODEL}, {WHOLE}^2: two Dask workers of one thread over one"
    out.append([what, f"{found['ratio']:.2f}", ">= 1.8", f"{found['seconds']:.1f} s with two, which were there before"])
    found = measured("town", folder / "made.tif")
    for noise in NOISES:
        of = {key.removesuffix(f" {noise:g}"): value for key, value in found.items() if key.endswith(f" {noise:g}")}
        what = f"made town of {of['roofs']:,.0f} roofs, outlines rough by {noise:g} px"
        numbered = f"{of['of them to find']:.1f} to number them in {of['megapixels']:.0f} Mpx"
        out.append(
            [
                f"{what}: label raster to GeoPackage, seconds",
                f"{of['seconds']:.1f}",
                "<= 30",
                f"{of['seconds of CPU']:.1f} of CPU; {numbered}",
            ]
        )
        whole = "yes" if of["valid"] else "no"
        out.append([f"{what}: a valid coverage", whole, "yes", f"{of['overlap m2']:.2g} m2 overlap"])
        for key, target in (("shared walls, length", 98), ("along the axes", 97), ("right corners", 90)):
            out.append([f"{what}: {NAMES[key]}", f"{100 * of[key]:.1f} %", f">= {target} %", ""])
        out[-1][3] = f"{100 * of['as found']:.2f} % of the roofs kept their outline as found"
    return out


def page(table: Sequence[Sequence[str]]) -> str:
    """The page."""
    lines = [
        "# From a raster to its map",
        "",
        f"Written by `make bench-map`. {describe_machine('cpu')}; {describe_torch()}. Medians of {ROUNDS} rounds, side "
        "by side. The network alone has the same tiles in memory, and goes the faster of two ways: two tiles on all "
        "threads, or a tile a thread. CPU time is what counts where other programs ran meanwhile. Rasters are "
        "made. Memory is that of all products, with a model that sees a roof every 18 metres.",
        "",
        "| what | value | target | more |",
        "|---|---|---|---|",
    ]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in table)]) + "\n"


if __name__ == "__main__":
    carry_out(sys.argv[1:], PARTS, rows, page)
