"""The server as the plugin meets it: a real process, its first line, its jobs, and its end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
from bodies import job_body
from processes import COMMAND, TOKEN, client_of, environment, running
from rasterio.io import MemoryFile
from rio_cogeo.cogeo import cog_validate

import rotacube


@pytest.fixture(scope="module")
def server():
    with running() as (process, first):
        yield process, first


@pytest.fixture
def client(server):
    with client_of(server[1]) as client:
        yield client
        for job in client.get("/v1/jobs").json():
            client.delete(f"/v1/jobs/{job['id']}")


@pytest.fixture(scope="module")
def large(tmp_path_factory, write_raster):
    """A raster that takes the tiny model long enough to do something meanwhile."""
    image = np.random.default_rng(0).integers(0, 256, (3, 3000, 3000), np.uint8)
    return write_raster(tmp_path_factory.mktemp("large") / "large.tif", image)


def stream(client, job, last=0):
    """The job's events as (id, kind, data), one by one as they come; without the signs of life of a busy machine."""
    with client.stream("GET", f"/v1/jobs/{job}/events", headers={"Last-Event-ID": str(last)}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        fields = {}
        for line in answer.iter_lines():
            if line:
                key, _, value = line.partition(": ")
                fields[key] = value
            else:
                if fields["event"] != "heartbeat":
                    yield int(fields["id"]), fields["event"], json.loads(fields["data"])
                fields = {}


def start(client, raster, model, output):
    answer = client.post("/v1/jobs", json=job_body(raster, model, output))
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def wait_for_tiles(client, job, count=1):
    deadline = time.monotonic() + 60
    while client.get(f"/v1/jobs/{job}").json()["tiles_done"] < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def gone(pid, seconds):
    """Whether a process ends within so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_the_first_line_says_where_it_listens(server):
    process, first = server
    assert first["pid"] == process.pid and first["version"] == rotacube.__version__ and first["port"] > 1023


def test_a_connection_right_after_the_first_line_is_taken():
    with running() as (_, first):
        socket.create_connection(("127.0.0.1", first["port"]), timeout=5).close()


def test_it_listens_on_loopback_alone(server):
    port = f"{server[1]['port']:04X}"
    if not Path("/proc/net/tcp").exists():
        pytest.skip("needs /proc/net/tcp")
    listening = [
        line.split()[1]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        if Path(table).exists()
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(":" + port)
    ]
    assert listening == [f"0100007F:{port}"]


def test_the_token_stays_out_of_the_command_line(server):
    assert TOKEN.encode() not in Path(f"/proc/{server[0].pid}/cmdline").read_bytes()


def raw(server, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server[1]["port"], timeout=20)
    try:
        connection.request(method, path, body, headers, encode_chunked=headers.get("Transfer-Encoding") == "chunked")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())["error"]["code"]
    finally:
        connection.close()


def test_strangers_and_floods_are_refused_on_the_wire(server):
    pass_ = {"Authorization": f"Bearer {TOKEN}"}
    assert raw(server, "GET", "/v1/health") == (401, "unauthorised")
    assert raw(server, "GET", "/v1/health", **pass_, Host="rebind.example") == (403, "refused")
    assert raw(server, "POST", "/v1/jobs", b"x" * (2**20 + 1), **pass_) == (413, "too_large")
    chunked = {"Transfer-Encoding": "chunked"}
    assert raw(server, "POST", "/v1/jobs", iter([b"{}"]), **pass_, **chunked) == (413, "too_large")


def test_a_job_runs_to_its_mask_telling_each_tile(client, scene_path, model_folder, tmp_path):
    output = tmp_path / "mask.tif"
    job = start(client, scene_path, model_folder, output)
    told = list(stream(client, job))
    numbers = [number for number, _, _ in told]
    assert numbers == sorted(set(numbers)) and numbers[0] > 0
    assert [data["state"] for _, kind, data in told if kind == "state"] == ["queued", "running", "finished"]
    tiles = [data for _, kind, data in told if kind == "tile"]
    assert [tile["done"] for tile in tiles] == list(range(1, tiles[0]["total"] + 1))
    assert list(stream(client, job, numbers[4])) == told[5:]
    begin = time.monotonic()
    assert list(stream(client, job, numbers[-1])) == told[-1:]
    assert time.monotonic() - begin < 2
    assert cog_validate(output, strict=True)[0]
    assert [path.name for path in tmp_path.iterdir()] == ["mask.tif"]


def test_pictures_of_tiles_show_the_mask_in_its_place(client, scene_path, model_folder, tmp_path):
    output = tmp_path / "mask.tif"
    job = start(client, scene_path, model_folder, output)
    tiles = [data for _, kind, data in stream(client, job) if kind == "tile"]
    with rasterio.open(output) as file:
        labels, transform, crs = file.read(1), file.transform, file.crs
    same, shifted, seen = [], [], np.zeros(labels.shape, int)
    for tile in tiles:
        assert rasterio.crs.CRS.from_wkt(tile["crs"]) == crs
        (left, top), (right, bottom) = (~transform * tuple(tile["corners"][k]) for k in (0, 2))
        window = np.s_[round(top) : round(bottom), round(left) : round(right)]
        part = labels[window]
        seen[window] += 1
        answer = client.get(f"/v1/jobs/{job}/tiles/{tile['n']}.png")
        if not tile["preview"]:
            assert answer.status_code == 404 and answer.json()["error"]["code"] == "preview_missing"
            assert (part == 255).all()
            continue
        assert answer.headers["content-type"] == "image/png"
        with MemoryFile(answer.content) as memory, memory.open() as file:
            assert file.driver == "PNG"
            picture = file.read()
        assert picture.shape == (4, *part.shape)
        assert {tuple(c) for c in picture[:, picture[3] > 0].T.tolist()} <= {(0xE6, 0x55, 0x0D, 255)}
        same.append((picture[3] > 0) == (part == 1))
        shifted.append((np.roll(picture[3], 4, 1) > 0) == (part == 1))
        assert tile["counts"]["1"] == (picture[3] > 0).sum()
    assert (seen == 1).all(), "the tiles' corners cover the mask once"
    same, shifted = (np.concatenate([s.ravel() for s in pictures]).mean() for pictures in (same, shifted))
    assert same > 0.97 and same > shifted + 0.005, "but for what blending changes"


def test_a_cancelled_job_ends_within_a_tile_and_leaves_nothing(client, large, model_folder, tmp_path):
    job = start(client, large, model_folder, tmp_path / "mask.tif")
    wait_for_tiles(client, job, 3)
    done = client.post(f"/v1/jobs/{job}/cancel").json()["tiles_done"]
    told = list(stream(client, job))
    assert told[-1][1] == "state" and told[-1][2]["state"] == "cancelled"
    assert told[-1][2]["tiles_done"] <= done + 4
    assert not list(tmp_path.iterdir())


def test_a_second_job_waits_and_a_deleted_one_makes_way(client, large, scene_path, model_folder, tmp_path):
    first = start(client, large, model_folder, tmp_path / "first.tif")
    second = start(client, scene_path, model_folder, tmp_path / "second.tif")
    wait_for_tiles(client, first)
    assert client.get(f"/v1/jobs/{second}").json()["state"] == "queued"
    assert client.delete(f"/v1/jobs/{first}").status_code == 204
    assert client.get(f"/v1/jobs/{first}").status_code == 404
    assert list(stream(client, second))[-1][2]["state"] == "finished"
    assert [path.name for path in tmp_path.iterdir()] == ["second.tif"]


def test_a_listener_that_goes_away_does_no_harm(client, large, model_folder, tmp_path):
    job = start(client, large, model_folder, tmp_path / "mask.tif")
    events = stream(client, job)
    last = [next(events) for _ in range(4)][-1][0]
    events.close()
    again = next(stream(client, job, last))
    assert again[0] == last + 1


def test_the_memory_of_jobs_is_given_back(scene_path, model_folder, tmp_path):
    with running() as (process, first), client_of(first) as client:
        resident = []
        for n in range(6):
            list(stream(client, start(client, scene_path, model_folder, tmp_path / f"{n}.tif")))
            time.sleep(0.5)
            status = Path(f"/proc/{process.pid}/status")
            if not status.exists():
                pytest.skip("needs /proc")
            resident.append(int(status.read_text().split("VmRSS:")[1].split()[0]) / 1024)
        assert resident[-1] < resident[1] + 40, resident


def test_who_comes_back_after_the_end_finds_events_result_and_file(server, scene_path, model_folder, tmp_path):
    output = tmp_path / "mask.tif"
    with client_of(server[1]) as before:
        job = start(before, scene_path, model_folder, output)
        last = next(stream(before, job))[0]
    with client_of(server[1]) as again:
        told = list(stream(again, job, last))
        assert told[-1][2]["state"] == "finished" and told == list(stream(again, job))[1:]
        result = again.get(f"/v1/jobs/{job}").json()["result"]
        assert result == told[-1][2]["result"]
        assert again.get("/" + result["products"][0]["href"]).content == output.read_bytes()
        again.delete(f"/v1/jobs/{job}")


def test_closing_its_input_ends_it_in_mid_job_and_what_it_found_is_kept(large, model_folder, tmp_path):
    with running() as (process, first), client_of(first) as client:
        wait_for_tiles(client, start(client, large, model_folder, tmp_path / "mask.tif"))
        process.stdin.close()
        assert process.wait(5) == 0
    assert [path.name for path in tmp_path.iterdir()] == [".mask.tif.rotacube-job"]


PARENT = """
import subprocess, sys, time
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
print(server.stdout.readline(), end="", flush=True)
time.sleep(600)
"""


def test_killing_its_parent_ends_it_in_mid_job_and_what_it_found_is_kept(large, model_folder, tmp_path):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *COMMAND], stdout=subprocess.PIPE, text=True, env=environment()
    )
    first = json.loads(parent.stdout.readline())
    try:
        with client_of(first) as client:
            wait_for_tiles(client, start(client, large, model_folder, tmp_path / "mask.tif"))
            parent.kill()
            parent.wait(5)
        assert gone(first["pid"], 5)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(first["pid"], signal.SIGKILL)
        parent.communicate()
    assert [path.name for path in tmp_path.iterdir()] == [".mask.tif.rotacube-job"]


def test_asked_to_terminate_it_ends_in_mid_job_and_what_it_found_is_kept(large, model_folder, tmp_path):
    with running() as (process, first), client_of(first) as client:
        wait_for_tiles(client, start(client, large, model_folder, tmp_path / "mask.tif"))
        process.terminate()
        assert process.wait(10) == 0
    assert [path.name for path in tmp_path.iterdir()] == [".mask.tif.rotacube-job"]


@pytest.mark.parametrize("port", ["taken", "70000", "-1"])
def test_a_port_that_cannot_be_had_is_told_as_json_and_exits_with_2(port, server):
    port = str(server[1]["port"]) if port == "taken" else port
    command = [sys.executable, "-m", "rotacube", "serve", "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=200, check=False)
    assert done.returncode == 2, done.stderr
    error = json.loads(done.stdout.splitlines()[0])["error"]
    assert error["code"] == "serve" and f"Port {port}" in error["message"]
    assert "Traceback" not in done.stderr


def test_without_a_token_it_makes_one_and_tells_the_person_who_started_it():
    command = [sys.executable, "-m", "rotacube", "serve", "--parent-pipe"]
    variables = {key: value for key, value in environment().items() if key != "ROTACUBE_TOKEN"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=variables, **pipes)
    try:
        first = json.loads(process.stdout.readline())
        token = process.stderr.readline().split()[-1]
        with client_of(first) as client:
            assert client.get("/v1/health").status_code == 401
            assert client.get("/v1/health", headers={"Authorization": "Bearer x"}).status_code == 401
            assert client.get("/v1/health", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    finally:
        process.kill()
        process.communicate()


def test_the_log_tells_a_job_from_start_to_end_and_why_one_failed(scene_path, model_folder, tmp_path, write_raster):
    path, raster = tmp_path / "backend.log", tmp_path / "cut.tif"
    noise = np.random.default_rng(0).integers(0, 256, (3, 300, 300), np.uint8)
    content = Path(write_raster(raster, noise, compress="DEFLATE")).read_bytes()
    raster.write_bytes(content[: len(content) // 2])
    env = environment(ROTACUBE_LOG=str(path), ROTACUBE_TOKEN=TOKEN)
    with path.open("ab") as stderr:
        process = subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, env=env
        )
        with client_of(json.loads(process.stdout.readline())) as client:
            assert client.get("/v1/info").status_code == 200
            for source, name in ((scene_path, "mask.tif"), (raster, "other.tif")):
                answer = client.post("/v1/jobs", json=job_body(source, model_folder, tmp_path / name))
                if answer.status_code == 201:
                    client.get(f"/v1/jobs/{answer.json()['id']}/events")
        process.stdin.close()
        assert process.wait(20) == 0
    told = path.read_text(encoding="utf-8")
    order = ["starts: process", "listens on", "INFO rotacube.server.app: device cpu: ", "mask of ", "model tiny, "]
    order += [
        "300 pixels of 0.15 m: mapping",
        "mask written in",
        ": finished in",
        "raster_unreadable",
        "the parent is gone",
    ]
    places = [told.find(word) for word in order]
    assert -1 not in places and places == sorted(places), told
    assert TOKEN not in told
