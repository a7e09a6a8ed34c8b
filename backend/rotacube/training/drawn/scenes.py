"""Synthetic orthophotos with exact roof masks.

A scene is painted in metres: streets divide it into blocks and parcels, parcels hold buildings, gardens or fields, and
every object also writes its height, from which one sun casts all shadows. Labels follow the roof outline as a cadastre
draws it: a crown that hangs over a roof does not cut the label, and neither does a shadow. Most of this file is a
catalogue: one short function for each kind of thing that an aerial image shows. As a command it draws one scene:

    python -m rotacube.training.drawn.scenes OUT.tif --seed 1 --height 1536 --width 2048
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.transform import from_origin

from rotacube.errors import OutputUnwritable
from rotacube.training.drawn.canvas import Canvas, Floats, Patch, Rect, both, photograph


@dataclass(frozen=True)
class Scene:
    """One synthetic orthophoto.

    Attributes:
        image: RGB of shape (3, H, W); 0 where there is no data.
        mask: shape (H, W), 1 on roofs, else 0; 0 where there is no data.
        nodata: shape (H, W), True where there is no data.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    nodata: NDArray[np.bool_]


class _Setting(NamedTuple):
    """A neighbourhood: shares between 0 and 1, block and parcel sides in metres, jitter in radians, trees per are."""

    built: float
    flat: float
    block: float
    parcel: float
    fill: tuple[float, float]
    jitter: float
    field: float
    trees: float


_SETTINGS = (
    _Setting(0.82, 0.58, 42, 14, (0.75, 0.97), 0.03, 0.1, 0.3),  # town
    _Setting(0.72, 0.25, 46, 15, (0.62, 0.92), 0.08, 0.2, 0.7),  # suburb
    _Setting(0.14, 0.2, 70, 24, (0.4, 0.7), 0.3, 0.75, 0.8),  # rural
    _Setting(0.0, 0.0, 90, 36, (0.4, 0.7), 0.3, 0.7, 0.9),  # open land
)


def _yard(canvas: Canvas, rect: Rect, kind: str) -> None:
    """One parcel's ground: a "field" with furrows, "grass" with plants, "paved" or bare "soil"; rubble, walls."""
    patch = canvas.strip(rect)
    if patch is None:
        return
    rng, fine, coarse = canvas.rng, canvas.fine[patch.window], canvas.coarse[patch.window]
    half_u, half_v = (rect[2] - rect[0]) / 2 - 0.2, (rect[3] - rect[1]) / 2 - 0.2
    bounds, texture = patch.box(0, 0, half_u, half_v) + 0.25 * fine, 1 + 0.12 * fine + 0.06 * coarse
    canvas.paint(patch, bounds, canvas.pick("soil" if kind == "field" else kind), texture)
    if kind == "field":
        period = max(rng.uniform(0.7, 1.6), 4 * canvas.gsd)
        wave = np.sin((patch.u if rng.random() < 0.5 else patch.v) * (2 * math.pi / period) + 0.8 * coarse)
        rows = 0.2 * (wave + 0.5 * fine - rng.uniform(-1, 1))
        canvas.paint(patch, both(bounds, rows), canvas.pick("leaf"), texture)
    elif kind == "grass":
        canvas.paint(patch, both(bounds, fine + coarse - rng.uniform(0, 1)), canvas.pick("leaf"), 0.9 + 0.28 * fine)
    if kind != "field":
        litter = 0.3 * (np.abs(fine[:, ::-1]) + 0.5 * coarse - rng.uniform(1.6, 3.2))
        canvas.paint(patch, both(bounds, litter), canvas.pick("concrete", "metal", "soil"), 1 + 0.25 * fine)
    if kind in ("soil", "grass") and rng.random() < 0.5:
        wall = 0.12 - np.abs(patch.box(0, 0, half_u, half_v))
        canvas.paint(patch, wall, canvas.pick("paved"), 1.0, rng.uniform(0.6, 1.8))


