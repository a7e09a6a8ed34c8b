"""The log of a server: what a person needs to see afterwards, in a file that does not grow without end.

The plugin starts the server with `ROTACUBE_LOG`, the file that its standard error goes to as well: a crash in a library
leaves its last words between our lines. So the file is copied and emptied when it is full, never renamed.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

VARIABLE = "ROTACUBE_LOG"
LARGEST = 1_000_000
"""Bytes of the file before it is put aside."""
KEPT = 3
"""How many full files are kept: NAME.1 is the youngest."""


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
    for name, level in (("rotacube", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.handlers = [chosen]
        logger.propagate = False
    logging.captureWarnings(True)
    return chosen


def _empty(full: str, aside: str) -> None:
    """Copy the full file, then empty it: who else holds it open goes on at its new end."""
    shutil.copyfile(full, aside)
    with Path(full).open("r+b") as file:
        file.truncate(0)
