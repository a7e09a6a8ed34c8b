"""Frames of a drone's flight as georeferenced rasters: where each lies on a flat ground, in one UTM zone.

A frame that cannot be placed, or shows too little, is named with a sentence and left out; the others go on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from pyproj import CRS, Geod

from rotacube.errors import FramesRefused, JobCancelled
from rotacube.raster.calibration import read_calibration
from rotacube.raster.camera import Pose, open_image, read_pose
from rotacube.raster.frame import SPOTS, Frame, homography
from rotacube.raster.lens import Lens
from rotacube.raster.map_grid import MapGrid
from rotacube.raster.metric import utm_zone
from rotacube.raster.terrain import Terrain, on_terrain
from rotacube.raster.turned import SIDE, turned, upside_down

SUFFIXES = (".jpg", ".jpeg")
FARTHEST = 50_000.0
"""Metres from the middle of a flight beyond which a frame's position is a mistake."""
STEEPEST = 75.0
"""Degrees from straight down up to which a frame's corner still meets the ground somewhere."""
SOFT = 0.35
"""Of `sharpness`; below lies what is blurred. Sharp frames have 0.5 and more, and smoothed by two pixels 0.28."""
LOOKED = 1024
"""Pixels a side of the middle of a frame, which is asked whether it is sharp."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LeftOut:
    """A frame that no map is made of, and why."""

    path: Path
    why: str


@dataclass(frozen=True)
class Flight:
    """The frames of a folder by name, those that were left out, the CRS (WKT) of where they lie, and sentences on how
    they were read that a person should know.
    """

    frames: Sequence[Frame]
    left_out: Sequence[LeftOut]
    crs: str
    notes: Sequence[str] = ()

    @property
    def gsd(self) -> float:
        """Median ground sample distance, metres."""
        return float(np.median([frame.pose.gsd for frame in self.frames]))

    def grid(self, gsd: float) -> MapGrid:
        """The absolute grid over all frames: its lines are at multiples of `gsd` metres of the CRS."""
        every = np.concatenate([frame.outline for frame in self.frames]) / gsd
        (left, bottom), (right, top) = np.floor(every.min(0)), np.ceil(every.max(0))
        place = Affine.translation(left * gsd, top * gsd) @ Affine.scale(gsd, -gsd)
        return MapGrid(int(top - bottom), int(right - left), self.crs, place, (gsd, gsd))


def read_flight(
    folder: Path,
    ground: float | None = None,
    *,
    calibration: Path | None = None,
    dem: str | None = None,
    on_frame: Callable[[int, int], object] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Flight:
    """Place the frames of a folder.

    Args:
        folder: with JPEGs; folders within it are not looked at.
        ground: elevation of the ground above the sea, metres, for frames that do not say their height above it; with a
            terrain model that of where the drone took off.
        calibration: a file that says how the camera's lens bends lines; what the tags say if None.
        dem: a terrain model, anything that GDAL reads: heights above the sea; the ground is flat if None.
        on_frame: called with how many frames are looked at, of how many.
        cancelled: asked before each frame.

    Raises:
        FramesRefused: there is no such folder, no JPEG in it, or none that can be placed.
        OptionsRefused: the calibration cannot be read.
        RotacubeError: a subclass that says why the terrain model cannot be used.
        JobCancelled: `cancelled` said so.
    """
    lens = read_calibration(calibration) if calibration else None
    paths = _images(folder)
    poses: dict[Path, Pose] = {}
    pictures: dict[Path, NDArray[np.uint8]] = {}
    why: dict[Path, str] = {}
    for done, path in enumerate(paths):
        on_frame(done, len(paths))
        if cancelled():
            raise JobCancelled("Cancelled; nothing was written.")
        try:
            poses[path], pictures[path] = _look(path, ground, lens, dem is not None)
        except FramesRefused as error:
            why[path] = error.message
    on_frame(len(paths), len(paths))
    _leave_far(poses, why)
    notes = []
    crs = _zone(list(poses.values())) if poses else CRS.from_epsg(4326)
    if dem is not None and poses:
        with Terrain(dem, crs) as terrain:
            poses, unknown, note = on_terrain(poses, terrain, crs, ground)
        why |= unknown
        notes.append(note)
    left_out = [LeftOut(path, why[path]) for path in paths if path in why]
    if not poses:
        raise FramesRefused(f"No frame in '{folder}' can be placed on the ground. The first: {left_out[0].why}")
    frames = [Frame(path, pose, homography(pose, crs)) for path, pose in poses.items()]
    over = set(turned(frames, pictures))
    for number, frame in enumerate(frames):
        if frame.path in over:
            pose = upside_down(frame.pose)
            frames[number] = Frame(frame.path, pose, homography(pose, crs))
    return Flight(frames, left_out, crs.to_wkt(), [*notes, *_bent(frames), *_notes(frames, over)])


def _bent(frames: Sequence[Frame]) -> list[str]:
    """What to know of frames whose lens is known to bend lines."""
    count = sum(frame.pose.lens is not None for frame in frames)
    return [f"The lens's distortion is known of {count} of {len(frames)} frames, and taken out."] if count else []


def _notes(frames: Sequence[Frame], over: set[Path]) -> list[str]:
    """What to know of frames that were saved again."""
    edited = [frame for frame in frames if frame.pose.edited]
    if not edited:
        return []
    programs = ", ".join(sorted({frame.pose.edited for frame in edited}))
    said = f"{len(edited)} of {len(frames)} frames were saved again after they were taken ({programs})"
    if over:
        names = ", ".join(sorted(path.name for path in over))
        return [f"{said}. By what their neighbours show they lie upside down, and are turned back: {names}."]
    return [f"{said}. Where that has turned or cut them, they lie wrong: use the frames as the drone wrote them."]


def _images(folder: Path) -> list[Path]:
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    except OSError as error:
        raise FramesRefused(f"The folder '{folder}' cannot be read ({error.strerror}). Check its name.") from error
    if not found:
        raise FramesRefused(f"There is no image in '{folder}'. Give the folder that holds the drone's JPEGs (.jpg).")
    return found


def _look(path: Path, ground: float | None, lens: Lens | None, terrain: bool) -> tuple[Pose, NDArray[np.uint8]]:
    """A frame's pose, once its pixels are known to be whole and sharp, and a small picture."""
    with open_image(path) as image:
        if len(image.getbands()) != 3:
            raise FramesRefused(f"'{path.name}' is no photo in colour: it has other bands than red, green and blue.")
        pose = read_pose(image, path.name, ground, lens, terrain)
        steep = _steepest(pose)
        if steep > STEEPEST:
            raise FramesRefused(f"'{path.name}' looks up to {steep:.0f} degrees aside: its lens is too wide for a map.")
        try:
            image.draft("L", image.size)  # colours need not be decoded
            grey = image.convert("L")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise FramesRefused(f"'{path.name}' is damaged or cut short: copy it from the drone again.") from error
    if sharpness(np.asarray(grey)) < SOFT:
        raise FramesRefused(f"'{path.name}' is blurred.")
    grey.thumbnail((SIDE, SIDE))
    return pose, np.asarray(grey)


