"""`rotacube scenes`, as a person and as a program call it."""

from __future__ import annotations

import json

import pyogrio


def test_scenes_are_counted_and_written(call, scene_path, make_scene_model, tmp_path):
    model = make_scene_model()
    done = call("scenes", scene_path, "s.gpkg", "--model", model, "--size", 12, "--least", 30)
    assert done.code == 0, done.err
    count = pyogrio.read_info(tmp_path / "s.gpkg")["features"]
    assert f"s.gpkg: {count} scenes, " in done.out and "with too little data were left out" in done.out
    again = call("scenes", scene_path, "s.gpkg", "--model", model)
    assert again.code == 2 and "is there already" in again.err
    told = call("--progress", "json", "scenes", scene_path, "s.gpkg", "--model", model, "--size", 12, "--overwrite")
    lines = [json.loads(line) for line in told.out.splitlines()]
    result = lines[-1]["result"]
    assert sum(c["scenes"] for c in result["classes"]) == result["scenes"] > 0
    steps = [line for line in lines if "what" in line]
    assert steps[-1]["done"] == steps[-1]["total"] == result["scenes"] + result["left_out"]
    assert steps[0]["what"] == "Tiny scenes, random weights" and steps[0]["unit"] == "scenes"


def test_what_is_wrong_with_the_call_is_a_sentence(call, scene_path, model_folder, tmp_path):
    done = call("scenes", scene_path, "s.gpkg", "--model", model_folder)
    assert done.code == 2 and "labels pixels, not whole images" in done.err and "Traceback" not in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(call, scene_path, make_scene_model, tmp_path):
    done = call("scenes", scene_path, "s.gpkg", "--model", make_scene_model(), file_limit=20_000)
    assert done.code == 2 and "could not be written" in done.err and "Traceback" not in done.err, done.err
    assert list(tmp_path.iterdir()) == []
