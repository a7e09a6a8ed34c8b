"""Frames above ground that slopes lie where rays meet it; the ground is a terrain model in whatever CRS."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import rasterio
from affine import Affine
from flights import Shot, noise, save, survey
from pyproj import Proj, Transformer
from rasterio.warp import Resampling, calculate_default_transform, reproject
from scipy.optimize import brentq
from scipy.spatial.transform import Rotation

from rotacube.errors import FramesRefused, RasterMissing, RasterNotGeoreferenced
from rotacube.raster.frames import read_flight

CRS = "EPSG:32632"
SHOT = Shot(yaw=25.0, size=(320, 240), pitch=-86.0)
TO_MAP = Transformer.from_crs("EPSG:4326", CRS, always_xy=True)
X0, Y0 = TO_MAP.transform(SHOT.longitude, SHOT.latitude)
EAST, NORTH, LEVEL = 0.12, -0.2, 600.0


def plane(x, y):
    return LEVEL + EAST * (x - X0) + NORTH * (y - Y0)


def bowl(x, y):
    return LEVEL + ((x - X0) ** 2 + (y - Y0) ** 2) / 400


def model(path, ground=plane, pixel=2.0, reach=300.0, crs=CRS, hole=None, **more):
    """A terrain model around the flight."""
    count = int(2 * reach / pixel)
    transform = Affine(pixel, 0, X0 - reach, 0, -pixel, Y0 + reach)
    columns, rows = np.meshgrid(np.arange(count) + 0.5, np.arange(count) + 0.5)
    x, y = transform * (columns, rows)
    heights = ground(x, y).astype(np.float32)
    if hole is not None:
        heights[hole(x, y)] = -9999
    if crs != CRS:
        to, width, height = calculate_default_transform(
            CRS, crs, count, count, transform.c, transform.f - count * pixel, transform.c + count * pixel, transform.f
        )
        found = np.full((height, width), -9999, np.float32)
        reproject(
            *(heights, found),
            src_transform=transform,
            src_crs=CRS,
            src_nodata=-9999,
            dst_transform=to,
            dst_crs=crs,
            dst_nodata=-9999,
            resampling=Resampling.bilinear,
        )
        heights, transform = found, to
    unit = more.pop("unit", None)
    profile = {"driver": "GTiff", "count": 1, "dtype": "float32", "nodata": -9999, "crs": crs, "transform": transform}
    with rasterio.open(path, "w", **{**profile, "height": heights.shape[0], "width": heights.shape[1], **more}) as file:
        file.write(heights, 1)
        if unit:
            file.units = (unit,)
    return str(path)


def meets(shot, elevation, pixels, ground=plane):
    """Where rays from a camera at an elevation meet the ground, metres of the grid: by marching, in true east and north
    turned and scaled as the grid is there.
    """
    there = Proj(CRS).get_factors(shot.longitude, shot.latitude)
    turn, scale = np.radians(there.meridian_convergence), there.meridional_scale
    x, y = TO_MAP.transform(shot.longitude, shot.latitude)
    body = np.column_stack([np.full(len(pixels), shot.focal), pixels - np.array(shot.size) / 2])
    rays = Rotation.from_euler("ZYX", [shot.yaw, shot.pitch, shot.roll], degrees=True).apply(body)
    found = []
    for north, east, down in rays / np.linalg.norm(rays, axis=1)[:, None]:

        def at(far, east=east, north=north):
            e, n = east * far, north * far
            return (
                x + scale * (np.cos(turn) * e - np.sin(turn) * n),
                y + scale * (np.sin(turn) * e + np.cos(turn) * n),
            )

        far = brentq(lambda far, down=down, at=at: elevation - down * far - ground(*at(far)), 1, 500)
        found.append(at(far))
    return np.array(found)


def corners(shot):
    width, height = shot.size
    return np.array([[0, 0], [width, 0], [width, height], [0, height], [width / 2, height / 2]], float)


@pytest.mark.parametrize("crs", [CRS, "EPSG:4326", "EPSG:3857"])
def test_rays_meet_a_slope_where_they_do(crs, tmp_path):
    shots = survey(SHOT, lines=2, shots=2)
    for number, shot in enumerate(shots):
        save(tmp_path / f"{number}.jpg", shot, CRS, noise(shot))
    flight = read_flight(tmp_path, ground=LEVEL - 5, dem=model(tmp_path / "dem.tif", crs=crs))
    for shot, frame in zip(shots, flight.frames, strict=True):
        truth = meets(shot, LEVEL - 5 + shot.height, corners(shot))
        np.testing.assert_allclose(frame.on_map(corners(shot)), truth, atol=0.02 if crs == CRS else 0.08)
    assert flight.frames[0].pose.slope == pytest.approx((EAST, NORTH), abs=0.02)
    flat = read_flight(tmp_path).frames[0]
    assert np.abs(flat.on_map(corners(shots[0])) - meets(shots[0], LEVEL - 5 + 40, corners(shots[0]))).max() > 2
    assert "from take-off, at 595.0 m" in flight.notes[0]


def test_heights_count_from_what_the_tags_mean(tmp_path):
    dem = model(tmp_path / "dem.tif")
    shots = [replace(SHOT, longitude=SHOT.longitude + step * 3e-4) for step in (-1, 0, 1)]
    under = [plane(*TO_MAP.transform(shot.longitude, shot.latitude)) for shot in shots]
    for make, elevations in (
        ("dji", [np.median(under) + 40] * 3),  # above take-off: the median of the ground
        ("parrot", [ground + 40 for ground in under]),  # above the ground below
        ("plain", [643.0] * 3),  # above the sea
    ):
        folder = tmp_path / make
        folder.mkdir()
        straight = [replace(shot, make=make, pitch=-90.0) for shot in shots]
        for number, shot in enumerate(straight):
            save(folder / f"{number}.jpg", shot, CRS, noise(shot), altitude=643.0, direction=shot.yaw)
        flight = read_flight(folder, dem=dem)
        for shot, elevation, frame in zip(straight, elevations, flight.frames, strict=True):
            truth = meets(shot, elevation, corners(shot))
            np.testing.assert_allclose(frame.on_map(corners(shot)), truth, atol=0.03, err_msg=make)
        assert ("take-off" in flight.notes[0]) == (make == "dji")


def test_ground_that_is_no_plane_is_met_nearly(tmp_path):
    save(tmp_path / "a.jpg", SHOT, CRS, noise(SHOT))
    flight = read_flight(tmp_path, ground=LEVEL, dem=model(tmp_path / "dem.tif", bowl))
    truth = meets(SHOT, LEVEL + 40, corners(SHOT), bowl)
    off = np.hypot(*(flight.frames[0].on_map(corners(SHOT)) - truth).T).max()
    flat = np.hypot(*(read_flight(tmp_path).frames[0].on_map(corners(SHOT)) - truth).T).max()
    assert off < 0.75 * flat


def test_feet_and_offsets_are_read_as_they_are_declared(tmp_path):
    save(tmp_path / "a.jpg", SHOT, CRS, noise(SHOT))
    feet = model(tmp_path / "feet.tif", lambda x, y: plane(x, y) / 0.3048, unit="ft")
    metres = model(tmp_path / "metres.tif")
    found = [read_flight(tmp_path, ground=LEVEL, dem=dem).frames[0].corners for dem in (feet, metres)]
    np.testing.assert_allclose(*found, atol=0.01)


def test_frames_beyond_the_model_or_over_its_holes_are_named_and_the_others_go_on(tmp_path):
    far = replace(SHOT, longitude=SHOT.longitude + 0.01)
    hole = replace(SHOT, latitude=SHOT.latitude + 0.0015)
    deep = replace(SHOT, height=0.3)
    for name, shot in (("good", SHOT), ("far", far), ("hole", hole), ("deep", deep)):
        save(tmp_path / f"{name}.jpg", shot, CRS, noise(shot))
    dem = model(tmp_path / "dem.tif", hole=lambda x, y: y > Y0 + 120)
    flight = read_flight(tmp_path, ground=LEVEL, dem=dem)
    why = {one.path.stem: one.why for one in flight.left_out}
    assert set(why) == {"far", "hole", "deep"} and [frame.path.stem for frame in flight.frames] == ["good"]
    assert all("does not know" in why[name] and f"'{name}.jpg'" in why[name] for name in ("far", "hole"))
    assert "0.3 m above the ground" in why["deep"]
    (tmp_path / "good.jpg").unlink()
    with pytest.raises(FramesRefused, match="No frame in"):
        read_flight(tmp_path, ground=LEVEL, dem=dem)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_model_that_is_none_is_a_sentence(tmp_path):
    save(tmp_path / "a.jpg", SHOT, CRS, noise(SHOT))
    with pytest.raises(RasterMissing):
        read_flight(tmp_path, dem=str(tmp_path / "none.tif"))
    with pytest.raises(RasterNotGeoreferenced):
        read_flight(tmp_path, dem=model(tmp_path / "dem.tif", crs=CRS, transform=Affine.identity()))
