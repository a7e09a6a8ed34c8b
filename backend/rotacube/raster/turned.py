"""Frames that somebody has turned upside down in a photo viewer: their tags still say how they were taken.

Lossless turning keeps EXIF and XMP, so a frame would lie the wrong way round. Only frames that a program has saved
again are doubted, and only those that were not are believed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rotacube.raster.camera import Pose
from rotacube.raster.frame import Frame
from rotacube.raster.grid import Box
from rotacube.raster.project import spots

SIDE = 96
"""Pixels of the longer side of the pictures that are compared: positions are wrong by a pixel or two then."""
BLUR = 1.5
"""Pixels by which they are smoothed before."""
NEIGHBOURS = 6
LEAST = 200
"""Pixels that two pictures must share."""
SURE = 0.15
"""By how much a frame must be more alike its neighbours upside down than as its tags say."""

Bytes = NDArray[np.uint8]


def upside_down(pose: Pose) -> Pose:
    """A pose whose image was turned by 180 degrees since."""
    lens = pose.lens.turned if pose.lens else None
    return replace(pose, axes=pose.axes * [[-1], [-1], [1]], yaw=(pose.yaw + 180) % 360, lens=lens)


def turned(frames: Sequence[Frame], pictures: Mapping[Path, Bytes]) -> Iterator[Path]:
    """Which of a flight's frames lie upside down.

    Args:
        frames: of a flight; those whose pose is `edited` are judged by those that are not.
        pictures: small ones of all frames, (H, W), of all that each shows.
    """
    believed = [frame for frame in frames if not frame.pose.edited]
    for frame in frames:
        if not frame.pose.edited or not believed:
            continue
        near = sorted(believed, key=lambda other: float(np.hypot(*(_middle(other) - _middle(frame)))))[:NEIGHBOURS]
        upright, over = (
            [_alike(frame, picture, other, pictures[other.path]) for other in near]
            for picture in (pictures[frame.path], pictures[frame.path][::-1, ::-1])
        )
        known = [pair for pair in zip(upright, over, strict=True) if None not in pair]
        if known and np.mean([b for _, b in known]) - np.mean([a for a, _ in known]) > SURE:
            yield frame.path


def _middle(frame: Frame) -> NDArray[np.float64]:
    return np.asarray(frame.corners.mean(0))


def _alike(frame: Frame, picture: Bytes, other: Frame, second: Bytes) -> float | None:
    """The correlation of two frames where both show the ground; None where they share too little."""
    size = frame.pose.size
    step = max(size) / SIDE
    box = Box(0, 0, max(1, round(size[1] / step)), max(1, round(size[0] / step)))
    own = np.diag([step, step, 1.0])  # from pixels of the comparison to those of the frame
    seen = []
    for whose, shown in ((frame, picture), (other, second)):
        to_unit = np.diag([1 / whose.pose.size[0], 1 / whose.pose.size[1], 1])
        (spot,) = spots(to_unit @ np.linalg.inv(whose.to_map) @ frame.to_map @ own, box)
        soft = np.asarray(ndimage.gaussian_filter(shown, BLUR))
        seen.append((spot.inside, spot.values(soft[None], soft.shape, 0)[0]))
    both = seen[0][0] & seen[1][0]
    if both.sum() < LEAST:
        return None
    one, two = (values[both].astype(float) for _, values in seen)
    if not (one.std() and two.std()):
        return None
    return float(np.corrcoef(one, two)[0, 1])
