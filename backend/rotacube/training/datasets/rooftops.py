"""The rooftop sets of the project's data folder, each split by place as the folder's README says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
from affine import Affine

from rotacube.errors import DatasetDamaged, OptionsRefused
from rotacube.training.datasets.areas import (
    Area,
    Faults,
    Split,
    TileFiles,
    picture,
    pictures,
    read_tile,
    read_tiles,
    single_roofs,
    split_named,
    web_gsd,
    web_tile,
)
from rotacube.training.datasets.outlines import outlined
from rotacube.training.drawn.scenes import MIX, draw_scene

Read = Callable[[Path, Split, Faults], list[Area]]


def kampala(root: Path, split: Split, faults: Faults) -> list[Area]:
    """Kampala, Uganda: zoom-21 web tiles of 7.5 cm; masks."""
    return _mosaics(root / "kampala", 21, split, faults)


def banepa(root: Path, split: Split, faults: Faults) -> list[Area]:
    """Banepa, Nepal: zoom-19 tiles of 13 cm; masks, and OpenStreetMap's outlines."""
    return _mosaics(root / "banepa", 19, split, faults, root / "banepa" / "buildings_osm.geojson")


def dhaka(root: Path, split: Split, faults: Faults) -> list[Area]:
    """Dhaka, Bangladesh: zoom-19 tiles of 27 cm; terraces, roof by roof."""
    test = {"OAM-393753-226410-19", "OAM-393761-226417-19"}
    validation = {"OAM-393760-226417-19"}
    folder = root / "dhaka"
    images = pictures(folder / "images")
    chosen = {"test": test, "validation": validation, "train": images.keys() - test - validation}[split]
    areas: list[Area] = []
    for name in sorted(chosen):
        place = web_tile(name)
        gsd = web_gsd(19, place[1] + 0.5, 256) if place else 0.27
        areas += read_tiles("dhaka", [_files(folder, images, name)], gsd, faults)
    return areas


def coxsbazar(root: Path, split: Split, faults: Faults) -> list[Area]:
    """Cox's Bazar, Bangladesh: satellite of 0.43 m; scattered huts."""
    folder = root / "coxsbazar"
    images = pictures(folder / "images")
    names = sorted(images)
    chosen = {"test": names[-5:], "validation": names[-10:-5], "train": names[:-10]}[split]
    return read_tiles("coxsbazar", [_files(folder, images, name) for name in chosen], 0.43, faults)


def negatives(root: Path, split: Split, faults: Faults, *, left_out: str = "minsk") -> list[Area]:
    """Land without buildings, at 6 to 12 cm; what may not teach the open model is left out."""
    folder = root / "negatives"
    images = pictures(folder / "images")
    areas: list[Area] = []
    for name in _listed(folder, split):
        if not left_out or not name.startswith(left_out):
            gsd = 0.06 if name.startswith("caliterra") else 0.1
            areas += read_tiles("negatives", [TileFiles(picture(images, folder / "images", name))], gsd, faults)
    return areas


def all_negatives(root: Path, split: Split, faults: Faults) -> list[Area]:
    """Land without buildings, all of it."""
    return negatives(root, split, faults, left_out="")


def _listed_set(name: str, gsd: float) -> Read:
    def read(root: Path, split: Split, faults: Faults) -> list[Area]:
        folder = root / name
        images = pictures(folder / "images")
        return read_tiles(name, [_files(folder, images, tile) for tile in _listed(folder, split)], gsd, faults)

    return read


class RoofSet(NamedTuple):
    """A rooftop set: how it is read, and whether weights that it taught may be given away."""

    read: Read
    open: bool


SETS = {
    "kampala": RoofSet(kampala, True),
    "banepa": RoofSet(banepa, True),
    "dhaka": RoofSet(dhaka, True),
    "negatives": RoofSet(negatives, True),
    "south_tyrol": RoofSet(_listed_set("south_tyrol", 0.138), False),
    "enschede": RoofSet(_listed_set("enschede", 0.08), False),
    "sofia": RoofSet(_listed_set("sofia", 0.12), False),
    "coxsbazar": RoofSet(coxsbazar, False),
    "all_negatives": RoofSet(all_negatives, False),
}


def read_rooftops(root: Path, name: str, split: Split, faults: Faults | None = None) -> list[Area]:
    """The areas of a set's split.

    Args:
        root: the data folder, which holds `rooftop`.
        name: a key of `SETS`.
        split: by place; neighbours never lie in two.
        faults: where damaged tiles are counted; without it they are refused.

    Raises:
        OptionsRefused: there is no such set.
        DatasetDamaged: the set's folder is missing or not whole.
    """
    if name not in SETS:
        raise OptionsRefused(f"There is no rooftop set '{name}'. There are: {', '.join(SETS)}.")
    return SETS[name].read(root / "rooftop", split_named(split), faults or Faults())


