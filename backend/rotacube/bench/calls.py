"""What the candidates have in common: the operands of a convolution, forward and forward with backward, and a ratio."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rotacube.bench.rows import Conditions, Measured, tensor
from rotacube.bench.timing import REFUSALS, Call, Timings, ratios

Convolution = Callable[..., Tensor]  # x, what was prepared of the weight, bias -> y
Prepare = Callable[[Tensor], Any]  # weight -> what is prepared of it
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
FORMATS = ("channels_last", "contiguous")


@dataclass(frozen=True)
class Shape:
    """A layer: channels, outputs, and the side of its square map."""

    channels: int
    outputs: int
    side: int

    def __str__(self) -> str:
        return f"C {self.channels}, O {self.outputs}, {self.side} x {self.side}"

    def costs(
        self, batch: int, weight_channels: int, dtype: torch.dtype, backward: bool = False
    ) -> tuple[float, float]:
        """The operations of a 3x3 convolution, and the bytes that it reads and writes; with `backward` of both passes.

        Forward reads x, w and writes y; backward reads the gradient of y, x, w and writes the gradients of x and w.
        """
        area = float(batch * self.side**2)
        x, y, w = area * self.channels, area * self.outputs, 9.0 * weight_channels * self.outputs
        operations = 18.0 * weight_channels * y
        if backward:
            return 3 * operations, (3 * x + 2 * y + 3 * w) * dtype.itemsize
        return operations, (x + y + w) * dtype.itemsize


@dataclass(frozen=True)
class Operands:
    """x, weight and bias of a 3x3 convolution, and a gradient of its output, in both memory formats."""

    shape: Shape
    batch: int
    dtype: torch.dtype
    conditions: Conditions
    backward: bool

    def of(self, function: Convolution, weight_channels: int, prepare: Prepare | None = None) -> dict[str, Call]:
        """Calls of a convolution by memory format; with `backward` also the gradients of x, weight and bias.

        `prepare` makes of the weight what `function` takes: beforehand where there is only the forward pass, and
        within the call where gradients pass through it.
        """
        calls: dict[str, Call] = {}
        for memory, (x, grad, bias) in self._maps.items():
            weight = self._weight(weight_channels, memory)
            if grad is not None:
                calls[memory] = _with_gradients(function, x, weight, bias, grad, prepare)
            else:
                calls[memory] = _forward(function, x, weight, bias, prepare)
        return calls

    @functools.cached_property
    def _maps(self) -> dict[str, tuple[Tensor, Tensor | None, Tensor]]:
        """x, the gradient of the output, and bias, by memory format; all candidates share them."""
        s, made = self.shape, {}
        for memory in FORMATS:
            in_format = functools.partial(
                tensor, device=self.conditions.device, dtype=self.dtype, last=memory == "channels_last"
            )
            x = in_format(self.batch, s.channels, s.side, s.side)
            grad = in_format(self.batch, s.outputs, s.side, s.side, seed=3) if self.backward else None
            made[memory] = (x, grad, in_format(s.outputs, seed=2))
        return made

    def _weight(self, weight_channels: int, memory: str) -> Tensor:
        size = (self.shape.outputs, weight_channels, 3, 3)
        return tensor(*size, device=self.conditions.device, dtype=self.dtype, seed=1, last=memory == "channels_last")


def _forward(function: Convolution, x: Tensor, weight: Tensor, bias: Tensor, prepare: Prepare | None) -> Call:
    prepared = prepare(weight) if prepare else weight

    def call() -> object:
        with torch.no_grad():
            return function(x, prepared, bias)

    return call


def _with_gradients(
    function: Convolution, x: Tensor, weight: Tensor, bias: Tensor, grad: Tensor, prepare: Prepare | None
) -> Call:
    leaves = [operand.detach().requires_grad_() for operand in (x, weight, bias)]

    def call() -> object:
        y = function(leaves[0], prepare(leaves[1]) if prepare else leaves[1], leaves[2])
        return torch.autograd.grad(y, leaves, grad)

    return call


def standard(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The standard 3x3 convolution, which keeps height and width."""
    return F.conv2d(x, weight, bias, padding=1)


def named(prefix: str, calls: Mapping[str, Call]) -> dict[str, Call]:
    """The calls under names that begin with what they are."""
    return {f"{prefix}, {memory}": call for memory, call in calls.items()}


def compare(
    found: Timings,
    conditions: Conditions,
    operations: float,
    moved: float,
    dtype: torch.dtype,
    limit: float | None = None,
) -> Measured:
    """The row of a ratio: the best baseline's median over ours, with the roofline of ours beside it."""
    ours, baseline = found.best("ours"), found.best("baseline")
    if ours is None or baseline is None:
        return Measured(None, found.why_none("ours", "baseline"))
    value, low, high = ratios(baseline[1], ours[1])
    roofline = conditions.peaks.roofline(operations, moved, dtype)
    more: dict[str, object] = {
        "low": short(low),
        "high": short(high),
        "baseline": baseline[0],
        "baseline_ms": short(baseline[1].median * 1e3),
        "ours": ours[0],
        "ours_ms": short(ours[1].median * 1e3),
        "roofline_ms": short(roofline * 1e3),
        "of_roofline": short(roofline / ours[1].median),
        "rounds": len(ours[1].samples),
    }
    if limit is not None:
        more["of_limit"] = short(value / limit)
    others = {name: s.median * 1e3 for group in found.groups.values() for name, s in group.items()}
    others |= {name: seconds * 1e3 for name, seconds in found.slower.items()}
    more["others_ms"] = {n: short(ms) for n, ms in sorted(others.items()) if n not in (ours[0], baseline[0])}
    if found.refused:
        more["refused"] = {name: why for refused in found.refused.values() for name, why in refused.items()}
    return Measured(value, f"{ours[0]} against {baseline[0]}", more)


def with_path(measured: Measured, calls: Mapping[str, Call]) -> Measured:
    """The same, and which path ours takes, where it was measured."""
    if measured.value is None:
        return measured
    return Measured(measured.value, measured.on, {**measured.more, "path": path_of(calls)})


def short(value: float) -> float:
    """The value to four digits."""
    return float(f"{value:.4g}")


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes which compiled operators are called, each with its arguments that are words (an algorithm, an anchor)."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[list[str]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = str(func)
        if name.startswith("rotacube."):
            self.seen.append([name, *(argument for argument in args if isinstance(argument, str))])
        return func(*args, **(kwargs or {}))


def path_of(calls: Mapping[str, Call]) -> str:
    """Says which path an operator takes: "compiled", with the algorithm where there are several, or "plain PyTorch"."""
    with _Watch() as watch:
        for call in calls.values():
            try:
                call()
            except REFUSALS:
                continue
            break
    algorithms = sorted({word for seen in watch.seen for word in seen[1:]} - {"tl", "br"})
    if not watch.seen:
        return "plain PyTorch"
    return f"compiled ({', '.join(algorithms)})" if algorithms else "compiled"
