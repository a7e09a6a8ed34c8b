"""Models in their folders: found, loaded and saved; what was saved is what is loaded, and a model is never half-new."""

from __future__ import annotations

import json
import os

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from rotacube.errors import ModelDamaged, ModelMissing, OutputUnwritable
from rotacube.models.card import read_card
from rotacube.models.store import file_sha256, find_model, list_models, load_model, network_of, save_model
from rotacube.networks.registry import create_model


def test_what_was_saved_is_what_is_loaded(tmp_path, make_card):
    network = create_model("convnext-cube-small", 3, 2).eval()
    fields = make_card().model_dump(exclude={"weights"})
    saved = save_model(network, fields, tmp_path / "model")
    loaded = load_model(str(tmp_path / "model"))
    assert loaded.card == saved == read_card(tmp_path / "model")
    assert saved.weights.parameters == sum(p.numel() for p in network.parameters())
    assert saved.weights.sha256 == file_sha256(tmp_path / "model" / saved.weights.file)
    assert not loaded.network.training
    stored = load_file(tmp_path / "model" / saved.weights.file)
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert {p.dtype for p in loaded.network.parameters()} == {torch.float32}
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        got = loaded.network(image)
        torch.testing.assert_close(got, network(image), rtol=0.02, atol=0.02 * float(got.std()))
        want = network.half().float()(image)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def save(folder, make_card, seed, **changes):
    """Save a network with random weights; returns the card."""
    torch.manual_seed(seed)
    network = create_model("unet", 3, 2, width=0.0625)
    fields = make_card(architecture="unet", options={"width": 0.0625}, **changes).model_dump(exclude={"weights"})
    return save_model(network, fields, folder)


def test_a_model_saved_again_is_the_new_one_and_nothing_else_is_touched(tmp_path, make_card):
    first = save(tmp_path / "model", make_card, 1)
    other = tmp_path / "model" / "encoder.safetensors"
    other.write_bytes(b"a person's own")
    second = save(tmp_path / "model", make_card, 2)
    assert first.weights.sha256 != second.weights.sha256
    assert load_model(str(tmp_path / "model")).card == second
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"model.json", second.weights.file, other.name}
    assert save(tmp_path / "model", make_card, 2) == second, "the same weights again"
    load_model(str(tmp_path / "model"))


@pytest.mark.parametrize("step", ["write_text", "in_one_step"])
def test_a_model_is_never_half_new(step, tmp_path, make_card, monkeypatch):
    """The process ends before the card is replaced, or before the weights are there."""
    first = save(tmp_path / "model", make_card, 1)

    def killed(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"rotacube.models.store.{step}", killed)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path / "model", make_card, 2)
    assert load_model(str(tmp_path / "model")).card == first


def test_a_card_that_does_not_fit_is_told_before_anything_is_written(tmp_path, make_card):
    with pytest.raises(ValidationError):
        save_model(create_model("unet", 3, 2, width=0.0625), {"name": "x"}, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path, make_card):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputUnwritable, match="cannot be written"):
        save(tmp_path / "file" / "model", make_card, 1)


def test_a_card_of_an_unknown_network_is_damaged(make_card):
    assert network_of(make_card(architecture="alexnet")).labels == "images"
    with pytest.raises(ModelDamaged, match=r"does not fit: There is no network 'mask-rcnn'.*Install the model again"):
        network_of(make_card(architecture="mask-rcnn"))


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


def test_the_hash_is_that_of_the_tool_for_it(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
