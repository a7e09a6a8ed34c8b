"""Synthetic orthophotos with exact roof masks.

A scene is painted in metres: streets divide it into blocks and parcels, parcels hold buildings, gardens or fields, and
every object also writes its height, from which one sun casts all shadows. Labels follow the roof outline as a cadastre
draws it: a crown that hangs over a roof does not cut the label, and neither does a shadow. Here streets and parcels are
laid out; the catalogue of what they hold, one short function a thing, is in `ground`, `roofs` and `rows`. As a command
it draws one scene:

    python -m rotacube.training.drawn.scenes OUT.tif --seed 1 --height 1536 --width 2048
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.transform import from_origin

from rotacube.errors import OutputUnwritable
from rotacube.training.drawn.canvas import Canvas, Patch, Rect, photograph
from rotacube.training.drawn.ground import Crown, car_park, street, traffic, tree, works, yard
from rotacube.training.drawn.halls import halls
from rotacube.training.drawn.roofs import building
from rotacube.training.drawn.rows import blocks, terraces
from rotacube.training.drawn.water import water


@dataclass(frozen=True)
class Scene:
    """One synthetic orthophoto.

    Attributes:
        image: RGB of shape (3, H, W); 0 where there is no data.
        ids: shape (H, W), a number a roof from 1 on, also where roofs touch; 0 elsewhere and where there is no data.
        nodata: shape (H, W), True where there is no data.
    """

    image: NDArray[np.uint8]
    ids: NDArray[np.int32]
    nodata: NDArray[np.bool_]

    @property
    def mask(self) -> NDArray[np.uint8]:
        """1 on roofs, else 0, of shape (H, W)."""
        return (self.ids > 0).astype(np.uint8)


class _Lots(NamedTuple):
    """How parcels are built on: shares between 0 and 1, parcel sides in metres, jitter in radians."""

    built: float
    flat: float
    parcel: float
    fill: tuple[float, float]
    jitter: float
    field: float
    hall: float


class _Setting(NamedTuple):
    """A neighbourhood: metres between its streets, their widths from the first cut on, what fills a block, trees per
    are and whether cars drive in it.
    """

    block: float
    widths: tuple[float, ...]
    fill: Callable[[Canvas, Rect], list[Crown]]
    trees: float
    traffic: bool


def _cut(canvas: Canvas, rect: Rect, limit: float, widths: tuple[float, ...]) -> Iterator[tuple[Rect, float]]:
    """Cut by gaps of the given widths (level by level, the last one repeated) until below `limit` metres.

    Yields (rectangle, width): width 0 for what remains between the gaps, else the gap itself.
    """
    u0, v0, u1, v1 = rect
    if abs(complex(min(max(0.0, u0), u1), min(max(0.0, v0), v1))) > canvas.reach * 1.15:
        return  # outside the image
    if max(u1 - u0, v1 - v0) < limit * canvas.rng.uniform(0.8, 1.3):
        yield rect, 0.0
        return
    share, half = canvas.rng.uniform(0.36, 0.64), widths[0] * canvas.rng.uniform(0.4, 0.6)
    if u1 - u0 > v1 - v0:
        cut = u0 + share * (u1 - u0)
        gap, parts = (cut - half, v0, cut + half, v1), ((u0, v0, cut - half, v1), (cut + half, v0, u1, v1))
    else:
        cut = v0 + share * (v1 - v0)
        gap, parts = (u0, cut - half, u1, cut + half), ((u0, v0, u1, cut - half), (u0, cut + half, u1, v1))
    if half:
        yield gap, 2 * half
    for part in parts:
        yield from _cut(canvas, part, limit, widths[1:] or widths)


def _parcel(canvas: Canvas, rect: Rect, lots: _Lots, field: bool) -> None:
    """One parcel: its ground, perhaps a building and a shed."""
    rng = canvas.rng
    yard(canvas, rect, "field" if field else str(rng.choice(["grass", "paved", "soil"], p=(0.35, 0.35, 0.3))))
    if field or rng.random() > lots.built:
        return
    half = np.array([rect[2] - rect[0], rect[3] - rect[1]]) / 2
    middle = complex(rect[0] + rect[2], rect[1] + rect[3]) / 2
    fill = rng.uniform(*lots.fill, 2)
    centre, grow = canvas.place(middle + complex(*((1 - fill) * half * rng.uniform(-0.8, 0.8, 2))))
    angle, (a, b) = float(np.angle(grow)) + rng.normal(0, lots.jitter), (fill * half * abs(grow)).tolist()
    building(canvas, complex(centre), angle, a, b, lots.flat)
    if rng.random() < 0.5:
        at, _ = canvas.place(middle + complex(*(rng.choice((-0.7, 0.7), 2) * half)))
        building(canvas, complex(at), angle, rng.uniform(1.4, 3), rng.uniform(1.2, 2.2), 0.0)


def _parcels(lots: _Lots) -> Callable[[Canvas, Rect], list[Crown]]:
    """What fills a block with parcels, or with one hall or with fields."""

    def fill(canvas: Canvas, rect: Rect) -> list[Crown]:
        rng = canvas.rng
        field, hall = rng.random() < lots.field, lots.hall > 0 and rng.random() < lots.hall
        size = 200.0 if hall else lots.parcel * rng.uniform(0.75, 1.4) * (2.2 if field else 1)
        for parcel, _ in _cut(canvas, rect, size, (0,)):
            _parcel(canvas, parcel, lots, field)
        return []

    return fill


def _shore(canvas: Canvas, rect: Rect) -> list[Crown]:
    """A block of water, or one of houses beside it."""
    return water(canvas, rect) if canvas.rng.random() < 0.6 else _SETTINGS["suburb"].fill(canvas, rect)


_TOWN, _LAND, _HOMES, _WIDE = (11, 5.5, 5.5, 4, 2.8), (4.5, 3.5, 3), (11, 10, 9.5), (14, 11, 9.5)
_SETTINGS = {
    "town": _Setting(42, _TOWN, _parcels(_Lots(0.82, 0.58, 14, (0.75, 0.97), 0.03, 0.1, 0.06)), 0.3, True),
    "suburb": _Setting(46, _TOWN, _parcels(_Lots(0.72, 0.25, 15, (0.62, 0.92), 0.08, 0.2, 0.06)), 0.7, True),
    "rural": _Setting(70, _LAND, _parcels(_Lots(0.14, 0.2, 24, (0.4, 0.7), 0.3, 0.75, 0.0)), 0.8, False),
    "open land": _Setting(90, _LAND, _parcels(_Lots(0.0, 0.0, 36, (0.4, 0.7), 0.3, 0.7, 0.0)), 0.9, False),
    "terraces": _Setting(70, _HOMES, terraces, 0.25, False),
    "blocks": _Setting(66, _WIDE, blocks, 0.15, False),
    "car park": _Setting(95, _WIDE, car_park, 0.1, True),
    "yards": _Setting(75, _WIDE, works, 0.1, True),
    "halls": _Setting(150, _WIDE, halls, 0.1, True),
    "water": _Setting(120, _HOMES, _shore, 0.04, False),
}
# The neighbourhoods that can be asked for; the first four are those that a seed chooses from by itself.
SETTINGS = tuple(_SETTINGS)
# Settings to go through in turn for scenes that also teach to tell roofs apart; None leaves the choice to the seed.
MIX = (
    *(None, "terraces", "halls", "blocks", "water", "terraces"),
    *(None, "car park", "blocks", "halls", "yards", "water"),
)


def _populate(canvas: Canvas, setting: _Setting) -> None:
    """Ground, streets, blocks and what fills them, cars and trees."""
    rng = canvas.rng
    everything = Patch((slice(None), slice(None)), canvas.fine, canvas.fine)
    for name, depth in (("soil", np.ones_like(canvas.fine)), ("grass", canvas.coarse + 0.4 * canvas.fine)):
        canvas.paint(everything, depth, canvas.pick(name), 1 + 0.13 * canvas.fine + 0.05 * canvas.coarse)
    u0, v0, u1, v1 = (canvas.reach * rng.uniform(1.3, 2.0, 4)).tolist()
    streets, crowns = [], []
    for rect, width in _cut(canvas, (-u0, -v0, u1, v1), setting.block, setting.widths):
        if width:
            streets.append((rect, width))
            street(canvas, rect, width)
        else:
            crowns += setting.fill(canvas, rect)
    for rect, width in streets if setting.traffic else ():
        traffic(canvas, rect, width)
    extent = canvas.gsd * np.array(canvas.shape[::-1])
    for _ in range(rng.poisson(extent.prod() / 100 * setting.trees)):
        at = rng.uniform(-0.5, 0.5, 2) * extent
        for _ in range(int(rng.integers(1, 4))):
            tree(canvas, complex(*(at + rng.normal(0, 2.5, 2))), rng.uniform(0.8, 3.6))
    for centre, radius in crowns:
        tree(canvas, centre, radius, 2)


def draw_scene(
    seed: int, height: int, width: int, gsd: float = 0.15, *, nodata_corner: bool = False, setting: str | None = None
) -> Scene:  # fmt: skip
    """Draw one scene; the same arguments give the same scene.

    Of twenty seeds about twelve give a dense town, four a suburb, three farmland with few houses, one no house at all.

    Args:
        seed: decides everything that is drawn.
        height: rows.
        width: columns.
        gsd: ground sample distance in metres per pixel.
        nodata_corner: leave a slanted corner without data, as at the edge of a flight.
        setting: one of `SETTINGS`; None leaves the choice to the seed. "terraces" are rows of houses that share walls,
            "blocks" buildings wall to wall around courtyards or back to back, "halls" large roofs among paved yards;
            "car park" and "yards" are mostly paved or bare ground that is no roof, "water" is half water.

    Raises:
        ValueError: the size or the ground sample distance is not positive, or there is no such setting.
    """
    if height < 1 or width < 1 or gsd <= 0:
        raise ValueError(f"A scene needs a positive size and ground sample distance, not {height}x{width} at {gsd} m.")
    if setting is not None and setting not in _SETTINGS:
        raise ValueError(f"There is no setting '{setting}'. There are: {', '.join(SETTINGS)}.")
    rng = np.random.default_rng(seed)
    chosen = SETTINGS[rng.choice(4, p=(0.6, 0.2, 0.15, 0.05))]
    canvas = Canvas(rng, height, width, gsd)
    _populate(canvas, _SETTINGS[setting or chosen])
    image = photograph(canvas)
    rows, cols = np.ogrid[:height, :width]
    nodata = rows / height + (1 - rng.uniform(0, 0.2)) * cols / width < (rng.uniform(0.25, 0.5) if nodata_corner else 0)
    image[:, nodata], canvas.ids[nodata] = 0, 0
    return Scene(image, canvas.ids, nodata)


def write_scene(
    path: str | Path, scene: Scene, *, crs: str = "EPSG:32645", origin: tuple[float, float] = (353000.0, 3060000.0),
    gsd: float = 0.15, labels: str | Path | None = None, jpeg: bool = False,
) -> None:  # fmt: skip
    """Write a scene as a tiled RGB GeoTIFF, with an internal mask where some of it has no data.

    Args:
        path: the image to write.
        scene: what `draw_scene` returned.
        crs: projected coordinate reference system in metres.
        origin: easting and northing of the upper left corner.
        gsd: metres per pixel, the same that the scene was drawn with.
        labels: where to write the roof mask (one band, 0 and 1), if wanted.
        jpeg: lossy JPEG of quality 90 instead of DEFLATE.

    Raises:
        OutputUnwritable: a file cannot be written.
    """
    profile = {"driver": "GTiff", "dtype": "uint8", "width": scene.ids.shape[1], "height": scene.mask.shape[0],
               "crs": crs, "transform": from_origin(*origin, gsd, gsd), "tiled": True}  # fmt: skip
    lossy = {"compress": "JPEG", "jpeg_quality": 90, "photometric": "YCBCR"}
    packing = lossy if jpeg else {"compress": "DEFLATE", "predictor": 2, "photometric": "RGB"}
    try:
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            with rasterio.open(path, "w", count=3, **profile, **packing) as target:
                target.write(scene.image)
                if scene.nodata.any():
                    target.write_mask(~scene.nodata)
            if labels is not None:
                with rasterio.open(labels, "w", count=1, compress="DEFLATE", **profile) as target:
                    target.write(scene.mask, 1)
    except (RasterioError, OSError) as error:
        raise OutputUnwritable(f"The scene cannot be written to {path}: {error}") from error


def main(arguments: list[str] | None = None) -> None:
    """Draw one scene into a file."""
    parser = argparse.ArgumentParser(description="Draw a synthetic orthophoto with exact roof labels.")
    parser.add_argument("output", type=Path, help="the image, a GeoTIFF")
    parser.add_argument("--seed", type=int, default=1, help="decides everything that is drawn")
    parser.add_argument("--height", type=int, default=1536, help="rows")
    parser.add_argument("--width", type=int, default=2048, help="columns")
    parser.add_argument("--gsd", type=float, default=0.15, help="ground sample distance in metres")
    parser.add_argument("--setting", choices=SETTINGS, help="the neighbourhood; left to the seed unless given")
    parser.add_argument("--labels", type=Path, help="where to write the roof labels")
    parser.add_argument("--nodata-corner", action="store_true", help="leave a corner without data")
    given = parser.parse_args(arguments)
    try:
        scene = draw_scene(
            given.seed, given.height, given.width, given.gsd, nodata_corner=given.nodata_corner, setting=given.setting
        )
        write_scene(given.output, scene, gsd=given.gsd, labels=given.labels)
    except (ValueError, OutputUnwritable) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
