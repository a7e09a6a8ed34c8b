"""Where a drone's frames lie on the ground, whoever wrote their tags, and which of them are left out."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from flights import Shot, exif_of, noise, on_ground, picture, save, survey, xmp_of
from PIL import Image
from pyproj import CRS
from scipy import ndimage

from rotacube.errors import FramesRefused, JobCancelled
from rotacube.raster.camera import read_pose
from rotacube.raster.frame import virtual_raster
from rotacube.raster.frames import read_flight, sharpness
from rotacube.raster.grid import Box
from rotacube.raster.project import Spots, shrunk, spots

MAKES = ("dji", "autel", "parrot", "camera")
SHOTS = {
    "north": Shot(),
    "turned": Shot(yaw=137.5),
    "at the zone's edge": Shot(longitude=11.99, latitude=62.0, yaw=-45.0),
    "south": Shot(longitude=-70.6, latitude=-33.4, yaw=300.0),
    "tilted": Shot(yaw=20.0, pitch=-78.0),
    "tilted and rolled": Shot(yaw=250.0, pitch=-80.0, roll=6.0),
    "high": Shot(height=400.0, yaw=10.0),
}


def flight_of(folder, *shots, crs="EPSG:32632"):
    for number, shot in enumerate(shots):
        save(folder / f"{number:03d}.jpg", shot, crs, noise(shot))
    return read_flight(folder)


@pytest.mark.parametrize("name", SHOTS)
def test_corners_and_middle_lie_where_rays_and_geodesics_meet_the_ground(name, tmp_path):
    shot = SHOTS[name]
    flight = flight_of(tmp_path, shot)
    (frame,) = flight.frames
    width, height = shot.size
    x, y = on_ground(shot, np.array([0, width, width, 0]), np.array([0, 0, height, height]), flight.crs)
    error = np.hypot(*(frame.corners - np.column_stack([x, y])).T) / shot.gsd
    assert error.max() < 0.1
    x, y = on_ground(shot, np.array([width / 2]), np.array([height / 2]), flight.crs)
    assert np.hypot(*(np.array(frame.affine * (width / 2, height / 2)) - (x[0], y[0]))) < 0.05 * shot.gsd
    assert frame.pose.gsd == pytest.approx(shot.gsd, rel=1e-3)
    assert (frame.pose.tilt, frame.pose.height) == (pytest.approx(tilt_of(shot), abs=0.01), shot.height)


def tilt_of(shot):
    return 90 + shot.pitch  # a roll about the line of sight does not tilt it


@pytest.mark.parametrize("make", MAKES)
def test_all_makes_say_the_same(make, tmp_path):
    shot = Shot(yaw=70.0, pitch=-84.0, make=make)
    flight = flight_of(tmp_path, shot)
    x, y = on_ground(shot, np.array([0, 320]), np.array([0, 240]), flight.crs)
    np.testing.assert_allclose(flight.frames[0].corners[[0, 2]], np.column_stack([x, y]), atol=0.1 * shot.gsd)
    assert flight.frames[0].pose.yaw == pytest.approx(70.0, abs=0.01)


def test_a_body_that_rolls_to_the_right_sees_what_lies_to_the_left(tmp_path):
    shot = Shot(yaw=0.0, roll=8.0, make="camera")  # senseFly's sign is turned by `xmp_of`
    save(tmp_path / "a.jpg", shot, "EPSG:32632", noise(shot))
    flight = read_flight(tmp_path)
    middle = flight.frames[0].affine * (160, 120)
    straight = on_ground(replace(shot, roll=0.0), np.array([160.0]), np.array([120.0]), flight.crs)
    assert straight[0][0] - middle[0] == pytest.approx(40 * np.tan(np.radians(8)), rel=0.05)


def test_plain_exif_needs_a_direction_and_the_grounds_elevation(tmp_path):
    shot = Shot(yaw=33.0, make="plain")
    save(tmp_path / "a.jpg", shot, "EPSG:32632", noise(shot), direction=33.0, altitude=540.0)
    with pytest.raises(FramesRefused, match="how high above the ground"):
        read_flight(tmp_path)
    flight = read_flight(tmp_path, ground=500.0)
    x, y = on_ground(shot, np.array([0, 320]), np.array([0, 240]), flight.crs)
    np.testing.assert_allclose(flight.frames[0].corners[[0, 2]], np.column_stack([x, y]), atol=0.1 * shot.gsd)
    save(tmp_path / "a.jpg", shot, "EPSG:32632", noise(shot), altitude=540.0)
    with pytest.raises(FramesRefused, match="which way"):
        read_flight(tmp_path, ground=500.0)


def pose_of(shot, size, change=lambda exif: None, **more):
    image = Image.new("RGB", size)
    exif = exif_of(shot, **more)
    change(exif)
    image.getexif().update(exif)
    image._exif = exif
    image.info["xmp"] = xmp_of(shot)
    return read_pose(image, "a.jpg")


def test_focal_length_by_diagonal_and_of_a_cut_image_by_that_of_the_whole_sensor():
    # A Phantom 3's lens has 20 mm as film: of 4000 x 3000 pixels 20 / 43.27 x 5000; 16:9 is cut from these.
    shot = Shot(film=20)
    assert pose_of(shot, (4000, 3000)).focal == pytest.approx(2311.25, abs=0.1)
    assert pose_of(shot, (4000, 2250)).focal == pytest.approx(2311.25, abs=0.1)
    assert pose_of(shot, (6000, 4000)).focal == pytest.approx(20 / 36 * 6000, abs=0.1)


def test_focal_length_by_the_sensors_pixels_comes_before_that_of_film():
    def sensor(exif):
        tags = exif.get_ifd(0x8769)
        tags[0x920A], tags[0xA20E], tags[0xA210] = 8.8, 5472 / 13.2 * 10, 3  # an inch's sensor, pixels a centimetre

    assert pose_of(Shot(), (5472, 3648), sensor).focal == pytest.approx(8.8 / 13.2 * 5472)
    with pytest.raises(FramesRefused, match="focal length"):
        pose_of(Shot(), (4000, 3000), film=None)


def test_a_fault_in_one_frame_is_named_and_the_others_go_on(tmp_path):
    good, crs = Shot(), "EPSG:32632"
    bad = {
        "no exif": lambda path: Image.fromarray(noise(good)).save(path),
        "no gps": lambda path: save(path, good, crs, noise(good), gps=None),
        "at null island": lambda path: save(path, replace(good, longitude=0.0, latitude=0.0), crs, noise(good)),
        "no height": lambda path: save(path, good, crs, noise(good), xmp=b"", direction=0.0),
        "on the ground": lambda path: save(path, replace(good, height=0.2), crs, noise(good)),
        "no direction": lambda path: save(path, good, crs, noise(good), xmp=xmp_of(good).replace(b"Yaw", b"Jaw")),
        "aside": lambda path: save(path, replace(good, pitch=-60.0), crs, noise(good)),
        "no focal length": lambda path: save(path, good, crs, noise(good), film=None),
        "cut short": lambda path: path.write_bytes(save(path, good, crs, noise(good)).read_bytes()[:20_000]),
        "blurred": lambda path: save(path, good, crs, ndimage.gaussian_filter(picture(good, crs), (3, 3, 0))),
        "grey": lambda path: save(path, good, crs, noise(good)[..., 0]),
        "far": lambda path: save(path, replace(good, latitude=49.0), crs, noise(good)),
        "no image": lambda path: path.write_bytes(b"no image at all"),
        "broken xmp": lambda path: save(path, good, crs, noise(good), xmp=b"<x:xmpmeta><d:Rel"),
    }
    for name, make in bad.items():
        make(tmp_path / f"{name}.jpg")
    for number in range(20):
        save(tmp_path / f"{number}.JPEG", good, crs, noise(good))
    (tmp_path / "notes.txt").write_text("no frame")
    flight = read_flight(tmp_path)
    said = {one.path.stem: one.why for one in flight.left_out}
    words = {
        **{"no exif": "no GPS position", "no gps": "no GPS position", "at null island": "no GPS position"},
        **{"no height": "how high", "broken xmp": "how high", "on the ground": "0.2 m above", "no direction": "yaw"},
        **{
            "aside": "30 degrees away",
            "no focal length": "focal length",
            "cut short": "cut short",
            "blurred": "blurred",
        },
        **{"grey": "other bands", "far": "189 km from", "no image": "no JPEG"},
    }
    assert set(said) == set(bad) == set(words)
    for name, word in words.items():
        assert word in said[name] and f"'{name}.jpg'" in said[name]
    assert len(flight.frames) == 20


@pytest.mark.parametrize("word", ["no image in", "cannot be read", "No frame in"])
def test_a_folder_without_frames_is_a_sentence(word, tmp_path):
    folder = tmp_path / "frames"
    if word != "cannot be read":
        folder.mkdir()
        (folder / "a.txt").write_text("")
    if word == "No frame in":
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(folder / "a.jpg")
    with pytest.raises(FramesRefused, match=word):
        read_flight(folder)


def test_reading_can_be_followed_and_cancelled(tmp_path):
    shots = survey(Shot(size=(64, 48)), lines=1, shots=3)
    told = []
    flight_of(tmp_path, *shots)
    read_flight(tmp_path, on_frame=lambda done, total: told.append((done, total)))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    with pytest.raises(JobCancelled):
        read_flight(tmp_path, cancelled=lambda: True)


def test_frames_that_a_viewer_has_turned_are_turned_back(tmp_path):
    shots = survey(Shot(size=(240, 180), yaw=40.0), lines=2, shots=3)
    whole = [
        save(tmp_path / f"{n}.jpg", shot, "EPSG:32632", taken="2024:05:01 18:00:03") for n, shot in enumerate(shots)
    ]
    before = read_flight(tmp_path)
    assert not before.notes
    for number in (1, 4):
        pixels = picture(shots[number], "EPSG:32632", seed=9)
        upside = pixels[::-1, ::-1] if number == 4 else pixels
        save(whole[number], shots[number], "EPSG:32632", upside, taken="2024:05:01 09:00:00")
    after = read_flight(tmp_path)
    for frame, other in zip(before.frames, after.frames, strict=True):
        turn = 2 if other.path.name == "4.jpg" else 0
        np.testing.assert_allclose(np.roll(frame.corners, turn, 0), other.corners, atol=1e-6)
    assert len(after.notes) == 1 and after.notes[0].endswith("turned back: 4.jpg.") and "A Viewer 1.0" in after.notes[0]


def test_zone_is_that_of_the_middle_also_across_the_date_line(tmp_path):
    flight = flight_of(tmp_path, *(Shot(longitude=value) for value in (179.9995, 180.0, -179.9993)), crs="EPSG:32660")
    assert CRS.from_wkt(flight.crs).to_epsg() in (32601, 32660)
    assert len(flight.frames) == 3 and np.ptp([frame.corners[:, 0].mean() for frame in flight.frames]) < 100


def test_lines_of_the_grid_do_not_depend_on_the_frames(tmp_path):
    shots = survey(Shot(size=(64, 48)), lines=1, shots=3)
    flight = flight_of(tmp_path, *shots)
    whole = flight.grid(0.3)
    (tmp_path / "000.jpg").unlink()
    part = read_flight(tmp_path).grid(0.3)
    apart = np.array(~whole.transform * (part.transform.c, part.transform.f))
    np.testing.assert_allclose(apart, apart.round(), atol=1e-6)
    assert (np.array([whole.transform.c, whole.transform.f]) / 0.3 % 1).round(6).tolist() in (
        [0, 0],
        [1, 0],
        [0, 1],
        [1, 1],
    )
    corners = np.concatenate([frame.corners for frame in flight.frames])
    columns, rows = ~whole.transform * corners.T
    assert 0 <= columns.min() < 1 and 0 <= rows.min() < 1
    assert whole.width - 1 < columns.max() <= whole.width and whole.height - 1 < rows.max() <= whole.height


def test_virtual_raster_places_a_frame_and_has_its_pixels(tmp_path):
    shot = Shot(yaw=25.0)
    flight = flight_of(tmp_path, shot)
    (tmp_path / "a.vrt").write_text(virtual_raster(flight.frames[0], flight.crs))
    with rasterio.open(tmp_path / "a.vrt") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(tmp_path / "000.jpg") as image:
            np.testing.assert_array_equal(file.read(), image.read())
        assert file.crs.to_wkt() and [c.name for c in file.colorinterp] == ["red", "green", "blue"]
        x, y = on_ground(shot, np.array([0.0]), np.array([0.0]), flight.crs)
        np.testing.assert_allclose(file.transform * (0, 0), (x[0], y[0]), atol=0.1 * shot.gsd)


def test_sharpness_tells_sharp_from_blurred():
    sharp = picture(Shot(), "EPSG:32632")[..., 1]
    assert sharpness(sharp) > 0.5 > 0.35 > sharpness(ndimage.gaussian_filter(sharp, 2.5))
    assert sharpness(ndimage.uniform_filter1d(sharp, 15, axis=1)) < 0.35  # moved along its rows
    assert sharpness(np.full((50, 60), 7, np.uint8)) == 1.0


def test_values_through_a_homography_are_those_of_the_place():
    rows, columns = np.mgrid[:40, :60] + 0.5
    image = np.stack([rows, columns]).astype(np.float32) * 4
    image = image.astype(np.uint8)  # a ramp, which interpolation keeps
    turn = np.array([[0.8, -0.3, -9.0], [0.3, 0.9, -6.0], [1e-3, 2e-3, 1.0]])
    to_unit = np.diag([1 / 60, 1 / 40, 1]) @ turn
    (spot,) = spots(to_unit, Box(5, 8, 25, 40))
    found = spot.values(image, (40, 60), 255)
    y, x = np.mgrid[5:25, 8:40] + 0.5
    u, v, w = np.tensordot(turn, np.stack([x, y, np.ones_like(x)]), 1)
    inside = (u / w >= 0) & (u / w <= 60) & (v / w >= 0) & (v / w <= 40)
    assert 0.3 < inside.mean() < 1
    np.testing.assert_array_equal(spot.inside, inside)
    deep = inside & (u / w > 1) & (u / w < 59) & (v / w > 1) & (v / w < 39)
    assert (
        np.abs(found[0][deep] - 4 * (v / w)[deep]).max() <= 1 and np.abs(found[1][deep] - 4 * (u / w)[deep]).max() <= 1
    )
    assert (found[:, ~inside] == 255).all()
    assert isinstance(spot, Spots) and (spot.weights[inside] >= 1).all() and (spot.weights[~inside] == 0).all()


def test_weights_fall_from_the_middle_to_the_borders():
    (spot,) = spots(np.diag([1 / 101, 1 / 51, 1]), Box(0, 0, 51, 101))
    weights = spot.weights.astype(int)
    assert weights[25, 50] == weights.max() > 245 and weights[0].max() < 10 and weights.min() == 1
    assert (np.diff(weights[25, :51]) >= 0).all() and (np.diff(weights[25, 50:]) <= 0).all()


def test_shrunk_keeps_the_mean():
    image = np.random.default_rng(0).integers(0, 255, (2, 60, 90)).astype(np.uint8)
    small = shrunk(image, 3.0)
    assert small.shape == (2, 20, 30) and abs(small.mean() - image.mean()) < 1
    assert shrunk(image, 0.5) is image
