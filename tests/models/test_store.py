"""Models in their folders: found, loaded and saved; what was saved is what is loaded, and a model is never half-new."""

from __future__ import annotations

import json
import os
import time

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from rotacube.errors import ModelDamaged, ModelMissing, OutputUnwritable
from rotacube.models import DEFAULT
from rotacube.models.card import read_card
from rotacube.models.store import (
    file_sha256,
    find_model,
    list_models,
    load_model,
    look_for_models,
    network_of,
    save_model,
)
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


def test_weights_of_eight_bits_are_near_and_a_quarter_as_large(tmp_path, make_card):
    """Within half a step of each channel, of which there are 127 up to its largest weight."""
    torch.manual_seed(3)
    network = create_model("lite-unet", 3, 2).eval()
    fields = make_card(architecture="lite-unet", options={}).model_dump(exclude={"weights"})
    card = save_model(network, fields, tmp_path / "model", bits=8)
    loaded = load_model(str(tmp_path / "model"))
    for (name, got), want in zip(loaded.network.state_dict().items(), network.state_dict().values(), strict=True):
        if want.ndim > 1:
            step = want.flatten(1).abs().amax(1) / 127
            assert ((got - want).flatten(1).abs().amax(1) <= 0.5001 * step).all(), name
    assert (tmp_path / "model" / card.weights.file).stat().st_size < 1.15 * card.weights.parameters


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
    assert names == [DEFAULT, *sorted(set(names) - {DEFAULT})] and {"one", "two"} <= set(names)
    with pytest.raises(ModelMissing, match=r"There is no model 'three'\. Installed are: .*one, .*two"):
        find_model("three")


def test_a_damaged_model_is_not_listed_and_says_why_when_it_is_asked_for(tmp_path, make_card, monkeypatch):
    folder = write_card(tmp_path / "one", make_card(name="one"))
    (folder / "model.json").write_text('{"name": ')
    monkeypatch.setenv("ROTACUBE_MODELS", str(tmp_path))
    assert "one" not in [card.name for card, _ in list_models()]
    with pytest.raises(ModelDamaged, match="cannot be read"):
        find_model("one")


def test_one_bad_card_hides_no_other_model_and_is_told(tmp_path, make_card, monkeypatch, caplog):
    """Each is left out for a reason, of which the log says the last word."""
    write_card(tmp_path / "good", make_card(name="good"))
    whole = json.dumps(make_card(name="bad").model_dump())
    bad = {
        "digits": whole.replace('"format": 1', f'"format": {"1" * 5000}'),
        "surrogate": whole.replace('"bad"', r'"\ud800"'),
        "key": whole.replace('"threshold"', r'"\ud800"'),
        "names": whole.replace('"Tiny, with random weights"', f'"{"a" * 2**20}"'),
        "fine": whole.replace('"gsd": 0.15', '"gsd": 1e-9'),
        "options": whole.replace('"options": {}', '"options": {"a b": 1}'),
    }
    for name, text in bad.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.json").write_text(text)
    (tmp_path / "sparse").mkdir()
    with (tmp_path / "sparse" / "model.json").open("wb") as file:
        file.truncate(8 * 2**30)
    (tmp_path / "folder" / "model.json").mkdir(parents=True)
    (tmp_path / "\udcff").mkdir()  # a byte that is no text
    (tmp_path / "\udcff" / "model.json").write_text("{")
    folders = [str(tmp_path), "/" + "a" * 5000]
    monkeypatch.setenv("ROTACUBE_MODELS", os.pathsep.join(folders))
    models, left_out = look_for_models()
    assert "good" in [card.name for card, _ in models]
    told = "\n".join(error.message for error in left_out)
    assert len(left_out) == len(bad) + 4
    assert all(f"/{name}" in told for name in (*bad, "sparse", "folder")) and r"\udcff" in told
    for _ in range(2):
        assert [card.name for card, _ in list_models()] == [card.name for card, _ in models]
    assert sorted(record.getMessage() for record in caplog.records) == sorted(e.message for e in left_out)
    told.encode()


