"""Export to files: both formats, any batch, two outputs, and what is refused."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from rotacube.errors import OptionsRefused, OutputUnwritable
from rotacube.models import export
from rotacube.models.export import export_network, export_program
from rotacube.networks.registry import create_model
from rotacube.nn import ChannelRouter


@pytest.fixture(scope="module")
def network():
    """With every operator that we wrote, and an output beside the logits."""
    torch.manual_seed(0)
    built = create_model(
        "unet",
        3,
        2,
        width=0.0625,
        block=("rotation", "cube"),
        first=("conv", "involution"),
        skip="kpff",
        further=["border"],
        cube={"router": True, "attention": True},
    ).eval()
    for layer in built.modules():
        if isinstance(layer, ChannelRouter):
            torch.nn.init.normal_(layer.scores)
    return built


def test_onnx_has_both_outputs_of_any_batch(network, tmp_path):
    path = tmp_path / "roofs.onnx"
    export_network(network, torch.randn(1, 3, 32, 48), path)
    session = onnxruntime.InferenceSession(str(path))
    assert [o.name for o in session.get_outputs()] == ["logits", "border"]
    assert session.get_inputs()[0].shape[1:] == [3, 32, 48]
    for batch in (1, 3):
        image = torch.randn(batch, 3, 32, 48)
        with torch.inference_mode():
            want = network(image)
        got = session.run(None, {"image": image.numpy()})
        assert all(np.abs(g - w.numpy()).max() < 1e-3 for g, w in zip(got, want.values(), strict=True))
    assert [p.name for p in tmp_path.iterdir()] == ["roofs.onnx"]


def test_a_program_is_saved_with_plain_operators_of_any_batch(network, tmp_path):
    path = tmp_path / "roofs.pt2"
    path.write_text("what was there is replaced")
    export_network(network, torch.randn(1, 3, 32, 48), path)
    program = torch.export.load(path)
    assert not any("rotacube" in str(node.target) for node in program.graph.nodes)
    for batch in (1, 3):
        image = torch.randn(batch, 3, 32, 48)
        with torch.inference_mode():
            want, got = network(image), program.module()(image)
        assert list(got) == ["logits", "border"]
        for name, w in want.items():
            torch.testing.assert_close(got[name], w, rtol=1e-4, atol=1e-4)
    assert [p.name for p in tmp_path.iterdir()] == ["roofs.pt2"]


def test_afterwards_orders_are_learnt_again(network):
    layer = next(layer for layer in network.modules() if isinstance(layer, ChannelRouter))
    export_program(network, torch.randn(1, 3, 32, 32))
    before = layer.order()
    layer.scores.data.neg_()
    assert torch.equal(layer.order(), before.flip(0))


def test_afterwards_the_compiled_operators_run_again():
    from rotacube.ops import _dispatch

    image = torch.randn(1, 3, 32, 32)
    with _dispatch.plain_operators():
        assert _dispatch.why_no_kernel([image]) is not None
        with pytest.raises(OptionsRefused), _dispatch.plain_operators():
            raise OptionsRefused("an error within")
        assert _dispatch.why_no_kernel([image]) is not None
    assert _dispatch.why_no_kernel([image]) != _dispatch.EXPORT_REFERENCE


def test_another_format_is_refused(network, tmp_path):
    with pytest.raises(OptionsRefused, match=r"exported to .onnx or .pt2, not to 'roofs.pth'"):
        export_network(network, torch.randn(1, 3, 32, 32), tmp_path / "roofs.pth")


def test_a_folder_that_is_not_there_is_told(network, tmp_path):
    with pytest.raises(OutputUnwritable, match="Choose a folder that you may write to"):
        export_network(network, torch.randn(1, 3, 32, 32), tmp_path / "nowhere" / "roofs.onnx")


def test_without_onnxscript_it_says_what_to_install(network, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    with pytest.raises(OptionsRefused, match=r"pip install 'rotacube\[export\]'"):
        export_network(network, torch.randn(1, 3, 32, 32), tmp_path / "roofs.onnx")
    assert list(tmp_path.iterdir()) == []
