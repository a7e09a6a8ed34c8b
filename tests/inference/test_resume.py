"""A run that is killed at any moment goes on, and ends with what an unbroken one makes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
from products import NAMES, contents, fill_disk, same

from rotacube.errors import JobDamaged, JobInterrupted, OutputUnwritable
from rotacube.inference import pieces as pieces_module
from rotacube.inference import run as module
from rotacube.inference.engine import Engine
from rotacube.inference.outputs import format_of
from rotacube.inference.outputs.base import Setting
from rotacube.inference.run import MapRequest, Product, run_map
from rotacube.inference.store import MANIFEST, OWNER, Store, folder_of
from rotacube.raster import destination

KILLED = textwrap.dedent(
    """
    import os, sys
    import torch
    from pathlib import Path
    from rotacube.inference import store
    from rotacube.inference.device import Place
    from rotacube.inference.run import run_map
    from tests_resume import request_of

    raster, model, folder, after = sys.argv[1:]
    left, add = [int(after)], store.Store.add

    def dying(self, finding):
        if not left[0]:
            os._exit(9)
        left[0] -= 1
        add(self, finding)

    store.Store.add = dying
    run_map(request_of(raster, model, Path(folder)), place=Place(torch.device("cpu"), torch.float32, 2))
    """
)


def request_of(raster, model, folder, **more):
    products = tuple(Product(kind, folder / name, format_of(kind, name)) for kind, name in NAMES.items())
    return MapRequest(str(raster), str(model), products, **more)


def kill(raster, model, folder, after):
    """A run that ends without a word after so many strips."""
    (folder / "tests_resume.py").write_text(Path(__file__).read_text())
    code = [sys.executable, "-c", KILLED, str(raster), str(model), str(folder), str(after)]
    path = os.pathsep.join([str(folder), *sys.path])
    done = subprocess.run(code, cwd=folder, env={**os.environ, "PYTHONPATH": path}, check=False)
    assert done.returncode == 9
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)
    (folder / "tests_resume.py").unlink()


def cut_off(raster, model_folder, model, cpu, folder, after, **more):
    """A run that is interrupted after so many strips; it costs no process."""

    def interrupted(self, finding, add=Store.add):
        if len(self.boxes) == after:
            raise JobInterrupted("The backend ends.")
        add(self, finding)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(JobInterrupted):
        patch.setattr(Store, "add", interrupted)
        run_map(request_of(raster, model_folder, folder, **more), model, place=cpu)


@pytest.fixture(scope="module")
def unbroken(scene_path, model_folder, tiny_model, cpu, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    run_map(request_of(scene_path, model_folder, folder), tiny_model, place=cpu)
    return contents(folder)


@pytest.mark.parametrize("after", [0, 3])
def test_a_killed_run_goes_on(after, unbroken, scene_path, model_folder, tiny_model, cpu, tmp_path, monkeypatch):
    kill(scene_path, model_folder, tmp_path, after)
    job = folder_of(tmp_path / "mask.tif")
    assert not (tmp_path / "mask.tif").exists() and len(list(job.glob("strip_*.tif"))) == after
    batches, infer = [], Engine.infer
    monkeypatch.setattr(Engine, "infer", lambda self, tiles: batches.append(len(tiles)) or infer(self, tiles))
    tiles = []
    request = request_of(scene_path, model_folder, tmp_path, resume=True)
    run_map(request, tiny_model, place=cpu, on_tile=tiles.append)
    found = contents(tmp_path)
    for ours, theirs in zip(found[0], unbroken[0], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert found[1:] == unbroken[1:]
    assert not job.exists() and sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES.values())
    assert [tile.done for tile in tiles] == list(range(1, tiles[0].total + 1))
    rows = 5  # of 7 tiles each
    assert sum(batches) <= 7 * (rows - after + 1), "at most one strip is worked out twice"


def test_killed_while_it_tidies_up_and_again_it_goes_on(
    scene_path, model_folder, tiny_model, cpu, tmp_path, unbroken, monkeypatch
):
    """All products are in their place, and only the manifest is gone: they are still the run's own, also later."""
    with monkeypatch.context() as patch:
        patch.setattr(Store, "drop", lambda self: (self.folder / MANIFEST).unlink(missing_ok=True))
        run_map(request_of(scene_path, model_folder, tmp_path), tiny_model, place=cpu)
    job = folder_of(tmp_path / NAMES["mask"])
    (job / OWNER).unlink()
    cut_off(scene_path, model_folder, tiny_model, cpu, tmp_path, 1, resume=True)
    run_map(request_of(scene_path, model_folder, tmp_path, resume=True), tiny_model, place=cpu)
    assert same(contents(tmp_path), unbroken) and not job.exists()


