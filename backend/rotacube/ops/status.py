"""Which path every operator takes on this machine, and which device is in use: measured, and said in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from rotacube.ops import _library
from rotacube.ops.cube import SET_ASIDE, cube_conv2d_reference, why_reference


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
    found = [_cube("cube_conv2d", "cpu"), _cube("cube_conv2d bfloat16", "cpu", torch.bfloat16)]
    if torch.cuda.is_available():
        found.append(_cube("cube_conv2d@cuda", "cuda"))
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


def _cube(name: str, device: str, dtype: torch.dtype = torch.float32) -> OperatorStatus:
    x = torch.linspace(-1, 1, 2 * 8 * 5 * 7, device=device).reshape(2, 8, 5, 7).to(dtype)
    weight = torch.linspace(-1, 1, 3 * 2 * 3 * 3, device=device).reshape(3, 2, 3, 3).to(dtype)
    with torch.no_grad(), torch.autocast(device, enabled=False):
        why = why_reference(x, weight, None)
        if why is not None and why not in SET_ASIDE:
            return OperatorStatus(name, "reference", why)
        try:
            got = torch.ops.rotacube.cube_conv2d(x, weight, None, None, None, "tl")
            want = cube_conv2d_reference(x.double(), weight.double())
            error = ((got - want).abs().max() / want.abs().max()).item()
        except RuntimeError as failure:
            return OperatorStatus(name, "reference", f"the compiled kernel fails: {_first_line(failure)}")
    if not error < (1e-4 if dtype == torch.float32 else 1e-2):
        return OperatorStatus(name, "reference", f"the compiled kernel is off by {error:.1e} from the reference")
    agrees = f"runs and agrees with the reference (relative error {error:.0e})"
    if why is not None:
        return OperatorStatus(name, "reference", f"{why}; it {agrees}")
    return OperatorStatus(name, "compiled", agrees)
