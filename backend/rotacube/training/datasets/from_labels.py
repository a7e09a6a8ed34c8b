"""Training tiles from polygons that a person drew over a raster: what is drawn is known, all else is not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely.affinity import affine_transform
from shapely.geometry.base import BaseGeometry

from rotacube.errors import JobCancelled, LayerRefused
from rotacube.files import new_folder
from rotacube.models.card import ModelCard
from rotacube.raster.file_source import FileSource
from rotacube.raster.grid import Box
from rotacube.raster.reading import AS_THE_FILE_SAYS, Reading
from rotacube.training.datasets.folder import DESCRIPTION
from rotacube.vector.layers import Polygons, read_polygons

HELD_OUT = 0.2
"""The share of what is known, from the raster's right, that a training does not see."""
COLOURS = ("#c9b18c", "#e4572e", "#3f9b45", "#2e86ab", "#f6ae2d", "#7b2d8b", "#8fd14f", "#d7263d", "#1b998b", "#e0a4d3")
"""Of classes that the model does not have."""
PROFILE = {"driver": "GTiff", "compress": "deflate", "interleave": "pixel"}


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        tiles: how many, by split.
        pixels: known ones, by class.
        notes: sentences that a person should know.
    """

    tiles: dict[str, int]
    pixels: dict[str, int]
    notes: list[str]


def write_tiles(
    raster: str,
    polygons: str,
    class_field: str,
    output: Path,
    card: ModelCard,
    *,
    area: str | None = None,
    reading: Reading = AS_THE_FILE_SAYS,
    side: int = 512,
    on_tile: Callable[[int, int], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Written:
    """Write tiles on a model's grid: `images/` (with alpha), `masks/` (numbers of classes), `instances/` (a number a
    polygon), `valid/` (0 where nobody knows), `splits.json` and `dataset.json`.

    A class is a value of the field; where the model's classes have all of them, theirs are the numbers, else the
    model's first class stays the first one.

    Args:
        raster: what GDAL opens.
        polygons: a layer, see `read_polygons`.
        class_field: its field that names the class.
        output: a folder that is not there yet.
        card: of the model that is to learn; its bands and ground sample distance are those of the tiles.
        area: a layer within which all that is not drawn is of the first class.
        reading: what a person says about the raster.
        side: pixels of a tile.
        on_tile: is told how many tiles are done, and of how many.
        cancelled: whether to stop.

    Raises:
        LayerRefused: the polygons are not what is needed; the sentence says what is.
        OutputUnwritable: the folder is there, or cannot be written.
        JobCancelled: it was cancelled; nothing is left.
        RotacubeError: of the raster, as `FileSource` has them.
    """
    with FileSource(raster, card, reading) as source:
        drawn = read_polygons(polygons, source.grid.crs, class_field)
        around = read_polygons(area, source.grid.crs) if area else Polygons([], [])
        classes = _classes(card, drawn.values, bool(area), class_field)
        notes = [*drawn.notes, *around.notes]
        onto = ~source.grid.transform
        shapes = _on_pixels(drawn, onto)
        known = _on_pixels(around, onto)
        numbers = np.array([list(classes).index(value) for value in drawn.values], np.uint8)
        inside = shapely.intersects(shapes, shapely.box(0, 0, source.width, source.height))
        if not inside.any():
            raise LayerRefused(f"No polygon of '{polygons}' lies on '{raster}'. Check the CRS of both.")
        if not inside.all():
            notes.append(f"{(~inside).sum()} of {len(shapes)} polygons lie outside of the raster.")
        boxes = _boxes([*shapes[inside], *known], source.grid.extent, side)
        pixels, doubtful, made = np.zeros(len(classes), np.int64), 0, {}
        with new_folder(output, "images", "masks", "instances", "valid") as new:
            for done, box in enumerate(boxes, start=1):
                if cancelled():
                    raise JobCancelled("The tiles were cancelled; nothing was written.")
                values, seen = source.read(box)
                labels, ids, sure, twice = _draw(shapes, numbers, known, box)
                sure &= seen
                if sure.any():
                    name = f"{box.top // side:05d}_{box.left // side:05d}"
                    layers: dict[str, NDArray[Any]] = {
                        "images": np.concatenate([_bytes(values, card), (seen * np.uint8(255))[None]]),
                        "masks": labels[None],
                        "instances": ids.astype(np.uint16)[None],
                        "valid": (sure * np.uint8(255))[None],
                    }
                    _write(new, name, layers, box, source)
                    made[name] = np.bincount(labels[sure], minlength=len(classes))
                    pixels += made[name]
                    doubtful += int((twice & seen).sum())
                on_tile(done, len(boxes))
            if not made:
                raise LayerRefused(f"Where '{polygons}' has polygons, '{raster}' is nodata all over.")
            splits = _split(made)
            if doubtful:
                share = doubtful / (doubtful + pixels.sum())
                notes.append(f"{share:.1%} of what is drawn lies in polygons of two classes: it is left out.")
            if not splits["val"]:
                notes.append("There is one tile alone: nothing is held out, so nobody will know how good a model is.")
            (new / "splits.json").write_text(json.dumps(splits, indent=1), encoding="utf-8")
            description = {"classes": classes, "gsd": card.gsd, "task": card.task, "raster": Path(raster).name}
            (new / DESCRIPTION).write_text(json.dumps(description, indent=1), encoding="utf-8")
        notes += source.notes
    names = {"train": "train", "val": "validation"}
    return Written(
        {names[part]: len(found) for part, found in splits.items()},
        dict(zip(classes, pixels.tolist(), strict=True)),
        notes,
    )


def _classes(card: ModelCard, values: list[str], whole: bool, name: str) -> dict[str, str]:
    """Names and colours of the classes, in the order of their numbers."""
    own = {part.name: part.color for part in card.classes}
    drawn = sorted(set(values))
    first = card.classes[0].name
    if len({*drawn, *([first] if whole else [])}) < 2:
        raise LayerRefused(
            f"All polygons are of one class, '{drawn[0]}' in '{name}': a model learns from what is another. Draw some "
            f"polygons of '{first}' too, or say with an area (--area) where all that is not drawn is '{first}'."
        )
    if set(drawn) <= own.keys():
        return own
    names = [first, *(value for value in drawn if value != first)]
    if len(names) > 255:
        raise LayerRefused(f"'{name}' has {len(names)} values; there are 255 classes at most. Choose another field.")
    return {part: own.get(part, COLOURS[number % len(COLOURS)]) for number, part in enumerate(names)}


def _on_pixels(polygons: Polygons, onto: Affine) -> NDArray[np.object_]:
    """The shapes in the grid's pixels, columns and rows."""
    matrix = [onto.a, onto.b, onto.d, onto.e, onto.c, onto.f]
    return np.array([affine_transform(shape, matrix) for shape in polygons.shapes], object)


