"""`rotacube train` and `rotacube eval`: from a recipe to a model with its report, and to its figures."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import rasterio
import yaml

TILES = [f"OAM-{x}-{y}-19" for x, y in [(393753, 226410), (393761, 226417), (393760, 226417), (393750, 226400)]]


def write(path, bands):
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "PNG", "height": bands.shape[1], "width": bands.shape[2], "count": len(bands)}
    with rasterio.open(path, "w", dtype=bands.dtype, **profile) as target:
        target.write(bands)


@pytest.fixture
def imagery(tmp_path):
    """A data folder that holds one town of four tiles, each with two red roofs that touch."""
    ids = np.zeros((64, 64), np.uint16)
    ids[10:40, 8:30], ids[10:40, 30:52] = 1, 2
    image = np.full((3, 64, 64), 60, np.uint8)
    image[0, ids > 0] = 220
    town = tmp_path / "data" / "rooftop" / "dhaka"
    for name in TILES:
        write(town / "images" / f"{name}.png", image)
        write(town / "masks" / f"{name}.png", ((ids > 0) * 255).astype(np.uint8)[None])
        write(town / "instances" / f"{name}.png", ids[None])
    return tmp_path / "data"


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "mine.yaml"
    content = {
        "architecture": "lite-unet",
        "options": {"width": 0.25, "further": ["distance"]},
        "gsd": 0.27,
        "tile": 64,
        "overlap": 32,
        "precision": "32-true",
        "data": {"sets": {"dhaka": 1}, "crop": 64, "batch": 2, "workers": 0},
        "schedule": {"steps": 4, "checkpoint_steps": 2},
        "card": {"name": "mine", "title": "Mine", "licence": "MIT", "attribution": "nobody"},
    }
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_recipe_becomes_a_model_with_its_report_and_eval_prints_what_its_card_says(call, imagery, recipe, tmp_path):
    json_lines = ("--progress", "json")
    changes = ("--set", "schedule.steps=3")
    done = call(*json_lines, "train", recipe, *changes, "--work", "work", ROTACUBE_DATA=str(imagery))
    assert done.code == 0, done.err
    told = [json.loads(line) for line in done.out.splitlines()]
    steps = [line for line in told if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3] and all(line["loss"] > 0 for line in steps)
    assert told[-1]["result"] == {"name": "mine", "folder": "work/model", "report": "work/report.md"}
    with (tmp_path / "work" / "log" / "from-0000000" / "metrics.csv").open() as file:
        logged = {int(row["step"]) + 1: float(row["loss"]) for row in csv.DictReader(file) if row["loss"]}
    assert logged == pytest.approx({line["step"]: line["loss"] for line in steps if line["step"] in logged}, rel=1e-4)
    card = json.loads((tmp_path / "work" / "model" / "model.json").read_text())
    assert card["name"] == "mine" and "3 steps of 2 crops" in card["training_data"]
    report = (tmp_path / "work" / "report.md").read_text()
    for part in ("curves.png", "confusion.png", "panels/01-dhaka.jpg", "| dhaka roofs f1 |"):
        assert part in report
        assert part.startswith("|") or (tmp_path / "work" / part).is_file()
    done = call(
        "eval", "work/model", "dhaka", "--json", "found.json", "--panels", "panels",
        ROTACUBE_DATA=str(imagery), COLUMNS="100",
    )  # fmt: skip
    assert done.code == 0, done.err
    found = json.loads((tmp_path / "found.json").read_text())
    figures = found["figures"]["dhaka"]
    assert {key for key in figures} >= {"iou", "roofs f1", "calibration error", "turned iou", "quarter turn"}
    for key, value in figures.items():
        if not key.startswith(("turned", "quarter")):
            assert card["accuracy"][f"dhaka {key}"] == pytest.approx(value, abs=2e-3), key
    assert "roofs f1, 95% interval" in done.out and len(list((tmp_path / "panels").iterdir())) == 2
    assert found["weights"] == card["weights"]["sha256"] and found["left_out"] == []


def test_eval_takes_any_folder_and_counts_what_it_left_out(call, imagery, model_folder, tmp_path):
    town = imagery / "rooftop" / "dhaka"
    (town / "masks" / f"{TILES[0]}.png").unlink()
    arguments = ["eval", model_folder, town, "--gsd", "0.27", "--no-turned"]
    done = call(*arguments)
    assert done.code == 2 and TILES[0] in done.err and "missing" in done.err
    done = call(*arguments, "--skip-damaged", "--json", "found.json")
    assert done.code == 0 and "1 tiles were left out" in done.err + done.out
    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found["figures"]) == {"dhaka"} and len(found["left_out"]) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["eval", "{model}", "nowhere"], "no set or folder 'nowhere'"),
        (["eval", "{model}", "dhaka", "--split", "all"], "no split 'all'"),
        (["eval", "{model}", "sofia"], "no folder"),
        (["eval", "{model}", "whu"], "--data FOLDER"),
        (["eval", "nobody", "dhaka"], "no model 'nobody'"),
        (["train", "nothing"], "no recipe 'nothing'"),
        (["train", "rooftop-lite", "--set", "data.crop=33"], "'data.crop'"),
        (["train", "{recipe}", "--set", "data.sets={sofia: 1}"], "no folder"),
        (["train", "{recipe}", "--set", "teacher=nobody"], "no model 'nobody'"),
    ],
)
def test_what_is_wrong_is_one_sentence(call, imagery, model_folder, recipe, arguments, sentence):
    places = {"{model}": str(model_folder), "{recipe}": str(recipe)}
    arguments = [places.get(part, part) for part in arguments]
    done = call(*arguments, ROTACUBE_DATA=str(imagery))
    assert done.code == 2 and sentence in done.err.replace("\n", " ") and "Traceback" not in done.err, done.err


def test_without_imagery_it_says_where_it_is_looked_for(call, model_folder, tmp_path):
    for arguments in (["eval", model_folder, "all"], ["train", "rooftop-lite"]):
        done = call(*arguments, ROTACUBE_DATA=str(tmp_path))
        assert done.code == 2 and "set ROTACUBE_DATA" in done.err
