"""What a run will need of disks and memory is told before any work, and compared with what there is."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import namedtuple

import psutil
import pytest
import torch

from rotacube.errors import MemoryShort, OutputUnwritable
from rotacube.inference.device import Place
from rotacube.inference.frames_request import PRODUCTS
from rotacube.inference.live import live_bytes
from rotacube.inference.needs import BESIDE, SPARE, needs_of, needs_of_frames
from rotacube.inference.run import MapRequest, Product, run_map
from rotacube.models.store import load_model

CPU = Place(torch.device("cpu"), torch.float32, 1)
Usage, Free = namedtuple("Usage", "total used free"), namedtuple("Free", "available")
PARTS = ["labels", "chance 1", "distance", "border"]


def test_a_dense_town_was_made_with_less_and_not_much_less(tmp_path):
    """Measured: 9.75 million pixels, at most 32.2 MB with all products, 1.1 MB with the mask alone."""
    kinds = {"mask": "m.tif", "probability": "p.tif", "polygons": "r.gpkg", "statistics": "s.csv"}
    products = [(kind, tmp_path / name) for kind, name in kinds.items()]
    (every,) = needs_of(products, PARTS, 9_746_045).disks.values()
    (mask,) = needs_of(products[:1], PARTS[:1], 9_746_045).disks.values()
    assert 32.2e6 < every < 2 * 32.2e6 and 1.1e6 < mask < 3 * 1.1e6
    (rest,) = needs_of(products, PARTS, 9_746_045, kept=10_000_000).disks.values()
    assert rest == pytest.approx(every - 1e7, abs=2)
    assert every > 4 * SPARE and f"{every / 2**20:,.0f} MB in '{tmp_path}'" in str(needs_of(products, PARTS, 9_746_045))


def test_a_run_that_will_not_fit_is_refused_at_once(scene_path, model_folder, tiny_model, cpu, tmp_path, monkeypatch):
    told = []
    products = (Product("mask", tmp_path / "m.tif"), Product("probability", tmp_path / "p.tif"))
    request = MapRequest(scene_path, str(model_folder), products)
    run_map(request, tiny_model, place=cpu, on_start=told.append)
    (needed,) = told[0].disks.values()
    for path in tmp_path.iterdir():
        path.unlink()
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(0, 0, needed - 1))
    with pytest.raises(OutputUnwritable, match=r"MB left; the run needs about .* ask for fewer products"):
        run_map(request, tiny_model, place=cpu)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(0, 0, needed))
    run_map(request, tiny_model, place=cpu)


@pytest.mark.parametrize("name", ["rooftop-lite", "plants-peanut"])
def test_memory_is_what_a_network_takes_and_not_much_more(name):
    model = load_model(name)
    network, side = model.network, model.card.tile
    shape = (1, 3, side, side)
    run = (
        "import sys, torch; from rotacube.models.store import load_model; from rotacube.bench.memory import high_water"
    )
    run += f"; torch.set_num_threads(1); network = load_model('{name}').network.eval()"
    run += f"; x = torch.rand{shape}.to(memory_format=torch.channels_last); torch.set_grad_enabled(False)"
    run += "; network(x[..., :64, :64]); print(high_water(lambda: network(x)))"
    used = int(subprocess.run([sys.executable, "-c", run], check=True, capture_output=True, text=True).stdout)
    assert used < BESIDE * live_bytes(network, shape) < 6 * used


def test_a_run_without_the_memory_is_refused_before_anything_is_written(
    scene_path, model_folder, tmp_path, monkeypatch
):
    told = []
    request = MapRequest(scene_path, str(model_folder), (Product("mask", tmp_path / "m.tif"),))
    run_map(request, place=CPU, on_start=told.append)
    assert "MB of memory until it is done" in str(told[0]) and 256 < told[0].memory / 2**20 < 1000
    (tmp_path / "m.tif").unlink()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Free(told[0].memory - 1))
    with pytest.raises(MemoryShort, match="MB of memory left; the run needs about"):
        run_map(request, place=CPU)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Free(told[0].memory))
    run_map(request, place=CPU)


def test_a_flight_was_mapped_with_less_and_not_much_less(tmp_path):
    """Measured: 18 frames of Brighton at 0.05 m, at most 86.4 MB, of which 53.9 MB were kept of the frames."""
    (every,) = needs_of_frames(tmp_path, PRODUCTS, 19_439_506, 5_204_552, 1, 0).disks.values()
    (rest,) = needs_of_frames(tmp_path, PRODUCTS, 19_439_506, 5_204_552, 1, 53_900_000).disks.values()
    assert 86.4e6 < every < 2 * 86.4e6 and 32.5e6 < rest < 3 * 32.5e6
