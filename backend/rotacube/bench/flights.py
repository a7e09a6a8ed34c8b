"""Made flights over ground that is known, and a made model that errs as models do, for the bench of frames.

Ground: patches of three classes, smooth noise cut off, in shares that differ from place to place. A frame's colours are
what the model makes of each class there: how well it tells the class, at this place more or less; errors in clumps, in
part the same in all frames; and a shift, of the place and of the frame. Its card is measured at other places of the
same kind, one frame each.

Where a frame's pixels lie is found by geodesics on the ellipsoid, without a line of what is measured.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pyproj import Geod, Transformer
from scipy import ndimage
from scipy.interpolate import RegularGridInterpolator
from torch import Tensor, nn

from rotacube.models.card import Normalisation
from rotacube.models.store import LoadedModel, find_model

BASE = "plants-potato"
"""The model whose card is taken, with its three classes."""
KINDS = 3
CRS = "EPSG:32632"
GSD = 0.05
FILM = 24
"""Millimetres, as 35 mm film."""
HOME = (9.4, 47.3)
LEVELS, MIDDLE = 14.0, 127.5
"""Brightness of a logit of 1, and of 0."""
SIDE = 160
"""Pixels a side of a place of validation."""
EVERY = 16
"""Pixels between those whose place is found by geodesics; the others lie between."""

Array = NDArray[np.float64]
Bytes = NDArray[np.uint8]


class AsColours(nn.Module):
    """Takes the colours for logits."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 3, H, W)."""
        return x.float()


@dataclass(frozen=True)
class World:
    """A kind of place.

    Attributes:
        usual: shares of the classes.
        same: how little shares differ from place to place (concentration of their Dirichlet distribution).
        skill: how far classes lie apart in what the model sees, in deviations of its noise.
        spread, of_frame: standard deviations of the shifts of log-odds between places, and between frames of one.
        size, error: pixels over which patches, and errors, are smooth.
        grain: noise of pixels, levels.
        errors: how large errors are; 0 for a model without any.
    """

    usual: tuple[float, ...] = (0.62, 0.28, 0.1)
    same: float = 25.0
    skill: float = 3.4
    spread: float = 0.4
    of_frame: float = 0.15
    size: float = 5.0
    error: float = 3.0
    grain: float = 6.0
    errors: float = 1.0


@dataclass(frozen=True)
class Place:
    """Ground, and what a model makes of it.

    Attributes:
        world: the kind of place.
        truth: (H, W), the class of each pixel of `GSD`.
        common: (K, H, W), errors that all frames have alike.
        alike: their share in the variance of all errors.
        shift, gain: (K, 1, 1), the place's own.
    """

    world: World
    truth: NDArray[np.int64]
    common: Array
    alike: float
    shift: Array
    gain: Array

    @classmethod
    def drawn(cls, world: World, side: int, alike: float, rng: np.random.Generator) -> Place:
        """A place of so many pixels a side."""
        truth, share = np.zeros((side, side), np.int64), rng.dirichlet(np.array(world.usual) * world.same)
        for kind, smooth in enumerate(_smooth(KINDS - 1, (side, side), world.size, rng), start=1):
            there = int(share[kind] * side**2)
            if there:
                free = np.where(truth == 0, smooth, -np.inf)
                truth[free >= np.partition(free.ravel(), -there)[-there]] = kind
        gain = world.skill * np.exp(0.3 * world.spread * rng.standard_normal((KINDS, 1, 1)))
        shift = world.spread * rng.standard_normal((KINDS, 1, 1))
        return cls(world, truth, _smooth(KINDS, (side, side), world.error, rng), alike, shift, gain)

    def seen(self, rows: NDArray[np.int64], columns: NDArray[np.int64], rng: np.random.Generator) -> Bytes:
        """What a frame shows (H, W, 3) whose pixels lie there."""
        world = self.world
        own = _smooth(KINDS, rows.shape, world.error, rng)
        errors = self.alike**0.5 * self.common[:, rows, columns] + (1 - self.alike) ** 0.5 * own
        told = world.errors * errors + self.gain * (np.arange(KINDS)[:, None, None] == self.truth[rows, columns])
        shift = self.shift + world.of_frame * rng.standard_normal((KINDS, 1, 1))
        logits = world.skill * told + np.log(world.usual)[:, None, None] + shift
        levels = MIDDLE + LEVELS / 2 * (logits - logits.mean(0)) + world.grain * rng.standard_normal(logits.shape)
        picture: Bytes = np.clip(np.rint(levels), 0, 255).astype(np.uint8).transpose(1, 2, 0)
        return picture


