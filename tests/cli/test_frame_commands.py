"""`rotacube frames`: what is listed, written and mapped, and how faults are told."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine
from flights import Shot, noise, save, survey

from rotacube.cli import frames as commands
from rotacube.errors import JobCancelled, JobInterrupted
from rotacube.inference.frames_request import PRODUCTS


@pytest.fixture
def frames(tmp_path):
    """Three frames, one of which is cut short."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, shot in enumerate(survey(Shot(size=(200, 150), yaw=35.0), lines=1, shots=3)):
        save(folder / f"{number}.jpg", shot, "EPSG:32632", noise(shot))
    (folder / "1.jpg").write_bytes((folder / "1.jpg").read_bytes()[:9000])
    return folder


def test_list_says_where_frames_lie_or_why_they_are_left_out(call, frames):
    listed = json.loads(call("frames", "list", frames, "--json").out)
    assert [row["frame"] for row in listed] == ["0.jpg", "1.jpg", "2.jpg"]
    assert "cut short" in listed[1]["left_out"]
    assert listed[0]["height_m"] == 40 and listed[0]["yaw_deg"] == 35 and "UTM zone 32N" in listed[0]["crs"]
    table = call("frames", "list", frames)
    assert table.code == 0 and "35.0" in table.out and "Left out: '1.jpg' is damaged" in table.out


def test_refining_tells_what_it_came_to(call, frames, tmp_path):
    pytest.importorskip("cv2")
    listed = json.loads(call("frames", "list", frames, "--refine", "--json").out)
    assert [row["frame"] for row in listed["frames"]] == ["0.jpg", "1.jpg", "2.jpg"]
    # Both frames show nothing but noise, of the same grains.
    assert set(listed["refinement"]) >= {"compared", "fitted", "held", "ahead", "beside", "alone", "slope", "bent"}
    said = call("frames", "footprints", frames, "f.gpkg", "--refine")
    assert said.code == 0 and ("Poses refined" in said.out or "No two of the frames" in said.out)


def test_a_terrain_model_and_a_calibration_are_options_of_all(call, frames, tmp_path):
    focal = 24 / np.hypot(36, 24) * 250
    matrix = [[focal, 0, 99.5], [0, focal, 74.5], [0, 0, 1]]
    (tmp_path / "c.json").write_text(json.dumps({"camera_matrix": matrix, "dist_coefs": [-0.1, 0, 0, 0]}))
    shape, place = (50, 50, 1), Affine(0.02, 0, 9.5, 0, -0.02, 47.8)
    with rasterio.open(tmp_path / "d.tif", "w", "GTiff", *shape, "EPSG:4326", place, "int16") as file:
        file.write(np.full((50, 50), 500, np.int16), 1)
    plain, known = (
        json.loads(call("frames", "list", frames, "--json", *more).out)[0]
        for more in ((), ("--calibration", "c.json", "--dem", "d.tif"))
    )
    assert known["height_m"] == pytest.approx(40) and known["corners"] != plain["corners"]
    written = call("frames", "footprints", frames, "f.gpkg", "--calibration", "c.json", "--dem", "d.tif")
    assert written.code == 0 and "500.0 m above the sea" in written.out and "2 of 2 frames" in written.out
    wrong = call("frames", "list", frames, "--dem", "none.tif")
    assert wrong.code == 2 and "none.tif" in wrong.err


def test_footprints_and_a_map_are_written(call, frames, model_folder, tmp_path):
    done = call("frames", "footprints", frames, "f.gpkg")
    assert done.code == 0, done.err
    assert len(pyogrio.read_info(tmp_path / "f.gpkg")["fields"]) == 7
    assert pyogrio.read_info(tmp_path / "f.gpkg")["features"] == 2
    done = call("--progress", "json", "frames", "map", frames, "out", "--model", model_folder, "--precision", "float32")
    assert done.code == 0, done.err
    told = [json.loads(line) for line in done.out.splitlines()]
    assert {"Looking at frames", "Mapping frames", "Joining frames"} <= {line.get("what") for line in told}
    assert next(line["left_out"] for line in told if "left_out" in line)[0]["frame"] == "1.jpg"
    with rasterio.open(tmp_path / "out" / "mask.tif") as file:
        assert file.crs.to_epsg() == 32632
    made = next(line["result"] for line in told if "result" in line)
    assert made["also"] == {"photo": "out/rgb.tif", "agreement": "out/agreement.tif"}
    assert made["frames"] == 2 and made["gsd"][0] == made["gsd"][1] and len(made["classes"]) == 2
    assert all((tmp_path / product["path"]).is_file() for product in made["products"])
    assert [product["kind"] for product in made["products"]] == ["mask", "probability", "statistics"]
    again = call("frames", "map", frames, "out", "--model", model_folder)
    assert again.code == 2 and "there already" in again.err


