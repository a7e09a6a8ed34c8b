"""The log of a server: what a person needs to see afterwards, in a file that does not grow without end.

The plugin starts the server with `ROTACUBE_LOG`, the file that its standard error goes to as well: a crash in a library
leaves its last words between our lines. So the file is copied and emptied when it is full, never renamed. What
strangers can have the libraries say (that a request is invalid, that files run out) is told a few times a minute, and
then counted.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path

VARIABLE = "ROTACUBE_LOG"
LARGEST = 1_000_000
"""Bytes of the file before it is put aside."""
KEPT = 3
"""How many full files are kept: NAME.1 is the youngest."""
LIBRARIES = ("uvicorn.error", "asyncio")
"""Loggers that are not ours and that the log takes records of."""
OFTEN = 5
"""How many records of a library's logger are written in a minute."""


def start_log() -> logging.Handler:
    """Send the package's log to the file that `ROTACUBE_LOG` names, or to standard error.

    Returns:
        The handler; where the file cannot be written, it writes to standard error.
    """
    named, handler = os.environ.get(VARIABLE), None
    if named:
        try:
            handler = RotatingFileHandler(named, maxBytes=LARGEST, backupCount=KEPT, encoding="utf-8", errors="replace")
            handler.rotator = _empty
        except OSError as error:
            print(f"The log '{named}' cannot be written ({error.strerror}).", file=sys.stderr)
    chosen: logging.Handler = handler or logging.StreamHandler()
    chosen.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    chosen.addFilter(_Damper())
    for name, level in (("rotacube", logging.INFO), *((library, logging.WARNING) for library in LIBRARIES)):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.handlers = [chosen]
        logger.propagate = False
    logging.captureWarnings(True)
    return chosen


class _Damper(logging.Filter):
    """Lets `OFTEN` records a minute through of each library's logger; the next one says how many were left out."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name not in LIBRARIES:
            return True
        now = time.monotonic()
        since, count = self._seen.get(record.name, (now, 0))
        if now - since >= 60:
            if count > OFTEN:
                record.msg, record.args = f"{record.getMessage()} ({count - OFTEN} more were left out before)", ()
            since, count = now, 0
        self._seen[record.name] = since, count + 1
        return count < OFTEN


def _empty(full: str, aside: str) -> None:
    """Copy the full file, then empty it: who else holds it open goes on at its new end."""
    shutil.copyfile(full, aside)
    with Path(full).open("r+b") as file:
        file.truncate(0)
