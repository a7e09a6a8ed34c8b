"""Views over HTTP: opened, asked for roofs, cancelled, sent pixels, forgotten; what is wrong is a sentence."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import rasterio
from rasterio.io import MemoryFile
from starlette.testclient import TestClient

from rotacube.jobs import views as held_views
from rotacube.jobs.queue import Jobs
from rotacube.server.app import LARGEST_CELL, create_app

TOKEN = "a token"


@pytest.fixture
def client():
    jobs = Jobs()
    with TestClient(
        create_app(TOKEN, jobs), base_url="http://127.0.0.1:4321", headers={"Authorization": f"Bearer {TOKEN}"}
    ) as made:
        yield made
    jobs.close()


@pytest.fixture
def view(client, scene_path, model_folder):
    answer = client.post("/v1/views", json={"model": str(model_folder), "raster": {"path": str(scene_path)}})
    assert answer.status_code == 201, answer.text
    yield answer.json()
    client.delete(f"/v1/views/{answer.json()['id']}")


def whole(path):
    with rasterio.open(path) as file:
        return list(file.bounds)


def asked(bounds, **more):
    return {"bounds": bounds, "ticket": "one", **more}


def code(answer, status):
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["message"].endswith(".")
    return error["code"]


def test_a_view_answers_with_roofs_in_its_own_crs(client, view, scene_path):
    bounds = whole(scene_path)
    found = client.post(f"/v1/views/{view['id']}/roofs", json=asked(bounds, ring=0.5)).json()
    assert found["roofs"] and found["needs"] == []
    for roof in found["roofs"]:
        assert roof["geometry"]["type"] in ("Polygon", "MultiPolygon") and 0 <= roof["confidence"] <= 1
        assert roof["outline"] in ("regularised", "as found") and roof["area"] > 0
        corners = np.array(roof["geometry"]["coordinates"][0])
        assert (corners[:, 0] >= bounds[0] - 1).all() and (corners[:, 1] <= bounds[3] + 1).all()
    assert view["pixel"][0] > 0 > view["pixel"][1] and view["gsd"] > 0 and 0 < view["threshold"] < 1
    use = client.get(f"/v1/views/{view['id']}").json()
    assert use["tiles"] > 0 and use["bytes"] > 0 and use["cells"] == 0
    point = [(bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2]
    grown = client.post(f"/v1/views/{view['id']}/grow", json={"point": point}).json()
    assert (grown["roof"] is None) == (grown["why"] is not None)


def test_a_ticket_is_cancelled_before_and_while_it_works(client, view, scene_path, monkeypatch):
    place, body = f"/v1/views/{view['id']}", asked(whole(scene_path))
    assert client.delete(f"{place}/work/one").status_code == 204
    assert code(client.post(f"{place}/roofs", json=body), 409) == "cancelled"
    begun = threading.Event()

    def slow(self, bounds, threshold, smallest, cancelled):
        begun.set()
        end = time.monotonic() + 20
        while not cancelled() and time.monotonic() < end:
            time.sleep(0.01)
        raise held_views.JobCancelled("It was cancelled.")

    monkeypatch.setattr(held_views.View, "roofs", slow)
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(client.post(f"{place}/roofs", json={**body, "ticket": "two"}))
    )
    thread.start()
    assert begun.wait(10)
    client.delete(f"{place}/work/two")
    thread.join(10)
    assert code(answers[0], 409) == "cancelled"


def test_pixels_are_asked_for_and_taken(client, model_folder, view):
    made = client.post("/v1/views", json={"model": str(model_folder), "crs": "EPSG:3857", "near": [9e6, 3e6]}).json()
    place = f"/v1/views/{made['id']}"
    x, y = 9e6, 3e6
    found = client.post(f"{place}/roofs", json=asked([x, y - 5, x + 5, y])).json()
    assert found["roofs"] == [] and len(found["needs"]) >= 4
    column, row = found["needs"][0]
    assert made["origin"][0] + column * made["cell"] * made["pixel"][0] <= x + 200
    with MemoryFile() as memory:
        with memory.open(driver="PNG", width=made["cell"], height=made["cell"], count=3, dtype="uint8") as file:
            file.write(np.full((3, made["cell"], made["cell"]), 90, np.uint8))
        png = memory.read()
    for _ in range(4):  # more where a roof is larger than is seen at first
        for column, row in found["needs"]:
            assert client.put(f"{place}/cells/{column}/{row}", content=png).status_code == 204
        found = client.post(f"{place}/roofs", json=asked([x, y - 5, x + 5, y])).json()
    assert found["needs"] == []
    assert code(client.put(f"{place}/cells/{column}/{row}", content=b"no picture"), 403) == "refused"
    assert code(client.put(f"{place}/cells/{column}/{row}", content=bytes(LARGEST_CELL + 1)), 413) == "too_large"
    assert code(client.put(f"/v1/views/{view['id']}/cells/0/0", content=png), 403) == "refused"


def test_what_is_not_there_or_cannot_be_is_a_sentence(client, view, scene_path, make_model, tmp_path, monkeypatch):
    assert code(client.post("/v1/views/none/roofs", json=asked([0, 0, 1, 1])), 404) == "view_missing"
    assert code(client.post("/v1/views", json={"model": "no-such"}), 404) == "model_missing"
    plants = make_model(tmp_path / "plants", name="plants", task="plants")
    body = {"model": str(plants), "raster": {"path": str(scene_path)}}
    assert code(client.post("/v1/views", json=body), 400) == "options_refused"
    assert code(client.post("/v1/views", json={**body, "raster": {"path": "nowhere.tif"}}), 400) == "options_refused"
    near = client.post(f"/v1/views/{view['id']}/roofs", json=asked([float(n) for n in (0, 0, 1, 1)])).json()
    assert near == {"roofs": [], "needs": [], "cut": 0}


def test_views_are_few_and_forgotten_when_nobody_uses_them(client, scene_path, model_folder, monkeypatch):
    body = {"model": str(model_folder), "raster": {"path": str(scene_path)}}
    names = [client.post("/v1/views", json=body).json()["id"] for _ in range(held_views.MOST + 1)]
    assert code(client.get(f"/v1/views/{names[0]}"), 404) == "view_missing"
    assert client.get(f"/v1/views/{names[1]}").status_code == 200
    client.app.state.views.close_all()
    assert code(client.get(f"/v1/views/{names[1]}"), 404) == "view_missing"
    names[1] = client.post("/v1/views", json=body).json()["id"]
    monkeypatch.setattr(held_views, "IDLE_S", -1.0)
    assert code(client.get(f"/v1/views/{names[1]}"), 404) == "view_missing"