def _smooth(count: int, shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> Array:
    noise = ndimage.gaussian_filter(rng.standard_normal((count, *shape)), (0, sigma, sigma), mode="wrap")
    smooth: Array = noise / noise.std((1, 2), keepdims=True)
    return smooth


def learned(world: World, places: int, alike: float, rng: np.random.Generator) -> LoadedModel:
    """The model of such places, with its temperature and its confusion from so many of them, a frame each."""
    rows, columns = np.indices((SIDE, SIDE))
    some = [Place.drawn(world, SIDE, alike, rng) for _ in range(places)]
    levels = [(place.seen(rows, columns, rng).transpose(2, 0, 1) - MIDDLE, place.truth) for place in some]
    temperatures = LEVELS * np.exp(np.linspace(-1.5, 1.5, 25))

    def loss(temperature: float) -> float:
        parts = [(values[:, ::5, ::5] / temperature, truth[None, ::5, ::5]) for values, truth in levels]
        each = [np.logaddexp.reduce(v, 0) - np.take_along_axis(v, t, 0)[0] for v, t in parts]
        return float(np.mean([part.mean() for part in each]))

    tables = {}
    for number, (values, truth) in enumerate(levels):
        pairs = np.bincount((truth * KINDS + values.argmax(0)).ravel(), minlength=KINDS**2).reshape(KINDS, KINDS)
        tables[f"place {number}"] = (pairs / np.maximum(1, pairs.sum(1, keepdims=True))).round(6).tolist()
    return _model(min(temperatures, key=loss), tables)


def _model(temperature: float, tables: dict[str, list[list[float]]]) -> LoadedModel:
    card = find_model(BASE)[0]
    scaled = Normalisation(scale=255.0, mean=[MIDDLE / 255] * KINDS, std=[temperature / 255] * KINDS)
    changed = {"gsd": GSD, "tile": 256, "overlap": 32, "normalisation": scaled, "confusion": tables, "notice": ""}
    return LoadedModel(card.model_copy(update=changed), AsColours().eval(), Path())


def exact() -> tuple[World, LoadedModel]:
    """Places whose frames show the truth, and a model for them."""
    world = World(spread=0.0, of_frame=0.0, errors=0.0)
    return world, _model(LEVELS, {"everywhere": np.eye(KINDS).tolist()})


@dataclass(frozen=True)
class Plan:
    """A flight to and fro.

    Attributes:
        size: columns and rows of its frames.
        lines, shots: how many lines, and frames in each.
        forward, side: shares of overlap along a line, and between lines.
        yaw: degrees, of the first line.
        noise: standard deviations of what the tags say: pixels of the position, degrees of yaw, share of the height.
    """

    size: tuple[int, int] = (192, 144)
    lines: int = 2
    shots: int = 5
    forward: float = 0.7
    side: float = 0.7
    yaw: float = 0.0
    noise: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def focal(self) -> float:
        """Pixels; the images are of 4:3."""
        return float(FILM / np.hypot(36, 24) * np.hypot(*self.size))

    @property
    def reach(self) -> int:
        """Pixels a side of ground on which the whole flight lies."""
        long = self.size[1] * (1 + (self.shots - 1) * (1 - self.forward))
        wide = self.size[0] * (1 + (self.lines - 1) * (1 - self.side))
        return int(1.15 * np.hypot(long, wide)) + 16


@dataclass
class Ground:
    """Where a place lies on the map: the upper left corner of its pixels, from the flight's middle."""

    place: Place
    corner: tuple[float, float] = field(init=False)

    def __post_init__(self) -> None:
        x, y = Transformer.from_crs("EPSG:4326", CRS, always_xy=True).transform(*HOME)
        half = len(self.place.truth) / 2 * GSD
        self.corner = x - half, y + half

    def at(self, x: Array, y: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows and columns of the pixels in which coordinates lie."""
        last = len(self.place.truth) - 1
        rows, columns = (self.corner[1] - y) / GSD, (x - self.corner[0]) / GSD
        return (
            np.clip(np.floor(rows), 0, last).astype(np.int64),
            np.clip(np.floor(columns), 0, last).astype(np.int64),
        )


def fly(plan: Plan, place: Place, folder: Path, rng: np.random.Generator) -> Ground:
    """Write the frames of a flight over a place, of `plan.reach` pixels a side."""
    folder.mkdir(parents=True)
    ground, altitude = Ground(place), GSD * plan.focal
    for line in range(plan.lines):
        for shot in range(plan.shots):
            north = (shot - (plan.shots - 1) / 2) * plan.size[1] * GSD * (1 - plan.forward)
            east = (line - (plan.lines - 1) / 2) * plan.size[0] * GSD * (1 - plan.side)
            (lon,), (lat,) = offset(HOME, plan.yaw, np.array([east]), np.array([north]))
            yaw = plan.yaw + 180 * (line % 2)
            pixels = place.seen(*ground.at(*_seen(plan.size, (lon, lat), yaw)), rng)
            off, degrees, share = (noise * rng.standard_normal(2) for noise in plan.noise)
            (lon,), (lat,) = offset((lon, lat), 0.0, off[:1] * GSD, off[1:] * GSD)
            tags = {"GpsLongitude": lon, "GpsLatitude": lat, "RelativeAltitude": altitude * (1 + share[0])}
            tags |= {"GimbalYawDegree": yaw + degrees[0], "GimbalPitchDegree": -90.0, "GimbalRollDegree": 0.0}
            save(folder / f"{line}_{shot:03d}.jpg", pixels, tags)
    return ground


def offset(start: tuple[float, float], yaw: float, right: Array, ahead: Array) -> tuple[Array, Array]:
    """Longitudes and latitudes (N,) of points so many metres right and ahead of one, of someone who looks along yaw."""
    bearing = yaw + np.degrees(np.arctan2(right, ahead))
    begin = np.full(right.size, start[0]), np.full(right.size, start[1])
    found: tuple[Array, Array] = Geod(ellps="WGS84").fwd(*begin, bearing, np.hypot(right, ahead))[:2]
    return found


def _seen(size: tuple[int, int], above: tuple[float, float], yaw: float) -> list[Array]:
    """Coordinates x and y (rows, columns) of the pixels of a frame that looks straight down."""
    width, height = size
    columns, rows = np.linspace(0, width, width // EVERY + 1), np.linspace(0, height, height // EVERY + 1)
    right, ahead = np.meshgrid((columns - width / 2) * GSD, (height / 2 - rows) * GSD)
    known = Transformer.from_crs("EPSG:4326", CRS, always_xy=True).transform(
        *offset(above, yaw, right.ravel(), ahead.ravel())
    )
    spots = tuple(np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij"))
    return [RegularGridInterpolator((rows, columns), np.reshape(values, right.shape))(spots) for values in known]


def save(path: Path, pixels: Bytes, tags: dict[str, Any]) -> None:
    """Write a frame (H, W, 3) with XMP as DJI has it."""
    exif = Image.Exif()
    exif[0x010F] = "DJI"
    exif.get_ifd(0x8769)[0xA405] = FILM
    attributes = "".join(f' d:{name}="{value:+.10f}"' for name, value in tags.items())
    xmp = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description xmlns:d="http://www.dji.com/drone-dji/1.0/"{attributes}/></rdf:RDF></x:xmpmeta>'
    )
    Image.fromarray(pixels).save(path, quality=95, subsampling=0, exif=exif.tobytes(), xmp=xmp.encode())
