"""A job that ends with its server is found by the next one, which goes on with it, or drops it."""

from __future__ import annotations

import contextlib
import json
import shutil
import time

import numpy as np
import pytest
import rasterio
from bodies import job_body
from processes import client_of, environment, running
from products import fill_disk

from rotacube.errors import JobMissing
from rotacube.inference import run as module
from rotacube.inference.store import Store, folder_of
from rotacube.jobs.queue import Jobs
from rotacube.jobs.records import Records
from rotacube.server.schema import JobRequest
from rotacube.server.translate import to_map


@pytest.fixture(scope="module")
def town(tmp_path_factory, write_raster):
    """A raster of several strips."""
    image = np.random.default_rng(0).integers(0, 256, (3, 900, 420), np.uint8)
    return write_raster(tmp_path_factory.mktemp("town") / "town.tif", image)


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@contextlib.contextmanager
def served(state):
    with running(env=environment(ROTACUBE_JOBS=str(state))) as (process, first), client_of(first) as client:
        yield process, client


def strips(output):
    return len(list(folder_of(output).glob("strip_*.tif")))


def interrupt(process, client, body, output, kill=True):
    """Start a job, and end the server when some of it is kept."""
    job = client.post("/v1/jobs", json=body).json()["id"]
    until(lambda: strips(output) >= 2)
    if kill:
        process.kill()
    else:
        process.stdin.close()
    process.wait(20)
    return job


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def pixels(path):
    with rasterio.open(path) as file:
        return file.read(1)


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "its parent is gone"])
def test_a_job_that_ended_with_its_server_is_resumed_by_the_next(kill, state, town, model_folder, tmp_path):
    output = tmp_path / "mask.tif"
    body = job_body(town, model_folder, output, threshold=0.4, nodata=[{"low": 0, "high": 1, "band": 2}])
    with served(state) as (process, client):
        assert client.get("/v1/interrupted").json() == []
        interrupt(process, client, body, output, kill)
    kept = strips(output)
    assert not output.exists() and kept >= 2
    with served(state) as (process, client):
        (found,) = client.get("/v1/interrupted").json()
        assert 0.1 < found["share"] < 1 and client.get("/v1/jobs").json() == []
        assert {key: found["request"][key] for key in body} == body
        answer = client.post(f"/v1/interrupted/{found['id']}/resume")
        assert answer.status_code == 201 and answer.json()["request"]["resume"] is True
        assert client.get("/v1/interrupted").json() == [], "it is worked on"
        job = f"/v1/jobs/{answer.json()['id']}"
        until(lambda: client.get(job).json()["state"] == "finished")
        assert client.get("/v1/interrupted").json() == []
        other = tmp_path / "other.tif"
        again = client.post("/v1/jobs", json={**body, "products": [{**body["products"][0], "path": str(other)}]})
        until(lambda: client.get(f"/v1/jobs/{again.json()['id']}").json()["state"] == "finished")
    np.testing.assert_array_equal(pixels(output), pixels(other))
    assert list(state.iterdir()) == [] and not folder_of(output).exists()


def test_a_job_that_ended_with_its_server_is_dropped(state, town, model_folder, tmp_path):
    output = tmp_path / "mask.tif"
    with served(state) as (process, client):
        interrupt(process, client, job_body(town, model_folder, output), output)
    with served(state) as (process, client):
        (found,) = client.get("/v1/interrupted").json()
        assert client.delete(f"/v1/interrupted/{found['id']}").status_code == 204
        assert client.get("/v1/interrupted").json() == [] and not folder_of(output).exists()
        for method in ("delete", "post"):
            address = f"/v1/interrupted/{found['id']}" + ("/resume" if method == "post" else "")
            answer = getattr(client, method)(address)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "job_missing")


def finished(jobs, job):
    until(lambda: job.ended)
    return job.now


