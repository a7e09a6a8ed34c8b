"""Networks of every family, at quarter width: learn four tiles by heart, are saved, loaded and exported.

`ROTACUBE_FULL=1` (`make test-full`) does the same with every network of the registry, at the published widths.
"""

from __future__ import annotations

import os

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from fit import fit, fit_dense, four_tiles, iou

from rotacube.models.export import export_program, write_onnx
from rotacube.models.store import load_model, save_model
from rotacube.networks.registry import NETWORKS, create_model

FULL = os.environ.get("ROTACUBE_FULL") == "1"
WIDTH = 1.0 if FULL else 0.25
# Made of the same blocks as one that is tried.
SIBLINGS = {
    *("convnext-u", "unet-conv", "cube-unet", "unet-involution", "involution-unet", "involution-unet-cube"),
    *("ri-unet-1", "ri-unet-8", "ri-unet-16", "swin-unet", "swin-unet-conv", "deeplabv3plus"),
}
# Hundreds of layers of kinds that others export, too: more than half a minute.
LONG_TO_EXPORT = set() if FULL else {"hrnet-w48"}
DENSE = [n for n, network in NETWORKS.items() if network.labels == "pixels" and (FULL or n not in SIBLINGS)]
SCENES = [name for name, network in NETWORKS.items() if network.labels == "images"]
# Run in pairs (make test-learning), these have a core each.
THREADS = 1 if "PYTEST_XDIST_WORKER" in os.environ else 2


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def check_saved_and_exported(network, image, make_card, folder, name, classes, **options):
    """The network is the same after save and load, and within 1e-3 elsewhere."""
    check_saved(network, image, make_card, folder, name, classes, **options)
    if name not in LONG_TO_EXPORT:
        check_exported(network, image, folder)


def check_saved(network, image, make_card, folder, name, classes, **options):
    with torch.inference_mode():
        want = network(image)
    fields = make_card(
        architecture=name,
        options={"width": WIDTH, **options},
        classes=[{"id": i, "name": str(i), "color": "#000000"} for i in range(classes)],
    ).model_dump(exclude={"weights"})
    save_model(network, fields, folder / "model", bits=32)
    with torch.inference_mode():
        again = load_model(str(folder / "model")).network(image)
    assert torch.equal(again, want), "saved and loaded"


def check_exported(network, image, folder):
    with torch.inference_mode():
        want = network(image)
    program = export_program(network, image[:1])
    assert not any("rotacube" in str(node.target) for node in program.graph.nodes), "plain operators"
    torch.testing.assert_close(program.module()(image).detach(), want.clone(), rtol=1e-4, atol=1e-4)

    write_onnx(program, folder / "network.onnx")
    onnx.checker.check_model(str(folder / "network.onnx"))
    session = onnxruntime.InferenceSession(str(folder / "network.onnx"))
    (out,) = session.run(["logits"], {"image": image.numpy()})
    assert np.abs(out - want.numpy()).max() < 1e-3


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", DENSE)
def test_learns_four_tiles_by_heart_and_is_saved_and_exported(name, make_card, tmp_path):
    network = create_model(name, 3, 2, width=WIDTH)
    image, roof = fit_dense(name, network, FULL)
    with torch.inference_mode():
        assert iou(network(image) > 0, roof > 0) > 0.95
    check_saved_and_exported(network, image, make_card, tmp_path, name, 2)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fusion", ["none", "add", "concat", "kpff"] if FULL else ["kpff"])
@pytest.mark.parametrize("name", SCENES)
def test_tells_four_scenes_apart_and_is_saved_and_exported(name, fusion, make_card, tmp_path):
    network = create_model(name, 3, 4, width=WIDTH, fusion=fusion)
    image, _ = four_tiles()
    kinds = torch.arange(4)
    fit(network, lambda: F.cross_entropy(network(image), kinds), 40, 1e-3)
    with torch.inference_mode():
        assert torch.equal(network(image).argmax(1), kinds)
    check_saved_and_exported(network, image, make_card, tmp_path, name, 4, fusion=fusion)
