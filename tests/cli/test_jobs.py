"""`rotacube jobs`: what was cut off is listed, and dropped when asked."""

from __future__ import annotations

import json

from rotacube.inference.store import FRAMES, MANIFEST, OWNER, folder_of, left_of
from rotacube.raster.destination import owner_mark


def leave(folder, name, raster, owner=""):
    job = folder_of(folder / name)
    job.mkdir()
    (job / MANIFEST).write_text(json.dumps({"the raster": [raster]}) if raster else "{")
    (job / "strip_0_0_10_10.tif").write_bytes(b"x" * 100)
    if owner:
        (job / OWNER).write_text(owner)
    return job


def test_jobs_are_listed_and_dropped(tmp_path, call):
    dead, live, odd = (
        leave(tmp_path, "a.tif", "/maps/town.tif"),
        leave(tmp_path, "b.tif", "/maps/field.tif", owner_mark()),
        leave(tmp_path, "c.tif", ""),
    )
    done = call("jobs", tmp_path)
    assert done.code == 0 and "a.tif" in done.out and "town.tif" in done.out and "can be resumed" in done.out
    assert "is running" in done.out and "not to be read" in done.out
    assert dead.exists() and live.exists() and odd.exists()
    done = call("jobs", tmp_path, "--drop")
    assert done.code == 0 and "dropped" in done.out
    assert not dead.exists() and live.exists() and not odd.exists()


def test_of_a_flight_its_frames_are_counted(tmp_path, call):
    job = leave(tmp_path, "mask.tif", "")
    about = {"the raster": ["/flights/may", {}], FRAMES: 18, "the area": [0, 0, 900, 900]}
    (job / MANIFEST).write_text(json.dumps(about))
    for number in range(3):
        (job / f"frame_{number:016x}_0_0_10_10.tif").write_bytes(b"x" * 100)
    done = call("jobs", tmp_path)
    assert done.code == 0 and "3 of 18 frames" in done.out and "can be resumed" in done.out
    left = left_of(job)
    assert (left.strips, left.frames, left.share) == (3, 18, 3 / 18)


def test_a_folder_without_jobs_and_none_at_all(tmp_path, call):
    assert "No run has left anything" in call("jobs", tmp_path).out
    done = call("jobs", tmp_path / "nowhere")
    assert done.code == 2 and "cannot be read" in done.err
