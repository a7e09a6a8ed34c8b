"""The poses of a flight's frames, all together, so that what neighbours both show lies at one place.

A bundle adjustment (Triggs, B. et al. (2000): Bundle adjustment - a modern synthesis) on a known ground: points of the
ground need not be found, they are where rays meet it. What the tags say is known as well as its kind is: it holds the
flight in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve
from scipy.spatial.transform import Rotation

from rotacube.raster.camera import Pose
from rotacube.raster.lens import Lens
from rotacube.raster.matches import Pair

POSITION, HEIGHT, TILT, YAW = 2.5, 1.0, 1.5, 4.0
"""How well tags know where a camera hung (metres across, and metres up against the other frames), how far it was tilted
and turned (degrees): standard deviations.
"""
COMMON, SLOPE, BENT = 0.1, 0.05, 0.1
"""The same of all heights together, as a share (where the drone took off, and the focal length); of how the ground
slopes as a whole, metres a metre; and of a lens's k1.
"""
MATCH = 0.003
"""Standard deviation of where a match lies on the ground, as a share of the height: the ground is not flat."""
STEPS = 40
SLOTS = 6
"""Unknowns of a frame: east, north, height, tilt about east, about north, yaw."""
SHARED = 3
"""Unknowns that all frames have: height, and the slope of the ground east and north."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """A frame as it is adjusted.

    Attributes:
        pose: that its tags say.
        place: its coordinates.
        to_grid: (2, 2), the matrix from metres east and north to the map's.
        lens: which it has, of those that are looked for; -1 where it is known.
    """

    pose: Pose
    place: tuple[float, float]
    to_grid: Array
    lens: int


@dataclass(frozen=True)
class Adjusted:
    """What was found.

    Attributes:
        places: (F, 2), coordinates.
        heights: (F,), metres above the ground.
        axes: (F, 3, 3), see `Pose.axes`.
        slopes: (F, 2), of the ground, see `Pose.slope`.
        slope: what they have in common and the tags do not say.
        bent: k1 of each lens.
    """

    places: Array
    heights: Array
    axes: Array
    slopes: Array
    slope: Array
    bent: Array


def adjust(cameras: Sequence[Camera], pairs: Sequence[Pair], bend: bool) -> Adjusted:
    """Adjust cameras to what pairs of them both show.

    Args:
        cameras: by the numbers that the pairs have.
        pairs: with their matches.
        bend: whether the lenses' k1 is looked for; it is 0 otherwise.

    Least squares by Gauss and Newton with soft-L1 weights: matches far off count with their distance, not its square.
    """
    problem = _Problem(cameras, pairs, bend)
    state = np.zeros(problem.width)
    for _ in range(STEPS):
        away, slopes = problem.linear(state)
        weights = 1 / np.sqrt(1 + (away**2).sum(1)).repeat(2)
        normal = slopes.T @ sparse.diags(weights) @ slopes + sparse.identity(problem.width)
        step = spsolve(normal.tocsc(), slopes.T @ (weights * away.ravel()) + state)
        state = state - step
        if np.abs(step).max() < 1e-4:
            break
    return problem.adjusted(state)


class _Problem:
    """All matches of a flight's pairs. A state has the unknowns of each frame, then those that all have (heights, slope
    east and north), then k1 of each lens; each in standard deviations from what the tags say.
    """

    def __init__(self, cameras: Sequence[Camera], pairs: Sequence[Pair], bend: bool) -> None:
        self.cameras, self.bend = cameras, bend
        self.lenses = 1 + max((camera.lens for camera in cameras), default=-1) if bend else 0
        self.width = SLOTS * len(cameras) + SHARED + self.lenses
        self.places = np.array([camera.place for camera in cameras])
        self.heights = np.array([camera.pose.height for camera in cameras])
        self.axes = np.stack([camera.pose.axes for camera in cameras])
        self.slopes = np.array([camera.pose.slope for camera in cameras])
        self.around = np.linalg.solve(
            np.stack([camera.to_grid for camera in cameras]), (self.places - self.places.mean(0))[..., None]
        )[..., 0]
        self.grids = np.stack([camera.to_grid for camera in cameras])
        self.lens = np.array([camera.lens for camera in cameras])
        self.one = np.repeat([pair.one for pair in pairs], [len(pair.first) for pair in pairs])
        self.two = np.repeat([pair.two for pair in pairs], [len(pair.first) for pair in pairs])
        self.sides = [
            (self.one, self._tangents(self.one, np.concatenate([pair.first for pair in pairs]))),
            (self.two, self._tangents(self.two, np.concatenate([pair.second for pair in pairs]))),
        ]

    def _tangents(self, numbers: NDArray[np.int64], pixels: Array) -> Array:
        """Across and down (N, 2) the camera's axis, in focal lengths."""
        found = np.empty((len(pixels), 2))
        for number, camera in enumerate(self.cameras):
            own, pose = numbers == number, camera.pose
            straight = pose.lens.straight(pixels[own]) if pose.lens else pixels[own]
            found[own] = (straight - np.array(pose.size) / 2) / pose.focal
        return found

    def adjusted(self, state: Array) -> Adjusted:
        """What a state stands for."""
        own = state[: SLOTS * len(self.cameras)].reshape(-1, SLOTS)
        common, slope, bent = np.split(state[SLOTS * len(self.cameras) :], [1, SHARED])
        by, east_north = own[:, 2] * HEIGHT / self.heights + common * COMMON, own[:, :2] * POSITION
        slope = slope * (0.0 if self.slopes.any() else SLOPE)  # a terrain model knows better
        under = (self.slopes * east_north).sum(1) + (self.around + east_north) @ slope
        turns = Rotation.from_rotvec(np.radians(own[:, 3:] * [TILT, TILT, -YAW])).as_matrix()
        moved = np.einsum("fij,fj->fi", self.grids, east_north)
        axes = self.axes @ turns.transpose(0, 2, 1)
        heights = self.heights * np.exp(by) - under
        return Adjusted(self.places + moved, heights, axes, self.slopes + slope, slope, bent * BENT)

    def _sides(self, state: Array) -> tuple[list[Array], list[Array]]:
        """Of either side's matches the coordinates on the ground, and half the logarithm of the height."""
        found = self.adjusted(state)
        return [self._on_ground(side, found) for side in (0, 1)], [
            np.log(found.heights[numbers]) / 2 for numbers in (self.one, self.two)
        ]

    def _on_ground(self, side: int, found: Adjusted) -> Array:
        """Where the matches of a side meet the ground, (N, 2) coordinates less those of the first camera."""
        numbers, tangents = self.sides[side]
        if self.lenses:
            k1 = np.where(self.lens >= 0, found.bent[np.maximum(self.lens, 0)], 0.0)[numbers]
            tangents = straightened(tangents, k1)
        axes = found.axes[numbers]
        rays = axes[:, 2] + axes[:, 0] * tangents[:, :1] + axes[:, 1] * tangents[:, 1:]
        ahead = (rays[:, :2] * found.slopes[numbers]).sum(1) - rays[:, 2]
        ground = rays[:, :2] * (found.heights[numbers] / ahead)[:, None]
        moved = np.einsum("nij,nj->ni", self.grids[numbers], ground)
        return np.asarray(moved + (found.places - self.places[0])[numbers])

    def linear(self, state: Array) -> tuple[Array, sparse.csr_matrix]:
        """How far matches lie apart (N, 2), in standard deviations, and its slopes (2 N, width) by the state.

        Distances are taken as shares of the two heights' mean, or the ground would shrink until all is at one place.
        """
        here, shrunk = self._sides(state)
        scale = np.exp(-shrunk[0] - shrunk[1])[:, None] / MATCH
        away = (here[0] - here[1]) * scale
        count, small = len(self.cameras), 1e-5
        rows = np.arange(away.size).reshape(-1, 2)
        entries: list[tuple[NDArray[Any], ...]] = []

        def enter(unknowns: NDArray[np.int64], places: Array, logs: Array) -> None:
            slopes = (places * scale - away * logs[:, None]) / small
            entries.append((slopes, rows, np.broadcast_to(unknowns[:, None], rows.shape)))

        for slot in range(SLOTS):
            stepped = state.copy()
            stepped[slot : SLOTS * count : SLOTS] += small
            there, logs = self._sides(stepped)
            for side, (sign, numbers) in enumerate(((1, self.one), (-1, self.two))):
                enter(numbers * SLOTS + slot, sign * (there[side] - here[side]), logs[side] - shrunk[side])
        for unknown in range(SLOTS * count, self.width):
            stepped = state.copy()
            stepped[unknown] += small
            there, logs = self._sides(stepped)
            places = there[0] - here[0] - there[1] + here[1]
            enter(np.full(len(rows), unknown), places, logs[0] + logs[1] - shrunk[0] - shrunk[1])
        values, down, along = (np.concatenate([part.ravel() for part in parts]) for parts in zip(*entries, strict=True))
        return away, sparse.csr_matrix((values, (down, along)), shape=(away.size, self.width))


def straightened(tangents: Array, k1: Array) -> Array:
    """Tangents (N, 2) that a lens with k1 (N,) alone has bent, as they were: see `rotacube.raster.lens`."""
    bent = np.hypot(*tangents.T)
    radius = bent.copy()
    for _ in range(6):  # Newton
        radius = radius - (radius * (1 + k1 * radius**2) - bent) / np.maximum(1 + 3 * k1 * radius**2, 0.1)
    return np.asarray(tangents * np.where(bent > 0, radius / np.maximum(bent, 1e-12), 1.0)[:, None])


def lens_of(pose: Pose, k1: float) -> Lens:
    """The lens of a pose whose k1 was found."""
    width, height = pose.size
    return Lens(pose.size, (pose.focal, pose.focal), (width / 2, height / 2), (k1, 0.0, 0.0))
