"""How a lens bends lines: OpenCV bends the same way; frames whose tags or calibration say so lie where they should."""

from __future__ import annotations

import json

import numpy as np
import pyogrio
import pytest
import shapely
from flights import Shot, exif_of, noise, on_ground, save, xmp_of
from PIL import Image

from rotacube.errors import OptionsRefused
from rotacube.inference.footprints import write_footprints
from rotacube.raster.calibration import read_calibration
from rotacube.raster.frames import read_flight
from rotacube.raster.grid import Box
from rotacube.raster.lens import Lens, outline
from rotacube.raster.matches import neighbours
from rotacube.raster.project import spots

cv2 = pytest.importorskip("cv2")
CRS = "EPSG:32632"
SHOT = Shot(yaw=25.0, size=(320, 240))
FX, FY, CX, CY = SHOT.focal * 1.01, SHOT.focal * 0.99, 4.0, -3.0
BENDS = (-0.12, 0.03, 0.002, -0.0015, -0.004)  # k1, k2, p1, p2, k3
MATRIX = np.array([[FX, 0, 160 + CX - 0.5], [0, FY, 120 + CY - 0.5], [0, 0, 1]])
DEWARP = "2020-01-01;" + ",".join(str(float(value)) for value in (FX, FY, CX, CY, *BENDS))
LENS = Lens((320, 240), (FX, FY), (160 + CX, 120 + CY), (BENDS[0], BENDS[1], BENDS[4]), BENDS[2:4])


def tagged(shot, **tags):
    attributes = "".join(f' d:{name}="{value}"' for name, value in tags.items())
    return xmp_of(shot).replace(b" d:RelativeAltitude", attributes.encode() + b" d:RelativeAltitude")


def rays(points):
    """Tangents of the rays to an image's points, by OpenCV."""
    return cv2.undistortPoints(np.asarray(points, float).reshape(-1, 1, 2) - 0.5, MATRIX, np.array(BENDS)).reshape(
        -1, 2
    )


def by_opencv(points, shot=SHOT):
    """Where an image's points lie on the ground, by OpenCV's rays."""
    at = rays(points) * shot.focal + np.array(shot.size) / 2
    return np.column_stack(on_ground(shot, *at.T, CRS))


def placed(folder, xmp, calibration=None):
    save(folder / "a.jpg", SHOT, CRS, noise(SHOT), xmp=xmp)
    flight = read_flight(folder, calibration=calibration)
    return flight, flight.frames[0]


def test_lens_bends_as_opencvs_does_and_back():
    points = np.random.default_rng(0).uniform((0, 0), (320, 240), (500, 2))
    straight = LENS.straight(points)
    tangents = (straight - (160, 120)) / LENS.straight_focal
    there = np.column_stack([tangents, np.ones(500)])
    bent = cv2.projectPoints(there, np.zeros(3), np.zeros(3), MATRIX, np.array(BENDS))[0].reshape(-1, 2) + 0.5
    np.testing.assert_allclose(bent, points, atol=1e-6)
    np.testing.assert_allclose(LENS.bent(straight), points, atol=1e-6)
    np.testing.assert_allclose(LENS.turned.straight((320, 240) - points), (320, 240) - straight, atol=1e-6)
    np.testing.assert_allclose(LENS.scaled((640, 480)).straight(points * 2), straight * 2, atol=1e-6)
    assert not LENS.folds and Lens((320, 240), (200, 200), (160, 120), (-0.6, 0, 0)).folds


def test_what_lies_outside_the_image_does_not_come_back_into_it():
    barrel = Lens((320, 240), (230, 230), (160, 120), (-0.2, 0.0, 0.0))
    far = np.array([[160 + 230 * 2.2, 120.0]])  # its polynomial would be back within the image there
    x = 2.2 * (1 - 0.2 * 2.2**2)
    assert 0 < 160 + 230 * x < 320
    assert (barrel.bent(far) < 0).all()


def test_views_are_bent_as_opencv_undistorts_them():
    # A ramp as the camera shows it: its straight view must be OpenCV's, to a rounding.
    rows, columns = np.mgrid[:240, :320]
    image = np.stack([columns * 0.7, rows * 0.9]).astype(np.uint8)
    focal = LENS.straight_focal
    new = np.array([[focal, 0, 159.5], [0, focal, 119.5], [0, 0, 1]])
    maps = cv2.initUndistortRectifyMap(MATRIX, np.array(BENDS), None, new, (320, 240), cv2.CV_32FC1)
    (spot,) = spots(np.diag([1 / 320, 1 / 240, 1]), Box(0, 0, 240, 320), LENS)
    found = spot.values(image, (240, 320), 255)
    seen = (maps[0] > 0) & (maps[0] < 319) & (maps[1] > 0) & (maps[1] < 239)
    for band, raw in zip(found, image, strict=True):
        theirs = cv2.remap(raw, *maps, cv2.INTER_LINEAR)
        assert spot.inside[seen].all() and np.abs(band[seen].astype(int) - theirs[seen]).max() <= 1


