"""`rotacube models`: what is listed, told, counted, and exported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from onnx_files import write_onnx_file
from typer.testing import CliRunner

from rotacube.cli import app, terminal
from rotacube.models.store import load_model
from rotacube.networks import sizes
from rotacube.networks.registry import NETWORKS
from rotacube.networks.work import network_work


@pytest.fixture
def models(call, model_folder):
    """Call `rotacube models` on a wide terminal, with the tiny model installed; returns code, out and err."""

    def run(*arguments, **more):
        done = call("models", *arguments, ROTACUBE_MODELS=str(model_folder.parent), COLUMNS="200", **more)
        return done.code, done.out, done.err

    return run


def test_models_lists_what_is_installed_and_models_list_also_the_networks(models):
    code, out, _ = models()
    assert code == 0 and "tiny" in out and "hrnet-w48" not in out
    code, out, _ = models("list")
    assert code == 0 and "tiny" in out
    assert all(name in out for name in NETWORKS)
    listed = json.loads(models("list", "--json")[1])
    assert [n["name"] for n in listed["networks"]] == list(NETWORKS)
    assert "tiny" in [m["name"] for m in listed["models"]]


def test_info_tells_of_a_network(models):
    code, out, _ = models("info", "unet-cube")
    work = network_work("unet-cube")
    assert code == 0
    assert f"{work.parameters / 1e6:.2f} M parameters" in out and f"{work.macs / 1e9:.2f} G" in out
    assert "Published: 27.14 M, 315.76 G." in out and NETWORKS["unet-cube"].reading in out
    assert 'skip = "concat"' in out and "last =" not in out
    told = json.loads(models("info", "alexnet", "--json")[1])
    assert told["image"] == [3, 256, 256] and told["options"]["fusion"] == "none"


def test_info_tells_of_an_installed_model(models, model_folder):
    for name in ("tiny", model_folder):
        code, out, _ = models("info", name)
        assert code == 0 and "convnext-cube-small" in out and "0.15 m a pixel" in out
    assert json.loads(models("info", "tiny", "--json")[1])["gsd"] == 0.15


def test_info_of_what_there_is_not_names_models_and_networks(models):
    code, out, err = models("info", "mask-rcnn")
    assert code == 2 and out == ""
    assert "There is no model 'mask-rcnn'" in err and "tiny" in err and "hrnet-w48" in err


@pytest.fixture(scope="module")
def sections():
    """What is counted of every network, once for all tests: that takes a quarter of a minute."""
    return sizes.sections()


@pytest.fixture
def table(sections, monkeypatch, tmp_path):
    """Call `rotacube models table` in an empty folder; returns the exit code and what it printed."""
    monkeypatch.setattr(sizes, "sections", lambda tell: sections)
    monkeypatch.setattr(terminal.out, "width", 200)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        done = CliRunner().invoke(app, ["models", "table", *arguments])
        return done.exit_code, done.output

    return run


def test_the_table_is_printed_and_written_where_asked(table, tmp_path):
    code, out = table()
    assert code == 0 and "45.10 (-0.5%)" in out and "47.07 (-2.8%)" in out and "finds objects" in out
    assert "name one with --record" in out and list(tmp_path.iterdir()) == []
    code, out = table("--record", "page.md")
    assert code == 0 and "page.md is written." in out
    page = (tmp_path / "page.md").read_text()
    assert page.startswith("# The networks") and "| Mask R-CNN | finds objects | 44 |" in page
    assert [p.name for p in tmp_path.iterdir()] == ["page.md"]


def test_a_page_that_cannot_be_written_is_told(models, tmp_path):
    code, _, err = models("table", "--record", "nowhere/page.md")
    assert code == 2 and "'nowhere/page.md' cannot be written" in err
    assert list(tmp_path.iterdir()) == []


def test_in_a_checkout_the_table_goes_to_its_page(table, tmp_path):
    for folder in ("backend/rotacube/networks", "docs/results"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "backend/rotacube/networks/sizes.py").touch()
    assert "docs/results/models.md is written." in table()[1]
    assert (tmp_path / "docs/results/models.md").is_file()


def test_an_installed_model_is_exported(models, tmp_path, model_folder):
    code, out, _ = models("export", "tiny", "tiny.onnx", "--tile", 64)
    assert code == 0 and "any batch of 3 x 64 x 64, values divided by 255, less 0.485, 0.456, 0.406" in out
    image = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        want = load_model(str(model_folder)).network(image).numpy()
    (got,) = onnxruntime.InferenceSession(str(tmp_path / "tiny.onnx")).run(None, {"image": image.numpy()})
    assert np.abs(got - want).max() < 1e-3 * max(1, np.abs(want).max())

    there = tmp_path / "tiny.pt2"
    there.write_text("what was there")
    code, _, err = models("export", "tiny", there.name)
    assert code == 2 and "is there already" in err and there.read_text() == "what was there"
    code, out, _ = models("export", "tiny", there.name, "--overwrite")
    assert code == 0 and "3 x 96 x 96" in out, "the model's own tile"
    assert there.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nix", "a.onnx"), "There is no model 'nix'"),
        (("tiny", "a.pth"), "exported to .onnx or .pt2"),
        (("tiny", "a.onnx", "--tile", "70"), "multiple of 32 pixels"),
        (("tiny", "nowhere/a.onnx"), "cannot be written"),
    ],
)
def test_what_cannot_be_exported_is_told_and_leaves_nothing(models, tmp_path, arguments, sentence):
    code, out, err = models("export", *arguments)
    assert code == 2 and sentence in " ".join(err.split()) and out == ""
    assert list(Path(tmp_path).iterdir()) == []


@pytest.mark.parametrize("name", ["a.onnx", "a.pt2"])
def test_a_full_disk_is_told_and_leaves_what_was_there(models, name, tmp_path):
    (tmp_path / name).write_text("what was there")
    code, _, err = models("export", "tiny", name, "--tile", 64, "--overwrite", file_limit=10**6)
    assert code == 2 and f"'{name}' cannot be written (File too large)" in " ".join(err.split())
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "what was there"


def test_an_onnx_file_of_others_is_installed_and_maps(call, tmp_path, scene_path):
    home = {"XDG_DATA_HOME": str(tmp_path / "home")}
    write_onnx_file(tmp_path / "other.onnx", last="Sigmoid", metadata={})
    done = call("models", "install", "other.onnx", "--classes", "background,house", **home)
    assert done.code == 2 and "--resolution 0.15" in done.err
    asked = ("--classes", "background,house", "--resolution", 0.15, "--name", "houses", "--roofs")
    done = call("models", "install", "other.onnx", *asked, **home)
    assert done.code == 0 and "other is installed as 'houses' in" in done.out
    assert "Classes: background, house" in call("models", "info", "houses", **home).out
    done = call("map", scene_path, "m.tif", "--model", "houses", "--polygons", "p.gpkg", **home)
    assert done.code == 0 and (tmp_path / "m.tif").is_file() and (tmp_path / "p.gpkg").is_file()
    done = call("models", "install", tmp_path, "--name", "other")
    assert done.code == 2 and "is no .onnx file" in done.err


def test_help_names_the_commands():
    text = CliRunner().invoke(app, ["models", "--help"]).output
    assert all(name in text for name in ("list", "info", "table", "export"))
