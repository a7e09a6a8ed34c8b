"""The backend's process: started when first needed, kept between runs, ended with the plugin.

Its standard input is a pipe that only this process holds (Python opens it non-inheritable), so the backend ends by
itself when QGIS is gone, however QGIS went. Its first line on standard output says where it listens; what it writes to
standard error goes to a log file.
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
from pathlib import Path
from typing import Callable, Optional

from qgis.PyQt.QtCore import QObject, QStandardPaths, QTimer, pyqtSignal

from ..i18n import tr
from . import environment
from .http import Client

STOPPED, STARTING, READY = "stopped", "starting", "ready"
START_TIMEOUT_S = 90  # importing PyTorch from a cold disk under an antivirus program takes its time
_LOGS_KEPT_S = 7 * 24 * 3600


class Supervisor(QObject):
    """Starts, watches and stops the backend. `failed` and `died` carry a sentence and details."""

    changed = pyqtSignal(str)
    ready = pyqtSignal()
    failed = pyqtSignal(str, str)
    died = pyqtSignal(str, str)
    _first_line = pyqtSignal(int, object)
    _ended = pyqtSignal(int, int)

    def __init__(
        self,
        launch: Callable[[], environment.Launch] = environment.launch,
        parent=None,
        start_timeout_s: float = START_TIMEOUT_S,
    ):
        super().__init__(parent)
        self.state = STOPPED
        self.client: Optional[Client] = None
        self.version = ""
        self.log_path = _log_folder() / f"backend-{os.getpid()}.log"
        self._launch = launch
        self._process: Optional[subprocess.Popen] = None
        self._token: Optional[str] = None
        self._generation = 0
        self._start_timeout_s = start_timeout_s
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._too_late)
        self._first_line.connect(self._on_first_line)
        self._ended.connect(self._on_ended)

    @property
    def pid(self) -> Optional[int]:
        """The backend's process id, while it runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the backend unless it runs; `ready` or `failed` follows."""
        if self.state != STOPPED:
            return
        try:
            launch = self._launch()
        except environment.BackendMissing as error:
            self.failed.emit(str(error), "")
            return
        self._token = secrets.token_urlsafe(32)
        try:
            self._process = self._open(launch)
        except OSError as error:
            text = tr("The backend could not be started with {python}: {why}. Check the Python in Rotacube's settings.")
            self.failed.emit(text.format(python=launch.command[0], why=error.strerror or error), "")
            return
        self._generation += 1
        self._set(STARTING)
        self._timer.start(int(self._start_timeout_s * 1000))
        threading.Thread(
            target=self._watch, args=(self._generation, self._process), name="rotacube-backend", daemon=True
        ).start()

    def stop(self, wait: bool = True) -> None:
        """End the backend; wait for its end, a few seconds at most, or leave that to a thread."""
        process, self._process = self._process, None
        self._generation += 1
        self._timer.stop()
        self.client = None
        if process is not None and wait:
            _end(process)
        elif process is not None:
            threading.Thread(target=_end, args=(process,), name="rotacube-end").start()
        self._set(STOPPED)

    def log_tail(self, lines: int = 25) -> str:
        """The last lines that the backend wrote."""
        try:
            with self.log_path.open("rb") as file:
                file.seek(max(0, self.log_path.stat().st_size - 16384))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def _open(self, launch: environment.Launch) -> subprocess.Popen:
        flags = 0
        if os.name == "nt":
            flags = subprocess.CREATE_NO_WINDOW | subprocess.BELOW_NORMAL_PRIORITY_CLASS
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        _forget_old_logs(self.log_path.parent)
        with self.log_path.open("wb") as log:
            return subprocess.Popen(
                launch.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**launch.env, "ROTACUBE_TOKEN": self._token},
                creationflags=flags,
                cwd=str(self.log_path.parent),
            )

    def _watch(self, generation: int, process: subprocess.Popen) -> None:
        """In a thread: the first line, then the end."""
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            self._first_line.emit(generation, process.stdout.readline(65536))
            threading.Thread(target=_drain, args=(process.stdout,), name="rotacube-drain", daemon=True).start()
        code = process.wait()
        with contextlib.suppress(RuntimeError):  # the plugin was unloaded meanwhile
            self._ended.emit(generation, code)

    def _on_first_line(self, generation: int, line: bytes) -> None:
        if generation != self._generation or self.state != STARTING or not line:
            return  # an empty line is the end of the process, which is reported by _on_ended
        try:
            message = json.loads(line)
            if "error" in message:
                self._give_up(str(message["error"]["message"]))
                return
            port, self.version = int(message["port"]), str(message["version"])
        except (ValueError, KeyError, TypeError):
            text = tr("The backend did not greet but said: {line}. Check the Python in Rotacube's settings.")
            self._give_up(text.format(line=line[:120].decode("utf-8", "replace").strip()))
            return
        self._timer.stop()
        self.client = Client(f"http://127.0.0.1:{port}/", self._token)
        self._set(READY)
        self.ready.emit()

    def _on_ended(self, generation: int, code: int) -> None:
        if generation != self._generation:
            return
        was, self._process, self.client = self.state, None, None
        self._generation += 1
        self._timer.stop()
        tail = self.log_tail()
        self._set(STOPPED)
        if was == STARTING:
            text = tr("The backend did not start ({how}). Check its Python in the settings, or set it up again.")
            self.failed.emit(text.format(how=_in_words(code)), tail)
        else:
            text = tr("The backend has ended ({how}). Press Run to start again.")
            self.died.emit(text.format(how=_in_words(code)), tail)

    def _too_late(self) -> None:
        text = tr("The backend did not answer within {n} seconds and was stopped. Press Run to try again.")
        self._give_up(text.format(n=round(self._start_timeout_s)))

    def _give_up(self, message: str) -> None:
        tail = self.log_tail()
        self.stop(wait=False)
        self.failed.emit(message, tail)

    def _set(self, state: str) -> None:
        if state != self.state:
            self.state = state
            self.changed.emit(state)


def _end(process: subprocess.Popen) -> None:
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


def _drain(stream) -> None:
    with contextlib.suppress(OSError, ValueError):
        while stream.read(65536):
            pass


def _in_words(code: int) -> str:
    if code == -getattr(signal, "SIGKILL", 9):
        return tr("killed, perhaps out of memory")
    if code < 0:
        return tr("ended by signal {n}").format(n=-code)
    return tr("exit code {n}").format(n=code if code < 256 else hex(code))


def _log_folder() -> Path:
    place = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.GenericCacheLocation)
    return Path(place) / "rotacube"


def _forget_old_logs(folder: Path) -> None:
    for path in folder.glob("backend-*.log"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _LOGS_KEPT_S:
                path.unlink()
