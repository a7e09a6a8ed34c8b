"""The planner's table: what each algorithm of the rotation-invariant convolution takes, from the benchmark's rows."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rotacube.bench.rows import Row

# What the planner calls an algorithm, and how the names of its candidates begin.
PREFIXES = {"direct": ("four convolutions", "one convolution"), "scatter": ("scatter",), "fourier": ("fourier",)}


def text(rows: Sequence[Row]) -> str:
    """The table as JSON: a line for each layer with the milliseconds by algorithm, and the fastest of them."""
    lines = []
    for row in rows:
        if row.section == "rotation" and row.value is not None:
            times = algorithm_times(row)
            if times:
                entry = {"what": row.what, "fastest": min(times, key=lambda name: times[name]), "ms": times}
                lines.append(json.dumps(entry, ensure_ascii=False))
    return "[\n" + ",\n".join(lines) + "\n]\n"


def algorithm_times(row: Row) -> dict[str, float]:
    """Milliseconds of the algorithms that a row measured, each in its better memory format; without torch.compile."""
    times: dict[str, float] = {}
    more = row.more
    named = {str(more["baseline"]): more["baseline_ms"], str(more["ours"]): more["ours_ms"]}
    others = more.get("others_ms")
    if isinstance(others, dict):
        named |= others
    for name, milliseconds in named.items():
        for algorithm, prefixes in PREFIXES.items():
            if name.startswith(prefixes) and "torch.compile" not in name and isinstance(milliseconds, float):
                times[algorithm] = min(milliseconds, times.get(algorithm, milliseconds))
    return times
