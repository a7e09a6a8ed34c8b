"""Scenes are reproducible, their labels fit the picture, and their files keep georeference and labels."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import rasterio
from scipy import ndimage

from rotacube.errors import OutputUnwritable
from rotacube.training.drawn.canvas import Canvas, cast_shadows
from rotacube.training.drawn.scenes import MIX, SETTINGS, Scene, draw_scene, main, write_scene
from rotacube.training.drawn.water import water

TOWN = 1  # a seed that gives a dense town


@pytest.fixture(scope="module")
def town() -> Scene:
    return draw_scene(TOWN, 384, 400)


def test_shapes_and_types(town):
    assert town.image.shape == (3, 384, 400) and town.image.dtype == np.uint8
    assert town.mask.shape == (384, 400) and town.mask.dtype == np.uint8
    assert set(np.unique(town.mask)) == {0, 1}
    assert town.nodata.shape == (384, 400) and town.nodata.dtype == np.bool_ and not town.nodata.any()
    assert town.image.min() > 0, "0 is kept for pixels without data"


def test_a_seed_decides_everything(town):
    again, other = draw_scene(TOWN, 384, 400), draw_scene(TOWN + 1, 384, 400)
    np.testing.assert_array_equal(again.image, town.image)
    np.testing.assert_array_equal(again.mask, town.mask)
    assert (other.image != town.image).any() and (other.mask != town.mask).any()


def test_scenes_of_before_are_drawn_as_they_were():
    scene = draw_scene(TOWN, 96, 128)
    bytes_ = scene.image.tobytes() + scene.ids.tobytes() + scene.nodata.tobytes()
    assert zlib.crc32(bytes_) == 2764391588, "the sample and the tests' towns change with it"


@pytest.mark.parametrize("setting", [None, *SETTINGS])
@pytest.mark.parametrize(("height", "width", "gsd"), [(1, 1, 0.15), (17, 33, 0.15), (64, 5, 1.0), (40, 40, 0.05)])
def test_odd_sizes(height, width, gsd, setting):
    assert draw_scene(3, height, width, gsd, setting=setting).image.shape == (3, height, width)


def test_a_setting_is_drawn_when_asked_for(town):
    named = draw_scene(TOWN, 384, 400, setting="town")
    np.testing.assert_array_equal(named.image, town.image)
    for setting in SETTINGS[1:]:
        scene, again = (draw_scene(TOWN, 96, 128, setting=setting) for _ in range(2))
        np.testing.assert_array_equal(scene.image, again.image)
        np.testing.assert_array_equal(scene.ids, again.ids)
        assert (scene.image != draw_scene(TOWN, 96, 128).image).any()
    assert {setting for setting in MIX if setting} == set(SETTINGS[4:])


def test_refuses_settings_that_there_are_not():
    with pytest.raises(ValueError, match=r"no setting 'moon'\. There are: town, suburb, .*terraces"):
        draw_scene(0, 8, 8, setting="moon")


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_number_is_one_roof(setting):
    """In one piece, unless the image's edge cuts it."""
    for seed in range(3):
        ids = draw_scene(seed, 256, 256, 0.3, setting=setting).ids
        whole = np.setdiff1d(ids, np.concatenate([ids[0], ids[-1], ids[:, 0], ids[:, -1]]))
        for roof in whole:
            assert ndimage.label(ids == roof, np.ones((3, 3)))[1] == 1, (seed, roof)


@pytest.mark.parametrize(("height", "width", "gsd"), [(0, 8, 0.15), (8, -1, 0.15), (8, 8, 0.0)])
def test_refuses_impossible_sizes(height, width, gsd):
    with pytest.raises(ValueError, match="positive"):
        draw_scene(0, height, width, gsd)


def test_roof_share_varies_from_none_to_dense():
    shares = np.array([draw_scene(seed, 256, 256, 0.3).mask.mean() for seed in range(30)])
    assert shares.max() < 0.55
    assert (shares == 0).any(), "some scenes have no roof"
    assert ((shares > 0) & (shares < 0.12)).any(), "some are rural"
    assert ((shares > 0.18) & (shares < 0.48)).mean() > 0.5, "most are built up"


def test_halls_are_larger_than_what_a_network_sees_at_once_and_stand_among_ground():
    scenes = [draw_scene(seed, 400, 400, 0.3, setting="halls") for seed in range(6)]
    largest = [np.bincount(scene.ids.ravel())[1:].max() * 0.3**2 for scene in scenes]
    assert np.median(largest) > 1500 and max(largest) < 120**2
    assert all(0.1 < scene.mask.mean() < 0.8 for scene in scenes)


@pytest.mark.parametrize("seed", range(4))
def test_water_lies_between_its_banks_and_is_no_roof(seed):
    canvas = Canvas(np.random.default_rng(seed), 200, 240, 0.3)
    water(canvas, (-25.0, -20.0, 25.0, 20.0))
    assert not canvas.ids.any() and 0.2 < (canvas.height == -1).mean() < 0.9
    scenes = [draw_scene(seed, 200, 240, 0.5, setting="water") for seed in range(4 * seed, 4 * seed + 4)]
    assert all(scene.mask.mean() < 0.4 for scene in scenes)


