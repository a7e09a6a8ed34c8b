"""The Cube convolution against the standard 3x3 convolution, at the layers of ConvNeXt-Cube for a 512 x 512 input."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from rotacube.bench.calls import TYPES, Operands, Shape, compare, named, standard, with_path
from rotacube.bench.rows import Case, Conditions, Measured
from rotacube.bench.timing import measure
from rotacube.ops import cube_conv2d

SHAPES = [  # the blocks' own layers, then the decoder's fusions of a concatenation
    Shape(96, 96, 128),
    Shape(192, 192, 64),
    Shape(384, 384, 32),
    Shape(768, 768, 16),
    Shape(192, 96, 128),
    Shape(384, 192, 64),
    Shape(768, 384, 32),
]
QUICK = Shape(768, 768, 16)
LIMIT = 4.0  # a quarter of the operations
TRAINING_BATCH = 4


def cases() -> list[Case]:
    """Forward at batch 1 and forward with backward at batch 4, float32 and bfloat16."""
    made = []
    for backward in (False, True):
        title = f"Cube forward+backward, batch {TRAINING_BATCH}" if backward else "Cube forward"
        for dtype in TYPES:
            for shape in SHAPES:
                targets = {"cpu": 2.8 if backward else 3.3}
                if shape.channels >= 192:
                    targets["cuda"] = 2.5 if backward else 3.0
                run = partial(_run, shape, dtype, backward)
                made.append(Case("cube", f"{title}, {dtype}, {shape}", "times", run, targets, quick=shape == QUICK))
    return made


def _public(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return cube_conv2d(x, weight, bias)


def _compiled(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    out: Tensor = torch.ops.rotacube.cube_conv2d(x, weight, bias, None, None, "tl")
    return out


def _run(shape: Shape, dtype: str, backward: bool, conditions: Conditions) -> Measured:
    batch = TRAINING_BATCH if backward else 1
    operands = Operands(shape, batch, TYPES[dtype], conditions, backward)
    cube, quarter = _compiled if conditions.device == "cuda" else _public, shape.channels // 4
    ours = operands.of(cube, quarter)
    groups = {
        "baseline": named("conv2d 3x3", operands.of(standard, shape.channels)),
        "ours": named("Cube", ours),
    }
    found = measure(groups, conditions.effort, conditions.device)
    costs = shape.costs(batch, quarter, TYPES[dtype], backward)
    return with_path(compare(found, conditions, *costs, TYPES[dtype], LIMIT), ours)
