"""Models of others: an ONNX file with Deepness's metadata gives as a model what PyTorch gives of the same weights."""

from __future__ import annotations

import json
import threading

import numpy as np
import onnx
import pyogrio
import pytest
import rasterio
import torch
from onnx_files import METADATA, kernel, write_onnx_file
from torch.nn import functional

from rotacube.errors import ModelDamaged, ModelMissing, OptionsRefused, OutputUnwritable
from rotacube.inference.request import MapRequest, Product
from rotacube.inference.run import run_map
from rotacube.models import onnx_network
from rotacube.models.card import read_card
from rotacube.models.deepness import Wishes, install_onnx
from rotacube.models.export import export_network
from rotacube.models.store import file_sha256, find_model, labels_of, list_models, load_model
from rotacube.training.recipe import read_recipe

NOBODY = Wishes()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """The user's own folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def file(tmp_path):
    """A function that writes an ONNX file."""

    def write(name="Buildings v2.onnx", **how):
        return write_onnx_file(tmp_path / name, **how)

    return write


def conv(image, channels, bands=3):
    """The file's convolution, by PyTorch."""
    weight, bias = map(torch.from_numpy, kernel(channels, bands))
    return functional.conv2d(image, weight, bias, padding=1)


def images(count=2, bands=3, size=64):
    return torch.randn(count, bands, size, size, generator=torch.Generator().manual_seed(1))


def test_card_is_made_of_the_metadata(file, home):
    path = file(last="Sigmoid")
    card, folder = install_onnx(path, NOBODY)
    assert (card.name, card.title, folder) == ("buildings-v2", "Buildings v2", home / "rotacube/models/buildings-v2")
    assert [c.name for c in card.classes] == ["_background", "building"]
    assert (card.gsd, card.tile, card.overlap, card.threshold) == (0.15, 64, 16, 0.6)
    assert card.bands == ["red", "green", "blue"] and card.normalisation.scale == 255
    assert card.normalisation.mean == [0.5, 0.4, 0.3] and card.normalisation.std == [0.2, 0.25, 0.3]
    assert card.options == {"gives": "probabilities"} and "pytorch" in card.source
    assert card.weights.parameters == 3 * 9 + 1
    stored = folder / card.weights.file
    assert stored.read_bytes() == path.read_bytes() and card.weights.sha256 == file_sha256(stored)
    assert read_card(folder) == card == find_model("buildings-v2")[0]
    assert "buildings-v2" in [each.name for each, _ in list_models()] and labels_of(card) == "pixels"


@pytest.mark.parametrize(
    ("channels", "last", "more"),
    [(1, None, {}), (1, "Sigmoid", {}), (2, None, {}), (2, "Softmax", {"axis": 1}), (4, None, {})]
    + [(4, "Softmax", {"axis": 1}), (4, "Sigmoid", {})],
)
def test_logits_are_those_of_what_the_file_gives(file, channels, last, more):
    """Their probabilities (sigmoid, softmax) are PyTorch's of the same convolution, however the file gives them."""
    metadata = {**METADATA, "class_names": {n: f"class {n}" for n in range(max(2, channels))}}
    card, _ = install_onnx(file("n.onnx", channels=channels, last=last, metadata=metadata, **more), NOBODY)
    assert card.options["gives"] == ("logits" if last is None else "probabilities")
    made = conv(images(), channels)
    got = load_model("n").network(images())
    if channels < 3:
        want = torch.sigmoid(made) if channels == 1 else torch.softmax(made, 1)[:, 1:]
        assert got.shape == (2, 1, 64, 64)
        torch.testing.assert_close(torch.sigmoid(got), want, rtol=1e-4, atol=2e-6)
    else:
        each = torch.sigmoid(made)
        want = each / each.sum(1, keepdim=True) if last == "Sigmoid" else torch.softmax(made, 1)
        torch.testing.assert_close(torch.softmax(got, 1), want, rtol=1e-3, atol=1e-5)


def test_a_map_is_what_the_file_says_of_each_pixel(file, scene_path, tmp_path, cpu):
    """Without overlap, each tile of the mask is the file's own answer to the raster's pixels, standardised."""
    install_onnx(
        file("town.onnx", last="Sigmoid", metadata={**METADATA, "tiles_overlap": 0, "seg_thresh": 0.5}), NOBODY
    )
    run_map(MapRequest(scene_path, "town", (Product("mask", tmp_path / "m.tif"),)), place=cpu)
    with rasterio.open(scene_path) as raster, rasterio.open(tmp_path / "m.tif") as mask:
        pixels, valid, got = raster.read()[:3], raster.dataset_mask() > 0, mask.read(1)
        tags = mask.tags()
    mean, std = (np.array(METADATA[f"standardization_{word}"], np.float32)[:, None, None] for word in ("mean", "std"))
    whole = np.where(valid, (pixels.astype(np.float32) / 255 - mean) / std, 0)
    checked = 0
    for top in range(0, 256, 64):
        for left in range(0, 384, 64):
            cut = (slice(top, top + 64), slice(left, left + 64))
            want = conv(torch.from_numpy(whole[(slice(None), *cut)][None].astype(np.float32)), 1)[0, 0].numpy()
            sure = valid[cut] & (np.abs(want) > 1e-4)
            assert (got[cut][sure] == (want > 0)[sure]).all()
            checked += int(sure.sum())
    assert checked > 60_000 and (got[:256, :384][~valid[:256, :384]] == 255).all()
    assert {0, 1} <= set(np.unique(got[valid])) and tags["ROTACUBE_MODEL"] == "town"


