"""The operator benchmark: chooses the cases, runs them, and writes what was found once all of it is there."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from rotacube.bench import allocator, bandwidth, cube, machine, memory, plan, report, rotation, single
from rotacube.bench.calls import TYPES
from rotacube.bench.peaks import Peaks, measure_peaks
from rotacube.bench.rows import DEVICE_NAMES, Case, Conditions, Row, row_of, unmeasured, write_rows
from rotacube.bench.timing import FULL, QUICK
from rotacube.errors import RequestRefused
from rotacube.files import write_text

SECTIONS = tuple(report.TITLES)


@dataclass(frozen=True)
class Options:
    """What is measured, and where to: `json`, `record` (a page) and `plan` are files or None.

    `only` are sections; `threads` 0 leaves PyTorch's number.
    """

    device: str = "cpu"
    json: Path | None = None
    record: Path | None = None
    plan: Path | None = None
    only: Sequence[str] = SECTIONS
    quick: bool = False
    threads: int = 0

    def command(self) -> str:
        """The command that measures the same, without paths."""
        words = ["rotacube bench ops"]
        if self.device != "cpu":
            words.append(f"--device {self.device}")
        if tuple(self.only) != SECTIONS:
            words.append(f"--only {','.join(self.only)}")
        if self.quick:
            words.append("--quick")
        if self.threads:
            words.append(f"--threads {self.threads}")
        return " ".join(words)


def check(options: Options) -> None:
    """Raises RequestRefused, with a sentence, where these options cannot be measured."""
    if options.device not in DEVICE_NAMES:
        raise RequestRefused(f"The device is cpu or cuda, not {options.device!r}.")
    unknown = [name for name in options.only if name not in SECTIONS]
    if unknown:
        raise RequestRefused(f"There is no section {unknown[0]!r}; the sections are {', '.join(SECTIONS)}.")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise RequestRefused("PyTorch finds no usable GPU here; measure with --device cpu.")


def all_cases() -> list[Case]:
    """Every row of the benchmark, in the order of the page."""
    return [
        *cube.cases(),
        *rotation.cases(),
        *bandwidth.cases(),
        *memory.cases(),
        *single.cases(),
    ]


def run(options: Options, progress: Callable[[str, int, int], None] = lambda *_: None) -> tuple[list[Row], Peaks]:
    """Measures the cases and writes the files.

    Args:
        options: What is measured.
        progress: Called with what comes next, how many cases are done, and how many there are.

    Returns:
        The rows, those of the other device among them as not measured, and the measured peaks.
    """
    check(options)
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.backends.cudnn.benchmark = True
    cases = [case for case in all_cases() if case.section in options.only and (case.quick or not options.quick)]
    effort = QUICK if options.quick else FULL
    progress("peaks of the machine", 0, len(cases))
    touched = (1 if options.quick else 4) << 30
    if options.device == "cpu":
        allocator.renew(touched)
    peaks = measure_peaks(options.device, effort, tuple(TYPES.values()), large=not options.quick)
    conditions = Conditions(options.device, effort, peaks)
    rows = []
    for done, case in enumerate(cases):
        progress(case.what, done, len(cases))
        if options.device == "cpu":
            allocator.renew(touched)
        rows.append(row_of(case, options.device, case.run(conditions)))
        gc.collect()
        if options.device == "cuda":
            torch.cuda.empty_cache()
    progress("done", len(cases), len(cases))
    other = "cpu" if options.device == "cuda" else "cuda"
    rows += [unmeasured(case, other) for case in cases]
    _write(options, rows, peaks)
    return rows, peaks


def _write(options: Options, rows: list[Row], peaks: Peaks) -> None:
    if options.json is not None:
        write_rows(options.json, rows)
    if options.plan is not None:
        write_text(options.plan, plan.text(rows))
    if options.record is not None:
        setting = report.Setting(
            device=options.device,
            machine=machine.describe_machine(options.device),
            torch=machine.describe_torch(),
            commit=machine.describe_commit(),
            command=options.command(),
            quick=options.quick,
            keeps_memory=allocator.keeps_freed_memory() or options.device == "cuda",
        )
        write_text(options.record, report.page(rows, setting, peaks))
