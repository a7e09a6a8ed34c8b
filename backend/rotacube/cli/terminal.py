"""What the commands share: where they print, and how a duration is written."""

from __future__ import annotations

from rich.console import Console

out, err = Console(highlight=False), Console(stderr=True, highlight=False)


def say(line: str) -> None:
    """Print a line as it is, however long."""
    out.print(line, markup=False, soft_wrap=True)


def clock(seconds: float) -> str:
    """Minutes and seconds, `m:ss`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
