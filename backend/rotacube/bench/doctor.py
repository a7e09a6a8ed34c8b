"""What `rotacube doctor` says of the compiled operators: the libraries, their ABI, the algorithms that are chosen."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch

from rotacube.ops import _library
from rotacube.ops.rotation_plan import PLAN


@dataclass(frozen=True)
class Compiled:
    """The libraries by device, with the sentence that says whether each is open; their ABI; the planner's table."""

    libraries: dict[str, str]
    abi: str
    rotation_plan: list[str]

    def to_json(self) -> dict[str, object]:
        """As plain data."""
        return asdict(self)


def compiled() -> Compiled:
    """Gathers it."""
    libraries = {"cpu": _library.CPU.why, "cuda": _library.CUDA.why}
    abi = f"PyTorch's stable ABI, version {_library.ABI_TARGET} or newer; here {torch.__version__}"
    return Compiled(libraries, abi, [str(choice) for choice in PLAN])


def lines(found: Compiled) -> list[str]:
    """The sentences for a person."""
    said = [f"Library for {device.upper()}: {why}." for device, why in found.libraries.items()]
    said.append(f"Built against: {found.abi}.")
    said += [f"Rotation convolution: {choice}." for choice in found.rotation_plan]
    return said
