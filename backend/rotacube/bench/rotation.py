"""The rotation-invariant convolution, four orientations, at the first convolutions of RI-UNet's blocks (width 64).

Maximum over the orientations against the best way to have it from PyTorch; mean against one convolution with the
averaged kernel; and the planner's table: each algorithm's time, shape by shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from rotacube.bench import baselines, timing
from rotacube.bench.calls import TYPES, Convolution, Operands, Shape, compare, named, standard, with_path
from rotacube.bench.rows import Case, Conditions, Measured, tensor
from rotacube.bench.timing import Call, measure
from rotacube.ops.rotation import rotation_conv2d

SHAPES = [  # encoder and decoder of a 256 x 256 input
    Shape(3, 64, 256),
    Shape(64, 128, 128),
    Shape(128, 256, 64),
    Shape(256, 512, 32),
    Shape(512, 1024, 16),
    Shape(1024, 512, 32),
    Shape(512, 256, 64),
    Shape(256, 128, 128),
    Shape(128, 64, 256),
]
LARGE_SHAPES = [Shape(64, 128, 512), Shape(128, 64, 1024)]  # the second and the last of a 1024 x 1024 input
QUICK = Shape(512, 1024, 16)
COMPILE = "torch.compile"
# The baselines are compiled at these layers only: compiling takes longer than the measurement.
COMPILED = [Shape(64, 128, 128), Shape(512, 1024, 16)]
ALGORITHMS = {"cpu": ("scatter",), "cuda": ("scatter", "fourier")}  # beside the direct ones, which are the baselines
LIMIT = 4.0  # 9 products a pixel instead of 36
TRAINING_BATCH = 2


def cases() -> list[Case]:
    """Maximum, forward and forward with backward, then mean; float32 and bfloat16."""
    made = []
    for backward in (False, True):
        for dtype in TYPES:
            for shape in [*SHAPES, *LARGE_SHAPES]:
                batch = TRAINING_BATCH if backward and shape not in LARGE_SHAPES else 1
                title = f"rotation max forward+backward, batch {batch}" if backward else "rotation max forward"
                targets = {"cpu": 2.5, "cuda": 2.0} if shape.channels >= 64 else {}
                run = partial(_run_max, shape, dtype, backward, batch)
                quick = shape == QUICK and (dtype == "bfloat16") == backward
                made.append(Case("rotation", f"{title}, {dtype}, {shape}", "times", run, targets, quick=quick))
    for dtype in TYPES:
        for shape in SHAPES[1:]:
            what = f"rotation mean forward, {dtype}, {shape}"
            run = partial(_run_mean, shape, dtype)
            targets, rule = {"cpu": 1.0, "cuda": 1.0}, "at least, within noise"
            made.append(Case("mean", what, "times", run, targets, rule, quick=shape == QUICK))  # type: ignore[arg-type]
    return made


def public(pool: Literal["max", "mean"]) -> Convolution:
    """The operator as everyone calls it: its planner chooses the algorithm."""

    def run(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return rotation_conv2d(x, weight, pool=pool, bias=bias)

    return run


def algorithm(name: str, rotations: int = 4) -> Convolution:
    """The compiled operator with one algorithm; the index of the maximum is wanted where gradients are."""

    def run(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        want_index = torch.is_grad_enabled() and rotations > 1
        operator = torch.ops.rotacube.rotation_conv2d
        y: Tensor = operator(x, weight, bias, rotations, weight.shape[2] // 2, want_index, name)[0]
        return y

    return run


def _run_max(shape: Shape, dtype: str, backward: bool, batch: int, conditions: Conditions) -> Measured:
    operands = Operands(shape, batch, TYPES[dtype], conditions, backward)
    c = shape.channels
    by_algorithm: dict[str, Call] = {}
    for name in ALGORITHMS[conditions.device]:
        by_algorithm |= named(name, operands.of(algorithm(name), c))
    groups: dict[str, Mapping[str, Call]] = {"baseline": _baselines(shape, operands)}
    if conditions.device == "cuda":
        groups["ours"] = ours = by_algorithm
    else:
        ours = operands.of(public("max"), c)
        groups |= {"ours": named("rotation", ours), "algorithms": by_algorithm}
    compiles = [name for name in groups["baseline"] if COMPILE in name]
    found = measure(groups, conditions.effort, conditions.device, compiles)
    operations, moved = shape.costs(batch, c, TYPES[dtype], backward)
    if backward:  # the index of the maximum, two bits an output, is written and read
        moved += 2 * batch * shape.outputs * shape.side**2 / 4
    return with_path(compare(found, conditions, operations, moved, TYPES[dtype], LIMIT), ours)


def _baselines(shape: Shape, operands: Operands) -> dict[str, Call]:
    c = shape.channels
    ways: list[tuple[str, Convolution, Callable[[Tensor], Any] | None]] = [
        ("four convolutions", baselines.four_convolutions, baselines.turned),
        ("one convolution", baselines.one_convolution, baselines.stacked),
        ("ORN", baselines.orn, None),
    ]
    if operands.backward:
        ways.append(("one convolution, arg-max", baselines.one_convolution_argmax, baselines.stacked))
    calls: dict[str, Call] = {}
    for name, function, prepare in ways:
        calls |= named(name, operands.of(function, c, prepare))
    if operands.conditions.effort != timing.QUICK:
        torch._dynamo.reset()  # it compiles a function for a few shapes only
        for name, function, prepare in ways[: 2 if shape in COMPILED else 0]:
            made = operands.of(baselines.compiled(function), c, prepare)
            calls[f"{name}, {COMPILE}, channels_last"] = made["channels_last"]
    calls |= _e2cnn(shape, operands)
    return calls


def _e2cnn(shape: Shape, operands: Operands) -> dict[str, Call]:
    device, dtype = operands.conditions.device, operands.dtype
    x = tensor(operands.batch, shape.channels, shape.side, shape.side, device=device, dtype=dtype)
    kept: list[Any] = []

    def call() -> object:
        if not kept:  # where e2cnn is missing this raises, and the measurement says so
            module, run = baselines.e2cnn_c4(shape.channels, shape.outputs, device, dtype)
            kept[:] = [module.train(operands.backward), run]
        module, run = kept
        if not operands.backward:
            with torch.no_grad():
                return run(x)
        leaf = x.detach().requires_grad_()
        y = run(leaf)
        return torch.autograd.grad(y, [leaf, *module.parameters()], torch.ones_like(y))

    return {"e2cnn": call}


def _run_mean(shape: Shape, dtype: str, conditions: Conditions) -> Measured:
    operands = Operands(shape, 1, TYPES[dtype], conditions, False)

    def averaged(weight: Tensor) -> Tensor:
        return torch.stack(baselines.turned(weight)).mean(0)

    ours = operands.of(public("mean"), shape.channels)
    baseline = named("conv2d", operands.of(standard, shape.channels, averaged))
    found = measure({"baseline": baseline, "ours": named("rotation", ours)}, conditions.effort, conditions.device)
    operations, moved = shape.costs(1, shape.channels, TYPES[dtype])
    # 3 products a pixel: centre, edges, corners
    return with_path(compare(found, conditions, operations / 3, moved, TYPES[dtype]), ours)
