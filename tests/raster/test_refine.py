"""Frames whose tags are some metres and degrees wrong come back to where they were taken, relative to each other."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from flights import Shot, noise, on_ground, save, survey
from pyproj import Transformer
from scipy import ndimage

from rotacube.errors import FramesRefused, JobCancelled, OptionsRefused
from rotacube.raster import matches as matching
from rotacube.raster.frames import read_flight
from rotacube.raster.refine import refined

pytest.importorskip("cv2")
CRS = "EPSG:32632"
START = Shot(yaw=35.0, size=(640, 480))
BRIGHTON = Path(os.environ.get("ROTACUBE_DATA", "none")) / "uav" / "brighton"


@pytest.fixture(scope="module")
def ground():
    """A field of speckles of many sizes, 5 cm a pixel, and where its upper left corner lies."""
    random = np.random.default_rng(5)
    field = sum(
        ndimage.zoom(random.normal(0, 1, (4000 // size, 4000 // size)), size, order=1)[:3900, :3900] * size**0.5
        for size in (2, 5, 10, 40)
    )
    field = np.clip(128 + 25 * field / field.std() * 1.5, 0, 255).astype(np.uint8)
    x, y = on_ground(START, np.array([320.0]), np.array([240.0]), CRS)
    return field, (x[0] - 97, y[0] + 97)


def shown(shot, ground, bend=lambda columns, rows: (columns, rows)):
    """What a camera sees of the ground; `bend` says where the straight view has what a pixel shows."""
    field, (left, top) = ground
    width, height = shot.size
    columns, rows = np.meshgrid(np.linspace(0, width, width // 8 + 1), np.linspace(0, height, height // 8 + 1))
    x, y = on_ground(shot, *bend(columns, rows), CRS)
    fine = np.meshgrid((np.arange(height) + 0.5) / 8, (np.arange(width) + 0.5) / 8, indexing="ij")
    x, y = (ndimage.map_coordinates(values, fine, order=3) for values in (x, y))
    seen = ndimage.map_coordinates(field, [(top - y) / 0.05 - 0.5, (x - left) / 0.05 - 0.5], np.float32, order=1)
    seen = np.clip(seen + np.random.default_rng(1).normal(0, 3, seen.shape), 0, 255)
    return np.repeat(seen[..., None], 3, 2).astype(np.uint8)


def disturbed(shot, random):
    """The shot as tags of usual quality say it."""
    metre = 1 / 111_000
    return replace(
        shot,
        longitude=shot.longitude + random.normal(0, 1.5) * metre / np.cos(np.radians(shot.latitude)),
        latitude=shot.latitude + random.normal(0, 1.5) * metre,
        height=shot.height + random.normal(0, 0.7),
        yaw=shot.yaw + random.normal(0, 2.5),
        pitch=min(shot.pitch + random.normal(0, 0.5), -90.0 + abs(random.normal(0, 0.5))),
    )


def fly(folder, shots, ground, names=None, **more):
    random = np.random.default_rng(11)
    folder.mkdir()
    for number, shot in enumerate(shots):
        name = names[number] if names is not None else f"{number:03d}"
        save(folder / f"{name}.jpg", disturbed(shot, random), CRS, shown(shot, ground, **more))
    return folder


@pytest.fixture(scope="module")
def flown(tmp_path_factory, ground):
    shots = survey(START, lines=3, shots=4)
    folder = fly(tmp_path_factory.mktemp("refine") / "frames", shots, ground)
    return shots, folder, read_flight(folder)


@pytest.fixture(scope="module")
def done(flown):
    return refined(flown[2])


def relative_errors(flight, shots, bend=lambda columns, rows: (columns, rows)):
    """Metres between where frames put pixels and where they lie, once the flight as a whole is moved, turned and scaled
    onto the truth; the median and the largest.
    """
    columns, rows = (values.ravel() for values in np.meshgrid(np.linspace(30, 610, 4), np.linspace(20, 460, 4)))
    found = [frame.on_map(np.column_stack([columns, rows])) for frame in flight.frames]
    truth = [np.column_stack(on_ground(shot, *bend(columns, rows), CRS)) for shot in shots]
    a, b = (np.concatenate(each) @ [1, 1j] for each in (found, truth))
    a, b = a - a.mean(), b - b.mean()
    off = np.abs(a * (np.vdot(a, b) / np.vdot(a, a)) - b)
    return np.median(off), off.max()


def test_a_disturbed_flight_comes_back(flown, done):
    shots, _, before = flown
    after, told = done
    assert relative_errors(before, shots)[0] > 1.0
    median, most = relative_errors(after, shots)
    assert median < 0.06 and most < 0.25
    assert told.held.before > 1.0 and told.held.after < 0.06 and told.held.pairs == told.fitted.pairs >= 20
    assert told.ahead.pairs + told.beside.pairs == told.held.pairs and told.ahead.pairs >= 9
    assert not told.alone and not any(told.bent)
    # The tags hold the whole in its place: a quarter of twelve errors of 2 m is what their mean is wrong by.
    middles = [np.mean([frame.corners.mean(0) for frame in flight.frames], 0) for flight in (before, after)]
    assert np.hypot(*(middles[0] - middles[1])) < 0.7
    assert np.median([frame.pose.height for frame in after.frames]) == pytest.approx(40, abs=1)
    assert "0.0" in after.notes[-1] and f"{told.held.pairs} of {told.compared} pairs" in after.notes[-1]


def test_held_matches_are_measured_as_the_frames_lie(flown, done):
    after, told = done
    # The same figure, of all matches, without the adjustment's code.
    frames = after.frames
    features = [matching.features(frame) for frame in flown[2].frames]
    pairs = [
        matching.matched(pair, features[pair[0]], features[pair[1]], 40.0)
        for pair in matching.neighbours(flown[2].frames)
    ]
    apart = [frames[pair.one].on_map(pair.first) - frames[pair.two].on_map(pair.second) for pair in pairs if pair]
    assert np.median(np.hypot(*np.concatenate(apart).T)) == pytest.approx(told.held.after, rel=0.3)


def test_neither_order_nor_names_nor_a_second_run_change_anything(flown, done, tmp_path):
    shots, folder, _ = flown
    names = np.random.default_rng(2).permutation(len(shots))
    other = tmp_path / "frames"
    other.mkdir()
    for number, name in enumerate(names):
        (other / f"{name:03d}.jpg").write_bytes((folder / f"{number:03d}.jpg").read_bytes())
    renamed, _ = refined(read_flight(other))
    for number, frame in enumerate(done[0].frames):
        np.testing.assert_array_equal(frame.to_map, renamed.frames[names[number]].to_map)


def test_bare_ground_and_frames_apart_stay_where_their_tags_put_them(ground, tmp_path):
    shots = survey(START, lines=1, shots=4)
    far = [replace(shot, longitude=shot.longitude + 0.0009) for shot in shots[:2]]
    folder = fly(tmp_path / "frames", [*shots, *far], ground)
    bare = np.full((480, 640, 3), 120, np.uint8)
    save(folder / "bare.jpg", disturbed(shots[1], np.random.default_rng(3)), CRS, bare)
    before = read_flight(folder)
    after, told = refined(before)
    assert told.alone == ("bare.jpg",) and "bare.jpg" in after.notes[-1]
    moved = {
        new.path.stem: np.hypot(*(new.corners - old.corners).T).max()
        for new, old in zip(after.frames, before.frames, strict=True)
    }
    assert moved["bare"] == 0 and min(value for name, value in moved.items() if name != "bare") > 0.05
    frames = {frame.path.stem: frame for frame in after.frames}
    for part, names in ((shots, ("000", "001", "002", "003")), (far, ("004", "005"))):
        island = replace(after, frames=[frames[name] for name in names])
        assert relative_errors(island, part)[1] < 0.25
    # Each island lies where its own tags have it, as well as these know.
    apart = frames["004"].corners.mean(0) - frames["000"].corners.mean(0)
    truth = [
        np.column_stack(on_ground(shot, np.array([320.0]), np.array([240.0]), CRS))[0] for shot in (far[0], shots[0])
    ]
    assert np.hypot(*(apart - (truth[0] - truth[1]))) < 3.5


def test_a_flight_that_matches_nowhere_is_as_it_was(tmp_path):
    for number, shot in enumerate(survey(Shot(size=(320, 240)), lines=1, shots=3)):
        image = np.random.default_rng(number).integers(0, 255, (240, 320, 3)).astype(np.uint8)
        save(tmp_path / f"{number}.jpg", shot, CRS, image)
    before = read_flight(tmp_path)
    after, told = refined(before)
    assert told.held is None and told.fitted is None and len(told.alone) == 3
    assert after.frames == before.frames or all(
        np.array_equal(a.to_map, b.to_map) for a, b in zip(after.frames, before.frames, strict=True)
    )
    assert "No two of the frames" in after.notes[-1]


def test_a_bent_lens_is_found_and_a_straight_one_is_not(ground, tmp_path):
    import cv2

    focal = START.focal
    camera = np.array([[focal, 0, 319.5], [0, focal, 239.5], [0, 0, 1.0]])
    k1 = -0.08

    def bend(columns, rows):
        pixels = np.stack([columns, rows], -1).reshape(-1, 1, 2) - 0.5
        straight = cv2.undistortPoints(pixels, camera, np.array([k1, 0, 0, 0]), None, None, camera)
        return tuple(straight.reshape(*np.shape(columns), 2)[..., axis] + 0.5 for axis in (0, 1))

    shots = survey(START, lines=3, shots=3)
    folder = fly(tmp_path / "frames", shots, ground, bend=bend)
    after, told = refined(read_flight(folder))
    assert told.bent[0] == pytest.approx(k1, abs=0.01)
    assert relative_errors(after, shots, bend)[0] < 0.06
    assert "bends lines" in " ".join(after.notes)


@pytest.mark.parametrize("soil", [0.0, 8.0])
def test_rows_all_alike_are_not_taken_for_each_other(soil, ground, tmp_path):
    # Plants 30 cm apart in rows 75 cm apart, by the ruler; the tags are wrong by two or three rows.
    field = np.zeros((3900, 3900))
    field[8:3890:15, 5:3890:6] = 1
    field = ndimage.gaussian_filter(field, 1.6)
    random = np.random.default_rng(0)
    stains = sum(
        ndimage.zoom(random.normal(0, 1, (3900 // size,) * 2), size, order=1)[:3900, :3900] for size in (5, 15)
    )
    field = np.clip(90 + 120 * field / field.max() + soil * stains, 0, 255).astype(np.uint8)
    shots = survey(START, lines=1, shots=3)
    before = read_flight(fly(tmp_path / "frames", shots, (field, ground[1])))
    after, told = refined(before)
    if soil:
        assert relative_errors(after, shots)[1] < 0.15 and not told.alone
    else:
        assert told.held is None and len(told.alone) == 3


@pytest.mark.parametrize("known", [False, True])
def test_ground_that_slopes_is_found_or_known(known, ground, tmp_path):
    slope, to_map = (0.05, -0.03), Transformer.from_crs("EPSG:4326", CRS, always_xy=True)
    x, y = to_map.transform(START.longitude, START.latitude)

    def above(shot):
        east, north = np.subtract(to_map.transform(shot.longitude, shot.latitude), (x, y))
        return replace(shot, height=40 - slope[0] * east - slope[1] * north, slope=slope)

    shots = [above(shot) for shot in survey(START, lines=3, shots=3)]
    random = np.random.default_rng(4)
    for number, shot in enumerate(shots):
        tags = disturbed(replace(shot, height=40.0), random)  # as they count from where the drone took off
        save(tmp_path / f"{number}.jpg", tags, CRS, shown(shot, ground))
    dem = None
    if known:
        dem = tmp_path / "dem.tif"
        columns, rows = np.arange(200) * 2 - 199, 199 - np.arange(200)[:, None] * 2
        with rasterio.open(
            *(dem, "w", "GTiff"), 200, 200, 1, CRS, Affine(2, 0, x - 200, 0, -2, y + 200), "float32"
        ) as file:
            file.write((600 + slope[0] * columns + slope[1] * rows).astype(np.float32), 1)
    after, told = refined(read_flight(tmp_path, dem=str(dem) if dem else None))
    assert relative_errors(after, shots)[0] < 0.1 and told.held.after < 0.08
    assert told.slope == pytest.approx((0, 0) if known else slope, abs=1e-9 if known else 0.02)
    assert after.frames[0].pose.slope == pytest.approx(slope, abs=0.005 if known else 0.02)


def test_progress_cancel_and_what_is_missing(flown, monkeypatch):
    told = []
    with pytest.raises(JobCancelled):
        refined(flown[2], on_frame=lambda *step: told.append(step), cancelled=lambda: len(told) > 14)
    assert told[0] == ("Looking for features", 0, 12) and told[-1][0] == "Matching frames"
    monkeypatch.setattr(matching, "find_spec", lambda name: None)
    with pytest.raises(OptionsRefused, match=r"pip install 'rotacube\[frames\]'"):
        refined(flown[2])


def test_a_frame_that_is_gone_is_a_sentence(tmp_path):
    shot = Shot(size=(200, 150))
    save(tmp_path / "a.jpg", shot, CRS, noise(shot))
    flight = read_flight(tmp_path)
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(FramesRefused, match=r"a\.jpg"):
        refined(flight)


@pytest.mark.skipif(not BRIGHTON.is_dir(), reason="the frames are not here")
def test_real_frames_agree_to_a_third_of_a_metre():
    after, told = refined(read_flight(BRIGHTON))
    assert told.held.before > 0.9 and told.held.after < 0.3
    assert told.ahead.after < 0.3 and told.beside.after < 0.3 and told.held.pairs > 50
    assert not told.alone and max(frame.pose.tilt for frame in after.frames) < 6
