"""The main job in real QGIS: a raster layer becomes a mask layer, and what happens when a process is killed."""

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from support import HERE, run_backend

PATIENCE_S = 240


def gone(pid):
    """Whether a process has ended (one that nobody has waited for yet counts as ended)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def wait_until(condition, seconds):
    """Whether a condition holds within so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def gone_within(pid, seconds):
    return wait_until(lambda: gone(pid), seconds)


def until_in_mid_job(plan, process):
    """Wait until a QGIS that holds is in the middle of its job; what it says of itself then."""
    path = Path(plan["out"]) / "progress.json"
    wait_until(lambda: path.exists() or process.poll() is not None, PATIENCE_S)
    assert path.exists(), "QGIS did not get to the middle of the job"
    return json.loads(path.read_text())


@pytest.mark.timeout(300)
def test_raster_layer_becomes_mask_layer(demo, plan, backend_python, models):
    wanted = plan()
    result = demo.run(wanted, backend_python, models, PATIENCE_S)
    out = Path(wanted["out"])
    assert result["exit_code"] == 0
    assert result["mask_valid"] and result["mask_in_group"] and result["mask"] == str(out / "mask.tif")
    assert result["busy_during"]
    assert result["tiles"] > 4 and result["live_tiles"] > 0 and result["live_tiles_left"] == 0
    assert result["progress_text"].startswith("tile ")
    assert result["keys"] == ["rotacubeTakeRoofs"]  # nothing else in QGIS has them
    assert result["classes"] == [[0, "background", "#000000", 0], [1, "roof", "#e6550d", 255]]
    assert [row[0] for row in result["table"]] == ["background", "roof"]
    assert len(result["history"]) == 3 and "tiny" in result["history"][1]
    step = 0.3  # the model's resolution: the mask's edge lies within a pixel of the source's
    assert all(abs(a - b) <= step for a, b in zip(result["mask_extent"], result["layer_extent"]))
    for name in ("before.png", "during.png", "after.png"):
        assert (out / name).stat().st_size > 50_000
    assert result["gap_while_starting_s"] < 1 and result["gap_while_running_s"] < 1
    assert gone_within(result["backend_pid"], 5)


@pytest.mark.timeout(300)
def test_map_view_only(demo, plan, backend_python, models):
    result = demo.run(plan(area="canvas"), backend_python, models, PATIENCE_S)
    mask, layer = result["mask_extent"], result["layer_extent"]
    assert result["mask_valid"]
    assert layer[0] + 5 < mask[0] < mask[2] < layer[2] - 5


@pytest.mark.timeout(300)
def test_banepa(demo, plan, backend_python, models, banepa_vrt):
    result = demo.run(plan(raster=str(banepa_vrt)), backend_python, models, PATIENCE_S)
    assert result["mask_valid"] and result["crs"] == "EPSG:4326"
    pixel = 0.3 / 98_000  # degrees of longitude there
    assert all(abs(a - b) <= 1.5 * pixel for a, b in zip(result["mask_extent"], result["layer_extent"]))


@pytest.mark.timeout(300)
def test_roofs_are_taken_by_click(demo, plan, backend_python, models):
    result = demo.run(plan("roofs", model="rooftop-lite"), backend_python, models, PATIENCE_S)
    assert result["exit_code"] == 0
    assert result["clicked"] == 3 and result["after_undo"] == 2
    assert result["areas"] == [round(area, 2) for area in result["want"][:2]]
    assert result["same"] and result["known"][0] > 10
    assert result["gap_while_looking_s"] < 1


@pytest.mark.timeout(300)
def test_ten_polygons_teach_a_model_that_maps(demo, plan, backend_python, models, tmp_path):
    wanted = plan("teach", steps=1)
    own = {name: str(tmp_path / name) for name in ("XDG_DATA_HOME", "ROTACUBE_HOME")}
    result = demo.run(wanted, backend_python, models, PATIENCE_S, **own)
    assert result["exit_code"] == 0 and result["classes"] == "roof 5, background 5"
    assert "is installed" in result["said"], result["said"]
    assert any(row[0].endswith("iou") and row[1:] != ["–", "–"] for row in result["figures"]), result["figures"]
    assert result["model"] == "my-town" and result["added"] == [str(Path(wanted["out"]) / "mask.tif")]
    assert result["gap_while_teaching_s"] < 1