def _street(canvas: Canvas, rect: Rect, width: float) -> None:
    """A street along the longer side of `rect`: asphalt with marks and footpaths when wide, else a lane."""
    patch = canvas.strip(rect)
    if patch is None:
        return
    long, wide = max(rect[2] - rect[0], rect[3] - rect[1]), width > 7
    along, across = (patch.u, patch.v) if rect[2] - rect[0] > width * 1.01 else (patch.v, patch.u)
    fine, coarse = canvas.fine[patch.window], canvas.coarse[patch.window]
    verge = both(width / 2 - np.abs(across), long / 2 - np.abs(along))
    surface = ("paved",) if wide else ("soil", "paved")
    canvas.paint(patch, verge + 0.35 * fine, canvas.pick(*surface), 1 + 0.06 * fine + 0.05 * coarse)
    wear = 1 + 0.05 * np.cos(across * (2 * math.pi / (3.2 if wide else 1.7))) + 0.05 * (fine + coarse)
    carriageway = verge - 1.6 + 0.1 * fine if wide else verge - width * 0.15 + 0.3 * fine
    canvas.paint(patch, carriageway, canvas.pick("asphalt") if wide else canvas.pick(*surface), wear)
    if wide:
        canvas.paint(patch, both(0.09 - np.abs(across), 1.0 - np.abs(along % 6.0 - 3)), canvas.pick("marks"))
        canvas.paint(patch, 0.08 - np.abs(verge - 1.7), canvas.pick("marks"), 1.0, 0.15)


def _car(canvas: Canvas, centre: complex, angle: float) -> None:
    """A parked or driving car of about 4.2 m x 1.8 m."""
    patch = canvas.patch(centre, angle, 3.2)
    if patch is not None:
        a, b, body = canvas.rng.uniform(1.8, 2.5), canvas.rng.uniform(0.8, 0.95), canvas.pick("car")
        corners = a + b - 0.4 - np.abs(patch.u) - np.abs(patch.v)
        canvas.paint(patch, both(patch.box(0, 0, a, b), corners), body, 1.0, 1.0)
        canvas.paint(patch, patch.box(-0.2, 0, a * 0.62, b * 0.82), canvas.pick("glass"), 1.0, 1.4)
        canvas.paint(patch, patch.box(-0.25, 0, a * 0.36, b * 0.78), body, 1.0, 1.5)


def _tree(canvas: Canvas, centre: complex, radius: float) -> None:
    """A crown of irregular outline; left out where a sixth of it would hide roofs."""
    rng, patch = canvas.rng, canvas.patch(centre, 0.0, radius * 1.5)
    if patch is None:
        return
    fine, bearing = canvas.fine[patch.window], np.arctan2(patch.v, patch.u)
    lobes = sum(rng.uniform(0.3, 1) / k * np.cos(k * bearing + rng.uniform(0, 6.3)) for k in (2, 3, 5, 7))
    depth = radius * (1 + 0.16 * lobes) - np.hypot(patch.u, patch.v) + 0.2 * radius**0.5 * fine
    if canvas.mask[patch.window][depth > 0].sum() * 6 < (depth > 0).sum():
        dome = np.sqrt(np.maximum(depth, 0) * radius) * 0.8 + 0.25 * fine
        top = np.maximum(canvas.height[patch.window], rng.uniform(0.4, 0.9) * radius + dome)
        canvas.paint(patch, depth, canvas.pick("leaf"), canvas.slope(dome) * (0.95 + 0.16 * fine), top)


def _outline(rng: np.random.Generator, patch: Patch, a: float, b: float) -> tuple[bool, Floats]:
    """Whether it is a plain rectangle, and the depth (metres) inside the outline of half sizes a >= b."""
    patch = patch._replace(u=patch.u * float(rng.choice((-1, 1))), v=patch.v * float(rng.choice((-1, 1))))
    form, p, q = rng.random(), rng.uniform(0.3, 0.5), rng.uniform(0.3, 0.5)
    whole, bar = patch.box(0, 0, a, b), patch.box(0, -b * (1 - q), a, b * q)
    if form < 0.05:  # polygon
        turns = rng.uniform(0, 6.3) + np.linspace(0, 2 * math.pi, int(rng.integers(6, 10)))[:-1]
        return False, both(*(b * rng.uniform(0.85, 1.1) - patch.u * np.cos(k) - patch.v * np.sin(k) for k in turns))
    if form < 0.07:
        return False, b - np.hypot(patch.u, patch.v)
    if form < 0.22:  # L
        return False, np.maximum(bar, patch.box(-a * (1 - p), 0, a * p, b))
    if b > 3.5 and form < 0.29:  # T
        return False, np.maximum(bar, patch.box(a * (p - 0.4), 0, a * p, b))
    if b > 3.5 and form < 0.36:  # U
        wings = patch.box(-a * 0.7, 0, a * 0.3, b), patch.box(a * 0.68, 0, a * 0.32, b)
        return False, np.maximum(bar, np.maximum(*wings))
    if b > 3.5 and form < 0.4:  # courtyard
        return False, both(whole, -patch.box(0, 0, a * 0.4, b * 0.38))
    return True, whole


