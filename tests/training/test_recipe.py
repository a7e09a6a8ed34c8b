"""Recipes: those that come with the package are valid, what is wrong with one is told by its place."""

from __future__ import annotations

import pytest
import yaml

from rotacube.errors import OptionsRefused
from rotacube.networks.dense import FURTHER
from rotacube.networks.registry import NETWORKS
from rotacube.training.datasets.sets import SETS
from rotacube.training.recipe import FOLDER, read_recipe

SHIPPED = sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != "finetune")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_name_what_there_is(name):
    recipe = read_recipe(name)
    assert recipe.card["name"] == name and recipe.architecture in NETWORKS
    assert set(recipe.options.get("further", ())) <= FURTHER.keys() and recipe.data.sets.keys() <= SETS.keys()
    taught = [SETS[set_].open for set_ in recipe.data.sets]
    assert all(taught) or "research" in recipe.card["notice"], "weights that may not be given away say so"


def test_changes_reach_into_the_recipe():
    recipe = read_recipe("rooftop-lite", ["schedule.steps=7", "data.sets={dhaka: 1}", "init=", "losses.border=0.25"])
    assert (recipe.schedule.steps, recipe.data.sets, recipe.losses.border) == (7, {"dhaka": 1.0}, 0.25)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("schedule.steps=0", "'schedule.steps'"),
        ("schedule.stepz=3", "'schedule.stepz'"),
        ("data.crop=100", "'data.crop'"),
        ("steps", "key=value"),
        ("architecture.x=1", "no keys below it"),
        ("data={sets: {}, drawn: 0}", "neither sets nor drawn scenes"),
        ("seed=[1", "cannot be read"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(change, sentence):
    with pytest.raises(OptionsRefused, match=sentence):
        read_recipe("rooftop-lite", [change])


def test_a_file_is_a_recipe_or_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(read_recipe("rooftop-lite").model_dump()))
    assert read_recipe(str(path)) == read_recipe("rooftop-lite")
    path.write_text("- 1\n")
    with pytest.raises(OptionsRefused, match="no YAML of keys and values"):
        read_recipe(str(path))
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OptionsRefused, match="cannot be read"):
        read_recipe(str(path))
    with pytest.raises(OptionsRefused, match=r"no recipe 'nothing'. Known are: .*rooftop-lite"):
        read_recipe("nothing")
