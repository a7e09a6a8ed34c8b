"""A labelled piece of ground, and how one is read from files: every fault of the files is a sentence."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import rasterio
import torch.nn.functional as F
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from skimage.measure import label, regionprops
from torch import Tensor

from rotacube.errors import DatasetDamaged, OptionsRefused, first_line
from rotacube.files import in_one_step

T = TypeVar("T")
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
IMAGES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
LARGEST_ROOF = 400.0
"""Square metres from which on a piece of a mask is taken for several roofs, where nobody told them apart."""
SOLID = 0.85
"""The share of its convex hull that a single roof covers, where nobody told roofs apart."""
_WEB_TILE = re.compile(r"OAM-(\d+)-(\d+)-(\d+)$")
_EQUATOR = 2 * math.pi * 6378137.0


@dataclass(frozen=True)
class Area:
    """A labelled piece of ground.

    Attributes:
        name: its place.
        image: (3, H, W) uint8.
        labels: (H, W) uint8, the class of each pixel; 1 is roof where single roofs are labelled.
        ids: (H, W) int32, a number a roof from 1 on; 0 elsewhere, and on roof of which nobody knows which one it is.
        valid: (H, W) bool; elsewhere nothing is known.
        gsd: metres a pixel.
        labelled: whether labels and ids say anything.
        imagery: (H, W) bool, where there is any, though perhaps nothing is known; None: where `valid` is.
    """

    name: str
    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    ids: NDArray[np.int32]
    valid: NDArray[np.bool_]
    gsd: float
    labelled: bool = True
    imagery: NDArray[np.bool_] | None = None

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Where there is imagery."""
        return self.valid if self.imagery is None else self.imagery

    def planes(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> dict[str, Any]:
        """Its layers of (H, W), changed, as `dataclasses.replace` takes them."""
        return {name: change(getattr(self, name)) for name in ("labels", "ids", "valid")} | {
            "imagery": None if self.imagery is None else change(self.imagery)
        }

    @property
    def roof(self) -> NDArray[np.bool_]:
        """Where there is a roof, or another class than the first."""
        roof: NDArray[np.bool_] = self.labels > 0
        return roof

    @property
    def certain(self) -> NDArray[np.bool_]:
        """Where it is known which roof a pixel belongs to, if to any."""
        certain: NDArray[np.bool_] = self.valid & ((self.ids > 0) == self.roof)
        return certain


@dataclass(frozen=True)
class TileFiles:
    """Where one tile lies: its image, its mask (None: there is no roof), its roofs one by one, what is known of it."""

    image: Path
    mask: Path | None = None
    instances: Path | None = None
    valid: Path | None = None


class LabelledSet(NamedTuple):
    """A set of labelled imagery, split by place: neighbours never lie in two splits.

    Attributes:
        folder: below the data folder, that `read` is given.
        read: the areas of a split.
        classes: their names, by the numbers in the areas' labels.
        open: whether weights that it taught may be given away.
    """

    folder: str
    read: Callable[[Path, Split, Faults], list[Area]]
    classes: tuple[str, ...]
    open: bool


@dataclass
class Faults:
    """What is wrong with a dataset's files: raised at once, or counted where a recipe says that they are skipped.

    Attributes:
        skip: whether damaged tiles are left out.
        found: the sentences.
    """

    skip: bool = False
    found: list[str] = field(default_factory=list)

    def add(self, error: DatasetDamaged) -> None:
        """Take note of a damaged tile.

        Raises:
            DatasetDamaged: it is not to be skipped.
        """
        if not self.skip:
            raise error
        self.found.append(error.message)

    def sentence(self) -> str:
        """How many there are, and the first."""
        return f"{len(self.found)} tiles were left out; the first: {self.found[0]}" if self.found else ""


def data_root() -> Path | None:
    """The folder with the imagery: `ROTACUBE_DATA`, or `../shared/data` beside a checkout; None if there is none."""
    named = os.environ.get("ROTACUBE_DATA")
    path = Path(named) if named else Path(__file__).resolve().parents[5] / "shared" / "data"
    return path if (path / "rooftop").is_dir() else None


def known_root() -> Path:
    """`data_root`, where there has to be one.

    Raises:
        OptionsRefused: there is none.
    """
    root = data_root()
    if root is None:
        raise OptionsRefused("The labelled imagery is not there: set ROTACUBE_DATA to the folder that holds 'rooftop'.")
    return root


def split_named(name: str) -> Split:
    """A split by its name.

    Raises:
        OptionsRefused: there is no such split.
    """
    for split in SPLITS:
        if split == name:
            return split
    raise OptionsRefused(f"There is no split '{name}'. There are: {', '.join(SPLITS)}.")


def listed(folder: Path, split: Split) -> list[str]:
    """The names in a set's `splits.json`.

    Raises:
        DatasetDamaged: it is missing or damaged.
    """
    path = folder / "splits.json"
    try:
        names: list[str] = json.loads(path.read_text(encoding="utf-8"))[split.replace("validation", "val")]
    except (OSError, ValueError, KeyError) as error:
        raise DatasetDamaged(f"'{path}' is missing or does not name its split '{split}'.") from error
    return names


def pictures(folder: Path) -> dict[str, Path]:
    """The images of a folder by their names without suffix.

    Raises:
        DatasetDamaged: there is no such folder, or it holds none.
    """
    if not folder.is_dir():
        raise DatasetDamaged(f"The dataset has no folder '{folder}'. Check that it was unpacked whole.")
    found = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in IMAGES}
    if not found:
        raise DatasetDamaged(f"The folder '{folder}' holds no image ({', '.join(IMAGES)}).")
    return found


