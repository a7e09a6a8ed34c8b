"""The command line, a file a command. What is heavy is imported when its command runs: `--help` answers at once.

Exit codes: 0 done; 1 an error that should not be; 2 input that needs a change, which the sentence says; 130
interrupted.
"""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from rotacube import __version__
from rotacube.cli import (
    bench,
    dataset,
    doctor,
    eval,
    frames,
    grid,
    job,
    jobs,
    kmz,
    map,
    models,
    polygons,
    report,
    scenes,
    serve,
    statistics,
    train,
)
from rotacube.cli.terminal import end_with_parent, err, speak_json, tell
from rotacube.errors import RotacubeError

app = typer.Typer(
    name="rotacube",
    help="Rooftops and plants from imagery, with Cube and rotation-invariant networks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("map")(map.map_raster)
app.command("job")(job.job)
app.command("polygons")(polygons.polygons)
app.command("statistics")(statistics.statistics)
app.command("grid")(grid.grid)
app.command("kmz")(kmz.kmz)
app.command("report")(report.report)
app.command("scenes")(scenes.scenes)
app.command("jobs")(jobs.jobs)
app.command("eval")(eval.evaluate)
app.command("train")(train.train)
app.add_typer(frames.app, name="frames")
app.add_typer(dataset.app, name="dataset")
app.add_typer(models.app, name="models")
app.command("serve")(serve.serve)
app.command("doctor")(doctor.doctor)
app.add_typer(bench.app, name="bench")


def main() -> None:
    """Run the command line; a known error becomes one sentence and exit code 2."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error: names may be no text
    try:
        app()
    except RotacubeError as error:
        tell(error={"code": error.code, "message": error.message})
        if error.code == "cancelled":
            err.print(error.message, style="yellow", markup=False)
            sys.exit(130)
        err.print(f"rotacube: {error.message}", style="red", markup=False, soft_wrap=True)
        sys.exit(2)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    progress: Annotated[str, typer.Option(help="text, or json: a line of JSON a step, for programs.")] = "text",
    parent_pipe: Annotated[
        bool, typer.Option("--parent-pipe", help="Cancel when standard input closes; run at low priority.")
    ] = False,
) -> None:
    """Rooftops and plants from imagery, with Cube and rotation-invariant networks."""
    if version:
        print(__version__)
        raise typer.Exit
    if progress not in ("text", "json"):
        raise typer.BadParameter(f"'{progress}' is neither text nor json", param_hint="--progress")
    if progress == "json":
        speak_json()
    if parent_pipe:
        end_with_parent()
