"""The command line as a program drives it: lines of JSON, a request out of a file, the end of its parent."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import psutil


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_a_request_out_of_a_file_is_told_in_lines(call, scene_path, model_folder, tmp_path):
    asked = {"raster": scene_path, "model": str(model_folder), "nodata": [{"low": 0, "high": 0, "band": 1}]}
    asked["products"] = [{"kind": "mask", "format": "cog", "path": str(tmp_path / "mask.tif")}]
    (tmp_path / "request.json").write_text(json.dumps(asked))
    done = call("--progress", "json", "job", "request.json")
    assert done.code == 0, done.err
    told = lines(done.out)
    steps = [step for step in told if "what" in step]
    assert steps[-1]["done"] == steps[-1]["total"] == 30 and steps[-1]["unit"] == "tiles"
    assert any("roof" in line.get("said", "") for line in told)
    assert told[-1]["result"]["products"][0]["path"] == str(tmp_path / "mask.tif")
    assert [c["id"] for c in told[-1]["result"]["classes"]] == [0, 1]
    made = call("--progress", "json", "statistics", "mask.tif", "s.csv")
    assert made.code == 0 and [c["id"] for c in lines(made.out)[-1]["result"]["classes"]] == [0, 1]


def test_a_wrong_request_is_told_with_its_code(call, tmp_path):
    (tmp_path / "request.json").write_text('{"raster": "x.tif"}')
    done = call("--progress", "json", "job", "request.json")
    assert done.code == 2 and "no request: at model" in done.err
    (told,) = lines(done.out)
    assert told["error"]["code"] == "refused" and done.err.strip().endswith(told["error"]["message"])
    assert call("--progress", "loud", "doctor").code == 2


def test_it_is_cancelled_when_its_parent_goes(scene_path, model_folder, environment, tmp_path):
    command = [sys.executable, "-m", "rotacube", "--progress", "json", "--parent-pipe", "map"]
    command += [scene_path, str(tmp_path / "mask.tif"), "--model", str(model_folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        process.stdout.readline()
        start = time.monotonic()
        process.stdin.close()
        assert process.wait(30) != 0
        assert time.monotonic() - start < 10
        process.stdin = None
    assert list(tmp_path.iterdir()) == []


def test_a_model_s_folder_is_installed_once(call, model_folder, tmp_path):
    home = {"XDG_DATA_HOME": str(tmp_path / "data")}
    done = call("--progress", "json", "models", "install", model_folder, **home)
    assert done.code == 0, done.err
    told = lines(done.out)[-1]["result"]
    assert told == {"name": model_folder.name, "folder": str(tmp_path / "data/rotacube/models" / model_folder.name)}
    again = call("models", "install", model_folder, **home)
    assert again.code == 2 and "is installed already" in again.err
    assert call("models", "install", model_folder, "--overwrite", **home).code == 0


BUSY = """
import multiprocessing, os, signal
from rotacube.cli import terminal

def turn():
    print(os.getpid(), flush=True)
    while True:
        pass

terminal.GRACE = 0.3
signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: neither hears that it is to end
child = multiprocessing.get_context("fork").Process(target=turn)
child.start()
terminal.end_with_parent()
child.join()
"""


def test_nothing_that_it_started_outlives_its_parent(environment):
    command = subprocess.Popen(
        [sys.executable, "-c", BUSY], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    child = int(command.stdout.readline())
    command.stdin.close()
    assert command.wait(20) == 1
    end = time.monotonic() + 5
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end, "the child goes on"
        time.sleep(0.05)
