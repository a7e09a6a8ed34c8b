"""ConvNeXt weights from a file in timm's layout."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from rotacube.errors import ModelDamaged, ModelMissing
from rotacube.networks.convnext import DEPTHS, WIDTHS
from rotacube.networks.pretrained import load_timm_encoder
from rotacube.networks.registry import create_model

QUARTER = [w // 4 for w in WIDTHS]


def timm_tensors(widths=QUARTER, depths=DEPTHS, bands=3, conv_mlp=False, gamma=True):
    """Random weights under timm's names, with timm's shapes (models/convnext.py: `ConvNeXt`, `ConvNeXtBlock`)."""
    generator = torch.Generator().manual_seed(0)

    def some(*shape):
        return torch.randn(shape, generator=generator) * 0.1

    tensors = {"stem.0.weight": some(widths[0], bands, 4, 4), "stem.0.bias": some(widths[0])}
    tensors |= {"stem.1.weight": 1 + some(widths[0]), "stem.1.bias": some(widths[0])}
    tail = (1, 1) if conv_mlp else ()
    for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        if i:
            down, before = f"stages.{i}.downsample", widths[i - 1]
            tensors |= {f"{down}.0.weight": 1 + some(before), f"{down}.0.bias": some(before)}
            tensors |= {f"{down}.1.weight": some(width, before, 2, 2), f"{down}.1.bias": some(width)}
        for j in range(depth):
            block = f"stages.{i}.blocks.{j}"
            tensors |= {f"{block}.conv_dw.weight": some(width, 1, 7, 7), f"{block}.conv_dw.bias": some(width)}
            tensors |= {f"{block}.norm.weight": 1 + some(width), f"{block}.norm.bias": some(width)}
            tensors |= {
                f"{block}.mlp.fc1.weight": some(4 * width, width, *tail),
                f"{block}.mlp.fc1.bias": some(4 * width),
            }
            tensors |= {f"{block}.mlp.fc2.weight": some(width, 4 * width, *tail), f"{block}.mlp.fc2.bias": some(width)}
            if gamma:
                tensors[f"{block}.gamma"] = 0.5 + some(width)
    tensors |= {"head.norm.weight": some(widths[-1]), "head.norm.bias": some(widths[-1])}
    tensors |= {"head.fc.weight": some(1000, widths[-1]), "head.fc.bias": some(1000)}
    return tensors


def timm_features(tensors, x):
    """The maps of the four stages, as timm computes them."""

    def norm(x, name):
        x = F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2], tensors[f"{name}.weight"], tensors[f"{name}.bias"], 1e-6)
        return x.permute(0, 3, 1, 2)

    x = norm(F.conv2d(x, tensors["stem.0.weight"], tensors["stem.0.bias"], stride=4), "stem.1")
    maps = []
    for i, depth in enumerate(DEPTHS):
        if i:
            down = f"stages.{i}.downsample"
            x = F.conv2d(norm(x, f"{down}.0"), tensors[f"{down}.1.weight"], tensors[f"{down}.1.bias"], stride=2)
        for j in range(depth):
            block = f"stages.{i}.blocks.{j}"
            weight, bias = tensors[f"{block}.conv_dw.weight"], tensors[f"{block}.conv_dw.bias"]
            y = norm(F.conv2d(x, weight, bias, padding=3, groups=len(weight)), f"{block}.norm").permute(0, 2, 3, 1)
            y = F.gelu(F.linear(y, tensors[f"{block}.mlp.fc1.weight"].flatten(1), tensors[f"{block}.mlp.fc1.bias"]))
            y = F.linear(y, tensors[f"{block}.mlp.fc2.weight"].flatten(1), tensors[f"{block}.mlp.fc2.bias"])
            x = x + (y * tensors.get(f"{block}.gamma", torch.ones(()))).permute(0, 3, 1, 2)
        maps.append(x)
    return maps


def our_features(network, x):
    maps = []
    x = network.stem(x)
    for i, stage in enumerate(network.stages):
        x = stage(network.downs[i - 1](x) if i else x)
        maps.append(x)
    return maps


@pytest.mark.parametrize("layout", [{}, {"conv_mlp": True}, {"gamma": False}])
def test_the_encoder_computes_what_timm_computes(tmp_path, layout):
    tensors = timm_tensors(**layout)
    save_file(tensors, tmp_path / "model.safetensors")
    network = create_model("convnext-u-cube", 3, 2, width=0.25).eval()
    loaded = load_timm_encoder(network, tmp_path / "model.safetensors")
    image = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        for got, want in zip(our_features(network, image), timm_features(tensors, image), strict=True):
            torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-3)
    encoder = [n for n in network.state_dict() if n.split(".")[0] in ("stem", "downs", "stages")]
    assert loaded.taken == sorted(encoder)
    assert set(loaded.left) == {n for n in tensors if n.startswith("head.")}


def test_the_published_width_takes_all_of_convnext_tiny(tmp_path):
    save_file({n: t.half() for n, t in timm_tensors(WIDTHS).items()}, tmp_path / "model.safetensors")
    network = create_model("convnext-u", 3, 2)
    assert len(load_timm_encoder(network, tmp_path / "model.safetensors").taken) == 4 + 3 * 4 + 18 * 8
    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_convnext_cube_takes_all_but_the_depthwise_convolutions(tmp_path):
    save_file(timm_tensors(), tmp_path / "model.safetensors")
    network = create_model("convnext-cube", 3, 2, width=0.25)
    cubes = {n: p.clone() for n, p in network.named_parameters() if ".cube." in n}
    loaded = load_timm_encoder(network, tmp_path / "model.safetensors")
    assert {n.rsplit(".", 2)[1] for n in loaded.left if "head" not in n} == {"conv_dw"}
    assert len(loaded.taken) == 4 + 3 * 4 + 18 * 6
    assert all(torch.equal(p, cubes[n]) for n, p in network.named_parameters() if ".cube." in n)


def test_other_bands_leave_the_stem_and_say_so(tmp_path):
    save_file(timm_tensors(), tmp_path / "model.safetensors")
    network = create_model("convnext-u", 5, 2, width=0.25)
    loaded = load_timm_encoder(network, tmp_path / "model.safetensors")
    assert loaded.left["stem.0.weight"] == "shape (24, 3, 4, 4), not (24, 5, 4, 4)"
    assert "stem.1.weight" in loaded.taken


def broken(path):
    path.write_bytes(b"\x80\x04K\x01.")


def none_fits(path):
    save_file({"conv1.weight": torch.zeros(64, 3, 7, 7)}, path)


def infinite(path):
    tensors = timm_tensors()
    tensors["stages.2.blocks.4.mlp.fc2.weight"][0, 0] = float("inf")
    save_file(tensors, path)


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda path: None, ModelMissing, "Name a timm ConvNeXt file"),
        (broken, ModelDamaged, "not a pickle"),
        (none_fits, ModelDamaged, "is it a timm ConvNeXt of the same size"),
        (infinite, ModelDamaged, "'stages.2.blocks.4.mlp.fc2.weight' that is not finite"),
    ],
)
def test_a_file_that_does_not_do_changes_nothing(tmp_path, make, error, sentence):
    make(tmp_path / "model.safetensors")
    network = create_model("convnext-u", 3, 2, width=0.25)
    before = {n: p.clone() for n, p in network.state_dict().items()}
    with pytest.raises(error, match=sentence):
        load_timm_encoder(network, tmp_path / "model.safetensors")
    assert all(torch.equal(p, before[n]) for n, p in network.state_dict().items())
