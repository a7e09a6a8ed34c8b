"""A row of a benchmark: what is measured, its target, whether that is met, and the JSON that rows are written to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from rotacube.bench.peaks import Peaks
from rotacube.bench.timing import Effort
from rotacube.files import write_text

Rule = Literal["at least", "at least, within noise", "at most"]
DEVICE_NAMES = {"cpu": "CPU", "cuda": "GPU"}
NOISE = 0.97  # a ratio this close to its target passes where the quartiles of its rounds reach the target


@dataclass(frozen=True)
class Conditions:
    """The conditions of a measurement: the device ("cpu" or "cuda"), how long, and the machine's measured peaks."""

    device: str
    effort: Effort
    peaks: Peaks


@dataclass(frozen=True)
class Measured:
    """What a case found: the value or None, a sentence on how (or why not), and further keys of the JSON."""

    value: float | None
    on: str
    more: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A row to be measured.

    `targets` has a number for each device that the target holds on; without one the row informs. `rule` says how the
    value is held against it. `quick` marks the few cases that a quick run measures.
    """

    section: str
    what: str
    unit: str
    run: Callable[[Conditions], Measured]
    targets: Mapping[str, float] = field(default_factory=dict)
    rule: Rule = "at least"
    quick: bool = False


@dataclass(frozen=True)
class Row:
    """A row as it is written: `ok` is true, false, or None where it was not measured or there is no target."""

    section: str
    device: str
    what: str
    value: float | None
    unit: str
    target: float | None
    ok: bool | None
    on: str
    more: Mapping[str, object] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """The row in a word: pass, short, no target, or not measured."""
        if self.value is None:
            return "not measured"
        return "no target" if self.ok is None else "pass" if self.ok else "short"

    def to_json(self) -> dict[str, object]:
        """The six keys that every benchmark writes, then the rest."""
        first = {
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "target": self.target,
            "ok": self.ok,
            "on": f"{DEVICE_NAMES[self.device]}: {self.on}",
        }
        return {**first, "section": self.section, "device": self.device, **self.more}


def judge(value: float | None, target: float | None, rule: Rule, high: float | None = None) -> bool | None:
    """Holds a value against its target.

    "at least" and "at most" take the value as it is. "at least, within noise" also passes a value of at least
    `NOISE` times the target where `high`, the upper quartile of the rounds, reaches the target.
    """
    if value is None or target is None:
        return None
    if rule == "at most":
        return value <= target
    if value >= target:
        return True
    return rule == "at least, within noise" and high is not None and value >= NOISE * target and high >= target


def row_of(case: Case, device: str, measured: Measured) -> Row:
    """The row of a case that was run on a device."""
    target = case.targets.get(device)
    high = measured.more.get("high")
    ok = judge(measured.value, target, case.rule, high if isinstance(high, float) else None)
    value = None if measured.value is None else float(f"{measured.value:.4g}")
    return Row(case.section, device, case.what, value, case.unit, target, ok, measured.on, measured.more)


def unmeasured(case: Case, device: str, why: str = "not measured") -> Row:
    """The row of a case that was not run on a device."""
    return Row(case.section, device, case.what, None, case.unit, case.targets.get(device), None, why)


def tensor(*shape: int, device: str, dtype: torch.dtype, seed: int = 0, last: bool = True) -> torch.Tensor:
    """Random normal numbers; (B, C, H, W) lies channels_last, or with `last=False` contiguous."""
    generator = torch.Generator(device).manual_seed(seed)
    made = torch.randn(shape, generator=generator, device=device).to(dtype)
    return made.contiguous(memory_format=torch.channels_last) if last and made.dim() == 4 else made


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Writes the rows as JSON, in one step: the file is the old one or the new one, never half of one."""
    text = json.dumps([row.to_json() for row in rows], indent=1, ensure_ascii=False)
    write_text(path, text + "\n")