def picture(found: Mapping[str, Path], folder: Path, name: str) -> Path:
    """One of a folder's `pictures`; one that is missing is asked for, by its name, when it is read."""
    return found.get(name, folder / f"{name}.*")


def read_tile(name: str, files: TileFiles, gsd: float, classes: int = 0) -> Area:
    """Read one tile.

    Args:
        name: its place.
        files: a mask of roofs is 0 and 255, or 0 and 1, one of classes their numbers, and 255 where nobody knows;
            instances are numbers a roof; valid is 0 where nothing is known. A fourth band of the image is its alpha,
            without which there is no imagery either where valid is 0.
        gsd: metres a pixel.
        classes: how many there are; 0: the mask is one of roofs.

    Raises:
        DatasetDamaged: a file is missing or truncated, of another size, or holds values that mean nothing.
    """
    bands = read_image(files.image)
    shape = (bands.shape[1], bands.shape[2])
    labels = np.zeros(shape, np.uint8)
    known = np.ones(shape, bool) if files.valid is None else read_layer(files.valid, shape) > 0
    imagery = bands[3] > 127 if len(bands) == 4 else known
    valid, ids = known & imagery, None
    if files.mask is not None:
        values = read_layer(files.mask, shape)
        unknown = sorted(set(np.unique(values).tolist()) - {*range(classes or 2), 255})
        if unknown:
            means = (
                f"classes are 0 to {classes - 1}, 255 is unknown" if classes else "a roof is 255 or 1, all else is 0"
            )
            raise DatasetDamaged(f"The mask '{files.mask}' holds the value {unknown[0]}; {means}.")
        if classes:
            valid &= values < 255
        labels = np.where(values < 255, values, 0 if classes else 1).astype(np.uint8)
    if files.instances is not None:
        ids = read_layer(files.instances, shape).astype(np.int32)
        if files.mask is None:
            labels = (ids > 0).astype(np.uint8)
        ids[labels == 0] = 0
    elif classes:
        ids = np.zeros(shape, np.int32)
    if ids is None:
        ids = single_roofs(labels > 0, gsd)
    return Area(name, bands[:3], labels, ids, valid, gsd, imagery=imagery)


def read_tiles(name: str, tiles: Iterable[TileFiles], gsd: float, faults: Faults, classes: int = 0) -> list[Area]:
    """Read tiles that lie apart from each other, as `read_tile` does; damaged ones are the business of `faults`."""
    areas = []
    for files in tiles:
        try:
            areas.append(read_tile(name, files, gsd, classes))
        except DatasetDamaged as error:
            faults.add(error)
    return areas