@pytest.mark.timeout(300)
def test_killed_backend_gives_a_message_and_no_freeze(demo, plan, backend_python, models):
    result = demo.run(plan("kill_backend"), backend_python, models, PATIENCE_S)
    assert any("The run was interrupted" in text for text in result["messages_after_kill"])  # QGIS adds one of its own
    assert result["seconds_to_message"] < 3
    assert result["gap_after_kill_s"] < 1
    assert result["run_enabled"] and not result["mask_written"] and result["second_run_added"]


@pytest.mark.timeout(300)
def test_bad_input_is_refused_in_words(demo, plan, backend_python, models, tmp_path):
    run_backend(backend_python, str(HERE / "bad_input.py"), str(tmp_path), models)
    expected = {
        "one_band": "band",
        "all_nodata": "nodata",
        "one_pixel_wide": "pixel",
        "no_crs": "no coordinate reference system",
        "truncated": "truncated|cannot be read|damaged|broken",
    }
    cases = [{"name": name, "raster": str(tmp_path / f"{name}.tif")} for name in expected]
    cases.append({"name": "damaged_model", "raster": str(tmp_path / "fine.tif"), "model": "damaged"})
    cases.append({"name": "no_folder", "raster": str(tmp_path / "fine.tif"), "output": str(tmp_path / "no" / "m.tif")})
    expected.update(damaged_model="SHA-256|damaged", no_folder="does not exist")
    result = demo.run(plan("refusals", cases=cases), backend_python, models, PATIENCE_S)
    for name, words in expected.items():
        assert re.search(words, result["said"][name]), f"{name}: {result['said'][name]}"
    print(json.dumps(result["said"], indent=2))


@pytest.mark.timeout(300)
def test_unloading_leaves_no_process(demo, plan, backend_python, models):
    result = demo.run(plan("unload"), backend_python, models, PATIENCE_S)
    assert len(set(result["pids"])) == 3
    assert all(gone_within(pid, 1) for pid in result["pids"])


@pytest.mark.timeout(300)
def test_closing_qgis_in_mid_run_asks(demo, plan, backend_python, models):
    result = demo.run(plan("close"), backend_python, models, PATIENCE_S)
    assert result["tasks"] == ["Rotacube maps scene"]
    assert len(result["asked"]) == 2 and all("Rotacube maps scene" in text for text in result["asked"])
    assert result["busy_after"] and result["added"] == 1


@pytest.mark.timeout(300)
def test_a_second_qgis_maps_beside_the_first(demo, plan, backend_python, models, tmp_path):
    first, second = plan("hold"), plan(out=str(tmp_path / "second"))
    with demo.screen() as display, demo.qgis(first, backend_python, display, models) as process:
        backend = until_in_mid_job(first, process)["backend"]
        os.kill(backend, signal.SIGSTOP)  # it stays in mid-job
        try:
            result = demo.run(second, backend_python, models, PATIENCE_S)
        finally:
            os.kill(backend, signal.SIGCONT)
        assert result["mask_valid"] and result["backend_pid"] != backend
        assert not [text for text in result["messages_when_ready"] if "interrupted" in text]  # it is not: it goes on
        assert wait_until((Path(first["out"]) / "mask.tif").exists, 60) and process.poll() is None
    ours, theirs = (Path(each["out"]) / "mask.tif" for each in (first, second))
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.timeout(300)
def test_killed_qgis_ends_the_backend_and_the_next_one_resumes_the_run(demo, plan, backend_python, models):
    wanted = plan("hold")
    out = Path(wanted["out"])
    with demo.screen() as display, demo.qgis(wanted, backend_python, display, models) as process:
        progress = until_in_mid_job(wanted, process)
        assert progress["qgis"] == process.pid and not gone(progress["backend"])
        os.kill(process.pid, 9)
        process.wait()
        assert gone_within(progress["backend"], 5)
    assert not (out / "mask.tif").exists()
    result = demo.run(plan("resume"), backend_python, models, PATIENCE_S)
    assert re.match(r"A run of scene.tif was interrupted at [\d.]+ %", *result["offered"])
    assert result["added"] == [str(out / "mask.tif")] and result["offered_after"] == []
    assert result["live_tiles"] > 0
