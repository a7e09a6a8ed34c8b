"""Frames moved and turned a little, until neighbours agree on where the ground is that both show."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from rotacube.errors import JobCancelled
from rotacube.raster.adjust import Adjusted, Camera, adjust, lens_of
from rotacube.raster.camera import top_of
from rotacube.raster.frame import Frame, grid_at, homography
from rotacube.raster.frames import Flight
from rotacube.raster.matches import Pair, check_matching, features, matched, neighbours

HELD = 5
"""Every fifth match is left out of the adjustment, and says how good it is."""
WRONG = 0.012
"""Of the height: two frames whose matches lie farther apart afterwards, in the median, were matched wrongly."""
BETTER = 0.95
"""The lens counts as bent where that makes the distances of what was left out so many times as large, or less."""
ROUNDS = 4
"""Of adjusting, and leaving out what was matched wrongly."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Apart:
    """How far matches lie apart on the ground before and after, metres, in the median; of so many pairs of frames."""

    pairs: int
    before: float
    after: float


@dataclass(frozen=True)
class Refinement:
    """What refining a flight's poses has come to.

    Attributes:
        compared: pairs of frames that overlap and were compared.
        fitted, held: matches that were adjusted to, and those that were not; of all pairs that were matched.
        ahead, beside: of `held`, pairs one ahead of the other (in a line of the flight), and one beside the other.
        alone: names of frames that match no other and stay where their tags put them.
        slope: of the ground as a whole, metres by which it rises with a metre east and with a metre north.
        bent: k1 of the lenses that were found to be bent.
    """

    compared: int
    fitted: Apart | None
    held: Apart | None
    ahead: Apart | None
    beside: Apart | None
    alone: Sequence[str]
    slope: tuple[float, float]
    bent: Sequence[float]

    @property
    def notes(self) -> list[str]:
        """Sentences for a person."""
        said = []
        if self.held is None:
            said.append(
                f"No two of the frames were found to show the same ground ({self.compared} pairs compared): all stay "
                "where their tags put them."
            )
            return said
        parts = ((self.ahead, "one ahead of the other"), (self.beside, "one beside the other"))
        more = ", ".join(f"{way} {apart.before:.2f} m and {apart.after:.2f} m" for apart, way in parts if apart)
        said.append(
            f"Poses refined: {self.held.pairs} of {self.compared} pairs of overlapping frames match. What both show "
            f"(matches that were not used) lay {self.held.before:.2f} m apart in the median, and lies "
            f"{self.held.after:.2f} m apart now ({more})."
        )
        if self.alone:
            said.append(
                f"{len(self.alone)} frames match no other and stay where their tags put them: {', '.join(self.alone)}."
            )
        if any(self.bent):
            values = ", ".join(f"{k1:+.4f}" for k1 in self.bent)
            said.append(f"The lens bends lines, which is taken out (k1 {values}).")
        return said


