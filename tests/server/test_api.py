"""The HTTP interface within one process: who is let in, what is refused and in which words, and the contract."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from affine import Affine
from bodies import job_body
from starlette.testclient import TestClient

import rotacube
from rotacube.errors import JobCancelled
from rotacube.jobs import queue
from rotacube.jobs.queue import Jobs
from rotacube.models.card import read_card
from rotacube.server import app as application
from rotacube.server import schema
from rotacube.server.app import LARGEST, create_app
from rotacube.server.translate import to_map, to_model_info

TOKEN = "a token of letters"
HOST = "http://127.0.0.1:4321"


@pytest.fixture
def jobs():
    held = Jobs()
    yield held
    held.close()


@pytest.fixture
def client(jobs):
    return TestClient(
        create_app(TOKEN, jobs),
        base_url=HOST,
        headers={"Authorization": f"Bearer {TOKEN}"},
        raise_server_exceptions=False,
    )


@pytest.fixture
def asked(scene_path, model_folder, tmp_path):
    return job_body(scene_path, model_folder, tmp_path / "mask.tif")


def error_of(answer, status, code):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"error"} and set(body["error"]) == {"code", "message"}
    assert body["error"]["code"] == code and body["error"]["message"].endswith(".")
    return body["error"]["message"]


def wait(client, job, *states, seconds=30.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        info = client.get(f"/v1/jobs/{job}").json()
        if info["state"] in states:
            return info
        time.sleep(0.02)
    raise AssertionError(f"the job is {info['state']}")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"])
@pytest.mark.parametrize("path", ["/v1/health", "/openapi.json", "/nowhere"])
def test_nobody_is_let_in_without_the_token(client, header, path):
    client.headers.pop("authorization")
    answer = client.get(path, headers={} if header is None else {"Authorization": header})
    error_of(answer, 401, "unauthorised")


@pytest.mark.parametrize(
    "host", ["example.org", "example.org:4321", "127.0.0.1.example.org", "", "10.0.0.1", "localhost.x:1"]
)
def test_a_foreign_host_is_refused(client, host):
    error_of(client.get("/v1/health", headers={"Host": host}), 403, "refused")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:4321", "localhost:80", "LOCALHOST", "[::1]:4321", "[::1]"])
def test_loopback_names_are_taken(client, host):
    assert client.get("/v1/health", headers={"Host": host}).status_code == 200


def test_large_or_unmeasured_requests_are_refused(client):
    error_of(client.post("/v1/jobs", content=b" " * (LARGEST + 1)), 413, "too_large")
    error_of(client.post("/v1/jobs", content=iter([b"{", b"}"])), 413, "too_large")
    error_of(client.post("/v1/jobs", content=b"{}", headers={"Content-Length": "-2"}), 413, "too_large")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b'{"raster": "a"}', "body.model"),
        ({"colour": 1}, "body.colour"),
        ({"bounds": [1, 2, 3]}, "body.bounds"),
        ({"bands": ["x"]}, "body.bands.0"),
        ({"raster": 1}, "body.raster"),
        ({"products": []}, "body.products"),
        ({"products": "mask.tif"}, "body.products"),
        ({"products": [{"kind": "dream", "format": "cog", "path": "c"}]}, "body.products.0.kind"),
        ({"products": [{"kind": "mask", "format": "png", "path": "c"}]}, "body.products.0.format"),
        ({"products": [{"kind": "mask", "format": "cog"}]}, "body.products.0.path"),
    ],
)
def test_what_does_not_fit_the_contract_is_told(client, content, word):
    if isinstance(content, dict):
        content = json.dumps({**job_body("a", "b", "c"), **content})
    answer = client.post("/v1/jobs", content=content, headers={"Content-Type": "application/json"})
    assert f"'{word}" in error_of(answer, 422, "refused")


ODD = {
    "long": "a" * 5000,
    "a long part": "a" * 300 + "/b.tif",
    "NUL": "a\0.tif",
    "no text": "\ud800",
    "a byte that was no text": "\udcff.tif",
}
FIELDS = {
    "raster": lambda odd: {"raster": odd},
    "model": lambda odd: {"model": odd},
    "product": lambda odd: {"products": [{"kind": "mask", "format": "cog", "path": odd}]},
    "crs": lambda odd: {"bounds": [0, 0, 1, 1], "bounds_crs": odd},
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
@pytest.mark.parametrize("field", FIELDS)
def test_names_that_nothing_can_have_are_refused(field, text, client, asked):
    content = json.dumps({**asked, **FIELDS[field](text)})
    answer = client.post("/v1/jobs", content=content, headers={"Content-Type": "application/json"})
    if field == "crs" and "a" * 300 in text:
        assert "CRS of the area is not known" in error_of(answer, 400, "raster_empty")
    else:
        error_of(answer, 422, "refused")
    assert len(answer.content) < 2000 and client.get("/v1/jobs").json() == []


@pytest.mark.parametrize(
    "content",
    [
        r'{"\ud800": 1}',
        '{"raster": %s}' % ("1" * 5000),
        "[" * 100000,
        '{"%s": 1}' % ("a" * 500000),
        b'{"raster": "\xff"}',
    ],
    ids=["surrogate", "digits", "nested", "name", "bytes"],
)
def test_a_body_that_is_hardly_one_gets_a_sentence(content, client):
    answer = client.post("/v1/jobs", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422) and len(answer.content) < 2000
    assert answer.json()["error"]["message"].endswith(".")


def test_numbers_of_bands_that_nothing_has_are_refused(client, asked):
    for changes in (
        {"bands": [1, 2, 10**4000]},
        {"alpha_band": 10**400},
        {"nodata": [{"low": 0, "high": 1, "band": -(10**99)}]},
    ):
        error_of(client.post("/v1/jobs", json={**asked, **changes}), 422, "refused")


@pytest.mark.parametrize(
    "path", ["/v1/jobs/%ff", "/v1/jobs/%00", "/v1/jobs/" + "a" * 5000, "/v1/jobs/%ed%a0%80/events"]
)
def test_addresses_that_are_no_text_are_missing(path, client):
    answer = client.get(path)
    error_of(answer, 404, "job_missing")
    assert len(answer.content) < 2000


def test_two_products_of_one_path_are_refused(client, asked):
    error_of(client.post("/v1/jobs", json={**asked, "products": asked["products"] * 2}), 403, "refused")


def test_a_scene_classifier_is_refused_at_once(client, asked, make_card, tmp_path):
    (tmp_path / "scenes").mkdir()
    card = make_card(name="scenes", architecture="alexnet")
    (tmp_path / "scenes" / "model.json").write_text(card.model_dump_json())
    answer = client.post("/v1/jobs", json={**asked, "model": str(tmp_path / "scenes")})
    assert "labels whole images, not pixels" in error_of(answer, 400, "options_refused")
    assert client.get("/v1/jobs").json() == []


def test_what_is_not_there_is_told(client):
    error_of(client.get("/v1/nothing"), 404, "http")
    error_of(client.put("/v1/jobs"), 405, "http")
    for path in ("/v1/jobs/x", "/v1/jobs/x/events", "/v1/jobs/x/tiles/0.png", "/v1/jobs/x/products/0"):
        error_of(client.get(path), 404, "job_missing")
    error_of(client.post("/v1/jobs/x/cancel"), 404, "job_missing")
    error_of(client.delete("/v1/jobs/x"), 404, "job_missing")


def test_bad_input_gets_a_code_and_a_sentence_and_leaves_nothing(bad_input, client, tmp_path):
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    content = json.dumps(job_body(**bad_input.request))  # with NaN, which httpx itself would not send
    answer = client.post("/v1/jobs", content=content, headers={"Content-Type": "application/json"})
    if answer.status_code == 201:  # only found on the way
        info = wait(client, answer.json()["id"], "failed", "finished", "cancelled")
        assert info["state"] == "failed" and info["result"] is None
        error = info["error"]
    else:
        error_of(answer, 404 if bad_input.code.endswith("_missing") else 400, bad_input.code)
        error = answer.json()["error"]
    assert error["code"] == bad_input.code and bad_input.word in error["message"]
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_what_can_be_judged_at_once_is_refused_at_once(client, asked, tmp_path, write_raster):
    flat = write_raster(tmp_path / "flat.tif", np.ones((2, 30, 30), np.uint8))
    nowhere = job_body("a", "b", "/no/such.tif")["products"]
    for changes in ({"raster": flat}, {"model": "x"}, {"products": nowhere}, {"bounds": [0, 0, 1, 1]}):
        assert client.post("/v1/jobs", json={**asked, **changes}).status_code in (400, 404)
    assert client.get("/v1/jobs").json() == []


def test_a_failure_that_should_not_be_is_told_as_such(client, asked, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(queue, "run_map", fail)
    job = client.post("/v1/jobs", json=asked).json()["id"]
    info = wait(client, job, "failed")
    assert info["error"]["code"] == "internal" and "ZeroDivisionError" in info["error"]["message"]
    monkeypatch.setattr(queue, "find_model", fail)
    error_of(client.post("/v1/jobs", json=asked), 500, "internal")


def test_health_info_and_models_say_what_there_is(client, model_folder, monkeypatch):
    monkeypatch.setenv("ROTACUBE_MODELS", str(model_folder.parent))
    assert client.get("/v1/health").json()["version"] == rotacube.__version__
    info = client.get("/v1/info").json()
    assert str(model_folder.parent) in info["model_folders"] and info["operators"] and info["device_why"]
    models = {model["name"]: model for model in client.get("/v1/models").json()}
    card = read_card(model_folder)
    assert models["tiny"]["sha256"] == card.weights.sha256 and models["tiny"]["parameters"] == card.weights.parameters
    assert models["tiny"]["classes"][1] == {"id": 1, "name": "roof", "color": "#e6550d"}
    assert models["tiny"]["threshold"] == card.threshold and models["tiny"]["smallest"] == card.separation.smallest


def test_a_model_of_many_classes_has_no_threshold(make_card):
    classes = [{"id": n, "name": str(n), "color": "#000000"} for n in range(3)]
    assert to_model_info(make_card(classes=classes, threshold=0.3)).threshold is None
    assert to_model_info(make_card(threshold=0.3)).threshold == 0.3


def test_an_estimate_is_what_the_job_comes_to(client, asked, tmp_path, monkeypatch):
    asked["products"] += [{"kind": "probability", "format": "cog", "path": str(tmp_path / "p.tif")}]
    for bounds in (None, [353005, 3059960, 353015, 3059970]):
        told = client.post("/v1/estimate", json={**asked, "bounds": bounds}).json()
        assert not list(tmp_path.glob("*.tif"))
        job = client.post("/v1/jobs", json={**asked, "bounds": bounds, "overwrite": True}).json()["id"]
        info = wait(client, job, "finished", "failed")
        assert told["tiles"] == info["tiles_total"] > 0
        assert [told["width"], told["height"]] == [info["result"]["width"], info["result"]["height"]]
        (disk,) = told["disks"]
        assert disk["folder"] == str(tmp_path) and disk["bytes"] > 2**20
        for path in tmp_path.glob("*.tif"):
            path.unlink()
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=7))
    assert client.post("/v1/estimate", json=asked).json()["disks"][0]["free"] == 7, "a full disk is no error here"
    error_of(client.post("/v1/jobs", json=asked), 400, "output_unwritable")
    error_of(client.post("/v1/estimate", json={**asked, "raster": "/nowhere.tif"}), 404, "raster_missing")


def test_the_contract_names_every_shape_and_error(client):
    document = client.get("/openapi.json").json()
    shapes = {
        name for name, kind in vars(schema).items() if isinstance(kind, type) and kind.__module__ == schema.__name__
    }
    assert shapes <= set(document["components"]["schemas"])
    assert {(method, path) for path, methods in document["paths"].items() for method in methods} == {
        ("get", "/v1/health"),
        ("get", "/v1/info"),
        ("get", "/v1/models"),
        ("post", "/v1/jobs"),
        ("post", "/v1/estimate"),
        ("get", "/v1/jobs"),
        ("get", "/v1/jobs/{name}"),
        ("delete", "/v1/jobs/{name}"),
        ("post", "/v1/jobs/{name}/cancel"),
        ("get", "/v1/jobs/{name}/events"),
        ("get", "/v1/interrupted"),
        ("post", "/v1/interrupted/{name}/resume"),
        ("delete", "/v1/interrupted/{name}"),
        ("get", "/v1/jobs/{name}/tiles/{n}.png"),
        ("get", "/v1/jobs/{name}/products/{n}"),
        ("post", "/v1/views"),
        ("get", "/v1/views/{name}"),
        ("delete", "/v1/views/{name}"),
        ("put", "/v1/views/{name}/cells/{column}/{row}"),
        ("post", "/v1/views/{name}/roofs"),
        ("delete", "/v1/views/{name}/work/{ticket}"),
        ("post", "/v1/views/{name}/grow"),
    }
    for methods in document["paths"].values():
        for operation in methods.values():
            for status in ("400", "401", "403", "404", "413", "422", "500"):
                content = operation["responses"][status]["content"]["application/json"]
                assert content["schema"]["$ref"].endswith("/ErrorAnswer")
    assert document["info"]["version"] == rotacube.__version__


def events_in(text):
    """Server-sent events as (id, kind, data)."""
    found = []
    for block in text.split("\n\n"):
        if block:
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            found.append((int(fields["id"]) if "id" in fields else None, fields["event"], json.loads(fields["data"])))
    return found


def test_events_tell_the_life_of_a_job_and_can_be_resumed(client, asked):
    job = client.post("/v1/jobs", json=asked).json()["id"]
    told = events_in(client.get(f"/v1/jobs/{job}/events").text)
    numbers = [number for number, _, _ in told]
    assert numbers == sorted(set(numbers))
    assert [data["state"] for _, kind, data in told if kind == "state"] == ["queued", "running", "finished"]
    tiles = [data for _, kind, data in told if kind == "tile"]
    assert [tile["done"] for tile in tiles] == list(range(1, tiles[0]["total"] + 1))
    assert told[-1][2]["tiles_done"] == tiles[0]["total"]
    for tile in tiles:
        if tile["preview"] is not None:
            assert client.get("/" + tile["preview"]).headers["content-type"] == "image/png"
    assert any(tile["preview"] for tile in tiles)
    for index in (0, 3, len(told) - 2):
        headers = {"Last-Event-ID": str(numbers[index])}
        assert events_in(client.get(f"/v1/jobs/{job}/events", headers=headers).text) == told[index + 1 :]


def test_a_late_listener_is_told_how_the_job_stood_and_goes_on_from_there(client, asked, monkeypatch):
    monkeypatch.setattr(queue, "EVENTS", 4)
    job = client.post("/v1/jobs", json=asked).json()["id"]
    result = wait(client, job, "finished")["result"]
    told = events_in(client.get(f"/v1/jobs/{job}/events").text)
    assert [kind for _, kind, _ in told] == ["state", "tile", "tile", "tile", "state"]
    assert told[0][2]["state"] == "running" and told[-1][2]["result"] == result
    assert [data["done"] for _, _, data in told[1:-1]] == [told[0][2]["tiles_done"] + n for n in (1, 2, 3)]
    numbers = [number for number, _, _ in told]
    assert numbers == list(range(numbers[0], numbers[0] + 5))
    headers = {"Last-Event-ID": str(numbers[0])}
    assert events_in(client.get(f"/v1/jobs/{job}/events", headers=headers).text) == told[1:]


@pytest.mark.parametrize("last", ["1", "99999999", "9" * 5000, "-1", "none", "\u00b2".encode("latin-1")])
def test_a_stream_of_an_ended_job_ends_at_once_whatever_was_seen(last, client, asked, monkeypatch):
    monkeypatch.setattr(queue, "run_map", lambda *_, **__: (_ for _ in ()).throw(JobCancelled("The end.")))
    job = client.post("/v1/jobs", json=asked).json()["id"]
    wait(client, job, "cancelled")
    start = time.monotonic()
    answer = client.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": last})
    assert answer.status_code == 200 and time.monotonic() - start < 2
    assert "heartbeat" not in answer.text
    assert events_in(answer.text)[-1][2]["state"] == "cancelled"


def test_a_silent_job_gives_signs_of_life(client, asked, monkeypatch):
    monkeypatch.setattr(application, "HEARTBEAT", 0.1)
    goes_on = threading.Event()

    def work(*_, **__):
        goes_on.wait(20)
        raise JobCancelled("The end.")

    monkeypatch.setattr(queue, "run_map", work)
    job = client.post("/v1/jobs", json=asked).json()["id"]
    threading.Timer(0.6, goes_on.set).start()
    told = events_in(client.get(f"/v1/jobs/{job}/events").text)
    silent = [index for index, (_, kind, _) in enumerate(told) if kind == "heartbeat"]
    assert 2 <= len(silent) <= 6
    assert all(told[index][0] is None and told[index][2] == {} for index in silent)
    assert told[-1][1] == "state" and told[-1][2]["state"] == "cancelled"


def test_jobs_wait_for_each_other_and_a_waiting_one_is_cancelled_at_once(client, asked, monkeypatch, tmp_path):
    started, goes_on = threading.Event(), threading.Event()

    def work(request, model, *, cancelled, **_):
        started.set()
        while not cancelled() and not goes_on.wait(0.01):
            pass
        raise JobCancelled("The end.")

    monkeypatch.setattr(queue, "run_map", work)
    names = []
    for index in range(3):
        names.append(
            client.post("/v1/jobs", json=job_body(asked["raster"], asked["model"], tmp_path / f"{index}.tif")).json()[
                "id"
            ]
        )
    assert started.wait(20)
    assert [job["state"] for job in client.get("/v1/jobs").json()] == ["running", "queued", "queued"]
    assert client.post(f"/v1/jobs/{names[1]}/cancel").json()["state"] == "cancelled"
    answer = client.delete(f"/v1/jobs/{names[2]}")
    assert answer.status_code == 204 and answer.content == b""
    assert [job["id"] for job in client.get("/v1/jobs").json()] == names[:2]
    client.post(f"/v1/jobs/{names[0]}/cancel")
    assert wait(client, names[0], "cancelled")["error"] is None
    assert client.post(f"/v1/jobs/{names[0]}/cancel").json()["state"] == "cancelled", "twice does no harm"


def test_old_jobs_are_forgotten_but_none_that_runs(client, asked, monkeypatch):
    monkeypatch.setattr(queue, "run_map", lambda *_, **__: (_ for _ in ()).throw(JobCancelled("The end.")))
    names = []
    for _ in range(54):
        names.append(client.post("/v1/jobs", json=asked).json()["id"])
        wait(client, names[-1], "cancelled")
    kept = [job["id"] for job in client.get("/v1/jobs").json()]
    assert kept == names[-len(kept) :] and 50 <= len(kept) <= 51


def test_a_model_is_loaded_once_and_again_when_it_has_changed(client, asked, make_model, tmp_path, monkeypatch):
    folder = make_model(tmp_path / "model")
    loads = []
    load = queue.load_model
    monkeypatch.setattr(queue, "load_model", lambda name: loads.append(name) or load(name))
    monkeypatch.setattr(queue, "run_map", lambda *_, **__: (_ for _ in ()).throw(JobCancelled("The end.")))

    def run():
        job = client.post("/v1/jobs", json={**asked, "model": str(folder)}).json()["id"]
        assert wait(client, job, "cancelled", "failed")["state"] == "cancelled"

    run()
    run()
    assert len(loads) == 1
    make_model(folder, threshold=0.4)
    run()
    assert len(loads) == 2


def test_a_finished_job_says_what_it_found(client, asked):
    job = client.post("/v1/jobs", json={**asked, "bounds": [353005, 3059960, 353055, 3059990]}).json()["id"]
    info = wait(client, job, "finished", "failed")
    result = info["result"]
    (product,) = result["products"]
    assert {key: product[key] for key in ("kind", "format", "path")} == asked["products"][0]
    with rasterio.open(product["path"]) as file:
        labels = file.read(1)
    assert (result["height"], result["width"]) == labels.shape and result["gsd"] == pytest.approx([0.15] * 2, rel=1e-3)
    assert [c["pixels"] for c in result["classes"]] == [int((labels == i).sum()) for i in (0, 1)]
    assert sum(c["share"] for c in result["classes"]) == pytest.approx(1, abs=1e-5)
    assert result["nodata_pixels"] == (labels == 255).sum()
    assert info["seconds_left"] == 0 and info["tiles_done"] == info["tiles_total"]


def test_what_a_job_made_can_be_fetched_from_its_address(client, asked, tmp_path):
    job = client.post("/v1/jobs", json=asked).json()["id"]
    address = "/" + wait(client, job, "finished")["result"]["products"][0]["href"]
    path = tmp_path / "mask.tif"
    assert client.get(address).content == path.read_bytes()
    for other in (f"/v1/jobs/{job}/products/1", f"/v1/jobs/{job}/products/{10**30}"):
        error_of(client.get(other), 404, "product_missing")
    error_of(client.get(f"/v1/jobs/{job}/products/-1"), 422, "refused")
    error_of(client.get(f"/v1/jobs/{job}/products/x"), 422, "refused")
    path.unlink()
    error_of(client.get(address), 404, "product_missing")


@pytest.mark.parametrize("size", [0.15, 0.1525])
def test_the_ground_sample_distance_is_that_of_the_mask(size, client, model_folder, tmp_path, write_raster):
    """Within 2% of the model's, the raster's own grid is taken."""
    image = np.random.default_rng(0).integers(1, 255, (3, 120, 130), np.uint8)
    path = write_raster(tmp_path / "a.tif", image, transform=Affine(size, 0, 500000, 0, -0.15, 3060000))
    job = client.post("/v1/jobs", json=job_body(path, model_folder, tmp_path / "mask.tif")).json()["id"]
    result = wait(client, job, "finished", "failed")["result"]
    with rasterio.open(tmp_path / "mask.tif") as file:
        pixel = [file.transform.a / 0.9996, -file.transform.e / 0.9996]  # UTM's scale on its central meridian
    assert result["gsd"] == pytest.approx(pixel, rel=1e-4)
    assert result["gsd"] == pytest.approx([size, 0.15], rel=1e-3)


def test_a_listener_that_leaves_is_not_told_any_more(jobs, asked, monkeypatch):
    goes_on = threading.Event()

    def work(*_, **__):
        goes_on.wait(20)
        raise JobCancelled("The end.")

    monkeypatch.setattr(queue, "run_map", work)
    job = jobs.create(to_map(schema.JobRequest.model_validate(asked)))
    watching, watched = [], job.watched

    @contextlib.contextmanager
    def counted(tell):
        with watched(tell):
            watching.append("came")
            try:
                yield
            finally:
                watching.append("went")

    monkeypatch.setattr(job, "watched", counted)

    async def listen_and_leave():
        heard = asyncio.Event()
        requests = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive():
            for request in requests:
                return request
            await heard.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            if message["type"] == "http.response.body":
                heard.set()

        path = f"/v1/jobs/{job.now.id}/events"
        headers = [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {TOKEN}".encode())]
        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": headers}
        scope |= {"asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": ""}
        await asyncio.wait_for(create_app(TOKEN, jobs)(scope, receive, send), 5)

    try:
        asyncio.run(listen_and_leave())
        assert watching == ["came", "went"]
    finally:
        goes_on.set()
