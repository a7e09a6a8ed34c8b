"""The model card: what it demands, how models are found, and that what was saved is what is loaded."""

from __future__ import annotations

import json
import os

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from rotacube.errors import ModelDamaged, ModelMissing
from rotacube.models.card import file_sha256, find_model, list_models, load_model, read_card, save_model
from rotacube.networks.registry import create_model


def test_what_was_saved_is_what_is_loaded(tmp_path, make_card):
    network = create_model("convnext-cube-small", 3, 2).eval()
    fields = make_card().model_dump(exclude={"weights"})
    saved = save_model(network, fields, tmp_path / "model")
    loaded = load_model(str(tmp_path / "model"))
    assert loaded.card == saved == read_card(tmp_path / "model")
    assert saved.weights.parameters == sum(p.numel() for p in network.parameters())
    assert saved.weights.sha256 == file_sha256(tmp_path / "model" / "model.safetensors")
    assert not loaded.network.training
    stored = load_file(tmp_path / "model" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert {p.dtype for p in loaded.network.parameters()} == {torch.float32}
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        got = loaded.network(image)
        torch.testing.assert_close(got, network(image), rtol=0.02, atol=0.02 * float(got.std()))
        want = network.half().float()(image)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"overlap": 49},
        {"overlap": -1},
        {"tile": 100},
        {"tile": 32},
        {"gsd": 0},
        {"gsd": float("nan")},
        {"gsd": float("inf")},
        {"threshold": 1},
        {"bands": []},
        {"bands": ["red"]},
        {"normalisation": {"scale": 255, "mean": [0, 0, 0], "std": [1, 0, 1]}},
        {"classes": [{"id": 0, "name": "a", "color": "#000000"}]},
        {"classes": [{"id": 1, "name": "a", "color": "#000000"}, {"id": 0, "name": "b", "color": "#000000"}]},
        {"classes": [{"id": 0, "name": "a", "color": "#000000"}, {"id": 1, "name": "b", "color": "red"}]},
        {"name": "../up"},
        {"format": 2},
        {"colour": "blue"},
    ],
)
def test_a_card_that_does_not_fit_together_is_refused(changes, make_card):
    with pytest.raises(ValidationError):
        make_card(**changes)


def write_card(folder, card):
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps(card.model_dump()))
    return folder


def test_models_are_found_by_name_by_folder_and_by_the_name_in_their_card(tmp_path, make_card, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    write_card(first / "one", make_card(name="one", title="here"))
    write_card(second / "one", make_card(name="one", title="there"))
    odd = write_card(second / "odd-folder", make_card(name="two"))
    monkeypatch.setenv("ROTACUBE_MODELS", os.pathsep.join(map(str, (first, second))))
    assert find_model("one")[0].title == "here", "the first folder wins"
    assert find_model(str(second / "one"))[0].title == "there"
    assert find_model("two")[1] == odd
    names = [card.name for card, _ in list_models()]
    assert names == sorted(set(names)) and {"one", "two"} <= set(names)
    with pytest.raises(ModelMissing, match=r"There is no model 'three'\. Installed are: .*one, .*two"):
        find_model("three")


def test_a_damaged_model_is_not_listed_and_says_why_when_it_is_asked_for(tmp_path, make_card, monkeypatch):
    folder = write_card(tmp_path / "one", make_card(name="one"))
    (folder / "model.json").write_text('{"name": ')
    monkeypatch.setenv("ROTACUBE_MODELS", str(tmp_path))
    assert "one" not in [card.name for card, _ in list_models()]
    with pytest.raises(ModelDamaged, match="cannot be read"):
        find_model("one")


@pytest.mark.parametrize("content", ["", "[]", "null", "3", '{"name": "x"}', "\x00", "[" * 100000])
def test_a_card_that_is_none_is_told(content, tmp_path):
    (tmp_path / "model.json").write_text(content)
    with pytest.raises(ModelDamaged):
        read_card(tmp_path)


def test_the_hash_is_that_of_the_tool_for_it(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
