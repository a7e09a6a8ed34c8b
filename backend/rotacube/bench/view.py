"""Roofs by click: how long the roofs of what a canvas shows take, against the network alone on the same tiles.

`python -m rotacube.bench.view PAGE` writes the page, on imagery of a dense town from ROTACUBE_DATA.
"""

from __future__ import annotations

import math
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import torch

from rotacube.bench.machine import describe_machine, describe_torch
from rotacube.bench.map import IMAGERY, in_pairs, network_alone
from rotacube.bench.parts import Figures, apart, carry_out
from rotacube.inference.device import choose_place
from rotacube.inference.engine import Engine
from rotacube.inference.view import BLOCK, View
from rotacube.models.store import load_model
from rotacube.raster.file_source import FileSource
from rotacube.raster.grid import Box, TileGrid
from rotacube.raster.reading import Reading

MODEL = "rooftop-lite"
HEIGHT, WIDTH = 1080, 1920
TOP, LEFT = 700, 300
"""Of the canvas on the imagery, in the model's pixels: none of its edges is that of a block or tile."""
ROUNDS = 3
INSET, PIECE = BLOCK // 4, 1024
"""How the plugin asks: for a block but for so many pixels at its edge, as what is looked at has surroundings, then for
pieces of the canvas of at most so many a side.
"""


def view(imagery: Path) -> Figures:
    """Seconds to the first and to all roofs of a canvas, as the plugin asks for them: the block in its middle, pieces,
    the whole; of a pan by half of it, and at another threshold; and of the network alone.
    """
    model, place = load_model(MODEL), choose_place()
    seconds: dict[str, list[float]] = {key: [] for key in ("first", "fresh", "pan", "threshold", "network")}
    counts: Figures = {}
    with FileSource(str(imagery), model.card, Reading()) as source:
        canvas = Box(TOP, LEFT, TOP + HEIGHT, LEFT + WIDTH)
        beside = Box(TOP + HEIGHT // 2, LEFT, TOP + HEIGHT + HEIGHT // 2, LEFT + WIDTH)
        asked = [_first(canvas), *_pieces(canvas), canvas]
        engine = Engine.of(model, place)
        tiling = TileGrid.over(source.height, source.width, engine.tile, engine.overlap)
        for _ in range(ROUNDS):
            looked = View(source, model.card, engine)
            begun = time.perf_counter()
            ends = []
            for box in asked:
                found = looked.roofs(_bounds(source, box))
                ends.append(time.perf_counter() - begun)
            seconds["first"].append(ends[0])
            seconds["fresh"].append(ends[-1])
            counts = {"roofs": len(found.roofs), "tiles": len(looked.tiles)}
            tiles = [torch.from_numpy(source.read(tiling.box(*at))[0][None]) for at in looked.tiles]
            for key, box, threshold in (("threshold", canvas, 0.4), ("pan", beside, None)):
                begun = time.perf_counter()
                looked.roofs(_bounds(source, box), threshold)
                seconds[key].append(time.perf_counter() - begun)
            seconds["network"].append(min(wall for wall, _ in network_alone(model, tiles, in_pairs(tiles), place)))
    return {**counts, **{key: statistics.median(values) for key, values in seconds.items()}}


def _first(canvas: Box) -> Box:
    """Within the block in a canvas's middle."""
    row, column = (canvas.top + canvas.height // 2) // BLOCK, (canvas.left + canvas.width // 2) // BLOCK
    top, left, side = row * BLOCK + INSET, column * BLOCK + INSET, BLOCK - 2 * INSET
    return Box(top, left, top + side, left + side) & canvas


def _pieces(canvas: Box) -> Iterator[Box]:
    """A canvas in equal pieces."""
    rows, columns = (
        np.linspace(start, stop, 1 + math.ceil((stop - start) / PIECE)).astype(int).tolist()
        for start, stop in ((canvas.top, canvas.bottom), (canvas.left, canvas.right))
    )
    for (top, bottom), (left, right) in product(pairwise(rows), pairwise(columns)):
        yield Box(top, left, bottom, right)


def _bounds(source: FileSource, box: Box) -> tuple[float, float, float, float]:
    """Left, bottom, right and top of a part of a grid that lies upright."""
    left, top = source.grid.transform * (box.left, box.top)
    right, bottom = source.grid.transform * (box.right, box.bottom)
    return left, bottom, right, top


def rows(folder: Path) -> list[list[str]]:
    """Rows of the table: what, value, target, and more about it."""
    imagery = Path(os.environ.get("ROTACUBE_DATA", "")) / IMAGERY
    if not imagery.is_dir():
        return [["roofs of a canvas", "not measured", "<= 1.2", "no imagery"]]
    found = apart("rotacube.bench.view", "view", imagery)
    fresh = f"{found['roofs']:.0f} roofs, {found['tiles']:.0f} tiles; network alone {found['network']:.2f} s"
    return [
        [f"first roofs, those about the cursor, of {BLOCK} x {BLOCK} pixels, seconds", f"{found['first']:.2f}", "", ""],
        [f"all roofs of {WIDTH} x {HEIGHT} pixels, seconds", f"{found['fresh']:.2f}", "<= 1.2", fresh],
        ["of a pan by half a canvas, seconds", f"{found['pan']:.2f}", "<= 0.7", ""],
        ["at another threshold, from the tiles that are kept, seconds", f"{found['threshold']:.2f}", "", ""],
    ]


def page(table: Sequence[Sequence[str]]) -> str:
    """The page."""
    lines = [
        "# Roofs by click",
        "",
        f"Written by `make bench-view`. {describe_machine('cpu')}; {describe_torch()}. `{MODEL}` on Banepa, a dense "
        f"town, model warm, nothing kept, asked for as the plugin does (the block in the middle, pieces, the whole); "
        f"medians of {ROUNDS} rounds. The network alone has the tiles in memory.",
        "",
        "| what | value | target | more |",
        "|---|---|---|---|",
    ]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in table)]) + "\n"


PARTS = {"view": view}

if __name__ == "__main__":
    carry_out(sys.argv[1:], PARTS, rows, page)
