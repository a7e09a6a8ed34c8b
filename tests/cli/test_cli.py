"""The command line as a person meets it: exit codes, one sentence for bad input, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate

import rotacube


def arguments_of(request):
    """A request of the HTTP interface as arguments of `rotacube map`."""
    arguments = ["map", request["raster"], request["output"], "--model", request["model"]]
    if "bounds" in request:
        arguments += ["--bounds", *map(str, request["bounds"])]
    if "bounds_crs" in request:
        arguments += ["--bounds-crs", request["bounds_crs"]]
    if "bands" in request:
        arguments += ["--bands", ",".join(map(str, request["bands"]))]
    return arguments


def test_bad_input_gets_a_sentence_and_exit_code_2_and_leaves_nothing(bad_input, call, tmp_path):
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    done = call(*arguments_of(bad_input.request))
    lines = done.err.strip().splitlines()
    assert done.code == 2, done.err
    assert lines[-1].startswith("rotacube: ") and lines[-1].endswith(".")
    assert bad_input.word in lines[-1]
    assert sum(line.startswith("rotacube: ") for line in lines) == 1
    assert not any(word in done.err for word in ("Traceback", "Warning", "ERROR"))
    assert done.out == ""
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.fixture(scope="module")
def mapped(scene_path, model_folder, tmp_path_factory, environment):
    """A mask made by `python -m rotacube map`, started as anybody would."""
    output = tmp_path_factory.mktemp("mapped") / "mask.tif"
    command = [sys.executable, "-m", "rotacube", "map", scene_path, output, "--model", model_folder.name]
    environment = {**environment, "ROTACUBE_MODELS": str(model_folder.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done, output


def test_a_map_ends_with_a_summary_of_what_was_found(mapped):
    done, output = mapped
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr and "30/30 tiles" in done.stderr
    assert cog_validate(output, strict=True)[0]
    with rasterio.open(output) as file:
        roofs = int((file.read(1) == 1).sum())
    row = next(line for line in done.stdout.splitlines() if "roof" in line)
    name, area, hectares, share, pixels = (cell.strip().replace(",", "") for cell in row.strip("│").split("│"))
    assert (name, pixels) == ("roof", str(roofs)) and share.endswith("%")
    assert float(area) == pytest.approx(roofs * 0.15**2, rel=2e-3, abs=0.5)
    assert float(hectares) == pytest.approx(float(area) / 1e4, abs=1e-3)
    assert "410 x 300 pixels of 0.15 m" in done.stdout


@pytest.mark.parametrize("share", [0.02, 0.4, 0.9])
def test_a_full_disk_gets_a_sentence_and_leaves_nothing(share, mapped, call, scene_path, model_folder, tmp_path):
    limit = int(mapped[1].stat().st_size * share)
    (tmp_path / "out").mkdir()
    done = call("map", scene_path, "out/mask.tif", "--model", model_folder, file_limit=limit)
    assert done.code == 2, done.err
    assert "could not be written" in done.err and "Traceback" not in done.err
    assert not list((tmp_path / "out").iterdir())


def test_an_output_that_is_there_is_replaced_if_asked(mapped, call, scene_path, model_folder, tmp_path):
    (tmp_path / "mask.tif").write_bytes(b"old")
    arguments = ("map", scene_path, "mask.tif", "--model", model_folder)
    assert call(*arguments).code == 2
    done = call(*arguments, "--overwrite", "--bounds", 353001, 3059970, 353040, 3059999)
    assert done.code == 0, done.err
    with rasterio.open(tmp_path / "mask.tif") as part, rasterio.open(mapped[1]) as whole:
        row, column = whole.index(*(part.transform * (0.5, 0.5)))
        cut = whole.read(1)[row : row + part.height, column : column + part.width]
        np.testing.assert_array_equal(part.read(1), cut)


def test_names_with_spaces_and_letters_of_all_kinds_work(call, scene_path, model_folder, tmp_path):
    (tmp_path / "été à Bâle").mkdir()
    raster = tmp_path / "été à Bâle" / "орто фото.tif"
    raster.write_bytes(Path(scene_path).read_bytes())
    bounds = ("--bounds", 353040, 3059970, 353050, 3059980)
    done = call("map", raster, tmp_path / "été à Bâle" / "छत [1].tif", "--model", model_folder, *bounds)
    assert done.code == 0, done.err
    assert "छत [1].tif: " in done.out


LONG, BYTES = "a" * 5000, "a\udcff"


@pytest.mark.parametrize(
    "arguments",
    [
        ["map", LONG, "mask.tif"],
        ["map", BYTES + ".tif", "mask.tif"],
        ["map", "RASTER", LONG + ".tif"],
        ["map", "RASTER", BYTES + ".tif"],
        ["map", "RASTER", LONG + "/mask.tif"],
        ["map", "RASTER", "mask.tif", "--model", LONG],
        ["map", "RASTER", "mask.tif", "--model", BYTES],
        ["map", "RASTER", "mask.tif", "--bounds", "0", "0", "1", "1", "--bounds-crs", BYTES],
        ["map", "RASTER", "mask.tif", "--bounds", "0", "0", "1", "1", "--bounds-crs", "a" * 10**5],
        ["models", "info", LONG],
        ["models", "info", BYTES],
        ["models", "export", "rooftop-small", LONG],
        ["models", "export", LONG, "a.onnx"],
        ["models", "table", "--record", LONG + "/a.md"],
    ],
    ids=lambda arguments: " ".join(a[:8] for a in arguments).replace("\udcff", "?"),
)
def test_a_name_that_nothing_can_have_gets_a_sentence(arguments, call, scene_path, tmp_path):
    """On Linux a name is bytes: those that are no text come as lone surrogates. A file may well have such a name."""
    (tmp_path / f"{BYTES}.tif").write_bytes(Path(scene_path).read_bytes())
    before = sorted(tmp_path.iterdir())
    done = call(*(scene_path if argument == "RASTER" else argument for argument in arguments))
    assert done.code == 2 and "Traceback" not in done.err, done.err
    told = done.err.strip()
    assert told.startswith("rotacube: ") and "\n" not in told and len(told) < 1000
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["map"],
        ["map", "a.tif", "b.tif", "--bands", "1,x"],
        ["map", "a.tif", "b.tif", "--bounds", "1", "2", "3"],
        ["map", "a.tif", "b.tif", "--no-such-option"],
        ["fly"],
    ],
)
def test_a_wrong_call_is_told_and_exits_with_2(arguments, call):
    done = call(*arguments)
    assert done.code == 2
    assert "Error" in done.err and "Traceback" not in done.err


def test_an_unknown_precision_is_told(call, scene_path, model_folder):
    done = call("map", scene_path, "mask.tif", "--model", model_folder, "--precision", "float8")
    assert done.code == 2 and "Choose auto, float32 or bfloat16" in done.err


def test_models_lists_what_is_installed_and_leaves_damaged_ones_out(call, model_folder, tmp_path):
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "model.json").write_text("{")
    folders = os.pathsep.join([str(model_folder.parent), str(tmp_path)])
    done = call("models", "--json", ROTACUBE_MODELS=folders)
    assert done.code == 0
    cards = {card["name"]: card for card in json.loads(done.out)}
    assert cards["tiny"]["gsd"] == 0.15 and "damaged" not in cards
    for arguments in (["models"], ["models", "list"], ["models", "list", "--json"]):
        done = call(*arguments, ROTACUBE_MODELS=folders)
        assert "tiny" in done.out and done.err.startswith("Left out: The model card '") and "/damaged/" in done.err


def test_doctor_says_what_runs_where(call):
    told = json.loads(call("doctor", "--json").out)
    assert told["version"] == rotacube.__version__ and told["device"] in ("cpu", "cuda") and told["device_why"]
    assert {o["path"] for o in told["operators"]} <= {"compiled", "reference"}
    words = call("doctor").out
    assert all(o["name"] in words for o in told["operators"])


def test_the_contract_can_be_printed(call):
    document = json.loads(call("serve", "--print-openapi").out)
    assert "/v1/jobs" in document["paths"]


def test_the_version_is_that_of_the_metadata(call):
    assert call("--version").out.strip() == rotacube.__version__


def test_an_interrupt_leaves_nothing(model_folder, tmp_path, write_raster, environment):
    raster = write_raster(tmp_path / "large.tif", np.random.default_rng(0).integers(0, 256, (3, 2000, 2000), np.uint8))
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-m", "rotacube", "map", raster, tmp_path / "out" / "mask.tif", "--model", model_folder]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130 and "cancelled" in told and "Traceback" not in told
    assert not list((tmp_path / "out").iterdir())