@pytest.mark.parametrize(
    "name", ["a" * 300, "a" * 5000, "/" + "a/" * 3000, "\ud800", "a\0b", "./" + "a" * 300, "a/\udcff"]
)
def test_a_name_that_no_model_can_have_is_missing_in_a_sentence(name):
    with pytest.raises(ModelMissing, match="its name") as caught:
        find_model(name)
    assert len(caught.value.message.encode()) < 300


def spoil(folder, change):
    """Change tensors of a model in the folder, and put the hash of the new file into its card."""
    card = json.loads((folder / "model.json").read_text())
    path = folder / card["weights"]["file"]
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    card["weights"]["sha256"] = file_sha256(path)
    (folder / "model.json").write_text(json.dumps(card))


def put(value, key="head.weight"):
    def change(tensors):
        tensors[key].view(-1)[0] = value

    return change


def turn(kind, key="head.weight"):
    def change(tensors):
        tensors[key] = tensors[key].to(kind)

    return change


def put_scale(count, value=1.0):
    """Makes the head's weights whole numbers, with scales of this value for `count` times its channels."""

    def change(tensors):
        tensors["head.weight"] = torch.ones_like(tensors["head.weight"]).to(torch.int8)
        tensors["head.weight/scale"] = torch.full([count * len(tensors["head.weight"])], value)

    return change


COUNTER = "encoder.0.0.1.num_batches_tracked"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (put(float("nan")), "tensor 'head.weight' holds values that are no numbers"),
        (put(float("-inf")), "tensor 'head.weight' holds values that are no numbers"),
        (put(float("nan"), "encoder.0.0.1.running_var"), "running_var' holds values that are no numbers"),
        (lambda t: t.update({"head.weight": t["head.weight"].double() + 1e300}), "no numbers"),
        *((turn(k), f"'head.weight' is of {str(k)[6:]}, not floating") for k in (torch.int64, torch.uint8, torch.bool)),
        (turn(torch.complex64), "is of complex64, not floating point"),
        (turn(torch.float32, COUNTER), "is of float32, not integers"),
        (turn(torch.int8), "'head.weight' is of int8, not floating"),
        (put_scale(2), "'head.weight/scale' is unknown"),
        (put_scale(1, float("inf")), "'head.weight' holds values that are no numbers"),
        (turn(torch.bool, COUNTER), "is of bool, not integers"),
    ],
)
def test_weights_that_are_no_weights_are_damaged(change, sentence, tmp_path, make_card):
    save(tmp_path / "model", make_card, 1)
    spoil(tmp_path / "model", change)
    with pytest.raises(ModelDamaged, match=sentence):
        load_model(str(tmp_path / "model"))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_weights_of_any_precision_are_taken(kind, tmp_path, make_card):
    save(tmp_path / "model", make_card, 1)
    spoil(tmp_path / "model", turn(kind))
    assert load_model(str(tmp_path / "model")).network.head.weight.dtype == torch.float32


def test_weights_of_gigabytes_are_not_read(tmp_path, make_card):
    card = save(tmp_path / "model", make_card, 1)
    with (tmp_path / "model" / card.weights.file).open("wb") as file:
        file.truncate(8 * 2**30)
    start = time.monotonic()
    with pytest.raises(ModelDamaged, match="more than the network of 'tiny' can have"):
        load_model(str(tmp_path / "model"))
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("option", ["name", "in_bands", "classes", "options", "self", "bands", "outputs"])
def test_an_option_of_the_name_of_something_else_is_damaged(option, tmp_path, make_card):
    save(tmp_path / "model", make_card, 1)
    card = json.loads((tmp_path / "model" / "model.json").read_text())
    card["options"][option] = 3
    (tmp_path / "model" / "model.json").write_text(json.dumps(card))
    with pytest.raises(ModelDamaged, match=f"has no option '{option}'"):
        load_model(str(tmp_path / "model"))


def test_the_hash_is_that_of_the_tool_for_it(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
