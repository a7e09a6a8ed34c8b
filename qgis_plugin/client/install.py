"""Setting up the managed environment: a virtual environment with the backend's packages, step by step, off the GUI.

Nothing is installed into QGIS's own Python. A set-up that was broken off is taken up again where pip's cache left it.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Optional

from qgis.PyQt.QtCore import QObject, QProcess, QProcessEnvironment, pyqtSignal

from .. import paths
from ..i18n import tr
from . import environment

# PyTorch brings CUDA along on Linux, whether there is a GPU or not
NEEDED_BYTES = 8_000_000_000 if sys.platform.startswith("linux") else 3_000_000_000
MINIMUM = (3, 10)
_PROBE = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
_CHECK = "import torch, rasterio, fastapi, uvicorn; print('torch', torch.__version__, 'rasterio', rasterio.__version__)"


@dataclass(frozen=True)
class Step:
    """A command, what it is for, and what to say when it fails."""

    title: str
    command: List[str]
    complaint: str


class BackendSetup(QObject):
    """Runs the steps one after the other; `done` carries success and a sentence."""

    title = pyqtSignal(str)
    line = pyqtSignal(str)
    done = pyqtSignal(bool, str)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._process: Optional[QProcess] = None
        self._candidates: List[str] = []
        self._steps: List[Step] = []
        self._output = ""
        self._on_end: Optional[Callable[[bool], None]] = None
        self._over = False

    def start(self) -> None:
        """Begin; `done` follows."""
        home = environment.data_home()
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            text = tr("The folder {path} cannot be created ({why}). Set ROTACUBE_HOME to a folder that can be written.")
            self._finish(False, text.format(path=home, why=error.strerror))
            return
        if shutil.disk_usage(home).free < NEEDED_BYTES:
            text = tr("Less than {n} GB are free in {path}. Make room, or set ROTACUBE_HOME to a folder elsewhere.")
            self._finish(False, text.format(n=NEEDED_BYTES // 10**9, path=home))
            return
        self.title.emit(tr("Looking for a Python…"))
        self._candidates = python_candidates()
        self._probe_next()

    def cancel(self) -> None:
        """Break off."""
        self._over = True
        if self._process is not None:
            self._process.kill()
            self._process.waitForFinished(2000)

    def _probe_next(self) -> None:
        if not self._candidates:
            text = tr(
                "No Python {version} or newer with the module venv was found. Install one from python.org "
                "(on Debian and Ubuntu: sudo apt install python3-venv) and try again, or name it in the settings."
            )
            self._finish(False, text.format(version=".".join(map(str, MINIMUM))))
            return
        candidate = self._candidates.pop(0)

        def probed(ok: bool) -> None:
            found = re.search(r"(\d+)\.(\d+)", self._output)
            if ok and found and (int(found[1]), int(found[2])) >= MINIMUM:
                self.line.emit(tr("Python {version}: {path}").format(version=found[0], path=candidate))
                self._steps = steps(candidate)
                self._next_step()
            else:
                self.line.emit(tr("not suitable: {path}").format(path=candidate))
                self._probe_next()

        self._execute([candidate, "-c", _PROBE], probed, show=False)

    def _next_step(self) -> None:
        if not self._steps:
            environment.mark_complete(paths.version())
            self._finish(True, tr("The backend is set up."))
            return
        step = self._steps.pop(0)
        self.title.emit(step.title)
        self.line.emit("> " + " ".join(step.command))

        def ended(ok: bool) -> None:
            if ok:
                self._next_step()
            else:
                self._finish(False, _explain(step.complaint, self._output))

        self._execute(step.command, ended)

    def _execute(self, command: List[str], on_end: Callable[[bool], None], show: bool = True) -> None:
        self._output, self._on_end = "", on_end
        process = QProcess(self)
        process.setProcessChannelMode(QProcess.ProcessChannelMode.MergedChannels)
        variables = QProcessEnvironment()
        for key, value in environment.clean_environment(os.environ).items():
            variables.insert(key, value)
        process.setProcessEnvironment(variables)
        process.readyReadStandardOutput.connect(lambda: self._read(process, show))
        process.finished.connect(lambda code, status: self._ended(process, code == 0))
        process.errorOccurred.connect(
            lambda error: self._ended(process, False) if error == QProcess.ProcessError.FailedToStart else None
        )
        self._process = process
        process.start(command[0], command[1:])

    def _read(self, process: QProcess, show: bool) -> None:
        text = bytes(process.readAllStandardOutput()).decode("utf-8", "replace")
        self._output = (self._output + text)[-20_000:]
        if show:
            for line in text.splitlines():
                if line.strip():
                    self.line.emit(line.rstrip())

    def _ended(self, process: QProcess, ok: bool) -> None:
        if self._over or process is not self._process:
            return
        self._read(process, False)
        self._process = None
        process.deleteLater()
        self._on_end(ok)

    def _finish(self, ok: bool, text: str) -> None:
        self._over = True
        self.done.emit(ok, text)


def steps(python: str) -> List[Step]:
    """The commands that make the managed environment with a given Python."""
    folder = environment.managed_folder()
    inside = str(environment.python_in(folder))
    pip = [inside, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    return [
        Step(
            tr("Making the environment…"),
            [python, "-m", "venv", str(folder)],
            tr("The environment could not be made in {}.").format(folder),
        ),
        Step(
            tr("Installing the backend's packages (1 GB; 6 GB where PyTorch brings CUDA)…"),
            pip + shlex.split(environment.setting("pip_options")) + what_to_install(environment.setting("wheels")),
            tr("The packages could not be installed."),
        ),
        Step(tr("Checking…"), [inside, "-c", _CHECK], tr("The packages are installed but do not load.")),
    ]


def what_to_install(wheels: str) -> List[str]:
    """Arguments for pip: a wheel, a folder or page of wheels, else what the source tree that came along needs."""
    if wheels.split("#", 1)[0].split("?", 1)[0].endswith(".whl"):
        return ["--upgrade", wheels]
    if wheels:
        return ["--upgrade", "--find-links", wheels, f"rotacube=={paths.version()}"]
    if paths.is_checkout():
        return [str(paths.root())]
    return ["-r", str(paths.root() / "backend" / "requirements.txt")]


def python_candidates() -> List[str]:
    """Pythons that may be there, the likeliest first; the user's choice alone if there is one."""
    chosen = environment.setting("base_python")
    if chosen:
        return [chosen]
    names = ["python3.12", "python3.13", "python3.11", "python3.10", "python3", "python"]
    found = [shutil.which(name) for name in names]
    if sys.platform == "darwin":
        frameworks = Path("/Library/Frameworks/Python.framework/Versions")
        found += sorted((str(p) for p in frameworks.glob("3.*/bin/python3")), reverse=True)
        found += ["/opt/homebrew/bin/python3", "/usr/local/bin/python3", "/usr/bin/python3"]
    if os.name == "nt":
        installed = Path(os.environ.get("LOCALAPPDATA", "")) / "Programs" / "Python"
        found += sorted((str(p) for p in installed.glob("Python3*/python.exe")), reverse=True)
        found.append(str(Path(sys.exec_prefix) / "python.exe"))
    return list(dict.fromkeys(path for path in found if path and Path(path).is_file()))


def _explain(complaint: str, output: str) -> str:
    for pattern, reason in _reasons():
        if re.search(pattern, output, re.IGNORECASE):
            return f"{complaint} {reason}"
    return complaint + " " + tr("The log above says why.")


def _reasons():
    return (
        (r"No space left|not enough space", tr("The disk is full. Make room and try again.")),
        (
            r"ProxyError|407 Proxy|Tunnel connection failed",
            tr("A proxy stands in the way. Set HTTPS_PROXY, or choose a folder with wheels."),
        ),
        (
            r"CERTIFICATE_VERIFY_FAILED|SSLError",
            tr("The server's certificate was not accepted, often because of a proxy. Choose a folder with wheels."),
        ),
        (
            r"Failed to establish a new connection|Temporary failure in name|getaddrinfo|NewConnectionError|refused",
            tr("The package server cannot be reached. Check the network, or choose a folder with wheels."),
        ),
        (
            r"Permission denied|Access is denied|WinError 5",
            tr("Writing was refused. An antivirus program may be the reason."),
        ),
        (
            r"No matching distribution|Could not find a version",
            tr("A package for this Python and system was not found. Try another Python, or another wheel folder."),
        ),
    )
