"""What a benchmark shows: a table on the terminal, and the page for docs/results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from rich.table import Table

from rotacube.bench import single
from rotacube.bench.calls import Shape
from rotacube.bench.peaks import Peaks
from rotacube.bench.rows import DEVICE_NAMES, NOISE, Row

TITLES = {
    "cube": "Cube convolution against the standard 3x3 convolution",
    "rotation": "Rotation-invariant convolution, four orientations, maximum",
    "mean": "Rotation-invariant convolution, mean: against one convolution with the averaged kernel",
    "kronecker": "Kronecker fusion: fraction of the memory bandwidth",
    "involution": "Involution: fraction of the memory bandwidth",
    "memory": "Peak extra memory of the rotation-invariant convolution's forward pass",
    "single": "One orientation: scatter against the standard convolution (paper's appendix A)",
}
STYLES = dict(zip(("pass", "short", "not measured", "no target"), ("green", "red", "yellow", "dim"), strict=True))


@dataclass(frozen=True)
class Setting:
    """What a page says at its top, in words."""

    device: str
    machine: str
    torch: str
    commit: str
    command: str
    quick: bool
    keeps_memory: bool


def describe_peaks(peaks: Peaks) -> str:
    """The measured peaks in a line."""
    flops = ", ".join(f"{value / 1e9:,.0f} GFLOP/s in {_name(dtype)}" for dtype, value in peaks.flops.items())
    return f"{flops}; {peaks.bandwidth / 1e9:.1f} GB/s read and written"


def table(rows: Sequence[Row], device: str) -> Table:
    """The rows of the device that was measured, with pass or short; those of appendix A only in the JSON and page."""
    made = Table("what", "value", "target", "", "of roofline")
    for column in made.columns[1:3]:
        column.justify = "right"
    for row in rows:
        if row.device != device or row.section == "single":
            continue
        style = STYLES[row.verdict]
        made.add_row(
            row.what,
            value_text(row),
            target_text(row),
            f"[{style}]{row.verdict}[/{style}]",
            _percent(row.more.get("of_roofline")),
        )
    return made


def reasons(rows: Sequence[Row], device: str) -> list[str]:
    """Why rows of the device were not measured, each reason once."""
    return sorted({row.on for row in rows if row.device == device and row.value is None})


def summary(rows: Sequence[Row], device: str) -> str:
    """How many rows pass, fall short, and were not measured."""
    mine = [row.verdict for row in rows if row.device == device and row.target is not None]
    others = sum(row.device != device for row in rows)
    other = DEVICE_NAMES[_other(device)]
    return (
        f"{mine.count('pass')} rows pass, {mine.count('short')} fall short, {mine.count('not measured')} could not be "
        f"measured; the {other}'s {others} rows: not measured."
    )


def value_text(row: Row) -> str:
    """The value with its unit, or a dash."""
    if row.value is None:
        return "-"
    if row.unit == "of bandwidth":
        return f"{row.value:.2f}"
    return f"{row.value:.2f}x"


def target_text(row: Row) -> str:
    """The target with its direction, or nothing."""
    if row.target is None:
        return ""
    return f"<= {row.target:g}" if row.section == "memory" else f">= {row.target:g}"


def page(rows: Sequence[Row], setting: Setting, peaks: Peaks) -> str:
    """The page for docs/results, in Markdown."""
    mine = [row for row in rows if row.device == setting.device]
    other = _other(setting.device)
    lines = [
        f"# The operators, measured on a {DEVICE_NAMES[setting.device]}",
        "",
        "Written by the benchmark; not edited by hand.",
        "",
        f"- Machine: {setting.machine}",
        f"- {setting.torch}",
        f"- Commit: {setting.commit}",
        f"- Command: `{setting.command}`",
        f"- Peaks measured beforehand: {describe_peaks(peaks)}",
        f"- Result: {summary(rows, setting.device)}",
        "",
        *_how(setting),
        "",
    ]
    if setting.quick:
        lines[2:2] = ["**A quick run: few rows, few rounds; its figures are no results.**", ""]
    other_targets = {row.what: target_text(row) for row in rows if row.device == other}
    for section, title in TITLES.items():
        chosen = [row for row in mine if row.section == section]
        if not chosen:
            continue
        lines += [f"## {title}", ""]
        lines += _matrix(chosen) if section == "single" else _section(chosen, other, other_targets)
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _how(setting: Setting) -> list[str]:
    kept = (
        "the process keeps the memory that it frees, so that no candidate waits for the system to clear new pages."
        if setting.keeps_memory
        else "the allocator is as it is by itself: large results are new memory, which the system clears first."
    )
    return [
        "All candidates of a row run in turn, round by round, in one process; a row's value is the ratio of the "
        "medians, in brackets the quartiles of the ratio round by round. Baselines and ours are each taken in their "
        "better memory format (channels_last or contiguous); candidates more than 1.3 times slower than the best of "
        "their kind in a call beforehand are left out of the rounds. The roofline is the least time for the row's "
        "operations and bytes at the measured peaks; beside it stands the share of it that ours attains. "
        f"Memory: {kept}",
        "",
        "Bandwidth counts what copy and add read and write, not that most processors first read what they overwrite; "
        "an operator that writes past the cache is spared that and may exceed 1.",
        "",
        "A row passes where its value reaches the target; the rows of the mean, which compare like with like, also "
        f"where the value is at least {NOISE} of it and the upper quartile reaches it.",
    ]


def _section(rows: Sequence[Row], other: str, other_targets: dict[str, str]) -> list[str]:
    limited = any("of_limit" in row.more for row in rows)
    head = ["what", "value", "target", "verdict"]
    if limited:
        head.append("of the limit")
    timed = any("ours_ms" in row.more for row in rows)
    if timed:
        head += ["ours, ms", "roofline, ms", "attained"]
    head += ["how", f"{DEVICE_NAMES[other]} (target)"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        more = row.more
        spread = f" ({_number(more['low'])} to {_number(more['high'])})" if "low" in more else ""
        cells = [row.what, value_text(row) + spread, target_text(row), row.verdict]
        if limited:
            cells.append(_percent(more.get("of_limit")))
        if timed:
            cells += [_number(more.get("ours_ms")), _number(more.get("roofline_ms")), _percent(more.get("of_roofline"))]
        path = f"; {more['path']}" if "path" in more else ""
        target = other_targets.get(row.what, "")
        cells += [row.on + path, f"not measured ({target})" if target else "not measured"]
        lines.append("| " + " | ".join(cells) + " |")
    missing = sorted({f"{name}: {why.rstrip('.')}" for row in rows for name, why in _refusals(row)})
    if missing:
        lines += ["", "Candidates that did not run: " + "; ".join(missing) + "."]
    return lines


def _matrix(rows: Sequence[Row]) -> list[str]:
    """Sizes by pairs of channels and filters."""
    found = {row.what: row for row in rows}
    pairs = [(channels, outputs) for channels in single.WIDTHS for outputs in single.WIDTHS]
    lines = [
        "How many times faster than the standard convolution (the better memory format each), float32, 3x3, batch 1; "
        "without target. The paper's text does not name its nine pairs; these are ours.",
        "",
        "| size | " + " | ".join(f"{channels} to {outputs}" for channels, outputs in pairs) + " |",
        "|" + "---|" * (len(pairs) + 1),
    ]
    for side in single.SIZES:
        cells = []
        for channels, outputs in pairs:
            row = found.get(single.what(Shape(channels, outputs, side)))
            cells.append("not measured" if row is None or row.value is None else f"{row.value:.2f}x")
        lines.append(f"| {side} | " + " | ".join(cells) + " |")
    return lines


def _refusals(row: Row) -> list[tuple[str, str]]:
    refused = row.more.get("refused")
    return list(refused.items()) if isinstance(refused, dict) else []


def _number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, (int, float)) else ""


def _percent(value: object) -> str:
    return f"{value:.0%}" if isinstance(value, (int, float)) else ""


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _other(device: str) -> str:
    return "cpu" if device == "cuda" else "cuda"
