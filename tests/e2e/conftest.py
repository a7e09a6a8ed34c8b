"""Tests that drive real QGIS with the plugin installed from its zip, and the real backend.

They need the commands `qgis` and `Xvfb`, and the backend's Python: `.venv/bin/python`, or the one that
ROTACUBE_PYTHON names. What drives QGIS is `tools/qgis_demo.py` outside of it and `drive.py` inside.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support import REPO, draw_town, load_tool


@pytest.fixture(scope="session")
def backend_python():
    """The backend's Python."""
    python = Path(os.environ.get("ROTACUBE_PYTHON") or REPO / ".venv" / "bin" / "python")
    if not python.exists():
        pytest.skip("there is no backend: run make setup, or set ROTACUBE_PYTHON")
    return python


@pytest.fixture(autouse=True)
def own_jobs(tmp_path, monkeypatch):
    """A run that a test leaves in the middle is not offered to the next one."""
    monkeypatch.setenv("ROTACUBE_JOBS", str(tmp_path / "jobs"))


@pytest.fixture(scope="session")
def demo():
    """The tool that runs QGIS."""
    for command in ("qgis", "Xvfb"):
        if shutil.which(command) is None:
            pytest.skip(f"{command} is not installed")
    return load_tool("qgis_demo")


@pytest.fixture(scope="session")
def plugin_zip(tmp_path_factory):
    """The plugin's zip, built from this checkout."""
    return load_tool("make_plugin").build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def models(make_model, tmp_path_factory):
    """A folder with a tiny model of random weights, coarser than the scene."""
    folder = tmp_path_factory.mktemp("models")
    make_model(folder / "tiny", gsd=0.3, tile=128)
    return str(folder)


@pytest.fixture(scope="session")
def scene(backend_python, tmp_path_factory):
    """A drawn town, 1400 x 1000 pixels of 0.15 m, in UTM."""
    return draw_town(backend_python, tmp_path_factory.mktemp("scene") / "scene.tif", 1000, 1400)


@pytest.fixture
def plan(plugin_zip, scene, tmp_path):
    """Gives a plan for QGIS."""

    def make(scenario="map", **changes):
        fields = {"zip": str(plugin_zip), "raster": str(scene), "out": str(tmp_path / "out"), "scenario": scenario}
        return {**fields, "model": "tiny", "patience": 180, **changes}

    return make


@pytest.fixture(scope="session")
def banepa_vrt(tmp_path_factory):
    """A VRT over 2 x 2 tiles of the real Banepa mosaic: 1024 x 1024 pixels, EPSG:4326."""
    data = Path(os.environ.get("ROTACUBE_DATA") or REPO.parent / "shared" / "data")
    tiles = sorted((data / "rooftop" / "banepa" / "images").glob("*.tif"))
    if not tiles:
        pytest.skip("the real imagery is not here: set ROTACUBE_DATA to its folder")
    places = {tuple(map(int, path.stem.split("-")[1:3])): path for path in tiles}
    left, top = min(places)
    chosen = [places[left + dx, top + dy] for dx in (0, 1) for dy in (0, 1)]
    path = tmp_path_factory.mktemp("banepa") / "banepa.vrt"
    subprocess.run(["gdalbuildvrt", "-q", str(path), *map(str, chosen)], check=True)
    return path
