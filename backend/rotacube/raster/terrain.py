"""The ground under a flight: a plane under each frame, out of a terrain model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from rasterio.enums import Resampling
from rasterio.windows import Window
from scipy import ndimage

from rotacube.errors import FramesRefused
from rotacube.raster.camera import Pose, check_height
from rotacube.raster.frame import Frame, grid_at, homography
from rotacube.raster.gdal import damage_told
from rotacube.raster.opening import check_facts, open_raster

LARGEST = 1024
"""Pixels a side of what is read under one frame; finer models are averaged."""
SIDE = 15
"""Points a side of a frame at which the ground is asked for."""
KNOWN = 0.5
"""Of these points: so many must be known."""
ROUNDS = 3
"""The ground under a frame says what it shows, and that where the ground is asked for."""
FEET = {"ft": 0.3048, "foot": 0.3048, "feet": 0.3048, "us-ft": 1200 / 3937, "us survey foot": 1200 / 3937}

Array = NDArray[np.float64]


class Terrain:
    """Heights of the ground above the sea, read where they are asked for."""

    def __init__(self, path: str, crs: CRS) -> None:
        """Open a terrain model.

        Args:
            path: of anything that GDAL reads; the first band holds heights, metres where it says nothing else.
            crs: in which is asked.

        Raises:
            RasterMissing, RasterUnreadable, RasterNotGeoreferenced, RasterEmpty: it is none.
        """
        self.path = path
        self._file, facts, _ = open_raster(path)
        try:
            check_facts(facts, path)
            self._size = facts.width, facts.height
            self._from_map = ~facts.transform
            self._to_own = Transformer.from_crs(crs, CRS.from_wkt(facts.crs), always_xy=True)
            unit = FEET.get((self._file.units[0] or "").strip().lower(), 1.0)
            self._scale, self._offset = self._file.scales[0] * unit, self._file.offsets[0] * unit
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Terrain:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def heights(self, points: Array) -> Array:
        """Metres above the sea (N,) at coordinates (N, 2), between pixels' centres; nan where the model has none.

        Raises:
            RasterUnreadable: it is damaged.
        """
        columns, rows = self._from_map * self._to_own.transform(*points.T)
        inside = (columns >= 0) & (rows >= 0) & (columns <= self._size[0]) & (rows <= self._size[1])
        found = np.full(len(points), np.nan)
        if not inside.any():
            return found
        columns, rows = columns[inside], rows[inside]
        left, top = (max(0, int(np.floor(values.min())) - 1) for values in (columns, rows))
        right, bottom = (
            min(size, int(np.ceil(values.max())) + 2) for size, values in zip(self._size, (columns, rows), strict=True)
        )
        width, height = (min(LARGEST, span) for span in (right - left, bottom - top))
        with damage_told(self.path):
            pixels = self._file.read(
                1,
                window=Window(left, top, right - left, bottom - top),
                out_shape=(height, width),
                masked=True,
                resampling=Resampling.average,
            )
        ground = np.ma.filled(pixels.astype(np.float64) * self._scale + self._offset, np.nan)
        at = [(rows - top) * height / (bottom - top) - 0.5, (columns - left) * width / (right - left) - 0.5]
        found[inside] = ndimage.map_coordinates(ground, at, order=1, mode="nearest")
        return found


def on_terrain(
    poses: Mapping[Path, Pose], terrain: Terrain, crs: CRS, takeoff: float | None
) -> tuple[dict[Path, Pose], dict[Path, str], str]:
    """Put frames above the ground that a terrain model shows.

    A height that counts from where the drone took off is added to that place's elevation; the median of the ground
    under the cameras is taken for it where nobody says it. What a frame shows is a plane: the one that fits the ground
    best.

    Args:
        poses: by file.
        terrain: the model.
        crs: of the flight, metres.
        takeoff: the elevation above the sea from which the drone took off, metres.

    Returns:
        The poses; why others are left out; and a sentence on how heights were found.
    """
    under = {path: float(terrain.heights(grid_at(pose, crs)[None, :2, 2])[0]) for path, pose in poses.items()}
    known = [ground for ground in under.values() if np.isfinite(ground)]
    if takeoff is None and known:
        takeoff = float(np.median(known))
    placed: dict[Path, Pose] = {}
    why: dict[Path, str] = {}
    for path, pose in poses.items():
        from_ = {"takeoff": takeoff, "sea": 0.0, "ground": under[path]}[pose.over]
        try:
            placed[path] = _above(path, pose, (from_ or 0.0) + pose.height, under[path], terrain, crs)
        except FramesRefused as error:
            why[path] = error.message
    span = f"{min(known):.1f} to {max(known):.1f} m" if known else "unknown"
    note = f"The ground under the cameras is {span} above the sea, as '{terrain.path}' shows it."
    if takeoff is not None and any(poses[path].over == "takeoff" for path in placed):
        note += f" Heights count from take-off, at {takeoff:.1f} m above the sea."
    return placed, why, note


def _above(path: Path, pose: Pose, elevation: float, under: float, terrain: Terrain, crs: CRS) -> Pose:
    """A pose at an elevation above the sea, above the plane that fits the ground of what it shows."""
    u, v = np.meshgrid(*((np.arange(SIDE) + 0.5) / SIDE * size for size in pose.size))
    pixels = np.column_stack([u.ravel(), v.ravel()])
    grid = grid_at(pose, crs)
    found, ground = replace(pose, height=elevation - under, over="ground"), under
    for number in range(ROUNDS + 1):
        if not np.isfinite(ground):
            raise FramesRefused(
                f"'{path.name}' shows ground that '{terrain.path}' does not know: give one of all the flight."
            )
        check_height(found.height, path.name)
        if number == ROUNDS:
            break
        points = Frame(path, found, homography(found, crs)).on_map(pixels)
        heights = terrain.heights(points)
        there = np.isfinite(heights)
        ground = np.nan
        if there.mean() >= KNOWN:
            east, north = np.linalg.solve(grid[:2, :2], (points[there] - grid[:2, 2]).T)
            across = np.column_stack([np.ones(len(east)), east, north])
            ground, *slope = np.linalg.lstsq(across, heights[there], rcond=None)[0].tolist()
            found = replace(found, height=elevation - ground, slope=(slope[0], slope[1]))
    return found
