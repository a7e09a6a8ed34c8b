"""A flight becomes one map: true in place and in shares, whatever the frames' order, and whole after a crash.

Long, since most of it looks at one flight that is mapped once.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
import torch
from flights import Shot, noise, on_ground, picture, save, species, survey
from rio_cogeo.cogeo import cog_validate
from torch import nn

from rotacube.errors import FramesRefused, JobCancelled, JobDamaged, JobInterrupted, OptionsRefused, OutputUnwritable
from rotacube.inference import frames as module
from rotacube.inference.footprints import write_footprints
from rotacube.inference.frame_store import FrameStore
from rotacube.inference.frames import map_frames
from rotacube.inference.frames_request import PRODUCTS, FramesRequest
from rotacube.inference.votes import Votes, frame_parts
from rotacube.models.store import LoadedModel
from rotacube.raster.frames import read_flight
from rotacube.raster.grid import Box
from rotacube.treatment.grid import GridRequest, grid_of

NODATA = 255
CRS = "EPSG:32632"
START = Shot(yaw=35.0, size=(240, 180))
CONFUSION = {"here": [[0.97, 0.02, 0.01], [0.02, 0.96, 0.02], [0.01, 0.01, 0.98]]}
KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_frames
from rotacube.inference.frame_store import FrameStore
from rotacube.inference.frames import map_frames

left, add = [3], FrameStore.add_frame

def dying(self, *arguments):
    if not left[0]:
        os.kill(os.getpid(), 9)
    left[0] -= 1
    add(self, *arguments)

FrameStore.add_frame = dying
map_frames(test_frames.request_of(*map(Path, sys.argv[2:])), test_frames.bands_model(), place=test_frames.PLACE)
"""


