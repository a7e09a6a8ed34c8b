"""One command of the backend's as a process of its own: followed line by line, ended within seconds; no event loop.

The command holds the other end of a pipe as its standard input, and cancels itself, tidily, when that closes: so also
when QGIS is gone.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from typing import Any, Callable, Dict, List

from ..i18n import tr
from .schema import BackendError
from .supervisor import NOT_STARTED, Launch, end

FLAGS = ("--progress", "json", "--parent-pipe")
"""What every command is given before its name."""
_LISTEN_S = 0.1
_TAIL = 20
_FRAME = " \t│╭╮╰╯─|+-"


class Cancelled(Exception):
    """Somebody cancelled.

    Attributes:
        finished: whether the work itself was, and only what was to be made of it is not; else nothing was written.
    """

    def __init__(self, finished: bool) -> None:
        super().__init__()
        self.finished = finished


def carry_out(launch: Launch, hear: Callable[[Dict[str, Any]], None], cancelled: Callable[[], bool]) -> Dict[str, Any]:
    """Carry a command out, and give its result. Not for the GUI thread.

    Args:
        launch: the command, with `FLAGS`.
        hear: is told each line but an error, in the thread that calls; the result as soon as there is one.
        cancelled: asked ten times a second.

    Raises:
        Cancelled: it said so; the process has ended.
        BackendError: with the backend's code and sentence.
    """
    flags = subprocess.CREATE_NO_WINDOW | subprocess.BELOW_NORMAL_PRIORITY_CLASS if os.name == "nt" else 0
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    try:
        process = subprocess.Popen(launch.command, env=launch.env, creationflags=flags, **pipes)
    except OSError as error:
        text = tr("The backend could not be started with {python}: {why}. Check the Python in Rotacube's settings.")
        raise BackendError(NOT_STARTED, text.format(python=launch.command[0], why=error.strerror or error)) from error
    said: "queue.Queue[bytes]" = queue.Queue()
    complaints: List[str] = []
    readers = [
        threading.Thread(target=_read, args=(process.stdout, said.put), daemon=True),
        threading.Thread(target=_read, args=(process.stderr, lambda line: _keep(complaints, line)), daemon=True),
    ]
    for reader in readers:
        reader.start()
    result: Dict[str, Any] = {}
    error: Dict[str, Any] = {}
    try:
        while True:
            if cancelled():
                raise Cancelled(bool(result))
            try:
                line = said.get(timeout=_LISTEN_S)
            except queue.Empty:
                if process.poll() is not None and not readers[0].is_alive() and said.empty():
                    break
                continue
            message = _understood(line)
            if "error" in message:
                error = message["error"]
                continue
            result = message.get("result", result)
            if message:
                hear(message)
        readers[1].join(2)
        if process.returncode == 0 and not error:
            return result
        if error.get("code") == "cancelled":
            raise Cancelled(bool(result))
        raise _failure(error, complaints, process.returncode)
    finally:
        end(process)
        for reader in readers:
            reader.join(2)
        for stream in (process.stdout, process.stderr):
            stream.close()


def _failure(error: Dict[str, Any], complaints: List[str], code: int) -> BackendError:
    if error:
        return BackendError(str(error.get("code", "error")), str(error.get("message", "")))
    plain = [line.strip(_FRAME) for line in complaints]  # what is wrong with a call comes in a frame
    last = next((line for line in reversed(plain) if line), "")
    if last.startswith("rotacube: "):
        return BackendError("error", last[len("rotacube: ") :])
    text = tr("The backend has ended unexpectedly (exit code {n}): {last}")
    return BackendError("died", text.format(n=code, last=last or tr("it said nothing")))


def _read(stream, take: Callable[[bytes], Any]) -> None:
    for line in iter(stream.readline, b""):
        take(line)


def _keep(complaints: List[str], line: bytes) -> None:
    complaints.append(line.decode("utf-8", "replace").rstrip())
    del complaints[:-_TAIL]


def _understood(line: bytes) -> Dict[str, Any]:
    """A line's fields; what is no JSON is a line of text."""
    text = line.decode("utf-8", "replace").strip()
    try:
        message = json.loads(text)
    except ValueError:
        message = None
    return message if isinstance(message, dict) else {"said": text} if text else {}
