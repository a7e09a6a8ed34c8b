"""A lens that bends lines: Brown's distortion, as OpenCV writes it, between the image and a straight view.

Brown, D. C. (1966): Decentering distortion of lenses. With x, y the tangents of a ray's angles and r2 = x2 + y2, the
image shows the ray where one at x (1 + k1 r2 + k2 r4 + k3 r6) + 2 p1 x y + p2 (r2 + 2 x2) would be, and y likewise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

STEPS = 20
"""Of Newton's method, at most; five are enough for drones' lenses."""
SIDE = 8
"""Points along a side of an image's outline, which a lens bends."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Lens:
    """A calibrated camera.

    Attributes:
        size: columns and rows of its images.
        focal: pixels, across and down.
        centre: the pixel (column, row) on its axis; an image's corner is (0, 0).
        radial: k1, k2, k3.
        tangential: p1, p2.
    """

    size: tuple[int, int]
    focal: tuple[float, float]
    centre: tuple[float, float]
    radial: tuple[float, float, float] = (0.0, 0.0, 0.0)
    tangential: tuple[float, float] = (0.0, 0.0)

    @property
    def straight_focal(self) -> float:
        """Pixels: the focal length of the straight view, which has square pixels and its axis in its middle."""
        return float(np.sqrt(self.focal[0] * self.focal[1]))

    @property
    def turned(self) -> Lens:
        """The lens of the images turned by 180 degrees."""
        (p1, p2), (x, y), (width, height) = self.tangential, self.centre, self.size
        return replace(self, centre=(width - x, height - y), tangential=(-p1, -p2))

    @property
    def bends(self) -> bool:
        """Whether the image is another than the straight view."""
        (width, height), (x, y) = self.size, self.centre
        return any((*self.radial, *self.tangential, self.focal[0] - self.focal[1], x - width / 2, y - height / 2))

    def scaled(self, size: tuple[int, int]) -> Lens:
        """The lens of the images drawn at another size of the same shape."""
        by = size[0] / self.size[0]
        (fx, fy), (x, y) = self.focal, self.centre
        return replace(self, size=size, focal=(fx * by, fy * by), centre=(x * by, y * by))

    def bent(self, straight: NDArray[Any]) -> Array:
        """Where the image shows points (..., 2) of the straight view; far outside of the image where it shows them not.

        The polynomial bends back what lies beyond the image, which must not come into it.
        """
        x, y = np.moveaxis((straight - np.array(self.size) / 2) / self.straight_focal, -1, 0)
        seen = x * x + y * y <= self._reach
        found = self._bend(np.where(seen, x, 0.0), np.where(seen, y, 0.0))[:2]
        inside = np.stack([self.focal[0] * found[0] + self.centre[0], self.focal[1] * found[1] + self.centre[1]], -1)
        return np.where(seen[..., None], inside, -1e9)

    def straight(self, image: NDArray[Any]) -> Array:
        """Where points (..., 2) of the image lie in the straight view; nan where no ray comes there."""
        wanted = np.moveaxis((image - np.array(self.centre)) / np.array(self.focal), -1, 0)
        x, y = wanted.copy()
        with np.errstate(all="ignore"):
            for _ in range(STEPS):
                at_x, at_y, xx, xy, yy = self._bend(x, y)
                off_x, off_y, area = at_x - wanted[0], at_y - wanted[1], xx * yy - xy * xy
                x, y = x - (yy * off_x - xy * off_y) / area, y - (xx * off_y - xy * off_x) / area
                if np.nanmax(np.abs(off_x), initial=0) + np.nanmax(np.abs(off_y), initial=0) < 1e-12:
                    break
            at_x, at_y, xx, xy, yy = self._bend(x, y)
            good = (np.hypot(at_x - wanted[0], at_y - wanted[1]) < 1e-6) & (xx > 0) & (xx * yy > xy * xy)
        points = np.stack([x, y], -1) * self.straight_focal + np.array(self.size) / 2
        return np.where(good[..., None], points, np.nan)

    @property
    def folds(self) -> bool:
        """Whether it shows a ray twice within its images, as no lens does: the numbers are wrong."""
        return not np.isfinite(self.straight(outline(self.size))).all()

    @cached_property
    def _reach(self) -> float:
        """The squared tangent of the ray of its images that is farthest from the axis, and a little more."""
        edge = self.straight(outline(self.size)) - np.array(self.size) / 2
        return float(np.nanmax((edge**2).sum(-1)) / self.straight_focal**2) * 1.001

    def _bend(self, x: Array, y: Array) -> tuple[Array, Array, Array, Array, Array]:
        """Bent tangents, and their slopes: of x by x, of either by the other, of y by y."""
        (k1, k2, k3), (p1, p2) = self.radial, self.tangential
        r2 = x * x + y * y
        by = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        slope = 2 * (k1 + r2 * (2 * k2 + r2 * 3 * k3))
        return (
            x * by + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * by + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
            by + slope * x * x + 2 * p1 * y + 6 * p2 * x,
            slope * x * y + 2 * p1 * x + 2 * p2 * y,
            by + slope * y * y + 6 * p1 * y + 2 * p2 * x,
        )


def outline(size: tuple[int, int], side: int = SIDE) -> Array:
    """Points (4 * side, 2) around an image of so many columns and rows, from its upper left corner to the right."""
    along = np.arange(side) / side
    none, all_ = np.zeros(side), np.ones(side)
    around = [(along, none), (all_, along), (1 - along, all_), (none, 1 - along)]
    return np.concatenate([np.column_stack(points) for points in around]) * size
