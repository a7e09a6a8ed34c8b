"""What the operators say of themselves: which path each takes here, and why."""

from __future__ import annotations

from dataclasses import replace

import torch
from cube_cases import compiled

from rotacube.ops import _dispatch, _library, status
from rotacube.ops._dispatch import HALF_REFERENCE


def test_it_says_what_runs_and_why():
    said = {one.name: one for one in status.operator_status()}
    assert said["cube_conv2d"].path == ("compiled" if _library.CPU.loaded else "reference")
    half = _library.CPU.loaded and HALF_REFERENCE[torch.bfloat16] is None
    assert said["cube_conv2d bfloat16"].path == ("compiled" if half else "reference")
    assert all(len(one.why) > 10 for one in said.values())
    device = status.device_status()
    assert device.device == ("cuda" if torch.cuda.is_available() else "cpu")
    assert device.why.endswith(".")


@compiled
def test_it_does_not_believe_a_wrong_kernel(monkeypatch):
    probes = [replace(p, reference=lambda x, w, right=p.reference: right(x, w) * 1.02) for p in status._PROBES]
    monkeypatch.setattr(status, "_PROBES", probes)
    found = status.operator_status()
    assert len(found) == 15
    for one in found:
        assert one.path == "reference"
        assert "off by" in one.why


@compiled
def test_it_names_a_kernel_that_is_left_aside(monkeypatch):
    monkeypatch.setitem(HALF_REFERENCE, torch.bfloat16, _dispatch.AMX_REFERENCE)
    said = {one.name: one for one in status.operator_status()}
    for name in ("cube_conv2d", "rotation_conv2d", "rotation_conv2d mean"):
        assert said[name].path == "compiled"
        assert said[f"{name} bfloat16"].path == "reference"
        assert said[f"{name} bfloat16"].why.startswith(_dispatch.AMX_REFERENCE + "; it runs and agrees")


def test_what_is_compiled_is_said_in_sentences():
    found = status.compiled_status()
    assert found.libraries == {"cpu": _library.CPU.why, "cuda": _library.CUDA.why}
    assert torch.__version__ in found.abi
    assert len(found.sentences()) == 3 + len(found.rotation_plan)
    assert all(sentence.endswith(".") for sentence in found.sentences())
    assert _library.CPU.why in found.sentences()[0] and found.rotation_plan[0] in found.sentences()[3]