def test_what_is_not_resumed_starts_anew(scene_path, model_folder, tiny_model, cpu, tmp_path, unbroken):
    cut_off(scene_path, model_folder, tiny_model, cpu, tmp_path, 2)
    with rasterio.open(next(folder_of(tmp_path / "mask.tif").glob("strip_*.tif")), "r+") as file:
        file.write(np.full((file.count, file.height, file.width), 7, np.uint8))
    run_map(request_of(scene_path, model_folder, tmp_path), tiny_model, place=cpu)
    np.testing.assert_array_equal(contents(tmp_path)[0][0], unbroken[0][0])


def test_a_changed_raster_or_request_is_noticed(scene_path, model_folder, tiny_model, cpu, tmp_path):
    raster = tmp_path / "own.tif"
    shutil.copy(scene_path, raster)
    cut_off(raster, model_folder, tiny_model, cpu, tmp_path, 2)
    before = sorted(folder_of(tmp_path / "mask.tif").iterdir())
    with pytest.raises(JobDamaged, match="the model changed since"):
        run_map(request_of(raster, model_folder, tmp_path, resume=True, threshold=0.7), tiny_model, place=cpu)
    with rasterio.open(raster, "r+") as file:
        file.update_tags(changed="yes")
    with pytest.raises(JobDamaged, match="the raster changed since"):
        run_map(request_of(raster, model_folder, tmp_path, resume=True), tiny_model, place=cpu)
    assert sorted(folder_of(tmp_path / "mask.tif").iterdir()) == before, "what was found is still there"


@pytest.mark.parametrize("text", ["", "{", "[]", "\0" * 50])
def test_a_damaged_manifest_is_a_sentence_or_a_new_start(text, scene_path, model_folder, tiny_model, cpu, tmp_path):
    cut_off(scene_path, model_folder, tiny_model, cpu, tmp_path, 1)
    (folder_of(tmp_path / "mask.tif") / MANIFEST).write_text(text)
    request = request_of(scene_path, model_folder, tmp_path, resume=True)
    if text:
        with pytest.raises(JobDamaged, match="without resuming"):
            run_map(request, tiny_model, place=cpu)
    else:
        run_map(request, tiny_model, place=cpu)


def flipped(data):
    at = len(data) - 200
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[:-300], flipped], ids=["empty", "cut short", "a bit flipped"]
)
def test_a_damaged_strip_is_found_again(damage, scene_path, model_folder, tiny_model, cpu, tmp_path, unbroken):
    cut_off(scene_path, model_folder, tiny_model, cpu, tmp_path, 3)
    strips = sorted(folder_of(tmp_path / "mask.tif").glob("strip_*.tif"))
    strips[1].write_bytes(damage(strips[1].read_bytes()))
    run_map(request_of(scene_path, model_folder, tmp_path, resume=True), tiny_model, place=cpu)
    np.testing.assert_array_equal(contents(tmp_path)[0][0], unbroken[0][0])


def test_a_strip_that_is_damaged_meanwhile_loses_no_other(
    scene_path, model_folder, tiny_model, cpu, tmp_path, monkeypatch, unbroken
):
    pieces = Setting.pieces.func

    def damaged(self):
        strip = sorted(self.store.folder.glob("strip_*.tif"))[2]
        strip.write_bytes(strip.read_bytes()[:-300])
        return pieces(self)

    monkeypatch.setattr(Setting, "pieces", property(damaged))
    with pytest.raises(JobDamaged, match="Resume the run"):
        run_map(request_of(scene_path, model_folder, tmp_path), tiny_model, place=cpu)
    monkeypatch.undo()
    tiles = []
    monkeypatch.setattr(Engine, "infer", lambda self, t, infer=Engine.infer: tiles.extend(t) or infer(self, t))
    run_map(request_of(scene_path, model_folder, tmp_path, resume=True), tiny_model, place=cpu)
    assert contents(tmp_path)[1:] == unbroken[1:] and len(tiles) <= 2 * 7


