"""`rotacube jobs`: what runs that were cut off have left, to be resumed or dropped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from rotacube.cli.terminal import out, say


def jobs(
    folder: Annotated[Path, typer.Argument(help="Where the maps were to go.")] = Path(),
    drop: Annotated[bool, typer.Option("--drop", help="Remove what nobody is working on.")] = False,
) -> None:
    """List what runs that were cut off have left in a folder; the same command with --resume goes on with one."""
    import shutil

    from rotacube.inference.store import SUFFIX, left_in

    found = left_in(folder)
    if not found:
        say(f"No run has left anything in '{folder}'.")
        return
    table = Table("map", "raster", "found", "MB", "state")
    for left in found:
        name = left.folder.name.removeprefix(".").removesuffix(SUFFIX)
        state = "is running" if left.runs else "dropped" if drop else "can be resumed"
        done = f"{left.strips} of {left.frames} frames" if left.frames else f"{left.share:.0%}"
        table.add_row(name, left.raster or "(not to be read)", done, f"{left.size / 1e6:.1f}", state)
        if drop and not left.runs:
            shutil.rmtree(left.folder, ignore_errors=True)
    out.print(table)
