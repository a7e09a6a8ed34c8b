"""`rotacube bench ops` as the terminal shows it: progress, the table, the files; Ctrl-C leaves nothing half-written."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from rotacube.bench import machine, ops, report
from rotacube.errors import JobCancelled


def bench_ops(options: ops.Options, out: Console, err: Console) -> None:
    """Measures, with a bar on `err`, and prints the table on `out`.

    Raises:
        RequestRefused: The options cannot be measured here.
        JobCancelled: Interrupted; nothing was written.
    """
    ops.check(options)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    try:
        with Progress(*columns, console=err) as bar:
            task = bar.add_task("", total=None)

            def show(what: str, done: int, total: int) -> None:
                bar.update(task, description=what, completed=done, total=total)
                if not err.is_terminal:  # there a bar is drawn at the end only
                    err.print(f"{done}/{total} {what}", soft_wrap=True, markup=False, highlight=False)

            rows, peaks = ops.run(options, show)
    except KeyboardInterrupt:
        raise JobCancelled("The benchmark was cancelled; nothing was written.") from None
    out.print(f"{machine.describe_machine(options.device)}; {machine.describe_torch()}", soft_wrap=True, markup=False)
    out.print(f"Measured peaks: {report.describe_peaks(peaks)}", soft_wrap=True, markup=False)
    out.print(report.table(rows, options.device))
    for reason in report.reasons(rows, options.device):
        out.print(reason, soft_wrap=True, markup=False)
    out.print(report.summary(rows, options.device), soft_wrap=True, markup=False)
    for path in (options.json, options.record, options.plan):
        if path is not None:
            out.print(f"{path} is written.", soft_wrap=True, markup=False)
