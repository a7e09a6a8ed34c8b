"""The peak extra memory of the rotation-invariant convolution's forward pass, as a multiple of its output.

The output itself is counted, so 1.0 is the least. On the CPU a process of its own runs the operator once, and the
growth of the most memory it ever held (the kernel's high-water mark of resident memory) is taken; on a GPU PyTorch's
own count. A call on a tiny input comes first, for what is loaded once and stays.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from rotacube.bench.calls import TYPES, Convolution, Shape
from rotacube.bench.rotation import algorithm, public
from rotacube.bench.rows import Case, Conditions, Measured
from rotacube.bench.timing import REFUSALS
from rotacube.errors import first_line

SHAPES = [Shape(128, 64, 256), Shape(64, 128, 512)]
TARGETS = {"cpu": 1.3, "cuda": 1.3}


def cases() -> list[Case]:
    """Without gradients, and while they are recorded (the index of the maximum is kept then)."""
    made = []
    for recording in (False, True):
        title = "rotation max forward, gradients recorded" if recording else "rotation max forward"
        for dtype in TYPES:
            for shape in SHAPES:
                run = partial(_run, shape, dtype, recording)
                what = f"peak memory of {title}, {dtype}, {shape}"
                quick = shape == SHAPES[0] and not recording
                made.append(Case("memory", what, "times the output", run, TARGETS, "at most", quick=quick))
    return made


def _run(shape: Shape, dtype: str, recording: bool, conditions: Conditions) -> Measured:
    if conditions.device == "cuda":
        try:
            return Measured(_on_cuda(shape, TYPES[dtype], recording), "PyTorch's count of allocated memory")
        except REFUSALS as error:
            return Measured(None, f"not measured: {first_line(error)}")
    if not Path("/proc/self/status").is_file():
        return Measured(None, "not measured: this system does not tell a process its high-water mark")
    order = json.dumps([shape.channels, shape.outputs, shape.side, dtype, recording, torch.get_num_threads()])
    # The allocator as it is by itself: one that keeps freed memory would hide what is taken anew.
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-m", "rotacube.bench.memory", order]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["the process failed"]
        return Measured(None, f"not measured: {lines[-1]}")
    found = json.loads(done.stdout)
    grown, output = float(found["grown"]), float(found["output"])
    more = {"grown_mib": round(grown / 2**20, 1), "output_mib": round(output / 2**20, 1)}
    return Measured(grown / output, "high-water mark of resident memory, in a process of its own", more)


def _on_cuda(shape: Shape, dtype: torch.dtype, recording: bool) -> float:
    run = algorithm("scatter")
    _call(run, Shape(16, 16, 16), dtype, "cuda", recording)
    x, weight, bias = _operands(shape, dtype, "cuda", recording)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    with torch.set_grad_enabled(recording):
        y = run(x, weight, bias)
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / y.nbytes


def _operands(shape: Shape, dtype: torch.dtype, device: str, recording: bool) -> list[torch.Tensor]:
    sizes = [(1, shape.channels, shape.side, shape.side), (shape.outputs, shape.channels, 3, 3), (shape.outputs,)]
    made = []
    for size in sizes:
        last = torch.channels_last if len(size) == 4 else torch.contiguous_format
        made.append(torch.empty(size, dtype=dtype, device=device, memory_format=last).normal_())
    return [operand.requires_grad_(recording) for operand in made]


def _call(run: Convolution, shape: Shape, dtype: torch.dtype, device: str, recording: bool) -> int:
    operands = _operands(shape, dtype, device, recording)
    with torch.set_grad_enabled(recording):
        return run(*operands).nbytes


def high_water(call: Callable[[], object]) -> int:
    """By how many bytes the most resident memory that this process holds grows in a call (Linux)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the high-water mark starts from here
    before = _status("VmRSS")
    kept = call()
    grown = _status("VmHWM") - before
    del kept
    return grown


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {key}")


def main() -> None:
    """Measures one case in this process and prints the bytes."""
    channels, outputs, side, dtype, recording, threads = json.loads(sys.argv[1])
    torch.set_num_threads(threads)
    run, kind = public("max"), TYPES[dtype]
    _call(run, Shape(16, 16, 16), kind, "cpu", recording)
    x, weight, bias = _operands(Shape(channels, outputs, side), kind, "cpu", recording)
    sizes: list[int] = []

    def call() -> object:
        with torch.set_grad_enabled(recording):
            y = run(x, weight, bias)
        sizes.append(y.nbytes)
        return y

    grown = high_water(call)
    print(json.dumps({"grown": grown, "output": sizes[0]}))


if __name__ == "__main__":
    main()
