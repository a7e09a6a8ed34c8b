"""What the commands share: where they print, and how a duration is written."""

from __future__ import annotations

import signal
import threading

from rich.console import Console

out, err = Console(highlight=False), Console(stderr=True, highlight=False)


def say(line: str) -> None:
    """Print a line as it is, however long."""
    out.print(line, markup=False, soft_wrap=True)


def stop_event() -> threading.Event:
    """An event that Ctrl-C, or a request to end, sets from now on instead of ending the process."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def clock(seconds: float) -> str:
    """Minutes and seconds, `m:ss`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
