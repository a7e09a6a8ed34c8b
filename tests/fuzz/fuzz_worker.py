"""Runs cases that come in as lines, in a process that is watched from outside; answers a line for each.

python fuzz_worker.py COMMANDS ANSWERS      (numbers of open files; standard input stays free for a raster)
"""

from __future__ import annotations

import faulthandler
import json
import logging
import math
import os
import shutil
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch

from rotacube.errors import JobCancelled, RotacubeError
from rotacube.inference.device import Place
from rotacube.inference.run import MapRequest, MapResult, Product, run_map
from rotacube.models.store import list_models, load_model
from rotacube.raster.reading import NodataRange, Reading

TILES = 40
"""After so many tiles a run that goes well is left: what is fuzzed has its say by then."""
SENTENCE = 3000
"""Characters of the longest sentence that a person may be shown."""


class Wrong(Exception):
    """What a run made is not what it said."""


def check_mask(result: MapResult, raster: str) -> None:
    """The finished file, alone, is the map that the result tells of, and lies where the raster lies."""
    made = result.products[0].path
    if sorted(made.parent.glob(f"{made.name}.*")):
        raise Wrong("the mask has side files")
    with tempfile.TemporaryDirectory() as alone, rasterio.open(shutil.copy(made, Path(alone) / "mask.tif")) as file:
        if (file.width, file.height, file.count, file.dtypes) != (result.width, result.height, 1, ("uint8",)):
            raise Wrong(
                f"the mask is {file.width} x {file.height}, {file.dtypes}; said {result.width} x {result.height}"
            )
        if file.crs is None or file.nodata != 255 or not all(map(math.isfinite, file.transform)):
            raise Wrong(f"the mask has CRS {file.crs}, nodata {file.nodata}, {tuple(file.transform)}")
        values, transform = file.read(1), file.transform
    counts = dict(zip(*(part.tolist() for part in np.unique(values, return_counts=True)), strict=True))
    told = {c.info.id: c.pixels for c in result.classes if c.pixels}
    told |= {255: result.nodata_pixels} if result.nodata_pixels else {}
    if counts != told:
        raise Wrong(f"the mask holds {counts}; said {told}")
    if not all(math.isfinite(c.area_m2) and c.area_m2 >= 0 for c in result.classes):
        raise Wrong("an area is no number")
    with rasterio.open(raster) as file:
        corners = [file.transform * p for p in ((0, 0), (file.width, file.height))]
    for place, (x, y) in zip(((0, 0), (values.shape[1], values.shape[0])), corners, strict=True):
        column, row = ~transform * (x, y)
        if abs(column - place[0]) > 1 or abs(row - place[1]) > 1:
            raise Wrong(f"the raster's corner lies at {column:.1f}, {row:.1f} of the mask, not at {place}")


def request_of(case: dict[str, Any]) -> MapRequest:
    """The request of a case."""
    asked = dict(case["asked"])
    output, overwrite = Path(asked.pop("output")), asked.pop("overwrite", False)
    more = {key: asked.pop(key) for key in ("bounds", "bounds_crs") if key in asked}
    if more.get("bounds"):
        more["bounds"] = tuple(more["bounds"])
    if "nodata" in asked:
        asked["nodata"] = tuple(NodataRange(*n) for n in asked["nodata"])
    if asked.get("bands"):
        asked["bands"] = tuple(asked["bands"])
    products = (Product("mask", output),)
    return MapRequest(case["raster"], case["model"], products, reading=Reading(**asked), overwrite=overwrite, **more)


def carry_out(case: dict[str, Any], good: Any, card: str) -> tuple[str, str]:
    """The class of what comes of a case, and a word on it."""
    done: list[int] = []
    try:
        if case["model"] != card:
            os.environ["ROTACUBE_MODELS"] = os.pathsep.join([str(Path(case["model"]).parent), str(Path(card).parent)])
            try:
                if good.card.name not in [c.name for c, _ in list_models()]:
                    return "wrong", "the good model is hidden by the other one"
            finally:
                del os.environ["ROTACUBE_MODELS"]
        model = good if case["model"] == card else load_model(case["model"])
        result = run_map(
            request_of(case),
            model,
            place=Place(torch.device("cpu"), torch.float32, 2),
            on_tile=lambda tile: done.append(tile.n),
            cancelled=lambda: len(done) > TILES,
        )
        if case["asked"].get("bounds") is None:
            check_mask(result, case["raster"])
        return "result", f"{result.width} x {result.height}"
    except JobCancelled:
        return "left", f"after {len(done)} tiles"
    except RotacubeError as error:
        message = error.message
        if not message.strip() or len(message) > SENTENCE or "Traceback" in message:
            return "wrong", f"no sentence for a person ({len(message)} characters): {message[:200]!r}"
        try:
            message.encode()
        except UnicodeEncodeError:
            return "wrong", f"a sentence that cannot be written: {message[:200]!a}"
        return "sentence", f"{error.code}: {message[:300]}"
    except Wrong as error:
        return "wrong", str(error)
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)
        ours = [f for f in last if "rotacube" in f.filename] or list(last)
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
        text = "".join(traceback.format_exception(error)).encode("utf-8", "backslashreplace").decode()
        (Path(case["folder"]) / "traceback.txt").write_text(text)
        return "traceback", f"{type(error).__name__} at {place}: {str(error)[:200]!a}"


def main(commands: int, answers: int) -> None:
    """Carry out cases until there are no more."""
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    card = os.environ["FUZZ_MODEL"]
    good = load_model(card)
    stacks = Path(os.environ["FUZZ_STACKS"])
    with os.fdopen(commands) as lines, os.fdopen(answers, "w") as out, stacks.open("w") as told:
        faulthandler.register(signal.SIGUSR1, told)
        faulthandler.enable(told)
        out.write("ready\n")
        out.flush()
        for line in lines:
            case = json.loads(line)
            kind, word = carry_out(case, good, card)
            out.write(json.dumps([kind, word]) + "\n")
            out.flush()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
