"""A made town's label raster to regularised roofs in a GeoPackage: how long it takes, and how the roofs come out.

`python -m rotacube.bench.roofs ROOFS NOISE` prints a JSON object. All goes through what a map's run goes through:
blocks that are joined, outlines, fields, the layer.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.windows import Window

from rotacube.bench.towns import Rect, block, raster, terrace
from rotacube.inference.findings import LABELS
from rotacube.inference.outputs import Setting
from rotacube.inference.outputs.polygons import Polygons
from rotacube.inference.pieces import Splitter
from rotacube.inference.store import Store
from rotacube.models.card import ROOFS, ModelCard
from rotacube.models.store import find_model
from rotacube.raster.destination import Destination
from rotacube.raster.grid import Box
from rotacube.raster.map_grid import MapGrid

CELL = 384
"""Pixels a side of a square with one group of houses in one direction; of 0.15 m."""
KINDS, USUAL = 256, 28.5
"""How many cells differ, and the mean number of houses in one."""
GSD = 0.15
SEED = 0
NEAR = 1.0
"""Pixels within which two walls are one."""
Parts = dict[str, NDArray[np.uint8]]


def _groups(rng: np.random.Generator) -> list[Rect]:
    """Houses of a cell: four rows of a terrace, with or without steps, or a block about a courtyard."""
    if rng.random() < 0.25:
        return block(250.0, 48.0, 5)
    step = float(rng.choice([0, 8]))
    rows = terrace(8, 32.0, 44.0, step)
    return [(u0, u1, v0 + down, v1 + down) for down in (-111, -37, 37, 111) for u0, u1, v0, v1 in rows]


class Town(Store):
    """A label raster where a run reads its strips: a roof's number is told in three bytes.

    Args:
        folder: of the run.
        roofs: at least so many.
        noise: pixels by which outlines wander.
        seed: of what stands where.
    """

    NAMES = ("number 0", "number 1", "number 2")

    def __init__(self, folder: Path, roofs: int, noise: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.side = math.ceil(math.sqrt(roofs / USUAL))
        kinds = min(KINDS, self.side**2)
        self.angles = rng.uniform(0, 90, kinds)
        self.cells = [raster(CELL, _groups(rng), self.angles[k], noise, seed * kinds + k) for k in range(kinds)]
        counts = np.array([cell.max() for cell in self.cells])
        self.kinds = rng.integers(0, kinds, (self.side, self.side))
        self._first = np.cumsum(counts[self.kinds].ravel()).reshape(self.kinds.shape) - counts[self.kinds]
        self.roofs = int(counts[self.kinds].sum())
        self._file = folder / "town.tif"
        self._write()
        super().__init__(folder / "run", Box(0, 0, self.side * CELL, self.side * CELL), [LABELS, *self.NAMES])

    def _write(self) -> None:
        pixels = self.side * CELL
        profile: dict[str, Any] = {
            **{"driver": "GTiff", "width": pixels, "height": pixels, "count": 1, "dtype": "int32", "tiled": True},
            **{"blockxsize": 512, "blockysize": 512, "compress": "DEFLATE", "zlevel": 1, "BIGTIFF": "IF_SAFER"},
        }
        with rasterio.open(self._file, "w", **profile) as file:
            for row in range(self.side):
                strip = [
                    np.where(self.cells[k] > 0, self.cells[k] + first, 0)
                    for k, first in zip(self.kinds[row], self._first[row], strict=True)
                ]
                file.write(np.hstack(strip).astype(np.int32), 1, window=Window(0, row * CELL, pixels, CELL))

    def read(self, window: Box, names: Sequence[str]) -> NDArray[np.uint8]:
        """The parts (names, height, width) of a window."""
        at = Window(window.left, window.top, window.width, window.height)
        with rasterio.open(self._file) as file:
            numbers = file.read(1, window=at)
        parts = {name: (numbers >> (8 * k)) & 255 for k, name in enumerate(self.NAMES)}
        return np.stack([numbers > 0 if name == LABELS else parts[name] for name in names]).astype(np.uint8)

    @staticmethod
    def split(parts: Parts) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Each number as a piece."""
        numbers = sum((parts[name].astype(np.int32) << (8 * k) for k, name in enumerate(Town.NAMES)), np.int32(0))
        return np.asarray(numbers, np.int32), np.asarray(numbers > 0, np.int32)


class _TownSetting(Setting):
    def splitter(self, smallest: int) -> Splitter:
        """The town's own numbers."""
        return Splitter(list(Town.NAMES), Town.split)


