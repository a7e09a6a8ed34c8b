"""Work on many things that do not depend on each other, on several threads, with results in their order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

THREADS = min(4, os.cpu_count() or 1)
"""More hardly bring more: what is not in compiled code waits for the interpreter's lock."""
Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int = THREADS
) -> Generator[Result, None, None]:
    """What `work` makes of each item, in their order.

    An item is taken when a thread is free for it, and no more of them are under way, or done and not yet asked for,
    than there are threads: memory is that of so many.

    Closed, or where `work` raises, it waits for what is under way and takes nothing more.
    """
    rest = iter(items)
    with ThreadPoolExecutor(threads, "ahead") as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            waiting.extend(pool.submit(work, item) for item in islice(rest, threads))
            while waiting:
                found = waiting.popleft().result()
                waiting.extend(pool.submit(work, item) for item in islice(rest, 1))
                yield found
        finally:
            for future in waiting:
                future.cancel()
