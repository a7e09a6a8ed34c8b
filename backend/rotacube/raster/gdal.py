"""The doors to GDAL: whatever it raises behind them becomes a sentence, and what takes too long is left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TypeVar

from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from rotacube.errors import RasterUnreadable

T = TypeVar("T")

GDAL_ERRORS = (RasterioError, CPLE_BaseError, OSError, ValueError, ArithmeticError, LookupError, MemoryError)
"""What a call of rasterio may raise where a file is damaged or a disk is full.

GDAL's own errors come through bare where rasterio does not wrap them, and what it makes of a file's texts, numbers and
codes can fail in Python.
"""


def cause_of(error: BaseException) -> str:
    """What GDAL said, in one line."""
    said = str(error.__cause__ or error).strip() or type(error).__name__
    return " ".join(said.split())[:300]


@contextmanager
def damage_told(path: str) -> Iterator[None]:
    """Turns GDAL's errors on reading into a sentence."""
    try:
        yield
    except GDAL_ERRORS as error:
        raise RasterUnreadable(
            f"'{path}' is damaged or cut short: GDAL cannot read all of it ({cause_of(error)}). Copy or download the "
            "file again."
        ) from error


class TooSlow(Exception):
    """A call did not end in its time; its thread was left."""


def within(seconds: float, call: Callable[[], T], undo: Callable[[T], None]) -> T:
    """The result of a call in another thread, which is used again: PROJ makes much anew in each that is new.

    Args:
        seconds: how long it may take.
        call: what is done; it goes on in its thread if it takes longer.
        undo: called with the result that comes too late.

    Raises:
        TooSlow: it took longer.
        BaseException: what the call raised.
    """
    lock, ended, left = threading.Lock(), threading.Event(), False
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            result = call()
        except BaseException as error:
            errors.append(error)
            return
        with lock:
            results.append(result)
            late = left
        if late:
            undo(result)

    try:
        thread = _idle.pop()
    except IndexError:
        thread = _Thread()
    thread.todo.put((run, ended))
    in_time = ended.wait(seconds)
    with lock:
        left = not results
    if in_time:
        _idle.append(thread)
    if results:
        return results[0]
    if errors:
        raise errors[0]
    raise TooSlow


class _Thread(threading.Thread):
    """Does one thing after the other; what hangs in GDAL hangs in it alone."""

    def __init__(self) -> None:
        super().__init__(name="gdal-open", daemon=True)
        self.todo: SimpleQueue[tuple[Callable[[], None], threading.Event]] = SimpleQueue()
        self.start()

    def run(self) -> None:
        while True:
            work, ended = self.todo.get()
            work()
            ended.set()
            del work


_idle: list[_Thread] = []