def sets_at(root: Path) -> list[str]:
    """The sets whose folders are there."""
    return [name for name in SETS if (root / "rooftop" / name).is_dir()]


def unlabelled_areas(root: Path, name: str, faults: Faults) -> list[Area]:
    """A set's imagery of which nothing is known: the web tiles in its folder `unlabelled`, where it has one."""
    folder = root / "rooftop" / name / "unlabelled"
    areas: list[Area] = []
    for stem, path in pictures(folder).items() if folder.is_dir() else ():
        if place := web_tile(stem):
            _, row, zoom = place
            areas += read_tiles(name, [TileFiles(path)], 1.0, faults)
            size = areas[-1].valid.shape[0]
            areas[-1] = replace(areas[-1], gsd=web_gsd(zoom, row + 0.5, size), labelled=False)
    return areas


def drawn_areas(count: int, size: int, gsd: float, seed: int = 0, *, mix: bool = True) -> Iterator[Area]:
    """Scenes of our own generator: with `mix` terraces, blocks, car parks and yards among them."""
    for index in range(count):
        scene = draw_scene(seed + index, size, size, gsd, setting=MIX[index % len(MIX)] if mix else None)
        yield Area("drawn", scene.image, scene.ids > 0, scene.ids, ~scene.nodata, gsd)


def _listed(folder: Path, split: Split) -> list[str]:
    """The names in the set's `splits.json`."""
    path = folder / "splits.json"
    try:
        names: list[str] = json.loads(path.read_text(encoding="utf-8"))[split.replace("validation", "val")]
    except (OSError, ValueError, KeyError) as error:
        raise DatasetDamaged(f"'{path}' is missing or does not name its split '{split}'.") from error
    return names


def _files(folder: Path, images: dict[str, Path], name: str) -> TileFiles:
    valid = folder / "valid" / f"{name}.png"
    return TileFiles(
        picture(images, folder / "images", name),
        folder / "masks" / f"{name}.png",
        folder / "instances" / f"{name}.png",
        valid if valid.parent.is_dir() else None,
    )


def _mosaics(folder: Path, zoom: int, split: Split, faults: Faults, outlines: Path | None = None) -> list[Area]:
    """Web tiles put together where they adjoin; of the distinct columns the last fifth is test, the one before
    validation.
    """
    tiles: dict[tuple[int, int], Path] = {}
    for name, path in pictures(folder / "images").items():
        place = web_tile(name)
        if place and place[2] == zoom:
            tiles[place[:2]] = path
    columns = sorted({x for x, _ in tiles})
    fifth = round(len(columns) / 5)
    chosen = {"train": columns[: -2 * fifth], "validation": columns[-2 * fifth : -fifth], "test": columns[-fifth:]}
    areas = []
    for run in _runs(chosen[split]):
        part = {address: path for address, path in tiles.items() if address[0] in run}
        areas += _mosaic(folder, part, zoom, faults, outlines)
    return areas


def _runs(columns: list[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for x in columns:
        if runs and runs[-1][-1] == x - 1:
            runs[-1].append(x)
        else:
            runs.append([x])
    return runs


def _mosaic(
    folder: Path, tiles: dict[tuple[int, int], Path], zoom: int, faults: Faults, outlines: Path | None
) -> list[Area]:
    left, top = (min(address[i] for address in tiles) for i in (0, 1))
    wide, high = (max(address[i] for address in tiles) - low + 1 for i, low in ((0, left), (1, top)))
    parts: dict[tuple[int, int], Area] = {}
    for address, path in tiles.items():
        try:
            parts[address] = read_tile(folder.name, TileFiles(path, folder / "masks" / f"{path.stem}.png"), 1.0)
        except DatasetDamaged as error:
            faults.add(error)
    if not parts:
        return []
    size = next(iter(parts.values())).valid.shape[0]
    image = np.zeros((3, high * size, wide * size), np.uint8)
    roof, valid = np.zeros((2, high * size, wide * size), bool)
    for (x, y), tile in parts.items():
        place = np.s_[(y - top) * size : (y - top + 1) * size, (x - left) * size : (x - left + 1) * size]
        image[(slice(None), *place)], roof[place], valid[place] = tile.image, tile.roof, tile.valid
    gsd = web_gsd(zoom, top + high / 2, size)
    if outlines is None:
        ids = single_roofs(roof, gsd)
    else:
        (x, y), path = next(iter(tiles.items()))
        with rasterio.open(path) as source:
            first = source.transform
            crs = source.crs
        ids = outlined(outlines, first * Affine.translation((left - x) * size, (top - y) * size), crs, roof)
    return [Area(folder.name, image, roof, ids, valid, gsd)]