def measure(folder: Path, roofs: int, noise: float) -> dict[str, float]:
    """Seconds from the label raster to the layer, and what its roofs are like."""
    town = Town(folder, roofs, noise, SEED)
    town.begin({}, resume=False)
    place = Affine(GSD, 0, 353000, 0, -GSD, 3060000)
    grid = MapGrid(town.area.height, town.area.width, CRS.from_epsg(32645).to_wkt(), place, (GSD, GSD))
    card: ModelCard = find_model("rooftop-lite")[0].model_copy(update={"task": ROOFS})
    output = folder / "roofs.gpkg"
    start, busy = time.perf_counter(), time.process_time()
    setting = _TownSetting(grid, grid.extent, card, {}, town)
    made = Polygons(Destination(output, False), setting, "gpkg")
    setting.pieces  # noqa: B018 - they are found when they are asked for
    found = time.perf_counter() - start
    made.finish()
    made.place()
    spent, worked = time.perf_counter() - start, time.process_time() - busy
    _, _, shapes, fields = pyogrio.raw.read(output, columns=["outline"])
    stored = shapely.from_wkb(shapes)
    shapes = shapely.transform(stored, lambda at: np.column_stack(~place * (at[:, 0], at[:, 1])))
    return {
        "roofs": town.roofs,
        "megapixels": grid.extent.height * grid.extent.width / 1e6,
        "seconds": spent,
        "of them to find": found,
        "seconds of CPU": worked,
        "polygons": len(shapes),
        "valid": float(shapely.is_valid(stored).all() and shapely.coverage_is_valid(stored)),
        "as found": float(np.mean(fields[0] == "as found")),
        **_quality(town, shapes),
    }


def _quality(town: Town, shapes: NDArray[np.object_]) -> dict[str, float]:
    """Validity, overlap, walls along their group's axes and right corners; shared walls against the truth."""
    middle = shapely.get_coordinates(shapely.point_on_surface(shapes))
    kinds = town.kinds[tuple((middle[:, ::-1] // CELL).astype(int).T)]
    rings, of = shapely.get_rings(shapes, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    ends = np.flatnonzero(np.diff(ring, append=-1))  # a ring's last point is its first
    inner = np.delete(np.arange(len(points)), ends)
    ahead = points[inner + 1] - points[inner]
    long = np.hypot(*ahead.T)
    direction = np.degrees(np.arctan2(ahead[:, 1], ahead[:, 0]))
    off = np.abs((direction - town.angles[kinds[of[ring[inner]]]] + 45) % 90 - 45)
    begins = np.flatnonzero(np.diff(ring[inner], prepend=-1))
    before = np.arange(len(inner)) - 1
    before[begins] = np.append(begins[1:], len(inner)) - 1
    turn = np.abs((direction - direction[before] + 180) % 360 - 180)
    corner = turn > 10  # less is no corner
    right = np.abs(turn[corner] - 90) < 2
    overlap = float(shapely.area(shapes).sum() - _covered(shapes))
    return {
        "overlap m2": overlap * GSD**2,
        "along the axes": float(long[off < 2].sum() / long.sum()),
        "right corners": float(right.mean()),
        **_shared(town, shapes),
    }


def _covered(shapes: NDArray[np.object_]) -> float:
    """The area of the union; neighbours come after each other."""
    left, top = shapely.bounds(shapes)[:, :2].T // (8 * CELL)
    return float(shapely.union_all(shapes[np.lexsort((left, top))]).area)


def _shared(town: Town, shapes: NDArray[np.object_]) -> dict[str, float]:
    """The part of the walls shared in the label raster that is shared in the layer: by pairs, and by length."""
    tree = shapely.STRtree(shapes)
    one, other = tree.query(shapes)
    one, other = one[one < other], other[one < other]
    length = shapely.length(shapely.intersection(shapes[one], shapes[other]))
    wanted = [_pairs(cell) for cell in town.cells]
    cells = town.kinds.ravel()
    long = np.array([sum(pairs.values()) for pairs in wanted])
    pairs = np.array([len(pairs) for pairs in wanted])
    return {
        "shared walls, pairs": float((length > NEAR).sum() / pairs[cells].sum()),
        "shared walls, length": float(length.sum() / long[cells].sum()),
    }


def _pairs(cell: NDArray[np.int32]) -> dict[tuple[int, int], float]:
    """Pairs of roofs that touch along ten pixels and more, and the length of their wall from end to end."""
    found: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for down, right in ((0, 1), (1, 0)):
        a, b = cell[: CELL - down, : CELL - right], cell[down:, right:]
        at = np.argwhere((a != b) & (a > 0) & (b > 0))
        for y, x in at:
            key = (min(a[y, x], b[y, x]), max(a[y, x], b[y, x]))
            found.setdefault(key, []).append((y + 0.5 * down, x + 0.5 * right))
    chords = {}
    for key, spots in found.items():
        centred = np.array(spots) - np.mean(spots, 0)
        axis = np.linalg.svd(centred, full_matrices=False)[2][0]
        chord = float(np.ptp(centred @ axis))
        if chord >= 10:
            chords[key] = chord
    return chords


def main(arguments: Sequence[str]) -> None:
    """Measure, and print."""
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder), int(arguments[0]), float(arguments[1]))))


if __name__ == "__main__":
    main(sys.argv[1:])
