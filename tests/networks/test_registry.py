"""The registry: options, what is refused, what a card may say, and that no block is written twice."""

from __future__ import annotations

import ast
import copy
import json
from collections import defaultdict
from pathlib import Path

import pytest

import rotacube.networks
from rotacube.errors import ModelDamaged, ModelMissing, OptionsRefused
from rotacube.models.store import file_sha256, load_model, save_model
from rotacube.networks.registry import NETWORKS, create_model, find_network

FAMILIES = Path(rotacube.networks.__file__).parent


def test_an_unknown_network_is_told():
    with pytest.raises(ModelMissing, match=r"There is no network 'mask-rcnn'. Known are: .*convnext-cube, .*unet"):
        create_model("mask-rcnn", 3, 2)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("unet", {"heads": 3}, "has no option 'heads'. It has: block, first"),
        ("unet-cube", {"last": ("conv",)}, "has no option 'last'"),
        ("fast-scnn", {"skip": "add"}, "has no option 'skip'. It has: width, further"),
        ("unet", {"skip": "multiply"}, '"kpff", "add" or "concat", not \'multiply\'.$'),
        ("unet", {"width": 0}, "between 1/16 and 4, not 0.$"),
        ("unet", {"width": "wide"}, "cannot be built so"),
        ("unet", {"block": ("conv", "magic")}, "no operator 'magic'"),
        ("unet-cube", {"cube": {"anchor": "tl", "colour": 1}}, "colour"),
        ("unet-cube", {"cube": {"anchor": "middle"}}, "middle"),
        ("convnext-cube", {"depths": (1, 1, 10**9, 1)}, "between 1 and 100 blocks"),
        ("convnext-cube", {"depths": (1, 1)}, "cannot be built so"),
        ("convnext-cube", {"widths": (96, 192, 384, 10**6)}, "between 1 and 8192"),
        ("swin-unet", {"width": 0.3}, "multiples of 12"),
        ("alexnet", {"fusion": "multiply"}, "multiply"),
        ("unet", {"block": ()}, "between 1 and 16 operators"),
        ("unet", {"block": ("conv",) * 17}, "between 1 and 16 operators"),
        ("unet", {"block": ("rotation",), "orientations": 4000}, "at most 64 orientations"),
        ("unet", {"block": ("rotation",), "orientations": 6}, "multiple of 4, not 6"),
        ("convnext-cube", {"decoder_depths": (1, 0, 1)}, "between 1 and 100 blocks"),
    ],
)
def test_what_makes_no_network_is_refused_in_a_sentence(name, options, sentence):
    with pytest.raises(OptionsRefused, match=sentence):
        create_model(name, 3, 2, **options)


@pytest.mark.parametrize(("bands", "classes"), [(0, 2), (3, 1), (-1, 2)])
def test_bands_and_classes_that_cannot_be_are_refused(bands, classes):
    with pytest.raises(OptionsRefused, match="one band or more and two classes or more"):
        create_model("unet", bands, classes)


def test_every_network_says_where_it_comes_from_and_what_may_be_chosen():
    for name, network in NETWORKS.items():
        assert find_network(name) is network and network.name == name
        assert network.title and network.source
        assert "width" in network.options() and not set(network.options()) & set(network.fixed)
        assert ("further" in network.options()) == (network.labels == "pixels")
        json.dumps(network.options())


def saved(folder, make_card, name, classes=2, **options):
    network = create_model(name, 3, classes, **options)
    fields = make_card(
        architecture=name,
        options=options,
        classes=[{"id": i, "name": str(i), "color": "#000000"} for i in range(classes)],
    ).model_dump(exclude={"weights"})
    save_model(network, fields, folder)
    return network


def give_options(folder, options):
    """Change what the card in the folder says; returns it."""
    card = json.loads((folder / "model.json").read_text())
    card["options"] = options
    (folder / "model.json").write_text(json.dumps(card))
    return card


def test_a_card_carries_the_options(tmp_path, make_card):
    saved(tmp_path, make_card, "unet-cube", width=0.0625, skip="kpff", further=["border"], cube={"attention": True})
    network = load_model(str(tmp_path)).network
    assert network.channels == {"logits": 1, "border": 1}
    assert any(name.endswith("fusion.weight") for name in network.state_dict())
    assert any("attention" in name for name in network.state_dict())


def test_statistics_of_batchnorm_are_not_rounded(tmp_path, make_card):
    network = saved(tmp_path, make_card, "unet", width=0.0625)
    network.encoder[0][0][1].running_var.fill_(1e-9)
    network.encoder[0][0][1].num_batches_tracked.fill_(70001)
    save_model(
        network, make_card(architecture="unet", options={"width": 0.0625}).model_dump(exclude={"weights"}), tmp_path
    )
    norm = load_model(str(tmp_path)).network.encoder[0][0][1]
    assert (norm.running_var == 1e-9).all() and norm.num_batches_tracked == 70001


@pytest.mark.parametrize("options", [{"width": 100}, {"depth": 3}, {"skip": None}, {"cube": "x"}, {"first": 3}])
def test_a_card_whose_options_make_no_network_is_damaged(options, tmp_path, make_card):
    saved(tmp_path, make_card, "unet", width=0.0625)
    give_options(tmp_path, options)
    with pytest.raises(ModelDamaged, match="Install the model again"):
        load_model(str(tmp_path))


def test_a_card_cannot_make_us_take_more_memory_than_its_weights_have(tmp_path, make_card):
    """Such a network would have 150 G parameters."""
    saved(tmp_path, make_card, "convnext-cube", width=0.0625)
    give_options(tmp_path, {"widths": [8192] * 4, "depths": [50] * 4, "width": 4})
    with pytest.raises(ModelDamaged, match="do not fit its architecture"):
        load_model(str(tmp_path))


def test_weights_of_other_options_do_not_fit(tmp_path, make_card):
    saved(tmp_path, make_card, "unet", width=0.0625)
    card = give_options(tmp_path, {"width": 0.125})
    assert card["weights"]["sha256"] == file_sha256(tmp_path / card["weights"]["file"])
    with pytest.raises(ModelDamaged, match="has shape"):
        load_model(str(tmp_path))


class _Anonymous(ast.NodeTransformer):
    """Takes names, documentation and types away, so that a renamed copy is still a copy."""

    def visit_Name(self, node):
        return ast.copy_location(ast.Name("_", node.ctx), node)

    def visit_arg(self, node):
        return ast.copy_location(ast.arg("_", None), node)


def copies(files):
    """Functions of four statements or more that are written more than once, names aside."""
    seen = defaultdict(list)
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef):
                continue
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if sum(isinstance(n, ast.stmt) for part in body for n in ast.walk(part)) < 4:
                continue
            plain = _Anonymous().visit(ast.Module(copy.deepcopy(body), []))
            seen[ast.dump(plain)].append(f"{path.name}:{node.name}:{node.lineno}")
    return [places for places in seen.values() if len(places) > 1]


def test_no_network_file_repeats_anothers_blocks(tmp_path):
    files = sorted(FAMILIES.glob("*.py"))
    assert len(files) > 10
    assert copies(files) == []
    text = (FAMILIES / "hrnet.py").read_text(encoding="utf-8")
    planted = tmp_path / "planted.py"
    planted.write_text(text.replace("fused", "mixed").replace("class Exchange", "class Other"), encoding="utf-8")
    assert copies([*files, planted]) != []
