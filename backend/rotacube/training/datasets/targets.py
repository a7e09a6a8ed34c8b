"""What the networks' outputs are to say of single roofs, from their numbers at a crop's resolution."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

DEEP = 16.0
"""Pixels from a roof's edge from which on it is not deeper: wide roofs have a plateau."""
NEAR = 5
"""Side of the square, pixels: two roofs in it touch, and its middle is their border."""


def border_of(ids: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Where two roofs touch, or nearly.

    Args:
        ids: (H, W), a number a roof, 0 elsewhere.
    """
    most = ndimage.maximum_filter(ids, NEAR)
    least = ndimage.minimum_filter(np.where(ids > 0, ids, np.iinfo(np.int32).max), NEAR)
    border: NDArray[np.bool_] = (most > 0) & (most != least) & (least < np.iinfo(np.int32).max)
    return border


def depth_of(ids: NDArray[np.int32]) -> NDArray[np.float32]:
    """How deep a pixel lies inside its roof: from 0 at the edge to 1 in the middle, in `DEEP` pixels where it is wide.

    Args:
        ids: (H, W), a number a roof, 0 elsewhere.
    """
    inside = ids > 0
    for axis in (0, 1):  # the two pixels at a wall that roofs share belong to its edge
        differ = np.diff(ids, axis=axis) != 0
        inside &= ~np.pad(differ, [(0, 1) if a == axis else (0, 0) for a in (0, 1)])
        inside &= ~np.pad(differ, [(1, 0) if a == axis else (0, 0) for a in (0, 1)])
    if inside.all():
        return np.ones(ids.shape, np.float32)
    far = np.minimum(ndimage.distance_transform_edt(inside), DEEP)
    middle = np.ones(int(ids.max()) + 1)
    np.maximum.at(middle, ids.ravel(), far.ravel())
    depth: NDArray[np.float32] = np.where(ids > 0, far / middle[ids], 0).astype(np.float32)
    return depth


def walls_of(ids: NDArray[np.int32]) -> NDArray[np.float32]:
    """Cosine and sine (2, H, W) of four times the angle of the nearest wall; zero outside of roofs.

    Args:
        ids: (H, W), a number a roof, 0 elsewhere.
    """
    dy, dx = np.gradient(ndimage.gaussian_filter(depth_of(ids), 1.5))
    turned = np.exp(4j * np.arctan2(dy, dx)) * (ids > 0)
    return np.stack([turned.real, turned.imag]).astype(np.float32)