def test_roofs_of_such_a_model_are_single_polygons(file, scene_path, tmp_path, cpu):
    card, _ = install_onnx(file(last="Sigmoid"), Wishes(name="roofs", roofs=True))
    assert card.task == "rooftops"
    run_map(MapRequest(scene_path, "roofs", (Product("polygons", tmp_path / "r.gpkg", "gpkg"),)), place=cpu)
    assert pyogrio.read_info(tmp_path / "r.gpkg")["features"] > 0


def test_a_person_says_what_the_file_does_not(file):
    bare = file("bare.onnx", channels=3, bands=4, metadata={}, size="side")
    with pytest.raises(OptionsRefused, match=r"does not say how large its pixels are.*--resolution 0.15"):
        install_onnx(bare, Wishes(classes=("a", "b", "c")))
    with pytest.raises(OptionsRefused, match=r"does not say what its classes are.*--classes background,roof"):
        install_onnx(bare, Wishes(resolution=0.2))
    with pytest.raises(OptionsRefused, match="gives 3 values a pixel, but 2 classes are named"):
        install_onnx(bare, Wishes(resolution=0.2, classes=("a", "b")))
    card, _ = install_onnx(bare, Wishes("mine", ("a", "b", "c"), 0.2, 128, "probabilities"))
    assert (card.name, card.gsd, card.tile, card.overlap, card.threshold) == ("mine", 0.2, 128, 16, 0.5)
    assert card.bands == ["band 1", "band 2", "band 3", "band 4"] and card.normalisation.std == [1.0] * 4
    assert card.options == {"gives": "probabilities"}
    with pytest.raises(OutputUnwritable, match=r"'mine' is installed already.*--name, or say"):
        install_onnx(bare, Wishes("mine", ("a", "b", "c"), 0.2))
    assert install_onnx(bare, Wishes("mine", ("a", "b", "c"), 0.3), overwrite=True)[0].gsd == 0.3
    with pytest.raises(OptionsRefused, match="'name' does not fit"):
        install_onnx(bare, Wishes("My Model", ("a", "b", "c"), 0.3))
    with pytest.raises(OptionsRefused, match="logits or probabilities, not 'ids'"):
        install_onnx(bare, Wishes("mine", gives="ids"))


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ("{0: 'soil', 1: 'maize'}", ["soil", "maize"]),  # as Python prints it
        ({"1": "maize", "0": "soil"}, ["soil", "maize"]),
        ([{"0": "soil", "1": "maize"}], ["soil", "maize"]),  # one dictionary for each output
        ({"0": "maize"}, ["background", "maize"]),
    ],
)
def test_class_names_are_read_as_deepness_reads_them(file, said, names):
    metadata = {key: value for key, value in METADATA.items() if key != "class_names"}
    for word in ("class_names", "names"):
        card, _ = install_onnx(file("c.onnx", metadata={**metadata, word: said}), NOBODY, overwrite=True)
        assert [c.name for c in card.classes] == names


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model_type": "Detector"}, "is a Detector. Maps are made with models of segmentation"),
        ({"model_type": "Regressor"}, "is a Regressor"),
        ({"class_names": {"0": "a", "2": "b"}}, "as its class_names, which cannot be"),
        ({"class_names": {"zero": "a"}}, "as its class_names"),
        ({"resolution": "fine"}, "says 'fine' as its resolution"),
        ({"tiles_overlap": -1}, "as its tiles_overlap"),
        ({"standardization_mean": 0.5}, "as its standardization_mean"),
        ({"standardization_mean": [0.5]}, "as its standardization_mean"),
        ({"standardization_std": [0, 0, 0]}, "does not fit"),
        ({"class_names": {"0": "a\nb", "1": "c"}}, "does not fit"),
    ],
)
def test_metadata_that_cannot_be_are_told(file, home, changes, sentence):
    with pytest.raises((ModelDamaged, OptionsRefused), match=sentence):
        install_onnx(file(metadata={**METADATA, **changes}), NOBODY)
    assert not home.exists()


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"channels": 3, "last": "ArgMax", "axis": 1, "keepdims": 1}, "gives whole numbers, not probabilities"),
        ({"last": "GlobalAveragePool"}, "it is no model of segmentation"),
        ({"last": "Flatten"}, "it is no model of segmentation"),
        ({"batch": 4}, "not .1, bands, H, W."),
        ({"size": 100}, "A tile is a multiple of 32"),
        ({"last": "NoSuchOperator"}, "cannot be run by ONNX Runtime"),
    ],
)
def test_what_gives_no_map_is_refused(file, home, how, sentence):
    with pytest.raises(ModelDamaged, match=sentence):
        install_onnx(file(**how), NOBODY)
    assert not home.exists()