def _sheets(canvas: Canvas, patch: Patch, depth: Floats, shade: Floats, lift: Any) -> None:
    """Corrugated metal: ribs along v, sheets of differing age, rust."""
    rng, fine, coarse = canvas.rng, canvas.fine[patch.window], canvas.coarse[patch.window]
    kind = "painted" if rng.random() < 0.35 else "metal"
    aged = kind == "metal" and rng.random() < 0.6
    row, column = (patch.v / rng.uniform(2, 3.5)).astype(np.intp), np.floor(patch.u / 0.9).astype(np.intp)
    age = rng.random((32, 32), dtype=np.float32)[row % 32, column % 32]
    ribs = 1 + 0.07 * np.sin(patch.u * (2 * math.pi / max(0.45, 3 * canvas.gsd)))
    texture = shade * ribs * (1 + (0.24 if aged else 0.06) * (age - 0.5)) * (1 + 0.035 * fine + 0.03 * coarse)
    canvas.paint(patch, depth, canvas.pick(kind), texture, lift)
    worn = age + 0.22 * fine + 0.1 * coarse - (rng.uniform(0.2, 0.9) if aged else 1.05)
    canvas.paint(patch, both(depth, 0.3 * worn), canvas.pick("rust"), texture * (0.85 + 0.35 * age))


def _pitched(canvas: Canvas, patch: Patch, plain: bool, depth: Floats, b: float) -> None:
    """A gable, hip, lean-to, cone or pyramid of sheets or tiles."""
    rng = canvas.rng
    style = rng.choice(["gable", "lean", "hip"], p=(0.55, 0.2, 0.25)) if plain else "hip"
    rise = rng.uniform(0.2, 0.55) * {"gable": b - np.abs(patch.v), "lean": 0.4 * (patch.v + b)}.get(style, depth)
    shade, top = canvas.slope(rise), rise + rng.uniform(2.5, 4.0) + (2.8 if rng.random() < 0.25 else 0)
    if rng.random() < 0.88:
        _sheets(canvas, patch, depth, shade, top)
    else:
        rows = 1 + 0.08 * np.sin(patch.v * (2 * math.pi / max(0.4, 3 * canvas.gsd))) + 0.09 * canvas.fine[patch.window]
        canvas.paint(patch, depth, canvas.pick("tile"), shade * rows, top)
    if style == "gable":
        canvas.paint(patch, both(0.14 - np.abs(patch.v), depth), canvas.pick("metal", "tile"))


