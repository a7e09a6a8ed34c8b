"""Where a network runs, and in which precision."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rotacube.errors import RequestRefused
from rotacube.ops.status import device_status


@dataclass(frozen=True)
class Place:
    """A device, the precision on it, and how many tiles go at once."""

    device: torch.device
    dtype: torch.dtype
    batch: int

    def __str__(self) -> str:
        return f"{self.device.type}, {str(self.dtype).removeprefix('torch.')}"


def choose_place(precision: str = "auto") -> Place:
    """The GPU where a kernel really runs on it, else the CPU; bfloat16 where the hardware multiplies in it.

    Args:
        precision: "auto", "float32" or "bfloat16".

    Raises:
        RequestRefused: the precision is not one of those.

    >>> choose_place("float32").dtype
    torch.float32
    """
    if precision not in ("auto", "float32", "bfloat16"):
        raise RequestRefused(f"There is no precision '{precision}'. Choose auto, float32 or bfloat16.")
    cuda = device_status().device == "cuda"
    if cuda:
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
    half = fast if precision == "auto" else precision == "bfloat16"
    return Place(torch.device("cuda" if cuda else "cpu"), torch.bfloat16 if half else torch.float32, 16 if cuda else 1)
