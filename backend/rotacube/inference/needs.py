"""What a run will need of disk and memory until it is done, judged before any work."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from rotacube.errors import MemoryShort, OutputUnwritable
from rotacube.inference.engine import COLUMN, Engine, at_once
from rotacube.inference.findings import LABELS
from rotacube.inference.live import live_bytes
from rotacube.networks.dense import DenseNetwork
from rotacube.raster.file_source import CACHE_BYTES
from rotacube.raster.grid import Box

SPARE = 2**20
"""Bytes for what does not grow with the map."""
LABEL, SOFT, FURTHER = 1 / 30, 0.6, 0.2
"""Bytes a pixel of class ids, of each of the first three parts that say how much, and of those beyond, which hold
little: measured on a dense town, with a quarter in hand."""
MAKING = {"mask": 2 * LABEL, "probability": 2.0, "polygons": 0.2, "statistics": 0.0, "rgb": 7.5, "agreement": 0.2}
"""Bytes a pixel that a product takes while it is made; `probability` with one band."""
BESIDE = 2
"""Times the outputs of its layers that a network takes: libraries have scratch space, and the allocator keeps some. Of
`rooftop-lite`, `rooftop-small`, UNet, RI-UNet, DeepLabv3+ and Swin-UNet it was 0.5 to 1.7 times."""
IN_BLOCKS = 128 * 2**20
"""Bytes for roofs told apart and outlined, a block of the map at a time, and for buffers of files."""
SEEN = 3.5
"""Bytes a pixel of what is kept of a frame beside its probabilities: its colours, which hardly pack, and its weight."""

ON_EITHER = ("mask", "probability")
"""What may be delivered on the raster's own grid."""


@dataclass(frozen=True)
class Needs:
    """Bytes that a run needs in a folder of each disk that it writes to, and of memory, where that is known."""

    disks: dict[Path, int]
    memory: int = 0

    def __str__(self) -> str:
        parts = [f"{size / 2**20:,.0f} MB in '{folder}'" for folder, size in self.disks.items()]
        parts += [f"{self.memory / 2**20:,.0f} MB of memory"] if self.memory else []
        return f"The run needs up to about {' and '.join(parts)} until it is done."

    def with_memory(self, engine: Engine, bands: int, area: Box) -> Needs:
        """The same, with the memory that an engine needs to map an area of so many bands."""
        return replace(self, memory=memory_of(engine, bands, area))

    def check(self) -> None:
        """Compare with what there is.

        Raises:
            OutputUnwritable: a disk is too full.
            MemoryShort: there is too little memory.
        """
        free = psutil.virtual_memory().available
        if free < self.memory:
            raise MemoryShort(
                f"The machine has {free / 2**20:,.0f} MB of memory left; the run needs about "
                f"{self.memory / 2**20:,.0f} MB. Close other programs, or choose a smaller model."
            )
        for folder, size in self.disks.items():
            free = shutil.disk_usage(folder).free
            if free < size:
                raise OutputUnwritable(
                    f"The disk of '{folder}' has {free / 2**20:,.0f} MB left; the run needs about {size / 2**20:,.0f} "
                    "MB there until it is done. Free some space, choose another place, or ask for fewer products."
                )


def memory_of(engine: Engine, bands: int, area: Box) -> int:
    """The bytes of memory that a map of an area takes beyond its model: strips, what GDAL keeps, and the network's
    outputs where it runs on the CPU. Of networks that are not ours these are not known, and not counted.
    """
    channels = sum(engine.channels.values())
    strip = channels * engine.tile * min(area.width, COLUMN) * 4
    looked = 0
    if engine.place.device.type == "cpu" and isinstance(engine.network, DenseNetwork):
        shape = (engine.place.batch, bands, engine.tile, engine.tile)
        looked = BESIDE * live_bytes(engine.network, shape) * at_once(engine.place)
    return 2 * strip + CACHE_BYTES + IN_BLOCKS + looked


def needs_of(
    products: list[tuple[str, Path]], parts: list[str], pixels: int, kept: int = 0, shown: int | None = None
) -> Needs:
    """What a run needs.

    Args:
        products: the kind and the path of each, in folders that are there.
        parts: what is kept of a strip, as `names_of` names it.
        pixels: of the map.
        kept: bytes that are kept of it already.
        shown: pixels of mask and probability, where these are on another grid than the map was found on.
    """
    soft = len([name for name in parts if name != LABELS])
    soft_bytes = SOFT * min(soft, 3) + FURTHER * max(0, soft - 3)
    bands = max(1, len([name for name in parts if name.startswith("chance")]))
    disks: dict[int, tuple[Path, float]] = {}
    strips = max(0.0, pixels * (LABEL + soft_bytes) - kept)
    for number, (kind, path) in enumerate(products):
        folder = path.resolve().parent
        making = MAKING[kind] + (3 * FURTHER * (bands - 1) if kind == "probability" else 0.0)
        size = SPARE + (shown if shown and kind in ON_EITHER else pixels) * making + (0.0 if number else strips)
        disk = folder.stat().st_dev
        first, before = disks.get(disk, (folder, 0.0))
        disks[disk] = first, before + size
    return Needs({folder: round(size) for folder, size in disks.values()})


def needs_of_frames(folder: Path, products: Iterable[str], seen: float, pixels: float, bands: int, kept: int) -> Needs:
    """What a run over a drone's frames needs.

    Args:
        folder: of the products, which is there.
        products: their kinds.
        seen: pixels of the map's size that the frames show, all together.
        pixels: of the map that any frame shows.
        bands: of the probability.
        kept: bytes that are kept of the frames already, or are thrown away at the start.
    """
    further = 3 * FURTHER * (bands - 1)
    making = sum(MAKING[kind] + (further if kind == "probability" else 0.0) for kind in products)
    frames = max(0.0, seen * (SEEN + SOFT * bands) - kept)
    return Needs({folder: round(SPARE + frames + pixels * making)})