def _flat(canvas: Canvas, patch: Patch, depth: Floats, a: float, b: float) -> None:
    """A concrete terrace with parapet, potted plants, stair house or shed, tanks and a solar panel."""
    rng, fine, coarse = canvas.rng, canvas.fine[patch.window], canvas.coarse[patch.window]
    top, stains = float(rng.choice((3.2, 6.2, 9.2, 12.0), p=(0.25, 0.4, 0.25, 0.1))), np.maximum(coarse + fine - 1.2, 0)
    texture = 1 + 0.05 * fine + 0.07 * coarse - 0.08 * stains
    canvas.paint(patch, depth, canvas.pick("concrete"), texture, top)
    if rng.random() < 0.3:  # tiled part of the terrace
        check = (np.floor(patch.u / 0.6) + np.floor(patch.v / 0.6)) % 2
        part = both(depth, patch.u - rng.uniform(-0.6, 0.6) * a)
        canvas.paint(patch, part, canvas.pick("tile", "concrete"), texture * (1 + 0.12 * check))
    canvas.paint(patch, both(depth, 0.3 - depth), canvas.pick("concrete"), 1.15 * texture, top + rng.uniform(0.5, 1.1))
    pots = both(depth - 0.3, 1.1 - depth, 0.5 * (fine + coarse - rng.uniform(0.9, 2.4)))
    canvas.paint(patch, pots, canvas.pick("leaf"), 1 + 0.2 * fine, top + 0.8)
    for _ in range(int(rng.integers(1, 4))):  # stair house or shed
        half_u, half_v = rng.uniform(0.15, 0.5) * a, rng.uniform(0.2, 0.5) * b
        u, v = rng.uniform(-1, 1) * (a - half_u), rng.uniform(-1, 1) * (b - half_v)
        room, raised = both(patch.box(u, v, half_u, half_v), depth - 0.05), top + rng.uniform(0.6, 2.8)
        if rng.random() < 0.6:
            _sheets(canvas, patch, room, np.ones_like(depth), raised)
        else:
            canvas.paint(patch, room, canvas.pick("concrete"), texture, raised)
    for _ in range(int(rng.integers(0, 5))):
        u, v, radius = rng.uniform(-0.85, 0.85) * a, rng.uniform(-0.85, 0.85) * b, rng.uniform(0.45, 0.75)
        tank = both(radius - np.hypot(patch.u - u, patch.v - v), depth - 0.2)
        canvas.paint(patch, tank, canvas.pick("tank"), 1.0, top + 2.2)
        canvas.paint(patch, tank - 0.6 * radius, canvas.pick("metal"))
    if rng.random() < 0.3:
        u, v = rng.uniform(-0.6, 0.6) * a, rng.uniform(-0.6, 0.6) * b
        frame = np.maximum(np.abs(patch.u - u) % 1.0, (np.abs(patch.v - v) + 0.4) % 0.8 + 0.2) > 0.9
        panel = both(patch.box(u, v, 1.5, 0.8), depth - 0.4)
        canvas.paint(patch, panel, canvas.pick("glass"), 1 + 1.2 * frame, top + 0.7)


def _building(canvas: Canvas, centre: complex, angle: float, a: float, b: float, flat: float) -> None:
    """One building of half sizes a, b with its label; left out where roofs already stand."""
    rng = canvas.rng
    if a < b:
        a, b, angle = b, a, angle + math.pi / 2
    patch = canvas.patch(centre, angle, math.hypot(a, b) + 1)
    if patch is None:
        return
    plain, depth = _outline(rng, patch, a, b)
    roof = depth > 0
    if canvas.mask[patch.window][roof].sum() > 0.05 * roof.sum():
        return
    canvas.mask[patch.window] |= roof
    if b > 2.2 and a < 14 and rng.random() < flat:
        _flat(canvas, patch, depth, a, b)
    else:
        _pitched(canvas, patch, plain, depth, b)


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


def _parcel(canvas: Canvas, rect: Rect, setting: _Setting, field: bool) -> None:
    """One parcel: its ground, perhaps a building and a shed."""
    rng = canvas.rng
    _yard(canvas, rect, "field" if field else str(rng.choice(["grass", "paved", "soil"], p=(0.35, 0.35, 0.3))))
    if field or rng.random() > setting.built:
        return
    half = np.array([rect[2] - rect[0], rect[3] - rect[1]]) / 2
    middle = complex(rect[0] + rect[2], rect[1] + rect[3]) / 2
    fill = rng.uniform(*setting.fill, 2)
    centre, grow = canvas.place(middle + complex(*((1 - fill) * half * rng.uniform(-0.8, 0.8, 2))))
    angle, (a, b) = float(np.angle(grow)) + rng.normal(0, setting.jitter), (fill * half * abs(grow)).tolist()
    _building(canvas, complex(centre), angle, a, b, setting.flat)
    if rng.random() < 0.5:
        at, _ = canvas.place(middle + complex(*(rng.choice((-0.7, 0.7), 2) * half)))
        _building(canvas, complex(at), angle, rng.uniform(1.4, 3), rng.uniform(1.2, 2.2), 0.0)


