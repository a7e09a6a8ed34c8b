"""One orientation: the scatter algorithm against the standard convolution (paper C, appendix A).

The paper measures seven sizes, 8 to 512, and nine pairs of channels and filters, and does not name the pairs in its
text. Here they are all pairs of 32, 64 and 128, float32, 3x3, batch 1.
"""

from __future__ import annotations

from functools import partial

import torch

from rotacube.bench.calls import Operands, Shape, compare, named, standard
from rotacube.bench.rotation import algorithm
from rotacube.bench.rows import Case, Conditions, Measured
from rotacube.bench.timing import QUICK, Effort, measure

SIZES = (8, 16, 32, 64, 128, 256, 512)
WIDTHS = (32, 64, 128)
EFFORT = Effort(rounds=9, seconds=0.3, most=3.0)


def cases() -> list[Case]:
    """A case for each size and pair; without target."""
    return [
        Case("single", what(shape), "times", partial(_run, shape), quick=shape == Shape(32, 32, 16))
        for side in SIZES
        for shape in [Shape(channels, outputs, side) for channels in WIDTHS for outputs in WIDTHS]
    ]


def what(shape: Shape) -> str:
    """The title of a case."""
    return f"scatter with one orientation, float32, {shape}"


def _run(shape: Shape, conditions: Conditions) -> Measured:
    operands = Operands(shape, 1, torch.float32, conditions, False)
    groups = {
        "baseline": named("conv2d", operands.of(standard, shape.channels)),
        "ours": named("scatter", operands.of(algorithm("scatter", 1), shape.channels)),
    }
    found = measure(groups, QUICK if conditions.effort == QUICK else EFFORT, conditions.device)
    return compare(found, conditions, *shape.costs(1, shape.channels, torch.float32), torch.float32)