@pytest.mark.parametrize("part", ["pieces", "placing"])
def test_a_disk_that_is_full_while_products_are_made_is_a_sentence(
    part, scene_path, model_folder, tiny_model, cpu, tmp_path, monkeypatch, unbroken
):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "WORTH_KEEPING", 0.0)
    where, name = {"pieces": (pieces_module, "write_array"), "placing": (Store, "note")}[part]
    monkeypatch.setattr(where, name, full)
    with pytest.raises(OutputUnwritable, match=r"No space left.*What was found is kept.*resume the run") as caught:
        run_map(request_of(scene_path, model_folder, tmp_path), tiny_model, place=cpu)
    assert "left behind" not in caught.value.message
    monkeypatch.undo()
    run_map(request_of(scene_path, model_folder, tmp_path, resume=True), tiny_model, place=cpu)
    assert contents(tmp_path)[1:] == unbroken[1:]


def test_what_was_put_in_place_is_replaced_by_itself_only(
    scene_path, model_folder, tiny_model, cpu, tmp_path, monkeypatch, unbroken
):
    def interrupted(self, output, part, note=Store.note):
        note(self, output, part)
        if output.name == "r.gpkg":
            raise JobInterrupted("The backend ends.")

    monkeypatch.setattr(Store, "note", interrupted)
    with pytest.raises(JobInterrupted):
        run_map(request_of(scene_path, model_folder, tmp_path), tiny_model, place=cpu)
    monkeypatch.undo()
    assert (tmp_path / "mask.tif").exists() and not (tmp_path / "r.gpkg").exists()
    mask = (tmp_path / "mask.tif").read_bytes()
    (tmp_path / "mask.tif").unlink()
    (tmp_path / "mask.tif").write_text("somebody's own")
    with pytest.raises(OutputUnwritable, match="is there already"):
        run_map(request_of(scene_path, model_folder, tmp_path, resume=True), tiny_model, place=cpu)
    assert (tmp_path / "mask.tif").read_text() == "somebody's own"
    (tmp_path / "mask.tif").write_bytes(mask)  # not the run's own any more: it has another number or time
    with pytest.raises(OutputUnwritable, match="is there already"):
        run_map(request_of(scene_path, model_folder, tmp_path, resume=True), tiny_model, place=cpu)
    (tmp_path / "mask.tif").unlink()
    run_map(request_of(scene_path, model_folder, tmp_path, resume=True), tiny_model, place=cpu)
    assert contents(tmp_path)[1:] == unbroken[1:]


def test_two_runs_do_not_write_to_one_name(scene_path, model_folder, tiny_model, cpu, tmp_path):
    job = folder_of(tmp_path / "mask.tif")
    job.mkdir()
    (job / OWNER).write_text(destination.owner_mark())
    for resume in (False, True):
        with pytest.raises(OutputUnwritable, match="Another run is writing"):
            run_map(request_of(scene_path, model_folder, tmp_path, resume=resume), tiny_model, place=cpu)
    assert job.is_dir()


def test_a_long_run_whose_disk_is_full_keeps_what_it_found(
    scene_path, model_folder, tiny_model, cpu, tmp_path, monkeypatch, unbroken
):
    free = fill_disk(monkeypatch, 2)
    with pytest.raises(OutputUnwritable, match=r"The disk is full\. Nothing was left behind\.$"):
        run_map(request_of(scene_path, model_folder, tmp_path), tiny_model, place=cpu)
    assert list(tmp_path.iterdir()) == [], "it was not worth keeping"
    monkeypatch.setattr(module, "WORTH_KEEPING", 0.0)
    with pytest.raises(OutputUnwritable, match="resume the run to go on"):
        run_map(request_of(scene_path, model_folder, tmp_path), tiny_model, place=cpu)
    free()
    run_map(request_of(scene_path, model_folder, tmp_path, resume=True), tiny_model, place=cpu)
    np.testing.assert_array_equal(contents(tmp_path)[0][0], unbroken[0][0])


@pytest.mark.parametrize("form", ["gpkg", "fgb"])
def test_products_may_lie_on_two_disks(form, scene_path, model_folder, tiny_model, cpu, tmp_path):
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second disk")
    with tempfile.TemporaryDirectory(dir=shared) as other:
        roofs = Path(other) / f"r.{form}"
        products = (Product("mask", tmp_path / "mask.tif"), Product("polygons", roofs, form))
        run_map(MapRequest(scene_path, str(model_folder), products), tiny_model, place=cpu)
        assert pyogrio.read_info(roofs)["features"] > 0
        assert [path.name for path in Path(other).iterdir()] == [roofs.name]
    assert [path.name for path in tmp_path.iterdir()] == ["mask.tif"]
