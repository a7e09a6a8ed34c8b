"""The published building datasets that the papers measure on, read as their archives unpack.

    whu     3. The cropped image tiles and raster labels/
                train | val | test / image | label / 1.tif ...      4,736, 1,036 and 2,416 tiles
    wbd     Waterloo building dataset/
                train | val | test / image | label / 1.* ...        6,887 tiles in val
    inria   AerialImageDataset/
                train / images | gt / austin1.tif ... vienna36.tif  180 tiles, five cities
                test / images / bellingham1.tif ...                 no labels

How sure that is: WHU's and Inria's trees are those that several public loaders read, and copies of WHU also name the
folders Image and Mask. Inria's authors suggest to take tiles 1 to 5 of each city for validation. WBD is the Waterloo
Building Dataset (Cube Kernel, section 4). Its pixels, the size of its tiles and test/image beside test/label are from
public code and a paper that uses it; that train and val are named likewise is taken for granted, and neither the name
nor the address of its archive is known to us.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rotacube.errors import DatasetDamaged, OptionsRefused
from rotacube.training.datasets.areas import Area, Faults, Split, TileFiles, picture, pictures, read_tile, split_named

_NUMBERED = re.compile(r"\D+(\d+)")


@dataclass(frozen=True)
class Published:
    """A published dataset.

    Attributes:
        title: its name in full.
        gsd: metres a pixel.
        size: pixels of a tile's side. Other releases have other tiles, and other pixels.
        inside: the folder that its archive unpacks to; its parent does as well for a root.
        splits: the folder of each split that has labels.
        folders: how the folders of images and of masks are named in there; the first that is there is read.
        archive: what it is downloaded as; empty where that is not known.
        source: who made it, and where it is.
        licence: what is known of its terms; for none of the three it is enough to give away weights that it taught.
        held_out: the tiles up to this number, of each city, are validation and the others training; 0 where these have
            folders of their own.
    """

    title: str
    gsd: float
    size: int
    inside: str
    splits: Mapping[Split, str]
    folders: tuple[tuple[str, str], ...]
    archive: str
    source: str
    licence: str
    held_out: int = 0


_THREE: dict[Split, str] = {"train": "train", "validation": "val", "test": "test"}

PUBLISHED = {
    "whu": Published(
        title="WHU building dataset, aerial imagery",
        gsd=0.3,
        size=512,
        inside="3. The cropped image tiles and raster labels",
        splits=_THREE,
        folders=(("image", "label"), ("Image", "Mask")),
        archive="3. The cropped aerial image tiles and raster labels.zip",
        source="Ji, Wei and Lu 2019, doi 10.1109/TGRS.2018.2858817; http://gpcv.whu.edu.cn/data/building_dataset.html",
        licence="imagery of Land Information New Zealand, Christchurch; the labels' terms are not known to us",
    ),
    "wbd": Published(
        title="Waterloo Building Dataset",
        gsd=0.12,
        size=512,
        inside="Waterloo building dataset",
        splits=_THREE,
        folders=(("image", "label"),),
        archive="",
        source="He et al. 2022, Geomatica 75(3), 99-115",
        licence="not known to us",
    ),
    "inria": Published(
        title="Inria Aerial Image Labeling",
        gsd=0.3,
        size=5000,
        inside="AerialImageDataset",
        splits={"train": "train", "validation": "train"},
        folders=(("images", "gt"),),
        archive="NEW2-AerialImageDataset.zip",
        source="Maggiori et al. 2017, doi 10.1109/IGARSS.2017.8127684; https://project.inria.fr/aerialimagelabeling",
        licence="made of imagery and footprints in the public domain; the labels' own terms are not known to us",
        held_out=5,
    ),
}


def read_published(root: Path, name: str, split: Split, faults: Faults | None = None) -> Iterator[Area]:
    """The tiles of a dataset's split, one after the other: one of 5000 x 5000 pixels needs some 600 MB while read.

    Args:
        root: the folder that the archive unpacks to, or its parent.
        name: a key of `PUBLISHED`.
        split: as its authors made it.
        faults: where damaged tiles and missing folders are counted; without it they are refused. Folders are looked
            for at once, tiles read when it is their turn.

    Raises:
        OptionsRefused: there is no such dataset or split, or the split has no labels.
        DatasetDamaged: a folder is missing or empty, or a tile is damaged.
    """
    if name not in PUBLISHED:
        raise OptionsRefused(f"There is no published dataset '{name}'. There are: {', '.join(PUBLISHED)}.")
    dataset, split, faults = PUBLISHED[name], split_named(split), faults or Faults()
    if split not in dataset.splits:
        known = " or ".join(dataset.splits)
        raise OptionsRefused(f"The {split} split of '{name}' was published without its labels: take {known}.")
    try:
        tiles = _tiles(root, dataset, split, faults)
    except DatasetDamaged as error:
        faults.add(error)
        tiles = []
    return _areas(name, dataset, tiles, faults)


def _areas(name: str, dataset: Published, tiles: list[TileFiles], faults: Faults) -> Iterator[Area]:
    for files in tiles:
        try:
            area = read_tile(name, files, dataset.gsd)
            high, wide = area.valid.shape
            if high != dataset.size or wide != dataset.size:
                raise DatasetDamaged(
                    f"'{files.image}' has {wide} x {high} pixels, tiles of the {dataset.title} have {dataset.size} x "
                    f"{dataset.size}: of another release, its pixels may not be of {dataset.gsd:g} m."
                )
        except DatasetDamaged as error:
            faults.add(error)
        else:
            yield area


def _tiles(root: Path, dataset: Published, split: Split, faults: Faults) -> list[TileFiles]:
    """Where the split's tiles lie. One of which only the image or the mask is there is found out when it is read."""
    base = root / dataset.inside if (root / dataset.inside).is_dir() else root
    folder = base / dataset.splits[split]
    named = next((pair for pair in dataset.folders if (folder / pair[0]).is_dir()), dataset.folders[0])
    images, masks = (_pictures(folder / part, dataset) for part in named)
    stems = sorted(images.keys() | masks.keys())
    if dataset.held_out:
        stems = [stem for stem in stems if _of_split(stem, folder / named[0], dataset.held_out, split, faults)]
        if not stems:
            raise DatasetDamaged(
                f"The folder '{folder / named[0]}' holds no tile of the {split} split, which parts from the other at "
                f"number {dataset.held_out} of each city."
            )
    return [
        TileFiles(picture(images, folder / named[0], stem), picture(masks, folder / named[1], stem)) for stem in stems
    ]


def _pictures(folder: Path, dataset: Published) -> dict[str, Path]:
    """`pictures`, with a word on where they come from."""
    try:
        return pictures(folder)
    except DatasetDamaged as error:
        origin = f"It comes with '{dataset.archive}'" if dataset.archive else f"It belongs to the {dataset.title}"
        raise DatasetDamaged(f"{error.message} {origin} ({dataset.source}).") from error


def _of_split(stem: str, folder: Path, held_out: int, split: Split, faults: Faults) -> bool:
    """Whether a tile is of this split, by the number in its name."""
    match = _NUMBERED.fullmatch(stem)
    if match is None:
        faults.add(DatasetDamaged(f"'{stem}' in '{folder}' is not named by a city and a number, such as 'austin1'."))
        return False
    return (int(match[1]) <= held_out) == (split == "validation")
