"""The backend's process: started when first needed, kept between runs, ended with the plugin.

Its standard input is a pipe that only this process holds (Python opens it non-inheritable), so the backend ends by
itself when QGIS is gone, however QGIS went. Its first line on standard output says where it listens; what it writes to
standard error goes to a log file. None of this needs an event loop: listeners hear in the thread where it happens.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from .http import Client
from .schema import BackendError

STOPPED, STARTING, READY = "stopped", "starting", "ready"
MISSING, NOT_STARTED, DIED = "backend_missing", "backend_not_started", "backend_died"  # codes of errors
START_TIMEOUT_S = 90  # importing PyTorch from a cold disk under an antivirus program takes its time
_LOGS_KEPT_S = 7 * 24 * 3600


@dataclass(frozen=True)
class Launch:
    """What starts the backend."""

    command: List[str]
    env: Dict[str, str]


@dataclass(frozen=True)
class News:
    """What became of the backend: its state from now on, and why where something went wrong."""

    state: str
    stops: int  # how often it had been stopped on demand: news of before a stop are stale
    error: Optional[BackendError] = None
    details: str = ""


class Supervisor:
    """Starts, watches and stops the backend; may be used from any thread.

    Args:
        launch: gives command and environment variables, or raises a `BackendError` that says what is missing.
        log_folder: where the backend's log goes.
        translate: puts a sentence into the user's language.
        start_timeout_s: how long a start may take.
    """

    def __init__(
        self,
        launch: Callable[[], Launch],
        log_folder: Path,
        translate: Callable[[str], str] = str,
        start_timeout_s: float = START_TIMEOUT_S,
    ):
        self.state = STOPPED
        self.client: Optional[Client] = None
        self.version = ""
        self.stops = 0
        self.log_path = log_folder / f"backend-{os.getpid()}.log"
        self._launch = launch
        self._tr = translate
        self._start_timeout_s = start_timeout_s
        self._process: Optional[subprocess.Popen] = None
        self._timer: Optional[threading.Timer] = None
        self._error: Optional[BackendError] = None
        self._listeners: List[Callable[[News], Any]] = []
        self._changed = threading.Condition()  # its lock guards all of the above

    @property
    def pid(self) -> Optional[int]:
        """The backend's process id, while it runs."""
        process = self._process
        return process.pid if process else None

    def listen(self, listener: Callable[[News], Any]) -> None:
        """Let somebody hear what happens, and how things stand if the backend runs already.

        News come one after the other, with the lock held: a listener passes them on and waits for nothing.
        """
        with self._changed:
            self._listeners.append(listener)
            if self.state != STOPPED:
                listener(News(self.state, self.stops))

    def forget(self, listener: Callable[[News], Any]) -> None:
        """Let a listener hear no more."""
        with self._changed:
            self._listeners.remove(listener)

    def start(self) -> None:
        """Start the backend unless it runs; news follow."""
        with self._changed:
            if self.state != STOPPED:
                return
            try:
                launch = self._launch()
            except BackendError as error:
                self._tell(STOPPED, error)
                return
            token = secrets.token_urlsafe(32)
            try:
                process = self._open(launch, token)
            except OSError as error:
                text = self._tr(
                    "The backend could not be started with {python}: {why}. Check the Python in Rotacube's settings."
                )
                text = text.format(python=launch.command[0], why=error.strerror or error)
                self._tell(STOPPED, BackendError(NOT_STARTED, text))
                return
            self._process = process
            self._timer = threading.Timer(self._start_timeout_s, self._too_late, (process,))
            self._timer.daemon = True
            self._timer.start()
            self._tell(STARTING)
            threading.Thread(target=self._watch, args=(process, token), name="rotacube-backend", daemon=True).start()

    def wait_ready(self, timeout_s: Optional[float] = None) -> Client:
        """Start the backend unless it runs, and wait until it is up. Not for the GUI thread.

        Raises:
            BackendError: with the sentence that says why it is not up; with code `starting` if it still may come up.
        """
        with self._changed:
            self.start()
            if not self._changed.wait_for(lambda: self.state != STARTING, timeout_s):
                text = self._tr("The backend is not up after {n} seconds.")
                raise BackendError(STARTING, text.format(n=round(timeout_s)))
            if self.client is not None:
                return self.client
            raise self._error or BackendError(STOPPED, self._tr("The backend was stopped."))

    def stop(self, wait: bool = True) -> None:
        """End the backend; wait for its end, a few seconds at most, or leave that to a thread."""
        with self._changed:
            process = self._release()
            self.stops += 1
            self._tell(STOPPED)
        if process is not None and wait:
            end(process)
        elif process is not None:
            _end_later(process)

    def log_tail(self, lines: int = 25) -> str:
        """The last lines that the backend wrote."""
        try:
            with self.log_path.open("rb") as file:
                file.seek(max(0, self.log_path.stat().st_size - 16384))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def _open(self, launch: Launch, token: str) -> subprocess.Popen:
        flags = 0
        if os.name == "nt":
            flags = subprocess.CREATE_NO_WINDOW | subprocess.BELOW_NORMAL_PRIORITY_CLASS
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        _forget_old_logs(self.log_path.parent)
        with self.log_path.open("ab") as log:  # appended to, so that the backend may cut it short while it writes
            return subprocess.Popen(
                launch.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**launch.env, "ROTACUBE_TOKEN": token, "ROTACUBE_LOG": str(self.log_path)},
                creationflags=flags,
                cwd=str(self.log_path.parent),
            )

    def _watch(self, process: subprocess.Popen, token: str) -> None:
        """In a thread: the first line, then the end."""
        with contextlib.suppress(OSError, ValueError):
            line = process.stdout.readline(65536)
            if line:  # else it is the end of the process, which is told by _ended
                self._greeted(process, token, line)
            threading.Thread(target=_drain, args=(process.stdout,), name="rotacube-drain", daemon=True).start()
        self._ended(process, process.wait())

    def _greeted(self, process: subprocess.Popen, token: str, line: bytes) -> None:
        try:
            client, version = self._understood(line, token)
        except BackendError as error:
            self._give_up(process, error)
            return
        with self._changed:
            if process is not self._process:
                return
            self._timer.cancel()
            self.client, self.version = client, version
            self._tell(READY)

    def _understood(self, line: bytes, token: str) -> Tuple[Client, str]:
        """The way to the backend and its version, from its first line."""
        try:
            message = json.loads(line)
            if "error" not in message:
                return Client(f"http://127.0.0.1:{int(message['port'])}/", token), str(message["version"])
            sentence = str(message["error"]["message"])
        except (ValueError, KeyError, TypeError):
            text = self._tr("The backend did not greet but said: {line}. Check the Python in Rotacube's settings.")
            sentence = text.format(line=line[:120].decode("utf-8", "replace").strip())
        raise BackendError(NOT_STARTED, sentence)

    def _ended(self, process: subprocess.Popen, code: int) -> None:
        tail = self.log_tail()
        with self._changed:
            if process is not self._process:
                return
            if self.state == STARTING:
                text = self._tr(
                    "The backend did not start ({how}). Check its Python in the settings, or set it up again."
                )
                error = BackendError(NOT_STARTED, text.format(how=self._in_words(code)))
            else:
                text = self._tr("The backend has ended ({how}). Press Run to start again.")
                error = BackendError(DIED, text.format(how=self._in_words(code)))
            self._release()
            self._tell(STOPPED, error, tail)

    def _too_late(self, process: subprocess.Popen) -> None:
        text = self._tr("The backend did not answer within {n} seconds and was stopped. Press Run to try again.")
        self._give_up(process, BackendError(NOT_STARTED, text.format(n=round(self._start_timeout_s))))

    def _give_up(self, process: subprocess.Popen, error: BackendError) -> None:
        tail = self.log_tail()
        with self._changed:
            if process is not self._process or self.state != STARTING:
                return
            self._release()
            self._tell(STOPPED, error, tail)
        _end_later(process)

    def _release(self) -> Optional[subprocess.Popen]:
        """With the lock held: let go of the process; what its threads say from now on is ignored."""
        if self.client is not None:
            self.client.close()
        process, self._process, self.client = self._process, None, None
        if self._timer is not None:
            self._timer.cancel()
        return process

    def _tell(self, state: str, error: Optional[BackendError] = None, details: str = "") -> None:
        """With the lock held: note the new state and pass it on."""
        self.state, self._error = state, error
        self._changed.notify_all()
        for listener in self._listeners:
            listener(News(state, self.stops, error, details))

    def _in_words(self, code: int) -> str:
        if code == -getattr(signal, "SIGKILL", 9):
            return self._tr("killed, perhaps out of memory")
        if code < 0:
            return self._tr("ended by signal {n}").format(n=-code)
        return self._tr("exit code {n}").format(n=code if code < 256 else hex(code))


def end(process: subprocess.Popen) -> None:
    """Ask a process to end by closing its standard input; insist where it does not listen."""
    with contextlib.suppress(OSError):
        process.stdin.close()
    for patience_s, insist in ((4.5, process.terminate), (1.0, process.kill), (2.0, None)):
        try:
            process.wait(patience_s)
            return
        except subprocess.TimeoutExpired:
            if insist is not None:
                insist()


def _end_later(process: subprocess.Popen) -> None:
    threading.Thread(target=end, args=(process,), name="rotacube-end").start()


def _drain(stream) -> None:
    with contextlib.suppress(OSError, ValueError):
        while stream.read(65536):
            pass


def _forget_old_logs(folder: Path) -> None:
    for path in folder.glob("backend-*.log*"):  # the backend keeps older parts as .log.1 and so on
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _LOGS_KEPT_S:
                path.unlink()
