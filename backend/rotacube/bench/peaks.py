"""The machine's peaks, measured: arithmetic a second by type, and memory bandwidth; and the rooflines from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from rotacube.bench.timing import Call, Effort, measure

STREAM_FLOATS = {"cpu": 48 << 20, "cuda": 256 << 20}  # an array: many times any cache


@dataclass(frozen=True)
class Peaks:
    """Measured peaks: operations a second by type (a multiply-add is two), and bytes read and written a second."""

    flops: Mapping[torch.dtype, float]
    bandwidth: float

    def roofline(self, operations: float, moved: float, dtype: torch.dtype) -> float:
        """The least seconds that so many operations, and so many bytes read and written, take."""
        return max(operations / self.flops[dtype], moved / self.bandwidth)


def measure_peaks(device: str, effort: Effort, dtypes: tuple[torch.dtype, ...], large: bool = True) -> Peaks:
    """Measures the peaks of a device with the threads that PyTorch has.

    Arithmetic: the fastest of a square matrix product, a 1x1 and a 3x3 convolution (channels_last). Bandwidth: the
    faster of copy and add into arrays that are there already, far larger than the caches. The best round counts: these
    are peaks. `large=False` takes smaller sizes, for a quick run.
    """
    flops = {dtype: _arithmetic(device, effort, dtype, large) for dtype in dtypes}
    count = STREAM_FLOATS[device] if large else 12 << 20
    calls, moved = stream(device, count)
    found = measure({name: {name: call} for name, call in calls.items()}, effort, device)
    bandwidth = max(moved[name] / found.groups[name][name].fastest for name in calls)
    return Peaks(flops, bandwidth)


def stream(device: str, count: int) -> tuple[dict[str, Call], dict[str, float]]:
    """Copy and add over arrays of `count` floats, and the bytes that each reads and writes."""
    a, b, c = (torch.full((count,), value, device=device) for value in (1.0, 2.0, 0.0))
    calls: dict[str, Call] = {"copy": lambda: c.copy_(a), "add": lambda: torch.add(a, b, out=c)}
    return calls, {"copy": 8.0 * count, "add": 12.0 * count}


def _arithmetic(device: str, effort: Effort, dtype: torch.dtype, large: bool) -> float:
    size = (8192 if device == "cuda" else 2048) if large else 1024
    side = (128 if device == "cuda" else 64) if large else 32
    channels = 1024 if large else 512
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    x = torch.randn(1, channels, side, side, device=device).to(dtype).contiguous(memory_format=torch.channels_last)
    x3 = x[:, : channels // 4].contiguous(memory_format=torch.channels_last)
    w1 = torch.randn(channels, channels, 1, 1, device=device).to(dtype)
    w3 = torch.randn(channels // 4, channels // 4, 3, 3, device=device).to(dtype)
    w3 = w3.contiguous(memory_format=torch.channels_last)
    operations = {
        "product": 2.0 * size**3,
        "1x1": 2.0 * channels**2 * side**2,
        "3x3": 18.0 * (channels // 4) ** 2 * side**2,
    }
    calls: dict[str, Call] = {
        "product": lambda: torch.mm(a, b),
        "1x1": lambda: F.conv2d(x, w1),
        "3x3": lambda: F.conv2d(x3, w3, padding=1),
    }
    with torch.no_grad():
        found = measure({name: {name: call} for name, call in calls.items()}, effort, device)
    return max(operations[name] / found.groups[name][name].fastest for name in calls if name in found.groups)
