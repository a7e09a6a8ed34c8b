"""Setting up the managed environment: a virtual environment with the backend's packages, step by step, off the GUI.

Nothing is installed into QGIS's own Python. A set-up that was broken off is taken up again where pip's cache left it.
Everything that is run and said stands in `setup.log` beside the environment.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Optional, TextIO

from qgis.PyQt.QtCore import QObject, QProcess, QProcessEnvironment, QTimer, pyqtSignal

from .. import paths
from ..i18n import tr
from . import complaints, environment, packages
from .pip_output import Amount, Package, PipOutput, installed, read_plan, tells_bytes

STEPS = 5
SURPRISE = 1.5  # so many times the announced download is another one than was agreed to
STANDSTILL_S = 3
_POLL_MS = 500
_PROBE = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
_CHECK = "import torch, rasterio, fastapi, uvicorn; print('torch', torch.__version__, 'rasterio', rasterio.__version__)"


@dataclass(frozen=True)
class Progress:
    """How far the set-up is: step and its title; within it, what is done and the seconds left, as far as known."""

    step: int
    title: str
    amount: Optional[Amount] = None
    seconds_left: Optional[float] = None


class BackendSetup(QObject):
    """Runs the steps one after the other; `done` carries success and a sentence."""

    progressed = pyqtSignal(object)
    line = pyqtSignal(str)
    done = pyqtSignal(bool, str)

    def __init__(self, build: packages.Build, parent=None):
        super().__init__(parent)
        self._build = build
        self._folder = environment.managed_folder()
        self._process: Optional[QProcess] = None
        self._candidates: List[str] = []
        self._output, self._rest = "", ""
        self._on_end: Optional[Callable[[bool], None]] = None
        self._over = False
        self._log: Optional[TextIO] = None
        self._pip = PipOutput()
        self._raw = False
        self._planned: List[Package] = []
        self._step, self._title, self._since = 1, "", 0.0
        self._at_first, self._last, self._moved = 0, 0, 0.0
        self._poll = QTimer(self)
        self._poll.setInterval(_POLL_MS)
        self._poll.timeout.connect(self._look)

    def start(self) -> None:
        """Begin; `done` follows."""
        home = environment.data_home()
        try:
            home.mkdir(parents=True, exist_ok=True)
            self._log = environment.setup_log().open("w", encoding="utf-8")
        except OSError as error:
            text = tr("The folder {path} cannot be written ({why}). Set ROTACUBE_HOME to a folder that can be written.")
            self._finish(False, text.format(path=home, why=error.strerror))
            return
        needed = self._build.needed_bytes
        if shutil.disk_usage(home).free < needed:
            text = tr("Less than {n} GB are free in {path}. Make room, or set ROTACUBE_HOME to a folder elsewhere.")
            self._finish(False, text.format(n=round(needed / 1e9, 1), path=home))
            return
        self._begin_step(1, tr("Making the environment"))
        self._candidates = packages.python_candidates()
        self._probe_next()

    def cancel(self, wait: bool = False) -> None:
        """Break off, and go when there is nothing left to wait for; `done` does not follow."""
        self._over = True
        self._poll.stop()
        self._close_log()
        if self._process is not None:
            self._process.kill()
            if not wait:
                self._process.finished.connect(self.deleteLater)
                return
            self._process.waitForFinished(2000)
        self.deleteLater()

    # the steps

    def _probe_next(self) -> None:
        if not self._candidates:
            text = tr(
                "No Python {version} or newer with the module venv was found. Install one from python.org "
                "(on Debian and Ubuntu: sudo apt install python3-venv) and try again, or name it in the settings."
            )
            self._finish(False, text.format(version=".".join(map(str, packages.MINIMUM))))
            return
        candidate = self._candidates.pop(0)

        def probed(ok: bool) -> None:
            if ok and packages.is_new_enough(self._output):
                self._say(tr("Python {version}: {path}").format(version=self._output.strip(), path=candidate))
                self._make(candidate)
            else:
                self._say(tr("not suitable: {path}").format(path=candidate))
                self._probe_next()

        self._execute([candidate, "-c", _PROBE], probed)

    def _make(self, python: str) -> None:
        environment.mark_incomplete()
        complaint = tr("The environment could not be made in {}.").format(self._folder)
        command = [python, "-m", "venv", str(self._folder)]
        self._must(command, complaint, lambda: self._ask_pip(self._renew_pip))

    def _ask_pip(self, then: Callable[[], None]) -> None:
        """Which pip it is: older ones tell no bytes."""

        def told(ok: bool) -> None:
            self._raw = ok and tells_bytes(self._output)
            then()

        self._begin_step(2, tr("Finding out what has to be downloaded"))
        self._execute([self._inside, "-m", "pip", "--version"], told)

    def _renew_pip(self) -> None:
        if self._raw:
            self._plan()
            return
        wheels = environment.setting("wheels")
        links = ["--find-links", wheels] if wheels and not wheels.endswith(".whl") else []
        command = [*self._pip_install("--retries", "1", "--upgrade"), *links, "pip"]
        self._execute(command, lambda ok: self._ask_pip(self._plan))  # an old one will do

    def _plan(self) -> None:
        report = environment.data_home() / "setup-plan.json"
        what = packages.what_to_install(environment.setting("wheels"))
        command = [*self._pip_install("--dry-run", "--report", str(report)), *what]

        def planned(ok: bool) -> None:
            if ok:
                command = [self._inside, "-I", str(paths.sizes_script()), str(report)]
                self._execute(command, lambda ok: self._weigh(report))
            elif "no such option" in self._output:  # an old pip: it installs without having said what
                self._install()
            else:
                self._finish(False, complaints.explain(self._complaint, self._output))

        self._execute(command, planned)

    def _weigh(self, report: Path) -> None:
        report.unlink(missing_ok=True)
        self._planned = read_plan(self._output)
        total = sum(package.size or 0 for package in self._planned)
        if total > SURPRISE * self._build.download_bytes and not packages.user_decides():
            text = tr(
                "The packages would come to {total} GB instead of {announced} GB: those for the CPU were not found "
                "where they should be. Check the network, or choose the build with CUDA."
            )
            text = text.format(total=round(total / 1e9, 1), announced=round(self._build.download_bytes / 1e9, 1))
            self._finish(False, text)
        else:
            self._install()

    def _install(self) -> None:
        self._pip = PipOutput(self._planned)
        self._begin_step(3, tr("Downloading"))
        command = [*self._pip_install(), *packages.what_to_install(environment.setting("wheels"))]
        self._must(command, self._complaint, self._check)

    def _check(self) -> None:
        self._begin_step(5, tr("Checking"))
        complaint = tr("The packages are installed but do not load.")
        self._must([self._inside, "-c", _CHECK], complaint, self._complete)

    def _complete(self) -> None:
        environment.mark_complete(paths.version())
        self._finish(True, tr("The backend is set up."))

    # what they need

    @property
    def _inside(self) -> str:
        return str(environment.python_in(self._folder))

    @property
    def _complaint(self) -> str:
        return tr("The packages could not be installed.")

    def _pip_install(self, *options: str) -> List[str]:
        """Pip without what takes time and shows nothing: Python compiles what it imports when it is first imported."""
        command = [self._inside, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-compile"]
        raw = ["--progress-bar", "raw"] if self._raw else []
        return [*command, *raw, *packages.where_from(self._build), *options]

    def _must(self, command: List[str], complaint: str, then: Callable[[], None]) -> None:
        """Run what has to succeed."""

        def ended(ok: bool) -> None:
            if ok:
                then()
            else:
                self._finish(False, complaints.explain(complaint, self._output))

        self._execute(command, ended)

    def _execute(self, command: List[str], on_end: Callable[[bool], None]) -> None:
        self._say("> " + " ".join(command))
        self._output, self._rest, self._on_end = "", "", on_end
        process = QProcess(self)
        process.setProcessChannelMode(QProcess.ProcessChannelMode.MergedChannels)
        variables = QProcessEnvironment()
        for key, value in environment.clean_environment(os.environ).items():
            variables.insert(key, value)
        process.setProcessEnvironment(variables)
        # methods, of which Qt lets go with this object: a function would be called while it is taken apart
        process.readyReadStandardOutput.connect(self._readable)
        process.finished.connect(self._exited)
        process.errorOccurred.connect(self._failed)
        self._process = process
        process.start(command[0], command[1:])

    def _readable(self) -> None:
        if self._process is not None:
            self._read(self._process)

    def _exited(self, code: int, status: QProcess.ExitStatus) -> None:
        self._ended(code == 0)

    def _failed(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self._ended(False)

    def _read(self, process: QProcess) -> None:
        text = self._rest + bytes(process.readAllStandardOutput()).decode("utf-8", "replace")
        *lines, self._rest = text.replace("\r\n", "\n").split("\n")
        for line in lines:
            self._heard(line)

    def _heard(self, line: str) -> None:
        if self._over or self._pip.feed(line):
            return
        self._output = (self._output + line + "\n")[-100_000:]
        if line.strip():
            self._say(line.rstrip())
        if self._pip.order and self._step == 3:
            self._begin_step(4, tr("Installing"))

    def _ended(self, ok: bool) -> None:
        process = self._process
        if self._over or process is None:
            return
        self._read(process)
        self._heard(self._rest)
        self._process = None
        process.deleteLater()
        self._on_end(ok)

    def _begin_step(self, number: int, title: str) -> None:
        self._step, self._title, self._since = number, title, time.monotonic()
        self._at_first, self._last, self._moved = 0, 0, self._since
        self._poll.start()
        self.progressed.emit(Progress(number, title))
        self._look()

    def _look(self) -> None:
        """How far the step is now."""
        amount = None
        if self._step == 4:
            amount = installed(self._planned, self._pip.order, self._folder) if self._planned else None
        elif self._step in (2, 3):
            amount = self._pip.downloaded()
        if amount is None or not (amount.total or amount.file):
            self.progressed.emit(Progress(self._step, self._title))
            return
        now = time.monotonic()
        spent, left = now - self._since, None
        if amount.done != self._last:
            self._last, self._moved = amount.done, now
        if spent < 1:  # what was there before says nothing of the speed
            self._at_first = amount.done
        gained = amount.done - self._at_first
        moves = amount.in_bytes and now - self._moved < STANDSTILL_S  # else nothing tells how long it will take
        if self._step != 2 and amount.total and moves and spent > 3 and gained > 0.02 * amount.total:
            left = spent * (amount.total - amount.done) / gained
        self.progressed.emit(Progress(self._step, self._title, amount, left))

    def _say(self, line: str) -> None:
        if self._log is not None:
            self._log.write(line + "\n")
            self._log.flush()
        self.line.emit(line)

    def _finish(self, ok: bool, text: str) -> None:
        self._over = True
        self._poll.stop()
        self._say(text)
        self._close_log()
        self.done.emit(ok, text)

    def _close_log(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None