def test_nodata_corner(town):
    cut = draw_scene(TOWN, 384, 400, nodata_corner=True)
    assert cut.nodata[0, 0] and not cut.nodata[-1, -1]
    assert 0.01 < cut.nodata.mean() < 0.3
    assert not cut.image[:, cut.nodata].any() and not cut.mask[cut.nodata].any()
    np.testing.assert_array_equal(cut.image[:, ~cut.nodata], town.image[:, ~cut.nodata])
    np.testing.assert_array_equal(cut.mask[~cut.nodata], town.mask[~cut.nodata])


def outline_contrast(scene: Scene, dy: int, dx: int) -> float:
    """Mean colour step across the roofs' outlines, the labels moved by (dy, dx)."""
    ids = np.roll(scene.ids, (dy, dx), (0, 1))[16:-16, 16:-16]
    image = scene.image[:, 16:-16, 16:-16].astype(float)
    down = np.abs(np.diff(image, axis=1)).mean(0)[ids[1:] != ids[:-1]]
    right = np.abs(np.diff(image, axis=2)).mean(0)[ids[:, 1:] != ids[:, :-1]]
    return float(np.concatenate([down, right]).mean())


@pytest.mark.parametrize("setting", ["town", "terraces", "blocks"])
def test_outlines_lie_on_edges_of_the_picture(setting):
    scene = draw_scene(TOWN, 384, 400, setting=setting)
    here = outline_contrast(scene, 0, 0)
    for shift in [(0, 2), (0, -2), (2, 0), (-2, 0), (0, 7), (7, 0), (-7, 0), (0, -7)]:
        assert outline_contrast(scene, *shift) < 0.9 * here, shift


def test_shadows_fall_away_from_the_sun_on_lower_ground():
    canvas = Canvas(np.random.default_rng(0), 100, 100, 0.15)
    canvas.sun = (0.0, 1.0, 1.0)  # from the bottom of the image, 45 degrees high
    canvas.height[50:60, 40:60] = 3.0
    shadow = cast_shadows(canvas) > 0.5
    assert shadow[34:49, 42:58].all(), "20 pixels, less 0.3 m of height that count as level and the soft edge"
    assert not shadow[:28].any() and not shadow[51:].any() and not shadow[:, :38].any() and not shadow[:, 62:].any()


def test_ground_in_shadow_is_dark_and_unlabelled(town):
    grey = town.image.mean(0)
    assert grey[town.mask == 1].mean() > 1.15 * grey[town.mask == 0].mean()
    dark = grey < 40
    assert dark.any() and town.mask[dark].mean() < 0.4 * town.mask.mean()


@pytest.mark.parametrize("jpeg", [False, True])
def test_written_files_keep_georeference_and_labels(tmp_path, jpeg):
    scene = draw_scene(TOWN, 300, 280, 0.2, nodata_corner=True)
    path, labels = tmp_path / "scene.tif", tmp_path / "labels.tif"
    write_scene(path, scene, gsd=0.2, labels=labels, jpeg=jpeg)
    with rasterio.open(path) as image, rasterio.open(labels) as mask:
        for raster in (image, mask):
            assert raster.crs.to_epsg() == 32645 and raster.res == (0.2, 0.2)
            assert raster.bounds == pytest.approx((353000, 3060000 - 60, 353000 + 56, 3060000))
            assert raster.block_shapes[0] == (256, 256)
        assert image.count == 3 and image.profile["compress"] == ("jpeg" if jpeg else "deflate")
        np.testing.assert_array_equal(image.dataset_mask() == 0, scene.nodata)
        np.testing.assert_array_equal(mask.read(1), scene.mask)
        difference = np.abs(image.read().astype(int) - scene.image)[:, ~scene.nodata]
        assert difference.mean() < 8 if jpeg else not difference.any()
    assert not list(tmp_path.glob("*.msk"))


def test_a_whole_scene_has_no_mask(tmp_path, town):
    write_scene(tmp_path / "scene.tif", town, crs="EPSG:32636", origin=(450000.5, 30000.25))
    with rasterio.open(tmp_path / "scene.tif") as image:
        assert (image.dataset_mask() == 255).all()
        assert image.crs.to_epsg() == 32636 and (image.transform.c, image.transform.f) == (450000.5, 30000.25)


def test_an_unwritable_path_is_told(tmp_path, town):
    with pytest.raises(OutputUnwritable, match="cannot be written"):
        write_scene(tmp_path / "missing" / "scene.tif", town)


@pytest.mark.parametrize("setting", [None, "car park"])
def test_the_command_line_draws_what_the_function_draws(tmp_path, setting):
    path, labels = tmp_path / "scene.tif", tmp_path / "labels.tif"
    options = ["--nodata-corner"] + (["--setting", setting] if setting else [])
    main([str(path), "--seed", "4", "--height", "96", "--width", "130", "--labels", str(labels), *options])
    scene = draw_scene(4, 96, 130, nodata_corner=True, setting=setting)
    with rasterio.open(path) as image, rasterio.open(labels) as mask:
        np.testing.assert_array_equal(image.read(), scene.image)
        np.testing.assert_array_equal(image.dataset_mask() == 0, scene.nodata)
        np.testing.assert_array_equal(mask.read(1), scene.mask)


@pytest.mark.parametrize(
    "arguments",
    [
        ["missing/scene.tif", "--height", "32"],
        ["scene.tif", "--height", "0"],
        ["s.tif", "--gsd", "-1"],
        ["s.tif", "--setting", "moon"],
    ],
)
def test_the_command_line_says_what_is_wrong(tmp_path, arguments, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
