"""Times candidates side by side: round-robin, with a warm-up, as medians and quartiles.

Candidates stand in groups (the baselines, ours). Before the rounds every candidate is called and timed once; of a group
only those stay that come close to its fastest, so that the rounds are spent where the answer lies. In every round each
candidate is timed once, in turn, so that whatever slows the machine for a while slows all of them.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field

import torch

from rotacube.errors import first_line

Call = Callable[[], object]
CLOSE = 1.3  # times the fastest of its group; what is slower is left out of the rounds
CLOSE_AT_FIRST = 2.0  # the same where there was only one call, the first
SAMPLE_S = 1e-3  # a shorter call is repeated within a sample
REPEATS = 50
# What a candidate raises that does not cover a case: a missing operator, a refused shape, a failed compile.
REFUSALS = (RuntimeError, ValueError, TypeError, NotImplementedError, AttributeError, ImportError)


@dataclass(frozen=True)
class Effort:
    """How long to measure: at least `rounds` rounds and `seconds`, but no longer than `most`, if `least` rounds ran.

    A call that takes longer than `long` seconds is not called again before the rounds (but one that compiles is).
    """

    rounds: int = 15
    seconds: float = 1.0
    most: float = 3.0
    least: int = 3
    long: float = 2.0


FULL = Effort()
QUICK = Effort(rounds=3, seconds=0.02, most=0.5, least=2, long=0.05)


@dataclass(frozen=True)
class Spread:
    """The seconds that one candidate took, round by round."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median, in seconds."""
        return statistics.median(self.samples)

    @property
    def fastest(self) -> float:
        """The shortest, in seconds."""
        return min(self.samples)


@dataclass
class Timings:
    """What a measurement found: spreads of the candidates by group, and why others are not among them."""

    groups: dict[str, dict[str, Spread]] = field(default_factory=dict)
    slower: dict[str, float] = field(default_factory=dict)  # seconds of the one call before the rounds
    refused: dict[str, dict[str, str]] = field(default_factory=dict)  # by group

    def best(self, group: str) -> tuple[str, Spread] | None:
        """The candidate of a group with the smallest median, or None where every one of them refused."""
        spreads = self.groups.get(group)
        return min(spreads.items(), key=lambda item: item[1].median) if spreads else None

    def why_none(self, *groups: str) -> str:
        """The reasons of the groups in which no candidate ran, as a sentence."""
        whys = [why for group in groups if not self.groups.get(group) for why in self.refused.get(group, {}).values()]
        return f"not measured: {'; '.join(dict.fromkeys(whys))}"


def ratios(baseline: Spread, ours: Spread) -> tuple[float, float, float]:
    """How many times faster `ours` is: by the medians, and the quartiles of the ratio round by round."""
    each = [b / o for b, o in zip(baseline.samples, ours.samples, strict=True)]
    low, high = quartiles(each)
    return baseline.median / ours.median, low, high


def quartiles(values: list[float]) -> tuple[float, float]:
    """The lower and the upper quartile; of one value, that value twice."""
    if len(values) == 1:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def measure(
    groups: Mapping[str, Mapping[str, Call]], effort: Effort, device: str, compiles: Container[str] = ()
) -> Timings:
    """Times the candidates of all groups in one round-robin.

    Args:
        groups: Candidates by group and name; names are unique over all groups.
        effort: How long to measure.
        device: "cpu", or "cuda", which is timed by CUDA events.
        compiles: Names of candidates that compile in their first call, which says nothing of them.

    Returns:
        The timings; candidates that raise one of `REFUSALS` are named with their reason.
    """
    sample = _sample_cuda if device == "cuda" else _sample_cpu
    found = Timings()
    running: list[tuple[str, str, Call, int]] = []
    for group, calls in groups.items():
        first: dict[str, float] = {}
        limits: dict[str, float] = {}
        for name, call in calls.items():
            try:
                seconds = sample(call, 1)  # also the warm-up: autotunes, fills caches
                again = seconds < effort.long or name in compiles
                if again:
                    seconds = min(sample(call, 1), sample(call, 1))
            except REFUSALS as error:
                found.refused.setdefault(group, {})[name] = first_line(error)
                continue
            first[name] = seconds
            limits[name] = CLOSE if again else CLOSE_AT_FIRST
        fastest = min(first.values(), default=0.0)
        for name, seconds in first.items():
            if seconds > limits[name] * fastest:
                found.slower[name] = seconds
                continue
            repeats = max(1, min(REPEATS, math.ceil(SAMPLE_S / max(seconds, 1e-9))))
            running.append((group, name, calls[name], repeats))
    samples: dict[str, list[float]] = {name: [] for _, name, _, _ in running}
    collecting = gc.isenabled()
    gc.disable()
    try:
        start, rounds = time.perf_counter(), 0
        while running and _goes_on(rounds, time.perf_counter() - start, effort):
            for _, name, call, repeats in running:
                samples[name].append(sample(call, repeats))
            rounds += 1
    finally:
        if collecting:
            gc.enable()
    for group, name, _, _ in running:
        found.groups.setdefault(group, {})[name] = Spread(tuple(samples[name]))
    return found


def _goes_on(rounds: int, seconds: float, effort: Effort) -> bool:
    if rounds < effort.least:
        return True
    return seconds < effort.most and (rounds < effort.rounds or seconds < effort.seconds)


def _sample_cpu(call: Call, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def _sample_cuda(call: Call, repeats: int) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    start.record()
    for _ in range(repeats):
        call()
    end.record()
    torch.cuda.synchronize()
    milliseconds: float = start.elapsed_time(end)
    return milliseconds / 1e3 / repeats
