"""Roofs by click: how long the roofs of what a canvas shows take, against the network alone on the same tiles.

`python -m rotacube.bench.view PAGE` writes the page, on imagery of a dense town from ROTACUBE_DATA.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from rotacube.bench.machine import describe_machine, describe_torch
from rotacube.bench.map import IMAGERY, in_pairs, network_alone
from rotacube.bench.parts import Figures, apart, carry_out
from rotacube.inference.device import choose_place
from rotacube.inference.engine import Engine
from rotacube.inference.view import View
from rotacube.models.store import load_model
from rotacube.raster.file_source import FileSource
from rotacube.raster.grid import Box, TileGrid
from rotacube.raster.reading import Reading

MODEL = "rooftop-lite"
HEIGHT, WIDTH = 1080, 1920
TOP, LEFT = 700, 300
"""Of the canvas on the imagery, in the model's pixels: none of its edges is that of a block or tile."""
ROUNDS = 3


def view(imagery: Path) -> Figures:
    """Seconds to the roofs of a canvas, of a pan by half of it, and at another threshold; and of the network alone."""
    model, place = load_model(MODEL), choose_place()
    seconds: dict[str, list[float]] = {key: [] for key in ("fresh", "pan", "threshold", "network")}
    counts: Figures = {}
    with FileSource(str(imagery), model.card, Reading()) as source:
        canvas = Box(TOP, LEFT, TOP + HEIGHT, LEFT + WIDTH)
        beside = Box(TOP + HEIGHT // 2, LEFT, TOP + HEIGHT + HEIGHT // 2, LEFT + WIDTH)
        engine = Engine.of(model, place)
        tiling = TileGrid.over(source.height, source.width, engine.tile, engine.overlap)
        for _ in range(ROUNDS):
            looked = View(source, model.card, engine)
            for key, box, threshold in (("fresh", canvas, None), ("threshold", canvas, 0.4), ("pan", beside, None)):
                begun = time.perf_counter()
                found = looked.roofs(_bounds(source, box), threshold)
                seconds[key].append(time.perf_counter() - begun)
                if key == "fresh":
                    counts = {"roofs": len(found.roofs), "tiles": len(looked.tiles)}
                    tiles = [torch.from_numpy(source.read(tiling.box(*at))[0][None]) for at in looked.tiles]
            seconds["network"].append(min(wall for wall, _ in network_alone(model, tiles, in_pairs(tiles), place)))
    return {**counts, **{key: statistics.median(values) for key, values in seconds.items()}}


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
        f"town, model warm, nothing kept; medians of {ROUNDS} rounds. The network alone has the tiles in memory.",
        "",
        "| what | value | target | more |",
        "|---|---|---|---|",
    ]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in table)]) + "\n"


PARTS = {"view": view}

if __name__ == "__main__":
    carry_out(sys.argv[1:], PARTS, rows, page)