def test_an_overlay_and_a_report_of_the_map_say_which_frames_it_is_of(call, frames, model_folder, tmp_path):
    asked = ("frames", "map", frames, "out", "--model", model_folder, "--kmz", "--report")
    done = call(*asked)
    assert done.code == 0, done.err
    for name in ("map.kmz", "report.pdf"):
        assert f"{name} is written." in done.out.replace("\n", "")
    with zipfile.ZipFile(tmp_path / "out" / "map.kmz") as archive:
        page = archive.read("doc.kml").decode()
        assert "<name>frames</name>" in page and "Frames: 2" in page and "Frames left out: 1: 1.jpg" in page
        assert {"classes/0/0/0.kml", "photo1/0/0/0.png"} <= set(archive.namelist())
    assert (tmp_path / "out" / "report.pdf").stat().st_size > 10_000
    for name in PRODUCTS.values():
        (tmp_path / "out" / name).unlink()
    before = sorted((tmp_path / "out").iterdir())
    again = call(*asked)
    assert again.code == 2 and "map.kmz' is there already" in again.err
    assert sorted((tmp_path / "out").iterdir()) == before
    assert call(*asked, "--overwrite").code == 0


def test_a_program_is_told_where_frames_lie(call, frames):
    told = [json.loads(line) for line in call("--progress", "json", "frames", "list", frames).out.splitlines()]
    result = next(line["result"] for line in told if "result" in line)
    assert result["frames"] == json.loads(call("frames", "list", frames, "--json").out) and result["notes"] == []
    assert len(result["frames"][0]["corners"]) == 4


def test_a_cancelled_run_is_kept_where_that_is_wanted(call, frames, model_folder, tmp_path, monkeypatch):
    class Stop:
        left = 0

        def is_set(self):
            self.left -= 1
            return self.left < 0

    stop = Stop()
    monkeypatch.setattr(commands, "stop_event", lambda: stop)
    out = tmp_path / "out"
    footprints = out / "footprints.gpkg"

    def run(left, **more):
        stop.left = left
        commands.map_them(frames, out, str(model_folder), precision="float32", footprints=footprints, **more)

    with pytest.raises(JobCancelled):
        run(20)  # frames are looked at, one is mapped
    assert not out.exists()
    with pytest.raises(JobInterrupted, match="is kept"):
        run(20, keep=True)
    assert [path.name for path in out.iterdir()] == [".mask.tif.rotacube-job"]
    run(10**6, keep=True, resume=True)
    there = {path.name for path in out.iterdir()}
    assert there == {"mask.tif", "probability.tif", "rgb.tif", "agreement.tif", "shares.csv", "footprints.gpkg"}
    assert pyogrio.read_info(footprints)["features"] == 2
    run(10**6, overwrite=True)
    for name in ("footprints.gpkg", "none/f.gpkg", "f.shp"):
        refused = call("frames", "map", frames, "other", "--model", model_folder, "--footprints", f"out/{name}")
        assert refused.code == 2 and not (tmp_path / "other").exists(), name


def test_a_folder_without_images_is_a_sentence(call, tmp_path):
    for arguments in (("list",), ("footprints",), ("map",)):
        more = {"list": (), "footprints": ("f.gpkg",), "map": ("out", "--model", "rooftop-small")}[arguments[0]]
        done = call("frames", *arguments, tmp_path, *more)
        assert done.code == 2 and "no image" in done.err and "Traceback" not in done.err
