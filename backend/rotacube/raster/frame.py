"""One frame of a drone on a flat ground: from its pixels to the coordinates of a CRS, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Proj, Transformer

from rotacube.raster.camera import Pose
from rotacube.raster.lens import outline

SPOTS = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
"""An image's corners, from 0 to 1 across and down."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """One frame on the ground.

    Attributes:
        path: of the image.
        pose: of its camera.
        to_map: (3, 3), the homography from pixels (column, row, 1) of the straight view to coordinates of the flight's
            CRS; of the image where the camera's lens is not known.
    """

    path: Path
    pose: Pose
    to_map: Array

    @property
    def corners(self) -> Array:
        """Coordinates (4, 2) of the image's corners: upper left, upper right, lower right, lower left."""
        return self.on_map(np.array(SPOTS) * self.pose.size)

    @property
    def outline(self) -> Array:
        """Coordinates (N, 2) around what the frame shows: its corners, and points between them where the lens bends."""
        return self.on_map(outline(self.pose.size)) if self.pose.lens else self.corners

    def on_map(self, pixels: NDArray[Any]) -> Array:
        """Coordinates (N, 2) of pixels (N, 2) of the image."""
        return moved(self.to_map, self.pose.lens.straight(pixels) if self.pose.lens else pixels)

    @property
    def affine(self) -> Affine:
        """The affine transform that fits the straight view best in its middle."""
        u, v = (size / 2 for size in self.pose.size)
        x, y, w = self.to_map @ (u, v, 1)
        slope = (self.to_map[:2, :2] - np.outer((x / w, y / w), self.to_map[2, :2])) / w
        (a, b), (d, e) = slope.tolist()
        return Affine(a, b, x / w - a * u - b * v, d, e, y / w - d * u - e * v)


def homography(pose: Pose, crs: CRS) -> Array:
    """The homography (3, 3) from pixels (column, row, 1) of the straight view to coordinates of a conformal CRS."""
    return np.asarray(grid_at(pose, crs) @ pose.to_ground())


def grid_at(pose: Pose, crs: CRS) -> Array:
    """The matrix (3, 3) from metres east and north (1) of the point under a camera to coordinates of a conformal CRS.

    True north is not the grid's, nor a metre on the ground one of the grid: both are corrected at the camera.
    """
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(pose.longitude, pose.latitude)
    there = Proj(crs).get_factors(pose.longitude, pose.latitude)
    scale, turn = there.meridional_scale, math.radians(there.meridian_convergence)
    return np.array(
        [
            [scale * math.cos(turn), -scale * math.sin(turn), x],
            [scale * math.sin(turn), scale * math.cos(turn), y],
            [0, 0, 1],
        ]
    )


def moved(by: NDArray[Any], points: NDArray[Any]) -> Array:
    """Points (N, 2) through a homography (3, 3)."""
    x, y, w = by @ np.column_stack([points, np.ones(len(points))]).T
    return np.column_stack([x / w, y / w])


def virtual_raster(frame: Frame, crs: str) -> str:
    """A VRT that places a frame by its affine transform, for programs that know no homography."""
    width, height = frame.pose.size
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{number}"><ColorInterp>{colour}</ColorInterp><SimpleSource>'
        f'<SourceFilename relativeToVRT="0">{escape(str(frame.path.resolve()))}</SourceFilename>'
        f"<SourceBand>{number}</SourceBand></SimpleSource></VRTRasterBand>"
        for number, colour in enumerate(("Red", "Green", "Blue"), 1)
    )
    return (
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{escape(crs)}</SRS>'
        f"<GeoTransform>{', '.join(map(repr, frame.affine.to_gdal()))}</GeoTransform>{bands}</VRTDataset>"
    )
