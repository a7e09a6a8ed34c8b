"""A run on a cluster ends with what a single machine makes, whatever becomes of its workers."""

from __future__ import annotations

import os
import shutil
import signal
import time

import pytest
from products import NAMES, contents, same

from rotacube.errors import ClusterFailed, JobCancelled, OptionsRefused, RasterMissing, RotacubeError
from rotacube.inference import cluster as module
from rotacube.inference.cluster import joined, parts_of
from rotacube.inference.outputs import format_of
from rotacube.inference.run import MapRequest, Product, run_map
from rotacube.inference.store import folder_of
from rotacube.raster.grid import Box


def request_of(raster, model, folder, **more):
    products = tuple(Product(kind, folder / name, format_of(kind, name)) for kind, name in NAMES.items())
    return MapRequest(str(raster), str(model), products, **more)


@pytest.fixture(scope="module")
def cluster():
    """Two workers on this machine."""
    pytest.importorskip("distributed", reason="Dask is not installed: pip install 'rotacube[dask]'")
    with joined("local:2", "float32") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def alone(scene_path, model_folder, tiny_model, cluster, tmp_path_factory):
    """What this process makes by itself."""
    folder = tmp_path_factory.mktemp("alone")
    result = run_map(request_of(scene_path, model_folder, folder), tiny_model, place=cluster.place)
    return contents(folder), result


def test_a_killed_worker_loses_nothing(cluster, alone, scene_path, model_folder, tiny_model, tmp_path):
    workers = list(cluster.client.run(os.getpid).values())
    assert len(workers) == 2
    tiles = []

    def kill(tile):
        if not tiles:
            os.kill(workers[0], signal.SIGKILL)
        tiles.append(tile)

    result = run_map(request_of(scene_path, model_folder, tmp_path), tiny_model, cluster=cluster, on_tile=kill)
    assert same(contents(tmp_path), alone[0])
    assert (result.classes, result.notes, result.place) == (alone[1].classes, alone[1].notes, alone[1].place)
    assert [tile.done for tile in tiles] == list(range(1, 6)) and {tile.total for tile in tiles} == {5}
    assert sum(tile.counts[1] for tile in tiles if tile.counts) == result.classes[1].pixels
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES.values())
    assert set(cluster.client.run(os.getpid).values()) != set(workers)


def test_a_run_whose_cluster_was_lost_goes_on_alone(
    cluster, alone, scene_path, model_folder, tiny_model, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "AHEAD", 1)
    asked = []

    def lose(tile):
        asked.append(tile)
        if len(asked) == 2:
            raise module._failed(RuntimeError("no route"))

    with pytest.raises(ClusterFailed, match="no route"):
        run_map(request_of(scene_path, model_folder, tmp_path), tiny_model, cluster=cluster, on_tile=lose)
    assert len(list(folder_of(tmp_path / "mask.tif").glob("strip_*.tif"))) == 2
    request = request_of(scene_path, model_folder, tmp_path, resume=True)
    run_map(request, tiny_model, place=cluster.place)
    assert same(contents(tmp_path), alone[0])


def test_a_cancelled_run_ends_its_tasks(cluster, scene_path, model_folder, tiny_model, tmp_path):
    with pytest.raises(JobCancelled):
        run_map(request_of(scene_path, model_folder, tmp_path), tiny_model, cluster=cluster, cancelled=lambda: True)
    assert list(tmp_path.iterdir()) == []
    end = time.monotonic() + 20
    while any(cluster.client.processing().values()):
        assert time.monotonic() < end, "the tasks go on"
        time.sleep(0.1)


def test_workers_say_what_they_miss(cluster, scene_path, model_folder, tiny_model, tmp_path, monkeypatch):
    own = tmp_path / "own.tif"
    shutil.copy(scene_path, own)
    look = module.look_of
    monkeypatch.setattr(module, "look_of", lambda seen: (own.rename(tmp_path / "gone.tif"), look_of_gone(seen))[1])

    def look_of_gone(seen):
        return ()

    with pytest.raises(RasterMissing, match=r"Worker tcp://127.*same path.*share"):
        run_map(request_of(own, model_folder, tmp_path), tiny_model, cluster=cluster)
    monkeypatch.setattr(module, "look_of", lambda seen: (*look(seen)[:-1], "others"))
    with pytest.raises(ClusterFailed, match="another file there"):
        run_map(request_of(scene_path, model_folder, tmp_path), tiny_model, cluster=cluster)
    monkeypatch.setattr(module, "look_of", look)
    changed = tiny_model.card.model_copy(update={"title": "Another"})
    other = type(tiny_model)(changed, tiny_model.network, tiny_model.folder)
    with pytest.raises(ClusterFailed, match=r"The model .* is another one there"):
        run_map(request_of(scene_path, model_folder, tmp_path), other, cluster=cluster)
    assert [path.name for path in tmp_path.iterdir()] == ["gone.tif"]


def test_a_cluster_that_is_not_there_is_a_sentence(monkeypatch):
    pytest.importorskip("distributed", reason="Dask is not installed: pip install 'rotacube[dask]'")
    monkeypatch.setattr(module, "PATIENCE", 1)
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        with pytest.raises(ClusterFailed, match="dask scheduler"), joined(address):
            pass
    with pytest.raises(OptionsRefused, match="local:2"), joined("local:none"):
        pass
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(RotacubeError, match=r"rotacube\[dask\]"), joined("local"):
        pass


def test_strips_go_together_where_they_are_neighbours():
    boxes = [Box(top, left, top + 64, left + 100) for left in (0, 100) for top in range(0, 6400, 64)]
    parts = parts_of(boxes, 2)
    assert {part.height for part in parts} == {1024, 256}
    assert sum(part.height * part.width for part in parts) == 2 * 6400 * 100
    assert parts_of(boxes[:5], 2) == boxes[:5] and len(parts_of(boxes[:32], 2)) == 4
    del boxes[3]
    assert parts_of(boxes, 2)[:2] == [Box(0, 0, 192, 100), Box(256, 0, 1280, 100)]
    assert parts_of([], 2) == []
