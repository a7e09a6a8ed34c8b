"""Which path every operator takes on this machine, and which device is in use: measured, and said in words."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rotacube.ops import _library, cube, involution, kronecker, rotation
from rotacube.ops._dispatch import COMPILED
from rotacube.ops.cube import cube_conv2d_reference
from rotacube.ops.involution import involution2d_reference
from rotacube.ops.kronecker import kronecker_fusion_reference
from rotacube.ops.rotation import rotation_conv2d_reference


@dataclass(frozen=True)
class OperatorStatus:
    """The path that an operator takes without gradients, and why.

    The type is float32, or that after the name; on a GPU the name ends in `@cuda`.
    """

    name: str
    path: Literal["compiled", "reference"]
    why: str


@dataclass(frozen=True)
class DeviceStatus:
    """The device that models run on (`cpu` or `cuda`), and why."""

    device: Literal["cpu", "cuda"]
    why: str


def operator_status() -> list[OperatorStatus]:
    """Runs every operator once on every device of this machine and compares it with its reference."""
    found = []
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        for kind in COMPILED:
            for trial in (_cube, _rotation, _rotation_mean, _kronecker, _involution):
                name, why, run, reference = trial(device, kind)
                name += "" if kind == torch.float32 else f" {str(kind).removeprefix('torch.')}"
                found.append(_judge(name + ("@cuda" if device == "cuda" else ""), kind, why, run, reference))
    return found


def device_status() -> DeviceStatus:
    """Says whether a GPU is used. One that is there is believed only once it has computed something right."""
    if torch.version.cuda is None:
        return DeviceStatus("cpu", "The installed PyTorch has no CUDA support, so models run on the CPU.")
    if not torch.cuda.is_available():
        return DeviceStatus("cpu", "PyTorch finds no usable NVIDIA GPU or driver, so models run on the CPU.")
    try:
        name = torch.cuda.get_device_name()
        total = torch.arange(1000, device="cuda", dtype=torch.float32).square().sum().item()
    except RuntimeError as error:
        return DeviceStatus(
            "cpu", f"The GPU is there but does not compute ({_first_line(error)}): models run on the CPU."
        )
    if abs(total - 332833500.0) > 1e3:
        return DeviceStatus("cpu", f"The GPU {name} computes wrongly, so models run on the CPU.")
    return DeviceStatus("cuda", f"Models run on the GPU {name}; {_library.CUDA.why}.")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


Trial = tuple[str, str | None, Callable[[], Tensor], Callable[[], Tensor]]  # name, why not, kernel, float64


def _ramp(kind: torch.dtype, device: str, *shape: int) -> Tensor:
    return torch.linspace(-1, 1, math.prod(shape), device=device).reshape(shape).sin().to(kind)


def _cube(device: str, kind: torch.dtype) -> Trial:
    x, weight = _ramp(kind, device, 2, 8, 5, 7), _ramp(kind, device, 3, 2, 3, 3)
    return (
        "cube_conv2d",
        cube.why_reference(x, weight, None),
        lambda: torch.ops.rotacube.cube_conv2d(x, weight, None, None, None, "tl"),
        lambda: cube_conv2d_reference(x.double(), weight.double()),
    )


def _rotation(device: str, kind: torch.dtype) -> Trial:
    x, weight = _ramp(kind, device, 2, 8, 5, 7), _ramp(kind, device, 3, 8, 3, 3)
    return (
        "rotation_conv2d",
        rotation.why_reference(x, weight, 4, "max", 1, None),
        lambda: torch.ops.rotacube.rotation_conv2d(x, weight, None, 4, 1, False, "scatter")[0],
        lambda: rotation_conv2d_reference(x.double(), weight.double()),
    )


def _rotation_mean(device: str, kind: torch.dtype) -> Trial:
    x, weight = _ramp(kind, device, 2, 8, 5, 7), _ramp(kind, device, 3, 8, 3, 3)
    return (
        "rotation_mean",
        rotation.why_reference(x, weight, 4, "mean", 1, None),
        lambda: torch.ops.rotacube.rotation_mean(x, weight, None, 1),
        lambda: rotation_conv2d_reference(x.double(), weight.double(), pool="mean"),
    )


def _kronecker(device: str, kind: torch.dtype) -> Trial:
    xs, weight = [_ramp(kind, device, 2, 3, 5, 7), _ramp(kind, device, 2, 3, 5, 7)], _ramp(kind, device, 2, 2)
    return (
        "kronecker_fusion",
        kronecker.why_reference(xs, weight),
        lambda: torch.ops.rotacube.kronecker_fusion(xs, weight),
        lambda: kronecker_fusion_reference([x.double() for x in xs], weight.double()),
    )


def _involution(device: str, kind: torch.dtype) -> Trial:
    x, kernel = _ramp(kind, device, 2, 8, 5, 7), _ramp(kind, device, 2, 18, 5, 7)
    return (
        "involution2d",
        involution.why_reference(x, kernel, 2),
        lambda: torch.ops.rotacube.involution2d(x, kernel, 2),
        lambda: involution2d_reference(x.double(), kernel.double(), groups=2),
    )


def _judge(
    name: str, kind: torch.dtype, why: str | None, run: Callable[[], Tensor], reference: Callable[[], Tensor]
) -> OperatorStatus:
    if why is not None and why not in cube.SET_ASIDE:
        return OperatorStatus(name, "reference", why)
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        try:
            got, want = run(), reference()
            error = ((got - want).abs().max() / want.abs().max()).item()
        except RuntimeError as failure:
            return OperatorStatus(name, "reference", f"the compiled kernel fails: {_first_line(failure)}")
    if not error < (1e-4 if kind == torch.float32 else 1e-2):
        return OperatorStatus(name, "reference", f"the compiled kernel is off by {error:.1e} from the reference")
    agrees = f"runs and agrees with the reference (relative error {error:.0e})"
    if why is not None:
        return OperatorStatus(name, "reference", f"{why}; it {agrees}")
    return OperatorStatus(name, "compiled", agrees)