def _traffic(canvas: Canvas, rect: Rect, width: float) -> None:
    """Cars along a street, more of them on a wide one."""
    rng, long, across = canvas.rng, rect[2] - rect[0], rect[3] - rect[1]
    along = 1.0 if long > across else 1j
    for _ in range(rng.poisson(max(long, across) / (16 if width > 7 else 45))):
        lane = rng.choice((-1, 1)) * (width / 4 if width > 5 else 0.3)
        step = complex(rng.uniform(-0.5, 0.5) * max(long, across), lane) * along
        centre, grow = canvas.place(complex(rect[0] + rect[2], rect[1] + rect[3]) / 2 + step)
        _car(canvas, complex(centre), float(np.angle(grow * along)))


def _populate(canvas: Canvas, setting: _Setting) -> None:
    """Ground, streets, blocks with their parcels, cars and trees."""
    rng, town = canvas.rng, setting.built > 0.5
    everything = Patch((slice(None), slice(None)), canvas.fine, canvas.fine)
    for name, depth in (("soil", np.ones_like(canvas.fine)), ("grass", canvas.coarse + 0.4 * canvas.fine)):
        canvas.paint(everything, depth, canvas.pick(name), 1 + 0.13 * canvas.fine + 0.05 * canvas.coarse)
    u0, v0, u1, v1 = (canvas.reach * rng.uniform(1.3, 2.0, 4)).tolist()
    streets = []
    widths = (11, 5.5, 5.5, 4, 2.8) if town else (4.5, 3.5, 3)
    for rect, width in _cut(canvas, (-u0, -v0, u1, v1), setting.block, widths):
        if width:
            streets.append((rect, width))
            _street(canvas, rect, width)
            continue
        field, hall = rng.random() < setting.field, town and rng.random() < 0.06
        size = 200.0 if hall else setting.parcel * rng.uniform(0.75, 1.4) * (2.2 if field else 1)
        for parcel, _ in _cut(canvas, rect, size, (0,)):
            _parcel(canvas, parcel, setting, field)
    for rect, width in streets if town else ():
        _traffic(canvas, rect, width)
    extent = canvas.gsd * np.array(canvas.shape[::-1])
    for _ in range(rng.poisson(extent.prod() / 100 * setting.trees)):
        at = rng.uniform(-0.5, 0.5, 2) * extent
        for _ in range(int(rng.integers(1, 4))):
            _tree(canvas, complex(*(at + rng.normal(0, 2.5, 2))), rng.uniform(0.8, 3.6))


def draw_scene(seed: int, height: int, width: int, gsd: float = 0.15, *, nodata_corner: bool = False) -> Scene:
    """Draw one scene; the same arguments give the same scene.

    Of twenty seeds about twelve give a dense town, four a suburb, three farmland with few houses, one no house at all.

    Args:
        seed: decides everything that is drawn.
        height: rows.
        width: columns.
        gsd: ground sample distance in metres per pixel.
        nodata_corner: leave a slanted corner without data, as at the edge of a flight.

    Raises:
        ValueError: the size or the ground sample distance is not positive.
    """
    if height < 1 or width < 1 or gsd <= 0:
        raise ValueError(f"A scene needs a positive size and ground sample distance, not {height}x{width} at {gsd} m.")
    rng = np.random.default_rng(seed)
    setting = _SETTINGS[rng.choice(4, p=(0.6, 0.2, 0.15, 0.05))]
    canvas = Canvas(rng, height, width, gsd)
    _populate(canvas, setting)
    image = photograph(canvas)
    rows, cols = np.ogrid[:height, :width]
    nodata = rows / height + (1 - rng.uniform(0, 0.2)) * cols / width < (rng.uniform(0.25, 0.5) if nodata_corner else 0)
    image[:, nodata], canvas.mask[nodata] = 0, 0
    return Scene(image, canvas.mask, nodata)


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
    profile = {"driver": "GTiff", "dtype": "uint8", "width": scene.mask.shape[1], "height": scene.mask.shape[0],
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
    parser.add_argument("--labels", type=Path, help="where to write the roof labels")
    parser.add_argument("--nodata-corner", action="store_true", help="leave a corner without data")
    given = parser.parse_args(arguments)
    try:
        scene = draw_scene(given.seed, given.height, given.width, given.gsd, nodata_corner=given.nodata_corner)
        write_scene(given.output, scene, gsd=given.gsd, labels=given.labels)
    except (ValueError, OutputUnwritable) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
