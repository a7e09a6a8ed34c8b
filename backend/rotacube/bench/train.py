"""A training step of RI-UNet: seconds and peak memory, with each way to compute its rotation-invariant convolutions.

The paper's tables compare training with its convolution to training with one convolution an orientation; here as
ratios, side by side in one run. `python -m rotacube.bench.train PAGE [WIDTH]` writes the page; the width is a factor on
all channels. A CPU that only pretends to multiply in bfloat16 is not asked to. Energy needs a GPU's own counter: not
measured on a CPU.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from rotacube.bench.baselines import e2cnn_c4, four_convolutions, one_convolution_argmax, stacked, turned
from rotacube.bench.machine import describe_machine, describe_torch
from rotacube.bench.memory import high_water
from rotacube.bench.timing import Effort, measure
from rotacube.errors import first_line
from rotacube.files import write_text
from rotacube.inference.device import choose_place
from rotacube.networks.registry import build_network
from rotacube.nn import RotationConv2d
from rotacube.ops.rotation import steer

ORIENTATIONS = (1, 4, 8, 16)
SIDE, BATCH, CLASSES = 256, 2, 4
EFFORT = Effort(rounds=5, seconds=0.0, most=60.0, least=3, long=60.0)
PUBLISHED = {4: "-45.9% on plants, -46.7% on the drone's images", 8: "-45.4%, -56.9%", 16: "only theirs fits in memory"}
Function = Callable[[Tensor, Tensor, Tensor], Tensor]


def _four(x: Tensor, filters: Tensor, bias: Tensor) -> Tensor:
    return four_convolutions(x, turned(filters), bias)


def _one(x: Tensor, filters: Tensor, bias: Tensor) -> Tensor:
    return one_convolution_argmax(x, stacked(filters), bias)


WAYS: dict[str, Function | None] = {
    "ours": None,
    "four convolutions": _four,
    "one convolution with 4 x O outputs": _one,
    "e2cnn": None,
}


class _Other(nn.Module):
    """A rotation-invariant layer, computed by a function."""

    def __init__(self, layer: RotationConv2d, function: Function) -> None:
        super().__init__()
        self.layer, self.function = layer, function

    def forward(self, x: Tensor) -> Tensor:
        filters, bias = steer(self.layer.weight, self.layer.orientations), self.layer.bias
        return self.function(x, filters, filters.new_zeros(len(filters)) if bias is None else bias)


class _E2cnn(nn.Module):
    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.parts, self.run = e2cnn_c4(channels, outputs, "cpu", torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)


def training_step(way: str, orientations: int, dtype: str, width: float = 1.0) -> Callable[[], object]:
    """A call that trains one step.

    Raises:
        ImportError: e2cnn is not installed.
        ValueError: e2cnn pools over a whole group, which is what ours does for four orientations alone.
    """
    torch.manual_seed(0)
    network = build_network(f"ri-unet-{orientations}", 3, CLASSES, {"width": width}).train()
    if way == "e2cnn":
        if orientations != 4:
            raise ValueError("e2cnn pools over all orientations, ours in fours: the same for four alone")
        if dtype != "float32":
            raise ValueError("e2cnn computes in float32")
        _replace(network, lambda part: _E2cnn(part.in_channels, part.out_channels))
    elif (function := WAYS[way]) is not None:
        _replace(network, lambda part: _Other(part, function))
    optimiser = torch.optim.SGD(network.parameters(), 1e-3)
    image = torch.randn(BATCH, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, (BATCH, SIDE, SIDE))

    def step() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            logits = network(image)
        loss: Tensor = nn.functional.cross_entropy(logits.float(), labels)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        return loss.item()

    return step


def _replace(module: nn.Module, make: Callable[[RotationConv2d], nn.Module]) -> None:
    for name, part in module.named_children():
        if isinstance(part, RotationConv2d):
            setattr(module, name, make(part))
        else:
            _replace(part, make)


def peak(way: str, orientations: int, dtype: str, width: float = 1.0) -> float | str:
    """The most memory in MiB that a step takes beyond the network itself, in a process of its own; or why not."""
    order = json.dumps([way, orientations, dtype, width, torch.get_num_threads()])
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-m", "rotacube.bench.train", "--peak", order]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"not measured: {(done.stderr.strip().splitlines() or ['the process failed'])[-1]}"
    return float(done.stdout)


def compared(orientations: int, dtype: str, width: float = 1.0) -> list[list[str]]:
    """Rows of the table: way, seconds, share of the fastest rival's, MiB."""
    calls, refused = {}, {}
    for way in WAYS:
        if orientations == 1 and way != "ours":
            continue
        try:
            calls[way] = training_step(way, orientations, dtype, width)
        except (ImportError, ValueError) as error:
            refused[way] = first_line(error)
    found = measure({way: {way: call} for way, call in calls.items()}, EFFORT, "cpu")
    medians = {way: spreads[way].median for way, spreads in found.groups.items()}
    first = medians["ours"]
    rows = []
    for way in WAYS:
        if way in medians:
            most = peak(way, orientations, dtype, width)
            rows.append(
                [
                    str(orientations),
                    dtype,
                    way,
                    f"{medians[way]:.2f}",
                    f"{medians[way] / first:.2f}",
                    most if isinstance(most, str) else f"{most:,.0f}",
                ]
            )
        elif way in refused or way in found.refused:
            why = refused.get(way) or found.refused[way][way]
            rows.append([str(orientations), dtype, way, f"not measured: {why}", "", ""])
    return rows


def page(rows: Sequence[Sequence[str]], width: float = 1.0) -> str:
    """The page."""
    head = ["orientations", "type", "way", "seconds a step", "over ours", "peak MiB"]
    published = "; ".join(f"{count} orientations {text}" for count, text in PUBLISHED.items())
    lines = [
        "# A training step of RI-UNet",
        "",
        f"Written by `make bench-train`. {BATCH} images of {SIDE} x {SIDE}, {width:g} of the paper's widths, forward, "
        f"backward and update; medians of a round-robin. {describe_machine('cpu')}; {describe_torch()}.",
        f"The paper's training time against one convolution an orientation, at 256 pixels on a GPU: {published}. "
        "Energy, and everything on a GPU: not measured.",
        "",
        "| " + " | ".join(head) + " |",
        "|---" * len(head) + "|",
    ]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Measure a peak in this process, or everything, and write the page."""
    if arguments[0] == "--peak":
        way, orientations, dtype, width, threads = json.loads(arguments[1])
        torch.set_num_threads(threads)
        step = training_step(way, orientations, dtype, width)
        print(high_water(step) / 2**20)
        return
    rows: list[list[str]] = []
    width = float(arguments[1]) if len(arguments) > 1 else 1.0
    halves = ["bfloat16"] if choose_place().dtype == torch.bfloat16 else []
    for orientations in ORIENTATIONS:
        for dtype in ("float32", *halves):
            rows += compared(orientations, dtype, width)
            print(*rows[-4:], sep="\n", flush=True)
            write_text(Path(arguments[0]), page(rows, width))


if __name__ == "__main__":
    main(sys.argv[1:])