class Bands(nn.Module):
    """The stronger a band, the likelier its class."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        return self.factor * x


def bands_model():
    """A model of three classes, each found by its band."""
    from model_cards import card_fields

    from rotacube.models.card import ModelCard

    classes = [{"id": i, "name": name, "color": f"#{i}0aa0{i}"} for i, name in enumerate(("grass", "clover", "dock"))]
    weights = {"file": "model.safetensors", "sha256": "0" * 64, "parameters": 1}
    fields = card_fields(classes=classes, tile=64, overlap=24, gsd=0.2, confusion=CONFUSION, task="plants")
    return LoadedModel(ModelCard.model_validate({"weights": weights, **fields}), Bands().eval(), Path())


PLACE = module.Place(torch.device("cpu"), torch.float32, 2)


def request_of(folder, output, **more):
    return FramesRequest(folder, output, "bands", **more)


def mapped(folder, output, **more):
    return map_frames(request_of(folder, output, **more), bands_model(), place=PLACE)


def pixels(output):
    """Every product, decoded."""
    found = {}
    for product, name in PRODUCTS.items():
        if name.endswith(".tif"):
            with rasterio.open(output / name) as file:
                found[product] = file.read()
        else:
            found[product] = (output / name).read_text(encoding="utf-8-sig")
    return found


def same(one, other):
    return all(np.array_equal(one[product], other[product]) for product in PRODUCTS)


def fly(folder, shots):
    folder.mkdir(exist_ok=True)
    for number, shot in enumerate(shots):
        save(folder / f"{number:03d}.jpg", shot, CRS)
    return folder


@pytest.fixture(scope="module")
def flight(tmp_path_factory):
    """Twelve frames in three lines that overlap."""
    return fly(tmp_path_factory.mktemp("flight") / "frames", survey(START))


@pytest.fixture(scope="module")
def whole(flight):
    """What one run makes of it: the result, the products, their folder."""
    output = flight.parent / "whole"
    result = mapped(flight, output)
    return result, pixels(output), output


def truth_at(output, moved=(0.0, 0.0)):
    with rasterio.open(output / "mask.tif") as file:
        columns, rows = np.arange(file.width) + 0.5 + moved[0], np.arange(file.height)[:, None] + 0.5 + moved[1]
        t = file.transform
        return species(*np.broadcast_arrays(t.c + t.a * columns, t.f + t.e * rows))


def test_mask_shows_the_classes_where_they_are(whole):
    _, found, output = whole
    mask = found["mask"][0]
    seen = mask != NODATA
    assert seen.mean() > 0.4
    right = {
        (x, y): (mask == truth_at(output, (x, y)))[seen].mean()
        for x in (-1, -0.5, 0, 0.5, 1)
        for y in (-1, -0.5, 0, 0.5, 1)
    }
    assert right[0, 0] > 0.97
    assert max(right, key=right.get) == (0, 0)  # less than half a pixel off


def test_shares_are_those_of_the_ground_and_lie_in_their_intervals(whole):
    _, found, output = whole
    seen = found["mask"][0] != NODATA
    truth = np.bincount(truth_at(output)[seen], minlength=3) / seen.sum()
    rows = list(csv.DictReader(found["statistics"].splitlines()))
    assert [row["class"] for row in rows] == ["grass", "clover", "dock"]
    for row, share in zip(rows, truth, strict=True):
        assert abs(float(row["share"]) - share) < 0.01
        assert float(row["share_low"]) < share < float(row["share_high"])
    assert rows[0]["vegetated_share"] == ""
    for row, share in zip(rows[1:], truth[1:] / truth[1:].sum(), strict=True):
        assert abs(float(row["vegetated_share"]) - share) < 0.01
        assert float(row["vegetated_share_low"]) < share < float(row["vegetated_share_high"])


def test_products_are_cogs_on_one_grid_that_say_where_they_come_from(whole, flight):
    result, found, output = whole
    assert sorted(path.name for path in output.iterdir()) == sorted(PRODUCTS.values())
    grids = set()
    for name in ("mask.tif", "probability.tif", "rgb.tif", "agreement.tif"):
        valid, errors, _ = cog_validate(output / name)
        assert valid, errors
        with rasterio.open(output / name) as file:
            grids.add((file.crs.to_epsg(), file.transform, file.shape))
            assert file.tags()["ROTACUBE_FRAMES"] == "12" and file.tags()["ROTACUBE_RASTER"] == str(flight)
    ((epsg, transform, shape),) = grids
    assert epsg == 32632 and transform.a == 0.2 and shape == (result.height, result.width)
    none = found["mask"][0] == NODATA
    for product in ("probability", "rgb", "agreement"):
        np.testing.assert_array_equal(found[product] == NODATA, np.broadcast_to(none, found[product].shape))
    assert result.nodata_pixels == none.sum() and result.frames == 12 and not result.left_out


def test_photo_has_the_colours_of_the_ground(whole):
    _, found, output = whole
    mask, photo, truth = found["mask"][0], found["rgb"].astype(float), truth_at(output)
    inside = (mask != NODATA) & (mask == truth)
    for number in range(3):
        mean = photo[:, inside & (truth == number)].mean(1)
        assert mean.argmax() == number and mean.max() > 160 and np.delete(mean, number).max() < 90


def test_frames_that_see_a_place_are_counted(whole, flight):
    output = whole[2]
    with rasterio.open(output / "agreement.tif") as file:
        place, views = file.transform, file.read(2)
        assert file.scales == (pytest.approx(1 / 254), 1.0)
    polygons = [shapely.Polygon(frame.corners) for frame in read_flight(flight).frames]
    rows, columns = (np.linspace(5, side - 5, 30).astype(int) for side in views.shape)
    for row in rows:
        for column in columns:
            spot = shapely.Point(place * (column + 0.5, row + 0.5))
            count = sum(polygon.contains(spot) for polygon in polygons)
            near = min(polygon.exterior.distance(spot) for polygon in polygons)
            assert near < 0.02 or (views[row, column] if views[row, column] != NODATA else 0) == count


def test_no_order_of_the_frames_changes_anything(whole, flight, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    names = sorted(path.name for path in flight.iterdir())
    for name, other in zip(names, np.random.default_rng(3).permutation(names), strict=True):
        (folder / f"b{name}").write_bytes((flight / other).read_bytes())
    mapped(folder, tmp_path / "out")
    assert same(pixels(tmp_path / "out"), whole[1])


def test_every_second_frame_left_out_changes_shares_by_less_than_a_point(tmp_path):
    shots = survey(replace(START, size=(200, 150)), lines=1, shots=9, forward=0.8)
    shares = []
    for step in (1, 2):
        output = tmp_path / f"out{step}"
        result = mapped(fly(tmp_path / f"frames{step}", shots[::step]), output)
        shares.append(np.array([total.pixels for total in result.classes]) / sum(t.pixels for t in result.classes))
    assert np.abs(shares[0] - shares[1]).max() < 0.01


def test_overlaps_vote_by_weight(tmp_path):
    # Two frames of the same place; one shows clover all over, the other grass, and lies a quarter of a frame off.
    one, size = START, START.size
    x, y = on_ground(one, np.array([size[0] * 0.75]), np.array([size[1] / 2]), "EPSG:4326")
    other = replace(one, longitude=x[0], latitude=y[0])
    for name, shot, band in (("a", one, 1), ("b", other, 0)):
        image = noise(shot) // 32
        image[..., band] += 190
        save(tmp_path / f"{name}.jpg", shot, CRS, image)
    mapped(tmp_path, tmp_path / "out")
    found = pixels(tmp_path / "out")
    with rasterio.open(tmp_path / "out" / "mask.tif") as file:

        def at(u, v):
            spot = on_ground(one, np.array([u * size[0]]), np.array([v * size[1]]), CRS)
            return file.index(spot[0][0], spot[1][0])

        # Across the first frame at u, the second's u is u - 0.25; weights are 1 - |2u - 1|.
        for u in (0.3, 0.5, 0.7, 0.9):
            row, column = at(u, 0.5)
            first, second = 1 - abs(2 * u - 1), 1 - abs(2 * (u - 0.25) - 1)
            assert found["mask"][0, row, column] == (1 if first > second else 0)
            agreement = found["agreement"][:, row, column]
            assert agreement[0] / 254 == pytest.approx(max(first, second) / (first + second), abs=0.02)
            assert agreement[1] == 2
        row, column = at(0.1, 0.5)
        assert found["mask"][0, row, column] == 1 and list(found["agreement"][:, row, column]) == [254, 1]


def test_two_classes_are_parted_by_the_threshold_of_the_mean_probability(make_card):
    card = make_card(threshold=0.75)
    assert frame_parts(card) == ["chance 1", "weight", "red", "green", "blue"]
    votes = Votes(Box(0, 0, 1, 3), card)
    for chance, weight in (([254, 254, 100], [10, 30, 0]), ([0, 200, 255], [10, 10, 0])):
        parts = np.array([chance, weight, *[[7, 7, 7]] * 3], np.uint8)[:, None]
        votes.add(Box(0, 0, 1, 3), parts)
    found = votes.finding.parts
    assert found["labels"][0].tolist() == [0, 1, NODATA]
    assert found["chance 1"][0].tolist() == [127, round((254 * 30 + 200 * 10) / 40), NODATA]
    assert found["agreement"][0].tolist() == [127, 254, NODATA] and found["views"][0].tolist() == [2, 2, NODATA]


def test_cameras_of_several_kinds_and_heights_make_one_map(tmp_path):
    shots = survey(START, lines=1, shots=3)
    shots[1] = replace(shots[1], make="parrot", size=(400, 300), film=30, height=52.0)
    shots[2] = replace(shots[2], make="autel", pitch=-83.0, yaw=200.0)
    fly(tmp_path / "frames", shots)
    (tmp_path / "frames" / "cut.jpg").write_bytes((tmp_path / "frames" / "000.jpg").read_bytes()[:9000])
    result = mapped(tmp_path / "frames", tmp_path / "out")
    mask = pixels(tmp_path / "out")["mask"][0]
    seen = mask != NODATA
    assert (mask == truth_at(tmp_path / "out"))[seen].mean() > 0.96
    assert result.frames == 3 and [one.path.name for one in result.left_out] == ["cut.jpg"]


@pytest.mark.parametrize("gsd", [0.1, 0.7])
def test_map_may_have_other_pixels_than_the_model(gsd, tmp_path):
    folder = fly(tmp_path / "frames", survey(replace(START, size=(160, 120)), lines=1, shots=2))
    result = mapped(folder, tmp_path / "out", gsd=gsd)
    assert result.gsd == gsd
    mask = pixels(tmp_path / "out")["mask"][0]
    seen = mask != NODATA
    assert (mask == truth_at(tmp_path / "out"))[seen].mean() > (0.97 if gsd < 0.2 else 0.9)


def test_what_a_lens_has_bent_lies_where_it_is(tmp_path):
    cv2 = pytest.importorskip("cv2")
    width, height = START.size
    matrix = np.array([[START.focal, 0, width / 2 - 0.5], [0, START.focal, height / 2 - 0.5], [0, 0, 1]])

    def bend(columns, rows):
        pixels = np.stack([columns, rows], -1).reshape(-1, 1, 2) - 0.5
        straight = cv2.undistortPoints(pixels, matrix, np.array([-0.15, 0, 0, 0]), None, None, matrix) + 0.5
        return straight.reshape(*columns.shape, 2)[..., 0], straight.reshape(*columns.shape, 2)[..., 1]

    (tmp_path / "frames").mkdir()
    for number, shot in enumerate(survey(START, lines=1, shots=3)):
        save(tmp_path / "frames" / f"{number}.jpg", shot, CRS, picture(shot, CRS, number, bend))
    calibration = tmp_path / "camera.json"
    calibration.write_text(json.dumps({"camera_matrix": matrix.tolist(), "dist_coefs": [-0.15, 0, 0, 0]}))
    right = []
    for output, more in ((tmp_path / "straight", {"calibration": calibration}), (tmp_path / "bent", {})):
        mapped(tmp_path / "frames", output, **more)
        mask = pixels(output)["mask"][0]
        right.append((mask == truth_at(output))[mask != NODATA].mean())
    assert right[0] > 0.97 > 0.95 > right[1]


def test_a_map_of_refined_frames_says_what_it_came_to_and_is_gone_on_with(tmp_path, monkeypatch):
    pytest.importorskip("cv2")
    flight = fly(tmp_path / "frames", survey(replace(START, size=(720, 540)), lines=1, shots=4, forward=0.8))
    steps, add, left = [], FrameStore.add_frame, [2]

    def stopping(self, *arguments):
        left[0] -= 1
        if left[0] < 0:
            raise JobInterrupted("stopped")
        add(self, *arguments)

    request = request_of(flight, tmp_path / "whole", refine=True)
    whole = map_frames(request, bands_model(), place=PLACE, on_frame=lambda what, *_: steps.append(what))
    assert {"Looking for features", "Matching frames", "Adjusting poses"} <= set(steps)
    assert "Poses refined" in " ".join(whole.notes)
    monkeypatch.setattr(FrameStore, "add_frame", stopping)
    with pytest.raises(JobInterrupted):
        mapped(flight, tmp_path / "part", refine=True)
    monkeypatch.setattr(FrameStore, "add_frame", add)
    mapped(flight, tmp_path / "part", refine=True, resume=True)
    assert same(pixels(tmp_path / "part"), pixels(tmp_path / "whole"))


def test_frames_far_from_the_models_resolution_are_left_out_unless_that_is_agreed_to(tmp_path):
    shots = [replace(START, size=(96, 72), height=14.0), replace(START, size=(96, 72), height=60.0)]
    fly(tmp_path / "frames", shots)
    result = mapped(tmp_path / "frames", tmp_path / "out")
    assert result.frames == 1 and "is made for" in result.left_out[0].why
    assert mapped(tmp_path / "frames", tmp_path / "any", any_resolution=True).frames == 2
    (tmp_path / "frames" / "000.jpg").unlink()
    with pytest.raises(FramesRefused, match="can be mapped"):
        mapped(tmp_path / "frames", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_run_that_is_killed_goes_on_and_ends_with_the_same(whole, flight, tmp_path):
    output = tmp_path / "out"
    (tmp_path / "killed.py").write_text(KILLED)
    here = Path(__file__).parent
    path = os.pathsep.join([str(here.parent), *sys.path])
    code = [sys.executable, "killed.py", str(here), str(flight), str(output)]
    done = subprocess.run(code, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, check=False)
    assert done.returncode == -9
    (folder,) = output.iterdir()
    assert len(list(folder.glob("frame_*.tif"))) == 3
    found, find = [], module._Run._chances
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            module._Run, "_chances", lambda self, frame, engine: found.append(frame) or find(self, frame, engine)
        )
        mapped(flight, output, resume=True)
    assert len(found) == 9
    assert same(pixels(output), whole[1])
    assert sorted(path.name for path in output.iterdir()) == sorted(PRODUCTS.values())


def interrupted(after):
    """What `cancelled` is when the process ends after so many frames."""
    asked = []

    def ask():
        asked.append(1)
        if len(asked) > after:
            raise JobInterrupted("The backend ends.")
        return False

    return ask


def test_a_run_does_not_go_on_with_other_frames_or_another_request(flight, tmp_path):
    folder = fly(tmp_path / "frames", survey(replace(START, size=(96, 72)), lines=1, shots=3))
    with pytest.raises(JobInterrupted):
        map_frames(request_of(folder, tmp_path / "out"), bands_model(), place=PLACE, cancelled=interrupted(8))
    with pytest.raises(JobDamaged, match="the raster"):
        mapped(folder, tmp_path / "out", gsd=0.3, resume=True)
    with pytest.raises(JobDamaged, match="the model"):
        map_frames(
            request_of(folder, tmp_path / "out", resume=True),
            replace(bands_model(), card=bands_model().card.model_copy(update={"threshold": 0.6})),
            place=PLACE,
        )
    assert mapped(folder, tmp_path / "out", resume=True).frames == 3


def test_a_frame_that_was_damaged_meanwhile_is_found_again(tmp_path):
    store = FrameStore(tmp_path / "job", Box(0, 0, 50, 50), ["chance 1", "weight"])
    store.begin({"the raster": ["a"]}, resume=False)
    for name in ("a.jpg", "b.jpg"):
        store.add_frame(name, Box(3, 4, 30, 40), np.full((2, 27, 36), 7, np.uint8))
    store.leave()
    path = next(tmp_path.glob("job/frame_*.tif"))
    path.write_bytes(path.read_bytes()[:300])
    again = FrameStore(tmp_path / "job", Box(0, 0, 50, 50), ["chance 1", "weight"])
    again.begin({"the raster": ["a"]}, resume=True)
    kept = [name for name in ("a.jpg", "b.jpg") if again.box_of(name)]
    assert len(kept) == 1 and (again.read_frame(kept[0], Box(5, 6, 9, 10)) == 7).all()


@pytest.mark.parametrize("after", [2, 14, 40])
def test_cancelled_leaves_nothing_behind(after, flight, tmp_path):
    asked = []

    def ask():
        asked.append(1)
        return len(asked) > after

    with pytest.raises(JobCancelled):
        map_frames(request_of(flight, tmp_path / "out"), bands_model(), place=PLACE, cancelled=ask)
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_not_replaced_unasked(tmp_path):
    folder = fly(tmp_path / "frames", [replace(START, size=(96, 72))])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "rgb.tif").write_text("mine")
    with pytest.raises(OutputUnwritable, match="there already"):
        mapped(folder, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["rgb.tif"]
    mapped(folder, tmp_path / "out", overwrite=True)
    assert pixels(tmp_path / "out")["rgb"].shape[0] == 3


def test_what_makes_no_map_is_a_sentence(flight, tmp_path):
    for gsd in (0.0, -1.0, float("nan"), 1e5):
        with pytest.raises(OptionsRefused, match="make no map"):
            mapped(flight, tmp_path / "out", gsd=gsd)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FramesRefused, match="no image"):
        mapped(tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_footprints_are_the_ground_that_frames_show(flight, tmp_path):
    known = read_flight(flight)
    write_footprints(known, tmp_path / "f.gpkg")
    meta, _, shapes, fields = pyogrio.raw.read(tmp_path / "f.gpkg")
    table = dict(zip(meta["fields"], fields, strict=True))
    assert meta["crs"] == "EPSG:32632" and list(table["frame"]) == [f"{n:03d}.jpg" for n in range(12)]
    for shape, shot, height in zip(shapely.from_wkb(shapes), survey(START), table["height_m"], strict=True):
        width, tall = shot.size
        x, y = on_ground(shot, np.array([0, width, width, 0]), np.array([0, 0, tall, tall]), CRS)
        assert shape.symmetric_difference(shapely.Polygon(np.column_stack([x, y]))).area < 0.002 * shape.area
        assert height == 40.0
    with pytest.raises(OutputUnwritable, match="there already"):
        write_footprints(known, tmp_path / "f.gpkg")


def test_picture_is_sharp_and_drawn_at_its_place():
    # The oracle itself: a pixel's colour is that of the species under it.
    image = picture(START, CRS)
    x, y = on_ground(START, np.arange(240) + 0.5, np.arange(180)[:, None] + 0.5, CRS)
    assert (image.argmax(-1) == species(x, y)).mean() > 0.99


def test_a_treatment_grid_of_the_mask_treats_where_the_species_is(whole, tmp_path):
    _, _, output = whole
    request = GridRequest(str(output / "mask.tif"), (tmp_path / "g.gpkg",), 2.0, ("dock",), share=30.0, least=90.0)
    plan = grid_of(request)
    assert pyogrio.read_info(tmp_path / "g.gpkg")["crs"] == CRS
    assert pyogrio.read_info(tmp_path / "g.gpkg")["features"] == len(plan.numbers) > 50
    steps = (np.arange(40) + 0.5) / 40
    bounds = shapely.bounds(plan.cells.polygons(plan.numbers))
    truth = np.array(
        [
            (species(west + (east - west) * steps, south + (north - south) * steps[:, None]) == 2).mean()
            for west, south, east, north in bounds
        ]
    )
    assert np.abs(plan.shares[0] - truth).mean() < 0.05
    clear = np.abs(truth - 0.3) > 0.15
    assert clear.sum() > 30 and (plan.treat == (truth > 0.3))[clear].all()


def test_a_flight_that_will_not_fit_is_refused_before_it_is_mapped(flight, tmp_path, monkeypatch):
    told = []
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=2**20))
    with pytest.raises(OutputUnwritable, match="1 MB left; the run needs about"):
        map_frames(request_of(flight, tmp_path / "out"), bands_model(), place=PLACE, on_start=told.append)
    assert list(tmp_path.iterdir()) == []
    (needed,) = told[0].disks.values()
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=needed))
    assert mapped(flight, tmp_path / "out").frames == 12