def test_damaged_files_are_told(file, tmp_path):
    whole = file().read_bytes()
    damaged = tmp_path / "d.onnx"
    for content in (b"", b"\x80\x04K\x01.", whole[: len(whole) // 2], b"\xff" * 1000, json.dumps({}).encode()):
        damaged.write_bytes(content)
        with pytest.raises(ModelDamaged, match=r"'d.onnx' is no ONNX file, or damaged"):
            install_onnx(damaged, NOBODY)
    with pytest.raises(ModelMissing, match="There is no file"):
        install_onnx(tmp_path / "none.onnx", NOBODY)


def test_any_damage_is_a_sentence_and_nothing_is_printed(file, tmp_path, capfd):
    whole, damaged, told = file().read_bytes(), tmp_path / "d.onnx", 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        content = bytearray(whole)
        for at in rng.integers(len(content), size=3):
            content[at] = rng.integers(256)
        damaged.write_bytes(content)
        try:
            install_onnx(damaged, NOBODY, overwrite=True)
        except (ModelDamaged, OptionsRefused) as error:
            told += error.message.startswith("'d.onnx' ")
    assert told > 50 and capfd.readouterr() == ("", "")


def test_weights_in_other_files_are_refused(file, tmp_path):
    """Wherever in the file they are named, and whether or not the other file is there."""
    path = file()
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="secret", size_threshold=0)
    with pytest.raises(ModelDamaged, match="lie in other files, which are not read"):
        install_onnx(path, NOBODY)
    model = onnx.load(file("deep.onnx"))
    hidden = onnx.numpy_helper.from_array(np.zeros(3, np.float32), "hidden")
    onnx.external_data_helper.set_external_data(hidden, "/etc/hostname")
    hidden.ClearField("raw_data")
    inner = onnx.helper.make_graph([onnx.helper.make_node("Constant", [], ["c"], value=hidden)], "inner", [], [])
    model.graph.node.append(onnx.helper.make_node("If", ["image"], ["x"], then_branch=inner, else_branch=inner))
    (tmp_path / "deep.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelDamaged, match="lie in other files"):
        install_onnx(tmp_path / "deep.onnx", NOBODY)


def test_an_exchanged_file_and_a_card_that_says_nonsense_are_damage(file):
    card, folder = install_onnx(file(), Wishes(name="one"))
    stored, told = folder / card.weights.file, json.loads((folder / "model.json").read_text())
    whole = stored.read_bytes()
    stored.write_bytes(whole + b"\0")
    with pytest.raises(ModelDamaged, match="not those that the card names"):
        load_model("one")
    stored.write_bytes(whole)
    for changes, sentence in (
        ({"options": {}}, "its option 'gives' is logits or probabilities"),
        (
            {"bands": ["a"], "normalisation": {"scale": 1, "mean": [0], "std": [1]}},
            "takes 3 bands",
        ),
        ({"architecture": "unet", "options": {}}, "are an .onnx file"),
    ):
        (folder / "model.json").write_text(json.dumps({**told, **changes}))
        with pytest.raises(ModelDamaged, match=sentence):
            load_model("one")


def test_without_its_packages_it_says_what_to_install(file, monkeypatch):
    install_onnx(file(), Wishes(name="one"))
    monkeypatch.setattr(onnx_network, "find_spec", lambda name: None)
    for call in (lambda: install_onnx(file(), NOBODY), lambda: load_model("one")):
        with pytest.raises(OptionsRefused, match=r"pip install 'rotacube\[onnx\]'"):
            call()
    assert find_model("one")[0].name == "one", "what needs no network still works"


def test_what_was_installed_is_neither_exported_nor_trained(file, tmp_path):
    install_onnx(file(), Wishes(name="one"))
    with pytest.raises(OptionsRefused, match="is an ONNX file already"):
        export_network(load_model("one").network, torch.zeros(1, 3, 64, 64), tmp_path / "o.onnx")
    with pytest.raises(OptionsRefused, match="'one' is an ONNX file, which cannot learn"):
        read_recipe("finetune", ['model="one"', f'data="{tmp_path}"'])


def test_threads_share_a_session(file):
    install_onnx(file(), Wishes(name="one"))
    network, got = load_model("one").network, {}

    def work(n):
        got[n] = network(images() * n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n in range(1, 5):
        torch.testing.assert_close(got[n], conv(images() * n, 1), rtol=1e-4, atol=1e-5)


def test_half_precision_does_not_reach_it(file):
    install_onnx(file(), Wishes(name="one"))
    with torch.autocast("cpu", torch.bfloat16):
        got = load_model("one").network(images())
    torch.testing.assert_close(got, conv(images(), 1), rtol=1e-4, atol=1e-5)
