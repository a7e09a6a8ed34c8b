"""The same points of the ground in two frames of a flight: SIFT features, which no turn of the camera changes.

Lowe, D. G. (2004): Distinctive image features from scale-invariant keypoints. Where the tags say that a feature lies
rules out most of what only looks alike: plants in rows do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image

from rotacube.errors import FramesRefused, OptionsRefused
from rotacube.raster.camera import open_image
from rotacube.raster.frame import Frame

LONGEST = 1600
"""Pixels of the longer side of the images in which features are looked for."""
CELLS = (12, 9)
PER_CELL = 26
"""Features kept of each of so many cells across and down, the strongest: trees would have all of them."""
FAINT = 0.015
"""SIFT's threshold of contrast; lawns and bare soil have few above its own of 0.04."""
RADIUS = 15.0
"""Metres around where the tags say that a feature lies within which it is looked for in the other frame."""
TURNED, LARGER = 30.0, 1.6
"""Degrees and times by which it may be turned and larger there than the tags say."""
ALIKE = 0.8
"""How far a feature is from its nearest against the second nearest, at most (Lowe's ratio)."""
OFF = 0.006
"""Of the height above the ground: how far inliers lie from one homography of the ground."""
LEAST = 20
"""Inliers that make two frames a pair; of `SHARE` of the candidates at least."""
SHARE = 0.2
NEIGHBOURS = 8
"""Frames that a frame is compared with: those that overlap it most."""
OVERLAP = 0.1
"""Of the smaller footprint: shared by two frames that are compared."""
KEPT = 75
"""Matches of a pair that are kept, spread over what the two share."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Features:
    """What stands out in a frame.

    Attributes:
        at: (N, 2), pixels of the image.
        places: (N, 2), coordinates of the map where its tags put them.
        turns, sizes: (N,), degrees clockwise from north, and metres.
        looks: (N, 128), SIFT's descriptors.
    """

    at: Array
    places: Array
    turns: Array
    sizes: Array
    looks: NDArray[np.uint8]


@dataclass(frozen=True)
class Pair:
    """Two frames that show the same points: their numbers, and the pixels (N, 2) in the first and in the second."""

    one: int
    two: int
    first: Array
    second: Array


def check_matching() -> None:
    """Raise `OptionsRefused` where features cannot be looked for here."""
    if find_spec("cv2") is None:
        raise OptionsRefused("Frames are matched with OpenCV, which is not installed: pip install 'rotacube[frames]'.")


def features(frame: Frame) -> Features:
    """What stands out in a frame.

    Raises:
        FramesRefused: the image cannot be read any more.
    """
    import cv2

    width, height = frame.pose.size
    by = min(1.0, LONGEST / max(width, height))
    try:
        with open_image(frame.path) as image:
            image.draft("L", (round(width * by), round(height * by)))
            grey = image.convert("L").resize((round(width * by), round(height * by)), Image.Resampling.BOX)
    except (OSError, ValueError, SyntaxError) as error:
        raise FramesRefused(f"'{frame.path.name}' was readable before, and is not any more.") from error
    pixels = np.asarray(grey)
    sift = cv2.SIFT.create(contrastThreshold=FAINT)
    found, looks = sift.compute(pixels, _spread(sift.detect(pixels), pixels.shape))
    scale = np.array([width, height]) / (pixels.shape[1], pixels.shape[0])
    at = (np.array([point.pt for point in found]).reshape(-1, 2) + 0.5) * scale
    return Features(
        at,
        frame.on_map(at),
        np.array([point.angle for point in found]) + 90 + frame.pose.yaw,
        np.array([point.size for point in found]) * scale[0] * frame.pose.gsd,
        np.zeros((0, 128), np.uint8) if looks is None else looks.astype(np.uint8),
    )


def _spread(points: Sequence[Any], shape: tuple[int, ...]) -> list[Any]:
    """The strongest of each part of an image; a point with several directions counts as often."""
    cells: dict[tuple[int, int], list[Any]] = {}
    for point in sorted(points, key=lambda point: (-point.response, point.pt, point.angle)):
        cell = (int(point.pt[0] / shape[1] * CELLS[0]), int(point.pt[1] / shape[0] * CELLS[1]))
        if len(cells.setdefault(cell, [])) < PER_CELL:
            cells[cell].append(point)
    return [point for cell in sorted(cells) for point in cells[cell]]


def neighbours(frames: Sequence[Frame]) -> list[tuple[int, int]]:
    """The pairs of frames, by number, that overlap; of each frame at least those that overlap it most."""
    shapes = np.array([shapely.Polygon(frame.outline) for frame in frames])
    areas = shapely.area(shapes)
    one, two = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    apart = one < two
    one, two = one[apart], two[apart]
    shared = shapely.area(shapely.intersection(shapes[one], shapes[two])) / np.minimum(areas[one], areas[two])
    taken: set[tuple[int, int]] = set()
    for number in range(len(frames)):
        own = np.flatnonzero(((one == number) | (two == number)) & (shared >= OVERLAP))
        most = own[np.lexsort((two[own], one[own], -shared[own]))][:NEIGHBOURS]
        taken |= {(int(one[pair]), int(two[pair])) for pair in most}
    return sorted(taken)


def matched(pair: tuple[int, int], one: Features, two: Features, height: float) -> Pair | None:
    """What two frames both show; None where that is too little to be sure.

    Args:
        pair: the frames' numbers.
        one: the first's features.
        two: the second's.
        height: above the ground, metres.
    """
    import cv2

    near_one = _within(one.places, two.places)
    near_two = _within(two.places, one.places)
    if min(len(near_one), len(near_two)) < LEAST:
        return None
    first, second = _alike(one, two, near_one, near_two)
    if len(first) < LEAST:
        return None
    middle = one.places[first].mean(0)
    _, inliers = cv2.findHomography(
        one.places[first] - middle, two.places[second] - middle, cv2.RANSAC, OFF * height, maxIters=5000
    )
    good = np.flatnonzero(inliers) if inliers is not None else np.empty(0, int)
    if len(good) < max(LEAST, SHARE * len(first)):
        return None
    good = good[_apart(one.places[first[good]])]
    return Pair(*pair, one.at[first[good]], two.at[second[good]])


def _within(places: Array, others: Array) -> NDArray[np.int64]:
    """Which places lie in the box of the others, or a radius beside it."""
    if not len(places) or not len(others):
        return np.empty(0, np.int64)
    low, high = others.min(0) - RADIUS, others.max(0) + RADIUS
    return np.flatnonzero(((places >= low) & (places <= high)).all(1))


def _alike(
    one: Features, two: Features, near_one: NDArray[np.int64], near_two: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Features that are each other's nearest, and clearly so."""
    a, b = (each.looks[near].astype(np.float32) for each, near in ((one, near_one), (two, near_two)))
    far = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
    middle = one.places[near_one].mean(0)
    x, y = (
        np.subtract.outer(*(np.float32(each.places[near, axis] - middle[axis]) for each, near in both))
        for axis, both in enumerate([((one, near_one), (two, near_two))] * 2)
    )
    turn = np.subtract.outer(np.float32(one.turns[near_one] % 360), np.float32(two.turns[near_two] % 360))
    turned = np.abs(np.abs(np.abs(turn) - 180) - 180)
    ratio = np.subtract.outer(np.float32(np.log(one.sizes[near_one])), np.float32(np.log(two.sizes[near_two])))
    far[(x * x + y * y > RADIUS**2) | (turned > TURNED) | (np.abs(ratio) > np.log(LARGER))] = np.inf
    rows = np.arange(len(far))
    best = far.argmin(1)
    nearest = far[rows, best].copy()
    mutual = (far.argmin(0)[best] == rows) & np.isfinite(nearest)
    far[rows, best] = np.inf
    clear = nearest < ALIKE**2 * far.min(1)  # squared distances; of one candidate alone nothing can be said
    known = np.flatnonzero(mutual & clear & np.isfinite(far.min(1)))
    return near_one[known], near_two[best[known]]


def _apart(places: Array) -> NDArray[np.int64]:
    """Which of these places to keep: every cell of a grid over them gives one in turn, until there are enough."""
    low, high = places.min(0), places.max(0)
    cells = np.minimum(((places - low) / np.maximum(high - low, 1e-9) * 8).astype(int), 7) @ (8, 1)
    order = np.lexsort((places[:, 1], places[:, 0], cells))
    rank = np.empty(len(places), int)
    _, starts, counts = np.unique(cells[order], return_index=True, return_counts=True)
    rank[order] = np.arange(len(places)) - np.repeat(starts, counts)
    return np.sort(np.lexsort((places[:, 1], places[:, 0], cells, rank))[:KEPT])