def sharpness(pixels: NDArray[np.uint8]) -> float:
    """How much neighbouring pixels differ, against pixels four apart: of noise 1, of a sharp photo 0.5 and more, of
    anything smooth 0.25; of the direction, along the rows or across them, in which it is less.

    Args:
        pixels: (H, W); the middle of them is looked at. What is all of one colour counts as sharp.
    """
    cut = tuple(slice(max(0, (size - LOOKED) // 2), (size + LOOKED) // 2) for size in pixels.shape)
    middle = pixels[cut].astype(np.float32)
    found = []
    for along in (middle, middle.T):
        near, far = (float(np.mean((along[step:] - along[:-step]) ** 2)) for step in (1, 4))
        found.append(math.sqrt(near / far) if far > 1 else 1.0)
    return min(found)


def _steepest(pose: Pose) -> float:
    """Degrees from straight down of the corner that looks farthest."""
    rays = np.array([[u - 0.5, v - 0.5] for u, v in SPOTS]) * pose.size
    views = np.column_stack([rays, np.full(4, pose.focal)]) @ pose.axes
    return math.degrees(math.acos(float(np.min(-views[:, 2] / np.linalg.norm(views, axis=1)))))


def _leave_far(poses: dict[Path, Pose], why: dict[Path, str]) -> None:
    """Leave out frames that lie far from the others."""
    if not poses:
        return
    longitude, latitude = _middle(list(poses.values()))
    for path, pose in list(poses.items()):
        metres = Geod(ellps="WGS84").inv(longitude, latitude, pose.longitude, pose.latitude)[2]
        if metres > FARTHEST:
            del poses[path]
            away = f"{metres / 1000:,.0f} km"
            why[path] = f"'{path.name}' lies {away} from the other frames: map it in a folder of its own."


def _middle(poses: Sequence[Pose]) -> tuple[float, float]:
    """The longitude and latitude of the frame that has half of the others on either side."""
    longitudes = np.unwrap([pose.longitude for pose in poses], period=360)
    return float((np.median(longitudes) + 180) % 360 - 180), float(np.median([pose.latitude for pose in poses]))


def _zone(poses: Sequence[Pose]) -> CRS:
    """The UTM zone of the middle of the frames."""
    zone = utm_zone(*_middle(poses))
    if zone is None:
        raise FramesRefused("The middle of the frames lies in no UTM zone. Check the positions that their tags give.")
    return zone
