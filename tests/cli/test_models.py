"""`rotacube models`: what is listed, told, counted, and exported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from typer.testing import CliRunner

from rotacube.cli import app, main
from rotacube.models.card import load_model
from rotacube.models.registry import NETWORKS
from rotacube.models.work import network_work


@pytest.fixture
def call(monkeypatch, tmp_path, capsys, model_folder):
    """Call the command line in an empty folder; returns code, out and err."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROTACUBE_MODELS", str(model_folder.parent))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["rotacube", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        streams = capsys.readouterr()
        return code, streams.out, streams.err

    return run


def test_models_lists_what_is_installed_and_models_list_also_the_networks(call):
    code, out, _ = call("models")
    assert code == 0 and "tiny" in out and "hrnet-w48" not in out
    code, out, _ = call("models", "list")
    assert code == 0 and "tiny" in out
    assert all(name in out for name in NETWORKS)
    listed = json.loads(call("models", "list", "--json")[1])
    assert [n["name"] for n in listed["networks"]] == list(NETWORKS)
    assert "tiny" in [m["name"] for m in listed["models"]]


def test_info_tells_of_a_network(call):
    code, out, _ = call("models", "info", "unet-cube")
    work = network_work("unet-cube")
    assert code == 0
    assert f"{work.parameters / 1e6:.2f} M parameters" in out and f"{work.macs / 1e9:.2f} G" in out
    assert "Published: 27.14 M, 315.76 G." in out and NETWORKS["unet-cube"].reading in out
    assert 'skip = "concat"' in out and "last =" not in out
    told = json.loads(call("models", "info", "alexnet", "--json")[1])
    assert told["image"] == [3, 256, 256] and told["options"]["fusion"] == "none"


def test_info_tells_of_an_installed_model(call, model_folder):
    for name in ("tiny", model_folder):
        code, out, _ = call("models", "info", name)
        assert code == 0 and "convnext-cube-small" in out and "0.15 m a pixel" in out
    assert json.loads(call("models", "info", "tiny", "--json")[1])["gsd"] == 0.15


def test_info_of_what_there_is_not_names_models_and_networks(call):
    code, out, err = call("models", "info", "mask-rcnn")
    assert code == 2 and out == ""
    assert "There is no model 'mask-rcnn'" in err and "tiny" in err and "hrnet-w48" in err


def test_the_table_is_printed_and_written_where_asked(call, tmp_path):
    code, out, _ = call("models", "table")
    assert code == 0 and "45.10 (-0.5%)" in out and "47.07 (-2.8%)" in out and "not built" in out
    assert "name one with --record" in out and list(tmp_path.iterdir()) == []
    code, out, _ = call("models", "table", "--record", "page.md")
    assert code == 0 and "page.md is written." in out
    page = (tmp_path / "page.md").read_text()
    assert page.startswith("# The networks") and "| Mask R-CNN | not built | 44 |" in page
    assert [p.name for p in tmp_path.iterdir()] == ["page.md"]


def test_a_page_that_cannot_be_written_is_told(call, tmp_path):
    code, _, err = call("models", "table", "--record", "nowhere/page.md")
    assert code == 2 and "'nowhere/page.md' cannot be written" in err
    assert list(tmp_path.iterdir()) == []


def test_in_a_checkout_the_table_goes_to_its_page(call, tmp_path):
    for folder in ("backend/rotacube/models", "docs/results"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "backend/rotacube/models/table.py").touch()
    assert "docs/results/models.md is written." in call("models", "table")[1]
    assert (tmp_path / "docs/results/models.md").is_file()


def test_an_installed_model_is_exported(call, tmp_path, model_folder):
    code, out, _ = call("models", "export", "tiny", "tiny.onnx", "--tile", 64)
    assert code == 0 and "any batch of 3 x 64 x 64, values divided by 255, less 0.485, 0.456, 0.406" in out
    image = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        want = load_model(str(model_folder)).network(image).numpy()
    (got,) = onnxruntime.InferenceSession("tiny.onnx").run(None, {"image": image.numpy()})
    assert np.abs(got - want).max() < 1e-3 * max(1, np.abs(want).max())

    before = (tmp_path / "tiny.onnx").read_bytes()
    code, _, err = call("models", "export", "tiny", "tiny.onnx")
    assert code == 2 and "is there already" in err and (tmp_path / "tiny.onnx").read_bytes() == before
    code, out, _ = call("models", "export", "tiny", "tiny.onnx", "--overwrite")
    assert code == 0 and "3 x 96 x 96" in out, "the model's own tile"
    code, out, _ = call("models", "export", "tiny", "tiny.pt2")
    assert code == 0 and (tmp_path / "tiny.pt2").is_file()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nix", "a.onnx"), "There is no model 'nix'"),
        (("tiny", "a.pth"), "exported to .onnx or .pt2"),
        (("tiny", "a.onnx", "--tile", "70"), "multiple of 32 pixels"),
        (("tiny", "nowhere/a.onnx"), "cannot be written"),
    ],
)
def test_what_cannot_be_exported_is_told_and_leaves_nothing(call, tmp_path, arguments, sentence):
    code, out, err = call("models", "export", *arguments)
    assert code == 2 and sentence in " ".join(err.split()) and out == ""
    assert list(Path(tmp_path).iterdir()) == []


@pytest.mark.parametrize("name", ["a.onnx", "a.pt2"])
def test_a_full_disk_is_told_and_leaves_what_was_there(name, tmp_path, model_folder):
    (tmp_path / name).write_text("what was there")
    code = (
        "import resource, signal, sys; from rotacube.cli import main; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6)); "
        f"sys.argv = ['rotacube', 'models', 'export', {str(model_folder)!r}, {name!r}, '--tile', '64', '--overwrite']; "
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and f"'{name}' cannot be written (File too large)" in " ".join(done.stderr.split())
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "what was there"


def test_help_names_the_commands():
    text = CliRunner().invoke(app, ["models", "--help"]).output
    assert all(name in text for name in ("list", "info", "table", "export"))
