"""The rooftop sets of the project's data folder, each split by place as the folder's README says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from rotacube.errors import DatasetDamaged
from rotacube.training.datasets.areas import (
    Area,
    Faults,
    LabelledSet,
    Split,
    TileFiles,
    by_fifths,
    listed,
    picture,
    pictures,
    read_tile,
    read_tiles,
    single_roofs,
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
    for name in listed(folder, split):
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
        return read_tiles(name, [_files(folder, images, tile) for tile in listed(folder, split)], gsd, faults)

    return read


def _rooftops(read: Read, *, free: bool) -> LabelledSet:
    return LabelledSet("rooftop", read, ("background", "roof"), free)


HALLS = 1.5
"""How much coarser scenes with halls are drawn, so that a hall and its yard are in one."""
ROOFTOPS = {
    "kampala": _rooftops(kampala, free=True),
    "banepa": _rooftops(banepa, free=True),
    "dhaka": _rooftops(dhaka, free=True),
    "negatives": _rooftops(negatives, free=True),
    "south_tyrol": _rooftops(_listed_set("south_tyrol", 0.138), free=False),
    "enschede": _rooftops(_listed_set("enschede", 0.08), free=False),
    "sofia": _rooftops(_listed_set("sofia", 0.12), free=False),
    "coxsbazar": _rooftops(coxsbazar, free=False),
    "all_negatives": _rooftops(all_negatives, free=False),
}


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
    """Scenes of our own generator: with `mix` terraces, blocks, halls, water, car parks and yards among them."""
    for index in range(count):
        setting = MIX[index % len(MIX)] if mix else None
        pixel = gsd * (HALLS if setting == "halls" else 1)
        scene = draw_scene(seed + index, size, size, pixel, setting=setting)
        yield Area("drawn", scene.image, (scene.ids > 0).astype(np.uint8), scene.ids, ~scene.nodata, pixel)


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
    areas = []
    for run in _runs(by_fifths(columns, split)):
        part = {address: path for address, path in tiles.items() if address[0] in run}
        areas += _mosaic(folder, part, zoom, faults, outlines)
    return areas


def _runs(columns: Sequence[int]) -> list[list[int]]:
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
    labels = np.zeros((high * size, wide * size), np.uint8)
    valid = np.zeros(labels.shape, bool)
    for (x, y), tile in parts.items():
        place = np.s_[(y - top) * size : (y - top + 1) * size, (x - left) * size : (x - left + 1) * size]
        image[(slice(None), *place)], labels[place], valid[place] = tile.image, tile.labels, tile.valid
    gsd = web_gsd(zoom, top + high / 2, size)
    if outlines is None:
        ids = single_roofs(labels > 0, gsd)
    else:
        (x, y), path = next(iter(tiles.items()))
        with rasterio.open(path) as source:
            first = source.transform
            crs = source.crs
        ids = outlined(outlines, first * Affine.translation((left - x) * size, (top - y) * size), crs, labels > 0)
    return [Area(folder.name, image, labels, ids, valid, gsd)]
