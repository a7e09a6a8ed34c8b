"""`rotacube bench`: progress, the table, the files; Ctrl-C leaves nothing half-written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from rotacube.cli.terminal import err, out, say
from rotacube.errors import JobCancelled

app = typer.Typer(help="Measure what Rotacube runs on.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Measure what Rotacube runs on."""


@app.command("ops")
def bench_ops(
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    json_path: Annotated[Path, typer.Option("--json", help="The rows, as JSON.")] = Path("build/bench/ops.json"),
    record: Annotated[Path | None, typer.Option(help="Also write a page, such as docs/results/ops.md.")] = None,
    plan: Annotated[Path | None, typer.Option(help="Also write each algorithm's times, as JSON.")] = None,
    only: Annotated[str | None, typer.Option(help="Sections, such as cube,rotation; all if absent.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A few rows and rounds, to see that it works.")] = False,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 leaves PyTorch's number.", min=0)] = 0,
) -> None:
    """Measure the operators against PyTorch's own, with targets; takes about half an hour."""
    from rotacube.bench.allocator import keep_freed_memory

    if device == "cpu":
        keep_freed_memory()  # before PyTorch takes any
    from rotacube.bench import machine, ops, report

    sections = ops.SECTIONS if only is None else tuple(only.split(","))
    options = ops.Options(device, json_path, record, plan, sections, quick, threads)
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
    say(f"{machine.describe_machine(options.device)}; {machine.describe_torch()}")
    say(f"Measured peaks: {report.describe_peaks(peaks)}")
    out.print(report.table(rows, options.device))
    for reason in report.reasons(rows, options.device):
        say(reason)
    say(report.summary(rows, options.device))
    for path in (options.json, options.record, options.plan):
        if path is not None:
            say(f"{path} is written.")
