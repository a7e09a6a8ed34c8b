"""What the commands share: where they print, how far they are, and how a duration is written.

To a person they print text and bars. To a program (`rotacube --progress json COMMAND`) they print lines of JSON on
standard output: `{"what", "done", "total", "unit", "seconds_left"}` of a step, `{"said"}` of a line of text,
`{"result"}` of what was made, `{"error": {"code", "message"}}` at last where something is wrong.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from io import StringIO
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

out, err = Console(highlight=False), Console(stderr=True, highlight=False)
GRACE = 20.0
"""Seconds that a command has to clean up once its parent is gone."""


class Show(Protocol):
    """Is told how far a command is."""

    def __call__(
        self, what: str, done: float, total: float, unit: str = "tiles", seconds_left: float | None = None
    ) -> None:
        """What is done, how much of how much (a share of 1), and how long it will take."""


class _Lines(StringIO):
    """Takes text, and passes on each line as JSON."""

    def write(self, text: str) -> int:
        *lines, rest = (self.getvalue() + text).split("\n")
        self.seek(0)
        self.truncate()
        super().write(rest)
        for line in filter(None, map(str.rstrip, lines)):
            tell(said=line)
        return len(text)


def speak_json() -> None:
    """Speak to a program from now on."""
    out.file = _Lines()


def tell(**fields: Any) -> None:
    """Tell a program something; a person does not hear of it."""
    if isinstance(out.file, _Lines):
        sys.stdout.write(json.dumps(fields, ensure_ascii=False) + "\n")
        sys.stdout.flush()


def say(line: str) -> None:
    """Print a line as it is, however long."""
    out.print(line, markup=False, soft_wrap=True)


@contextlib.contextmanager
def progress() -> Iterator[Show]:
    """A bar while something lasts; lines for a program."""
    if isinstance(out.file, _Lines):

        def lines(what: str, done: float, total: float, unit: str = "tiles", seconds_left: float | None = None) -> None:
            tell(what=what, done=done, total=total, unit=unit, seconds_left=seconds_left)

        yield lines
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=err) as bar:
        task = bar.add_task("", total=None, left="", unit="", visible=False)

        def draw(what: str, done: float, total: float, unit: str = "tiles", seconds_left: float | None = None) -> None:
            left = "" if seconds_left is None else f"{clock(seconds_left)} left"
            if total <= 1:  # a share
                done, total, unit = round(100 * done), 100, "%"
            bar.update(task, description=what, completed=done, total=total, unit=unit, left=left, visible=True)

        yield draw


def stop_event() -> threading.Event:
    """An event that Ctrl-C, or a request to end, sets from now on instead of ending the process."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def end_with_parent() -> None:
    """Be modest, and interrupted as by Ctrl-C as soon as standard input closes: no command outlives who started it."""
    if hasattr(os, "nice"):
        os.nice(5)

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1024):
                pass
        if hasattr(signal, "pthread_kill"):  # it also wakes who waits
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        else:
            signal.raise_signal(signal.SIGINT)
        time.sleep(GRACE)
        import multiprocessing

        for child in multiprocessing.active_children():  # one that is busy would not notice for as long as it is
            child.kill()
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def clock(seconds: float) -> str:
    """Minutes and seconds, `m:ss`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