@pytest.mark.parametrize("how", ["DJI", "file", "nested file"])
def test_frames_lie_where_opencvs_rays_meet_the_ground(how, tmp_path):
    xmp, calibration = xmp_of(SHOT), None
    if how == "DJI":
        xmp = tagged(SHOT, DewarpFlag="0", DewarpData=DEWARP)
    else:
        calibration = tmp_path / "camera.json"
        flat = {"type_id": "opencv-matrix", "rows": 3, "cols": 3, "dt": "d", "data": MATRIX.ravel().tolist()}
        matrix = flat if how == "nested file" else MATRIX.tolist()
        bends = [[*BENDS]] if how == "nested file" else [*BENDS]
        calibration.write_text(json.dumps({"camera_matrix": matrix, "dist_coefs": bends, "image_size": [320, 240]}))
    flight, frame = placed(tmp_path, xmp, calibration)
    points = outline(SHOT.size)
    np.testing.assert_allclose(frame.on_map(points), by_opencv(points), atol=0.1 * SHOT.gsd)
    np.testing.assert_allclose(frame.outline, by_opencv(points), atol=0.1 * SHOT.gsd)
    assert "1 of 1 frames" in flight.notes[0]
    straight = placed(tmp_path, xmp_of(SHOT))[1]
    assert np.hypot(*(straight.on_map(points) - by_opencv(points)).T).max() > 5 * SHOT.gsd
    assert straight.pose.lens is None


def test_pix4ds_tags_are_in_millimetres_and_have_another_order(tmp_path):
    k1, k2, p1, p2, k3 = BENDS
    tags = {
        "PerspectiveFocalLength": SHOT.focal / 50,
        "PrincipalPoint": f"{(160 + CX) / 50},{(120 + CY) / 50}",
        "PerspectiveDistortion": f"{k1},{k2},{k3},{p1},{p2}",
    }
    shot, exif = SHOT, exif_of(SHOT)
    ifd = exif.get_ifd(0x8769)
    ifd[0xA20E], ifd[0xA210] = 50.0, 4  # pixels a millimetre
    Image.fromarray(noise(shot)).save(tmp_path / "a.jpg", exif=exif.tobytes(), xmp=tagged(shot, **tags), quality=95)
    (frame,) = read_flight(tmp_path).frames
    matrix = np.array([[shot.focal, 0, 160 + CX - 0.5], [0, shot.focal, 120 + CY - 0.5], [0, 0, 1]])
    points = outline(shot.size)
    seen = cv2.undistortPoints(points.reshape(-1, 1, 2) - 0.5, matrix, np.array(BENDS)).reshape(-1, 2)
    at = seen * shot.focal + np.array(shot.size) / 2
    truth = np.column_stack(on_ground(shot, *at.T, CRS))
    np.testing.assert_allclose(frame.on_map(points), truth, atol=0.1 * shot.gsd)


def test_frames_that_are_straight_already_stay_as_they_are(tmp_path):
    plain = placed(tmp_path, xmp_of(SHOT))[1]
    for tags in ({"DewarpFlag": "1", "DewarpData": DEWARP}, {"DewarpData": "2020-01-01;1,2"}, {"DewarpData": "none"}):
        frame = placed(tmp_path, tagged(SHOT, **tags))[1]
        np.testing.assert_array_equal(frame.to_map, plain.to_map)
        assert frame.pose.lens is None
    folding = DEWARP.replace("-0.12", "-0.9")
    assert placed(tmp_path, tagged(SHOT, DewarpFlag="0", DewarpData=folding))[1].pose.lens is None


def test_fisheyes_and_cameras_of_another_shape_are_left_out(tmp_path):
    save(tmp_path / "fish.jpg", SHOT, CRS, noise(SHOT), xmp=tagged(SHOT, ModelType="fisheye"))
    wide = Shot(size=(320, 200))
    save(tmp_path / "wide.jpg", wide, CRS, noise(wide))
    save(tmp_path / "good.jpg", SHOT, CRS, noise(SHOT))
    why = {one.path.stem: one.why for one in read_flight(tmp_path).left_out}
    assert set(why) == {"fish"} and "fisheye" in why["fish"]
    calibration = tmp_path / "c.json"
    calibration.write_text(
        json.dumps({"camera_matrix": (MATRIX * 2).tolist(), "dist_coefs": BENDS, "image_size": [640, 480]})
    )
    flight = read_flight(tmp_path, calibration=calibration)
    assert [one.path.stem for one in flight.left_out] == ["wide"] and "another shape" in flight.left_out[0].why
    assert flight.frames[0].pose.lens.size == (320, 240)


def test_footprints_of_bent_and_straight_frames_go_side_by_side(tmp_path):
    save(tmp_path / "bent.jpg", SHOT, CRS, noise(SHOT), xmp=tagged(SHOT, DewarpFlag="0", DewarpData=DEWARP))
    save(tmp_path / "straight.jpg", SHOT, CRS, noise(SHOT))
    flight = read_flight(tmp_path)
    write_footprints(flight, tmp_path / "f.gpkg")
    shapes = pyogrio.raw.read(tmp_path / "f.gpkg")[2]
    areas = shapely.area(shapely.from_wkb(shapes))
    truth = [shapely.Polygon(frame.outline).area for frame in flight.frames]
    np.testing.assert_allclose(areas, truth, rtol=1e-9)
    assert areas[0] > 1.02 * areas[1] and neighbours(flight.frames) == [(0, 1)]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"camera_matrix": [1, 2]}', '{"camera_matrix": [1,0,0,0,1,0,0,0,1], "dist_coefs": [9, 9]}'],
)
def test_a_calibration_that_says_nothing_is_a_sentence(text, tmp_path):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(OptionsRefused, match=r"c\.json"):
        read_calibration(tmp_path / "c.json")
    with pytest.raises(OptionsRefused, match="no camera has"):
        folding = {"camera_matrix": MATRIX.tolist(), "dist_coefs": [-0.9, 0, 0, 0], "image_size": [320, 240]}
        (tmp_path / "c.json").write_text(json.dumps(folding))
        read_calibration(tmp_path / "c.json")