def single_roofs(roof: NDArray[np.bool_], gsd: float) -> NDArray[np.int32]:
    """The pieces of a mask that are likely one roof each, numbered: neither large nor ragged.

    Args:
        roof: (H, W).
        gsd: metres a pixel.
    """
    pieces: NDArray[np.int32] = label(roof, connectivity=1).astype(np.int32)
    for piece in regionprops(pieces):
        if piece.area * gsd**2 > LARGEST_ROOF or piece.solidity < SOLID:
            pieces[piece.slice][piece.image] = 0
    return pieces


def web_tile(stem: str) -> tuple[int, int, int] | None:
    """Column, row and zoom of a web tile, out of its file's name."""
    match = _WEB_TILE.match(stem)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def web_gsd(zoom: int, row: float, size: int) -> float:
    """Metres on the ground that a pixel of a web tile has, in the middle of this row of tiles of `size` pixels."""
    middle = math.pi * (1 - 2 * row / 2**zoom)
    gsd: float = _EQUATOR / 2**zoom / size / math.cosh(middle)
    return gsd


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample (C, H, W) to (C, *size), averaging where it shrinks."""
    return F.interpolate(image[None], size=size, mode="bilinear", align_corners=False, antialias=True)[0]


def read_picture(path: Path) -> NDArray[np.uint8]:
    """The bands of an image, (bands, H, W).

    Raises:
        DatasetDamaged: it is missing, truncated or no image.
    """
    if not path.is_file():
        raise DatasetDamaged(f"The file '{path}' is missing from the dataset.")
    try:
        with rasterio.open(path) as source:
            bands: NDArray[np.uint8] = source.read()
            return bands
    except (RasterioError, OSError, ValueError) as error:
        raise DatasetDamaged(
            f"The file '{path}' cannot be read ({first_line(error)}): it is truncated or no image."
        ) from error


def write_picture(path: Path, bands: NDArray[np.uint8]) -> None:
    """Write (bands, H, W) as PNG, or as JPEG where the name says so.

    Raises:
        OutputUnwritable: the file cannot be written.
    """
    count, height, width = bands.shape
    driver = "JPEG" if path.suffix == ".jpg" else "PNG"
    with (
        in_one_step(path, make_folder=True) as new,
        rasterio.open(new, "w", driver=driver, width=width, height=height, count=count, dtype="uint8") as target,
    ):
        target.write(bands)


def read_image(path: Path) -> NDArray[np.uint8]:
    """The bands of an image of three of them, or of four with an alpha, (bands, H, W).

    Raises:
        DatasetDamaged: as `read_picture` says, or it has other bands.
    """
    bands = read_picture(path)
    if len(bands) not in (3, 4) or bands.dtype != np.uint8:
        raise DatasetDamaged(f"The image '{path}' has to have three bands of 8 bits, or four with an alpha.")
    return bands


def read_layer(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The first band of a file that has to have this size.

    Raises:
        DatasetDamaged: as `read_picture` says, or it has another size.
    """
    band: NDArray[np.uint8] = read_picture(path)[0]
    check_size(path, band, shape)
    return band


def check_size(path: Path, band: NDArray[np.uint8], shape: tuple[int, ...]) -> None:
    """Check that what was read from a file is as large as its image.

    Raises:
        DatasetDamaged: it is not.
    """
    if band.shape != shape:
        raise DatasetDamaged(
            f"'{path}' has {band.shape[1]} x {band.shape[0]} pixels, its image {shape[1]} x {shape[0]}."
        )


def by_fifths(every: Sequence[T], split: Split) -> Sequence[T]:
    """What of a row of neighbours is of a split: the last fifth is test, the one before validation."""
    fifth = round(len(every) / 5)
    parts = {"train": every[: -2 * fifth], "validation": every[-2 * fifth : -fifth], "test": every[-fifth:]}
    return parts[split]