def refined(
    flight: Flight,
    *,
    on_frame: Callable[[str, int, int], object] = lambda what, done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[Flight, Refinement]:
    """Refine a flight's poses: no order of the frames, nor their names, changes the outcome.

    Args:
        flight: as its tags place it.
        on_frame: called with what is done, of how many, of how many in all.
        cancelled: asked before each frame and each pair.

    Returns:
        The flight, whose notes have those of the refinement; and that.

    Raises:
        OptionsRefused: OpenCV is not installed.
        JobCancelled: `cancelled` said so.
    """
    check_matching()
    order = sorted(range(len(flight.frames)), key=lambda number: _place(flight.frames[number]))
    frames = [flight.frames[number] for number in order]
    crs = CRS.from_wkt(flight.crs)
    compared = neighbours(frames)
    pairs = list(_pairs(frames, compared, on_frame, cancelled))
    fitted = [_part(pair, held=False) for pair in pairs]
    held = [_part(pair, held=True) for pair in pairs]
    cameras = _cameras(frames, crs)
    after, bent, slope = frames, np.zeros(0), np.zeros(2)
    for number in range(ROUNDS):
        if not fitted:
            break
        _check(cancelled)
        on_frame("Adjusting poses", number, ROUNDS)
        found = _best(frames, cameras, fitted, held, crs)
        after, bent, slope = _placed(frames, cameras, found, fitted, crs), found.bent, found.slope
        wrong = {
            (pair.one, pair.two)
            for pair in fitted
            if np.median(_distances(after, pair)) > WRONG * frames[pair.one].pose.height
        }
        if not wrong or number == ROUNDS - 1:
            break
        fitted, held = ([pair for pair in part if (pair.one, pair.two) not in wrong] for part in (fitted, held))
        after, bent, slope = frames, np.zeros(0), np.zeros(2)
    on_frame("Adjusting poses", ROUNDS, ROUNDS)
    alone = _alone(frames, fitted)
    ahead = [pair for pair in held if _ahead(frames, pair)]
    beside = [pair for pair in held if not _ahead(frames, pair)]
    told = Refinement(
        len(compared),
        _apart(frames, after, fitted),
        _apart(frames, after, held),
        _apart(frames, after, ahead),
        _apart(frames, after, beside),
        tuple(sorted(frames[number].path.name for number in alone)),
        (float(slope[0]), float(slope[1])),
        tuple(float(k1) for k1 in bent),
    )
    back = dict(zip(order, after, strict=True))
    moved = [back[number] for number in range(len(order))]
    return replace(flight, frames=moved, notes=[*flight.notes, *told.notes]), told


def _place(frame: Frame) -> tuple[float, float, float, float]:
    """What frames are put in order by."""
    pose = frame.pose
    return pose.longitude, pose.latitude, pose.height, pose.yaw


def _pairs(
    frames: Sequence[Frame],
    compared: Sequence[tuple[int, int]],
    on_frame: Callable[[str, int, int], object],
    cancelled: Callable[[], bool],
) -> Iterator[Pair]:
    """What frames that were compared both show."""
    found = []
    for done, frame in enumerate(frames):
        _check(cancelled)
        on_frame("Looking for features", done, len(frames))
        found.append(features(frame))
    for done, pair in enumerate(compared):
        _check(cancelled)
        on_frame("Matching frames", done, len(compared))
        height = (frames[pair[0]].pose.height + frames[pair[1]].pose.height) / 2
        both = matched(pair, found[pair[0]], found[pair[1]], height)
        if both is not None:
            yield both
    on_frame("Matching frames", len(compared), len(compared))


def _check(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise JobCancelled("Cancelled; nothing was written.")


def _part(pair: Pair, held: bool) -> Pair:
    """The matches of a pair that are left out of the adjustment, or the others."""
    chosen = (np.arange(len(pair.first)) % HELD == HELD - 1) == held
    return replace(pair, first=pair.first[chosen], second=pair.second[chosen])


def _cameras(frames: Sequence[Frame], crs: CRS) -> list[Camera]:
    """The frames as they are adjusted; those of one size and focal length have one lens."""
    lenses: dict[tuple[object, ...], int] = {}
    cameras = []
    for frame in frames:
        pose, grid = frame.pose, grid_at(frame.pose, crs)
        kind = (pose.size, round(pose.focal, 1))
        lens = -1 if pose.lens else lenses.setdefault(kind, len(lenses))
        cameras.append(Camera(pose, (float(grid[0, 2]), float(grid[1, 2])), grid[:2, :2], lens))
    return cameras


def _best(
    frames: Sequence[Frame], cameras: Sequence[Camera], fitted: Sequence[Pair], held: Sequence[Pair], crs: CRS
) -> Adjusted:
    """Adjusted with straight lenses, or bent ones where what was left out says so, too."""
    straight = adjust(cameras, fitted, bend=False)
    if all(camera.lens < 0 for camera in cameras):
        return straight
    bent = adjust(cameras, fitted, bend=True)
    if any(camera.lens >= 0 and lens_of(camera.pose, float(bent.bent[camera.lens])).folds for camera in cameras):
        return straight
    both = (_placed(frames, cameras, found, fitted, crs) for found in (straight, bent))
    medians = [np.median(np.concatenate([_distances(placed, pair) for pair in held])) for placed in both]
    return bent if medians[1] < BETTER * medians[0] else straight


def _placed(
    frames: Sequence[Frame], cameras: Sequence[Camera], found: Adjusted, pairs: Sequence[Pair], crs: CRS
) -> list[Frame]:
    """Frames as they were adjusted; those without a pair as they were."""
    alone = _alone(frames, pairs)
    back = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    after = []
    for number, (frame, camera) in enumerate(zip(frames, cameras, strict=True)):
        if number in alone:
            after.append(frame)
            continue
        longitude, latitude = back.transform(*found.places[number])
        axes = found.axes[number]
        k1 = float(found.bent[camera.lens]) if camera.lens >= 0 and len(found.bent) else 0.0
        pose = replace(
            frame.pose,
            longitude=round(longitude, 10),  # no sum's order may change a digit, on which runs that go on depend
            latitude=round(latitude, 10),
            height=round(float(found.heights[number]), 5),
            yaw=top_of(axes) % 360,
            axes=axes.round(9),
            slope=(round(float(found.slopes[number, 0]), 7), round(float(found.slopes[number, 1]), 7)),
            lens=lens_of(frame.pose, round(k1, 7)) if k1 else frame.pose.lens,
        )
        after.append(Frame(frame.path, pose, homography(pose, crs)))
    return after


def _alone(frames: Sequence[Frame], pairs: Sequence[Pair]) -> set[int]:
    """The numbers of frames that match no other."""
    return set(range(len(frames))) - {number for pair in pairs for number in (pair.one, pair.two)}


def _distances(frames: Sequence[Frame], pair: Pair) -> Array:
    """How far a pair's matches lie apart on the ground, metres."""
    first, second = frames[pair.one].on_map(pair.first), frames[pair.two].on_map(pair.second)
    return np.asarray(np.hypot(*(first - second).T))


def _apart(before: Sequence[Frame], after: Sequence[Frame], pairs: Sequence[Pair]) -> Apart | None:
    if not pairs:
        return None
    medians = (np.median(np.concatenate([_distances(when, pair) for pair in pairs])) for when in (before, after))
    return Apart(len(pairs), *map(float, medians))


def _ahead(frames: Sequence[Frame], pair: Pair) -> bool:
    """Whether one of two frames lies ahead of the other, in the direction of its top, rather than beside it."""
    one, two = frames[pair.one], frames[pair.two]
    inverse = np.linalg.inv(np.array(tuple(one.affine)).reshape(3, 3))
    middle = np.array(two.affine * (two.pose.size[0] / 2, two.pose.size[1] / 2))
    across, down = (inverse @ (*middle, 1))[:2] - np.array(one.pose.size) / 2
    return bool(abs(down) > abs(across))
