"""Children that are forked where all is imported already, so that one costs a second; and how they end."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable


def fork(work: Callable[[], object]) -> int:
    """A child that does some work, and ends with 0 or, where it fails, 1."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        work()
        code = 0
    finally:
        os._exit(code)


class Killed:
    """What kills runs, one by one, and counts in `counts` those that were killed."""

    counts: Counter[str]

    def kill(self, number: int) -> None:
        """Start one run, and kill it unless it ends before."""
        raise NotImplementedError

    def kill_often(self, times: int) -> None:
        """Start runs until so many were killed; some end before."""
        number = 0
        while self.counts["killed"] < times:
            self.kill(number)
            number += 1


def wait(child: int, limit: float) -> int | None:
    """The exit code of a child, a signal as a negative number; None where it was killed after `limit` seconds."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None
