"""What the operators run on here, in words: the device, the path of each (measured), and what is compiled."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rotacube.errors import first_line
from rotacube.ops import _library, cube, involution, kronecker, rotation
from rotacube.ops._dispatch import LEFT_ASIDE
from rotacube.ops.rotation_plan import PLAN


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


@dataclass(frozen=True)
class CompiledStatus:
    """What is compiled.

    Attributes:
        libraries: by device, the sentence that says whether its library is open, or why not.
        abi: what the libraries are built against, and the PyTorch that is here.
        rotation_plan: the choices of the rotation-invariant convolution's plan, in their order.
    """

    libraries: dict[str, str]
    abi: str
    rotation_plan: list[str]

    def sentences(self) -> list[str]:
        """All of it for a person, a sentence a line."""
        said = [f"Library for {device.upper()}: {why}." for device, why in self.libraries.items()]
        said.append(f"Built against: {self.abi}.")
        return said + [f"Rotation convolution: {choice}." for choice in self.rotation_plan]


@dataclass(frozen=True)
class _Probe:
    """A small case of an operator: why it takes the reference, the compiled kernel, and the reference."""

    name: str
    shapes: tuple[tuple[int, ...], ...]
    why: Callable[..., str | None]
    compiled: Callable[..., Tensor]
    reference: Callable[..., Tensor]


_PROBES = (
    _Probe(
        "cube_conv2d",
        ((2, 8, 5, 7), (3, 2, 3, 3)),
        cube.why_reference,
        lambda x, w: torch.ops.rotacube.cube_conv2d(x, w, None, None, None, "tl"),
        cube.cube_conv2d_reference,
    ),
    _Probe(
        "rotation_conv2d",
        ((2, 8, 5, 7), (3, 8, 3, 3)),
        lambda x, w: rotation.why_reference(x, w, 4, "max", 1),
        lambda x, w: torch.ops.rotacube.rotation_conv2d(x, w, None, 4, 1, False, "scatter")[0],
        rotation.rotation_conv2d_reference,
    ),
    _Probe(
        "rotation_conv2d mean",
        ((2, 8, 5, 7), (3, 8, 3, 3)),
        lambda x, w: rotation.why_reference(x, w, 4, "mean", 1),
        lambda x, w: torch.ops.rotacube.rotation_mean(x, w, None, 1),
        lambda x, w: rotation.rotation_conv2d_reference(x, w, pool="mean"),
    ),
    _Probe(
        "kronecker_fusion",
        ((2, 8, 5, 7), (2, 2)),
        lambda x, w: kronecker.why_reference((x, x), w),
        lambda x, w: torch.ops.rotacube.kronecker_fusion([x, x], w),
        lambda x, w: kronecker.kronecker_fusion_reference((x, x), w),
    ),
    _Probe(
        "involution2d",
        ((2, 8, 5, 7), (2, 18, 5, 7)),
        lambda x, w: involution.why_reference(x, w, 2),
        lambda x, w: torch.ops.rotacube.involution2d(x, w, 2),
        lambda x, w: involution.involution2d_reference(x, w, groups=2),
    ),
)


def operator_status() -> list[OperatorStatus]:
    """Runs every operator once in every type, on every device of this machine, and compares it with its reference."""
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    types = (torch.float32, torch.bfloat16, torch.float16)
    return [_status(probe, device, dtype) for device in devices for probe in _PROBES for dtype in types]


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
            "cpu", f"The GPU is there but does not compute ({first_line(error)}): models run on the CPU."
        )
    if abs(total - 332833500.0) > 1e3:
        return DeviceStatus("cpu", f"The GPU {name} computes wrongly, so models run on the CPU.")
    return DeviceStatus("cuda", f"Models run on the GPU {name}; {_library.CUDA.why}.")


def compiled_status() -> CompiledStatus:
    """Says which compiled libraries are open, what they are built against, and which algorithms are chosen."""
    libraries = {"cpu": _library.CPU.why, "cuda": _library.CUDA.why}
    abi = f"PyTorch's stable ABI, version {_library.ABI_TARGET} or newer; here {torch.__version__}"
    return CompiledStatus(libraries, abi, [str(choice) for choice in PLAN])


def _status(probe: _Probe, device: str, dtype: torch.dtype) -> OperatorStatus:
    kind = "" if dtype == torch.float32 else f" {str(dtype).removeprefix('torch.')}"
    name = f"{probe.name}{kind}" + ("@cuda" if device == "cuda" else "")
    x, weight = (torch.linspace(-1, 1, math.prod(shape)).reshape(shape).to(device, dtype) for shape in probe.shapes)
    with torch.no_grad(), torch.autocast(device, enabled=False):
        why = probe.why(x, weight)
        if why is not None and why not in LEFT_ASIDE:
            return OperatorStatus(name, "reference", why)
        try:
            got, want = probe.compiled(x, weight), probe.reference(x.double(), weight.double())
            error = ((got - want).abs().max() / want.abs().max()).item()
        except RuntimeError as failure:
            return OperatorStatus(name, "reference", f"the compiled kernel fails: {first_line(failure)}")
    if not error < (1e-4 if dtype == torch.float32 else 1e-2):
        return OperatorStatus(name, "reference", f"the compiled kernel is off by {error:.1e} from the reference")
    agrees = f"runs and agrees with the reference (relative error {error:.0e})"
    if why is not None:
        return OperatorStatus(name, "reference", f"{why}; it {agrees}")
    return OperatorStatus(name, "compiled", agrees)
