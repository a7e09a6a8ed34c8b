"""The plugin's tests talk to a stand-in: here it is held against the real backend, answer by answer."""

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from support import REPO

from rotacube.server import schema

TOKEN = "letters"
STAND_IN = REPO / "tests" / "plugin" / "fake_backend.py"
QGIS_PYTHON = Path(os.environ.get("QGIS_PYTHON") or "/usr/bin/python3")


class Talk:
    """Requests to a server, as (status, decoded answer)."""

    def __init__(self, port):
        self.port = port

    def __call__(self, method, path, body=None, token=TOKEN, host=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        if host:
            headers["Host"] = host
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, path, data, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        kind = answer.getheader("Content-Type") or ""
        return answer.status, json.loads(content) if kind.startswith("application/json") else content


@contextlib.contextmanager
def served(command, env):
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, text=True
    )
    try:
        yield Talk(json.loads(process.stdout.readline())["port"])
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


@pytest.fixture(scope="module")
def both(backend_python, models):
    """The real backend and the stand-in."""
    if shutil.which("qgis") is None:
        pytest.skip("the stand-in needs QGIS's Python")
    env = {**os.environ, "ROTACUBE_TOKEN": TOKEN}
    real_env = {**env, "PYTHONPATH": str(REPO / "backend"), "ROTACUBE_MODELS": str(models)}
    arguments = ["serve", "--port", "0", "--parent-pipe"]
    with (
        served([str(backend_python), "-m", "rotacube", *arguments], real_env) as real,
        served([str(QGIS_PYTHON), str(STAND_IN), *arguments], env) as stand_in,
    ):
        yield real, stand_in


def request(raster, output, model="tiny"):
    return {
        "raster": str(raster),
        "model": model,
        "products": [{"kind": "mask", "format": "cog", "path": str(output)}],
    }


BROKEN = [
    b"{",
    {"raster": "a"},
    {**request("a", "b"), "colour": 1},
    {**request("a", "b"), "products": []},
    {**request("a", "b"), "products": [{"kind": "dream", "format": "cog", "path": "c"}]},
]


@pytest.mark.parametrize(
    "call",
    [
        ("GET", "/v1/health", None, None),
        ("GET", "/v1/models", None, "wrong"),
        ("GET", "/v1/health", None, TOKEN, "example.org"),
        ("GET", "/v1/nothing"),
        ("GET", "/v1/jobs/x"),
        ("POST", "/v1/interrupted/x/resume"),
        ("DELETE", "/v1/interrupted/x"),
        ("POST", "/v1/jobs/x/cancel"),
        ("DELETE", "/v1/jobs/x"),
        ("GET", "/v1/jobs/x/events"),
        ("GET", "/v1/jobs/x/tiles/0.png"),
        ("GET", "/v1/jobs/x/products/0"),
        *(("POST", "/v1/jobs", body) for body in BROKEN),
    ],
    ids=str,
)
def test_what_the_real_backend_refuses_the_stand_in_refuses_alike(call, both):
    (status, answer), (its_status, its_answer) = (talk(*call) for talk in both)
    assert status >= 400
    schema.ErrorAnswer.model_validate(its_answer)
    assert (its_status, its_answer["error"]["code"]) == (status, answer["error"]["code"])


def exactly(shape, answer):
    """The answer has the shape's fields, all of them and no others, at every depth."""
    assert json.loads(shape.model_validate(answer).model_dump_json()) == answer


def test_every_answer_of_both_has_the_contracts_shape(both, scene, tmp_path):
    for name, talk in zip(("real", "stand-in"), both, strict=True):
        exactly(schema.Health, talk("GET", "/v1/health")[1])
        assert talk("GET", "/v1/interrupted") == (200, [])
        exactly(schema.Info, talk("GET", "/v1/info")[1])
        for model in talk("GET", "/v1/models")[1]:
            exactly(schema.ModelInfo, model)
        status, job = talk("POST", "/v1/jobs", request(scene, tmp_path / f"{name}.tif"))
        assert status == 201
        exactly(schema.JobInfo, job)
        deadline = time.monotonic() + 60
        while job["state"] != "finished":
            assert job["state"] in ("queued", "running") and time.monotonic() < deadline, job
            time.sleep(0.1)
            job = talk("GET", f"/v1/jobs/{job['id']}")[1]
        exactly(schema.JobInfo, job)
        (product,) = job["result"]["products"]
        assert talk("GET", "/" + product["href"]) == (200, Path(product["path"]).read_bytes())
        tiles = 0
        for block in talk("GET", f"/v1/jobs/{job['id']}/events")[1].decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines())
            if fields.get("event") == "tile":
                tile = json.loads(fields["data"])
                exactly(schema.TileEvent, tile)
                tiles += 1
                if tile["preview"]:
                    assert talk("GET", "/" + tile["preview"])[1][:4] == b"\x89PNG"
        assert tiles == job["tiles_total"] > 1
        assert [talk("GET", "/v1/jobs")[1][0]["id"]] == [job["id"]]
        status, answer = talk("POST", f"/v1/jobs/{job['id']}/cancel")
        assert status == 200 and answer["state"] == "finished"
        assert talk("DELETE", f"/v1/jobs/{job['id']}") == (204, b"")
        assert talk("GET", "/v1/jobs")[1] == []
