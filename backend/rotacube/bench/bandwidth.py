"""Kronecker fusion and Involution: the fraction of the memory bandwidth that they reach.

Both do little arithmetic on what they read, so that memory is what limits them. The bandwidth is that of copy and add,
timed in the same rounds; what an operator moves is each input read once and the output written once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from rotacube.bench.calls import FORMATS, TYPES, short
from rotacube.bench.peaks import stream
from rotacube.bench.rows import Case, Conditions, Measured, tensor
from rotacube.bench.timing import QUICK, REFUSALS, Call, measure, quartiles
from rotacube.errors import first_line
from rotacube.ops import involution2d, kronecker_fusion

TARGETS = {"cpu": 0.6, "cuda": 0.7}
KRONECKER = [(2, 4, 64, 256), (4, 4, 64, 256), (2, 16, 256, 64), (4, 16, 256, 64)]  # maps, batch, channels, side
INVOLUTION = [(3, 4), (5, 4), (7, 4)]  # K, batch; 64 channels in groups of 16, maps of 256 x 256
CHANNELS, GROUPS, SIDE = 64, 4, 256


def cases() -> list[Case]:
    """Forward, float32 and bfloat16; arrays many times the caches."""
    made = []
    for dtype in TYPES:
        for maps, batch, channels, side in KRONECKER:
            what = f"Kronecker fusion forward, {dtype}, {maps} maps of {channels} x {side} x {side}, batch {batch}"
            run = partial(_kronecker, maps, batch, channels, side, dtype)
            quick = (maps, side) == (2, 64)
            made.append(Case("kronecker", what, "of bandwidth", run, TARGETS, quick=quick))
        for kernel, batch in INVOLUTION:
            what = (
                f"Involution forward, {dtype}, K {kernel}, {CHANNELS} channels in {GROUPS} groups, "
                f"{SIDE} x {SIDE}, batch {batch}"
            )
            run = partial(_involution, kernel, batch, dtype)
            made.append(Case("involution", what, "of bandwidth", run, TARGETS, quick=kernel == 3))
    return made


def _kronecker(maps: int, batch: int, channels: int, side: int, dtype: str, conditions: Conditions) -> Measured:
    kind = TYPES[dtype]
    weight = tensor(maps, maps, device=conditions.device, dtype=kind)

    def make(last: bool) -> Call:
        xs = [
            tensor(batch, channels, side, side, device=conditions.device, dtype=kind, seed=seed, last=last)
            for seed in range(maps)
        ]
        fuse = _operator(kronecker_fusion, conditions.device)
        return lambda: fuse(xs, weight)

    moved = 2.0 * maps * batch * channels * side**2 * kind.itemsize
    operations = 2.0 * maps**2 * batch * channels * side**2
    return _fraction(make, moved, operations, kind, conditions)


def _involution(kernel: int, batch: int, dtype: str, conditions: Conditions) -> Measured:
    kind = TYPES[dtype]

    def make(last: bool) -> Call:
        x = tensor(batch, CHANNELS, SIDE, SIDE, device=conditions.device, dtype=kind, last=last)
        kernels = tensor(batch, GROUPS * kernel**2, SIDE, SIDE, device=conditions.device, dtype=kind, seed=1, last=last)
        involve = _operator(involution2d, conditions.device)
        return lambda: involve(x, kernels, groups=GROUPS)

    area = float(batch * SIDE**2)
    moved = area * (2 * CHANNELS + GROUPS * kernel**2) * kind.itemsize
    return _fraction(make, moved, 2 * area * CHANNELS * kernel**2, kind, conditions)


def _operator(public: Callable[..., Tensor], device: str) -> Callable[..., Tensor]:
    """The operator as everyone calls it; on a GPU the compiled kernel itself."""
    if device == "cpu":
        return public
    kernel: Callable[..., Tensor] = getattr(torch.ops.rotacube, public.__name__)
    return kernel


def _fraction(
    make: Callable[[bool], Call], moved: float, operations: float, kind: torch.dtype, conditions: Conditions
) -> Measured:
    """Times an operator beside copy and add; `make` takes whether its operands lie channels_last."""
    try:
        calls = {memory: _without_gradients(make(memory == "channels_last")) for memory in FORMATS}
    except REFUSALS as error:
        return Measured(None, f"not measured: {first_line(error)}")
    streams, streamed = stream(conditions.device, (12 if conditions.effort == QUICK else 48) << 20)
    groups = {"ours": calls, **{name: {name: call} for name, call in streams.items()}}
    found = measure(groups, conditions.effort, conditions.device)
    ours = found.best("ours")
    if ours is None:
        return Measured(None, found.why_none("ours"))
    best = max(streamed, key=lambda name: streamed[name] / found.groups[name][name].median)
    baseline = found.groups[best][best]
    scale = moved / streamed[best]
    low, high = quartiles([scale * b / o for b, o in zip(baseline.samples, ours[1].samples, strict=True)])
    roofline = conditions.peaks.roofline(operations, moved, kind)
    more: dict[str, object] = {
        "low": short(low),
        "high": short(high),
        "baseline": best,
        "baseline_gb_s": short(streamed[best] / baseline.median / 1e9),
        "ours": ours[0],
        "ours_ms": short(ours[1].median * 1e3),
        "roofline_ms": short(roofline * 1e3),
        "of_roofline": short(roofline / ours[1].median),
        "rounds": len(ours[1].samples),
        "others_ms": {
            **{name: short(s.median * 1e3) for name, s in found.groups["ours"].items() if name != ours[0]},
            **{name: short(seconds * 1e3) for name, seconds in found.slower.items()},
        },
    }
    return Measured(scale * baseline.median / ours[1].median, f"{ours[0]}, against {best}", more)


def _without_gradients(call: Call) -> Call:
    def run() -> object:
        with torch.no_grad():
            return call()

    return run