def _boxes(shapes: list[BaseGeometry], extent: Box, side: int) -> list[Box]:
    """The tiles of the grid that shapes touch, row by row."""
    chosen = set()
    for left, top, right, bottom in shapely.bounds(shapes).tolist():
        rows = range(max(0, math.floor(top / side)), min(-(-extent.bottom // side), math.floor(bottom / side) + 1))
        columns = range(max(0, math.floor(left / side)), min(-(-extent.right // side), math.floor(right / side) + 1))
        chosen |= {(row, column) for row in rows for column in columns}
    return [
        Box(row * side, column * side, min((row + 1) * side, extent.bottom), min((column + 1) * side, extent.right))
        for row, column in sorted(chosen)
    ]


def _draw(
    shapes: NDArray[np.object_], numbers: NDArray[np.uint8], known: NDArray[np.object_], box: Box
) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.bool_], NDArray[np.bool_]]:
    """Labels, numbers of polygons, where that is known, and where two classes are drawn, of a tile."""
    size, onto = (box.height, box.width), Affine.translation(box.left, box.top)
    window = shapely.box(box.left, box.top, box.right, box.bottom)

    def burn(pairs: list[tuple[BaseGeometry, int]]) -> NDArray[np.int32]:
        burnt: NDArray[np.int32] = (
            rasterize(pairs, size, transform=onto, dtype="int32") if pairs else np.zeros(size, np.int32)
        )
        return burnt

    here = np.flatnonzero(shapely.intersects(shapes, window))
    here = here[np.argsort(-shapely.area(shapes[here]), kind="stable")]  # a small one lies on a large one
    ids = burn([(shapes[i], number) for number, i in enumerate(here, start=1)])
    labels = np.concatenate([[0], numbers[here]]).astype(np.uint8)[ids]
    times = np.zeros(size, np.uint8)
    for number in set(numbers[here].tolist()):
        times += burn([(shapes[i], 1) for i in here if numbers[i] == number]) > 0
    sure = (times == 1) | (burn([(shape, 1) for shape in known if shape.intersects(window)]) > 0) & (times == 0)
    return labels, np.where(labels > 0, ids, 0).astype(np.int32), sure, times > 1


def _bytes(values: NDArray[np.float32], card: ModelCard) -> NDArray[np.uint8]:
    """Network input as 8-bit values again."""
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (card.normalisation.mean, card.normalisation.std))
    pixels: NDArray[np.uint8] = np.clip((values * std + mean) * 255, 0, 255).round().astype(np.uint8)
    return pixels


def _write(folder: Path, name: str, layers: Mapping[str, NDArray[Any]], box: Box, source: FileSource) -> None:
    """Write a tile's layers (bands, H, W), each into the folder of its name."""
    transform = source.grid.transform * Affine.translation(box.left, box.top)
    for kind, bands in layers.items():
        shape = {"count": len(bands), "height": box.height, "width": box.width, "dtype": bands.dtype}
        place = {"crs": source.grid.crs, "transform": transform}
        with rasterio.open(folder / kind / f"{name}.tif", "w", **PROFILE, **shape, **place) as target:
            target.write(bands)


def _split(made: dict[str, NDArray[np.int64]]) -> dict[str, list[str]]:
    """Tiles by split: whole columns, or rows where there is one column, the last with a fifth of what is known."""
    for part in (1, 0):
        lines: dict[str, int] = {}
        for name, counts in made.items():
            line = name.split("_")[part]
            lines[line] = lines.get(line, 0) + int(counts.sum())
        if len(lines) > 1:
            break
    order, held, known = sorted(lines, reverse=True), set(), 0
    for line in order[:-1]:
        if known >= HELD_OUT * sum(lines.values()):
            break
        held.add(line)
        known += lines[line]
    val = [name for name in made if name.split("_")[part] in held]
    return {"train": [name for name in made if name not in val], "val": val}