class Gone(Records):
    """The records of a server that is no more."""

    def keep(self, request):
        super().keep(request)
        for path in self.folder.glob("*.json"):
            path.write_text(json.dumps({**json.loads(path.read_text()), "owner": "000000-1-1"}))


@pytest.fixture
def cut_off(state, town, model_folder, tmp_path, monkeypatch):
    """What a server has left whose end came after two strips: its request, with the raster and where it went."""
    raster, output = tmp_path / "own.tif", tmp_path / "mask.tif"
    shutil.copy(town, raster)
    request = to_map(JobRequest(**job_body(raster, model_folder, output)))
    jobs = Jobs(Gone(state))
    add = Store.add

    def closing(self, finding):
        add(self, finding)
        if len(self.boxes) == 2:
            jobs._closing.set()

    monkeypatch.setattr(Store, "add", closing)
    assert finished(jobs, jobs.create(request)).state == "cancelled"
    jobs.close()
    monkeypatch.setattr(Store, "add", add)
    return request, raster, output


@pytest.fixture
def next_server(state):
    jobs = Jobs(Records(state))
    yield jobs
    jobs.close()


def test_a_changed_raster_is_refused_and_nothing_lost(cut_off, next_server):
    _, raster, output = cut_off
    with rasterio.open(raster, "r+") as file:
        file.update_tags(changed="yes")
    before = sorted(folder_of(output).iterdir())
    (found,) = next_server.interrupted()
    now = finished(next_server, next_server.resume(found.id))
    assert now.state == "failed" and "the raster changed since" in now.error.message
    assert sorted(folder_of(output).iterdir()) == before and [f.id for f in next_server.interrupted()] == [found.id]


def test_the_same_place_is_taken_over_and_a_cancelled_job_forgotten(cut_off, next_server, state):
    request, _, output = cut_off
    now = finished(next_server, next_server.create(request))
    assert now.state == "finished" and next_server.interrupted() == [] and list(state.iterdir()) == []
    output.unlink()
    job = next_server.create(request)
    next_server.cancel(job.now.id)
    finished(next_server, job)
    assert next_server.interrupted() == [] and not list(state.iterdir())


def test_what_another_server_works_on_is_not_listed(cut_off, next_server, state):
    (path,) = state.iterdir()
    content = json.loads(path.read_text())
    from rotacube.raster.destination import _host, _process

    path.write_text(json.dumps({**content, "owner": f"{_host()}-1-{int(_started(1))}"}))
    assert next_server.interrupted() == []
    path.write_text(json.dumps({**content, "owner": _process()}))
    assert len(next_server.interrupted()) == 1


def _started(pid):
    import psutil

    return psutil.Process(pid).create_time()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"owner": "x", "request": {"raster": 3}}', "\0\0"])
def test_a_damaged_record_hides_no_other(text, cut_off, next_server, state):
    (state / "000000000000.json").write_text(text)
    assert len(next_server.interrupted()) == 1


def test_a_job_whose_disk_was_full_can_be_resumed_by_the_same_server(
    state, next_server, town, model_folder, tmp_path, monkeypatch
):
    request = to_map(JobRequest(**job_body(town, model_folder, tmp_path / "mask.tif")))
    free = fill_disk(monkeypatch, 2)
    monkeypatch.setattr(module, "WORTH_KEEPING", 0.0)
    now = finished(next_server, next_server.create(request))
    assert now.state == "failed" and "resume the run" in now.error.message
    free()
    (found,) = next_server.interrupted()
    assert finished(next_server, next_server.resume(found.id)).state == "finished"
    with pytest.raises(JobMissing):
        next_server.resume(found.id)


def test_a_server_that_may_not_keep_records_maps_all_the_same(town, model_folder, tmp_path):
    (tmp_path / "file").write_text("")
    jobs = Jobs(Records(tmp_path / "file"))
    request = to_map(JobRequest(**job_body(town, model_folder, tmp_path / "mask.tif")))
    assert finished(jobs, jobs.create(request)).state == "finished" and jobs.interrupted() == []
    jobs.close()
