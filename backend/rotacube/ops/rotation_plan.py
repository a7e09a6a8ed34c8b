"""Which algorithm the rotation-invariant convolution takes for a layer: the first choice of the plan that covers it.

The choices follow what `rotacube bench ops` measured (figures: docs/results/ops.md); `rotacube doctor` prints them.
"Direct" is PyTorch's own convolution, once for each rotation. "Scatter" multiplies each pixel with each tap once, and
lets every rotation add the products up at its own places: 9 products a pixel for K = 3 in the place of 36 (Accelerated
Rotation-Invariant Convolution, equations 3 to 8). The Fourier form over the four rotations takes 11; it is built for
GPUs only, and docs/operators.md says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

Algorithm = Literal["direct", "scatter"]


@dataclass(frozen=True)
class Choice:
    """Layers with so many rotations, a kernel K, one of the types and no fewer channels take the algorithm."""

    rotations: int
    kernels: tuple[int, ...]
    types: tuple[torch.dtype, ...]
    least_channels: int
    algorithm: Algorithm
    why: str

    def __str__(self) -> str:
        kernels = ", ".join(str(k) for k in self.kernels)
        types = ", ".join(str(kind).removeprefix("torch.") for kind in self.types)
        least = f", {self.least_channels} channels or more" if self.least_channels > 1 else ""
        return f"{self.rotations} rotations, K = {kernels}, {types}{least}: {self.algorithm}; {self.why}"


_WIDE = (torch.float32, torch.bfloat16)
PLAN = (
    Choice(4, (3,), _WIDE, 1, "scatter", "faster than every plain form at all widths measured"),
    Choice(4, (5, 7), _WIDE, 8, "scatter", "faster from 8 channels on; with 3 the sums outweigh the products"),
    Choice(4, (3, 5, 7), (torch.float16,), 1, "scatter", "PyTorch has no fast float16 convolution on the CPU"),
    Choice(1, (3, 5, 7), (torch.float16,), 1, "scatter", "PyTorch has no fast float16 convolution on the CPU"),
)


def choose(rotations: int, kernel: int, kind: torch.dtype, channels: int) -> Algorithm:
    """The algorithm for a layer on the CPU; "direct" where no choice covers it."""
    for choice in PLAN:
        if (
            rotations == choice.rotations
            and kernel in choice.kernels
            and kind in choice.types
            and channels >= choice.least_channels
        ):
            return choice.algorithm
    return "direct"
