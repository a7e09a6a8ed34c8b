"""What the managed environment holds, for which computer, how large it is, and what pip is told for it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional

from .. import paths
from . import environment
from .gpu import Gpu

MINIMUM = (3, 11)
EXTRA = "train,frames"
"""Of the package: models are taught in QGIS, and drone frames matched, too."""
_LINUX, _WINDOWS = sys.platform.startswith("linux"), os.name == "nt"
_INDEX_OPTIONS = ("-i", "--index-url", "--extra-index-url", "--no-index")
_INDEX_VARIABLES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX")
_PYTORCH = "https://download.pytorch.org/whl/"


@dataclass(frozen=True)
class Build:
    """A build of PyTorch, with what all packages come to: measured on Linux with PyTorch 2.13 and 2.14, OpenCV 5.0."""

    name: str
    index: str  # where its wheels are, if the package index has another build; else empty
    download_bytes: int
    disk_bytes: int

    @property
    def needed_bytes(self) -> int:
        """What must be free: the packages, and the downloads that pip keeps until it is done and after."""
        return self.disk_bytes + 2 * self.download_bytes


# The package index has PyTorch with CUDA for Linux, and without it for Windows and macOS.
CPU = Build("cpu", _PYTORCH + "cpu" if _LINUX else "", 340_000_000, 1_250_000_000)
CUDA = Build("cuda", _PYTORCH + "cu130" if _WINDOWS else "", 3_060_000_000, 6_150_000_000)


def choices(gpu: Optional[Gpu]) -> List[Build]:
    """The builds that make sense here, the advised one first."""
    if gpu is None or sys.platform == "darwin":
        return [CPU]
    return [CUDA, CPU] if gpu.is_usable else [CPU, CUDA]


def user_decides() -> bool:
    """Whether the user says where packages come from: then that decides what is installed, and how large it is."""
    named = any(word.partition("=")[0] in _INDEX_OPTIONS for word in _words(environment.setting("pip_options")))
    return named or bool(environment.setting("wheels")) or any(os.environ.get(name) for name in _INDEX_VARIABLES)


def where_from(build: Build) -> List[str]:
    """Options for pip: what the user says, else the index that has the build."""
    index = [] if user_decides() or not build.index else ["--extra-index-url", build.index]
    return _words(environment.setting("pip_options")) + index


def what_to_install(wheels: str) -> List[str]:
    """Arguments for pip: a wheel, a folder or page of wheels, else what the source tree that came along needs."""
    if wheels.split("#", 1)[0].split("?", 1)[0].endswith(".whl"):
        return ["--upgrade", f"rotacube[{EXTRA}] @ {wheels}" if "://" in wheels else f"{wheels}[{EXTRA}]"]
    if wheels:
        return ["--upgrade", "--find-links", wheels, f"rotacube[{EXTRA}]=={paths.version()}"]
    if paths.is_checkout():
        return [f"{paths.root()}[{EXTRA}]"]
    return ["-r", str(paths.root() / "backend" / "requirements.txt")]


def python_candidates() -> List[str]:
    """Pythons that may be there, the likeliest first; the user's choice alone if there is one."""
    chosen = environment.setting("base_python")
    if chosen:
        return [chosen]
    names = ["python3.12", "python3.13", "python3.11", "python3", "python"]
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


def is_new_enough(said: str) -> bool:
    """Whether a Python that says `3.11` will do."""
    found = re.search(r"(\d+)\.(\d+)", said)
    return bool(found) and (int(found[1]), int(found[2])) >= MINIMUM


def _words(options: str) -> List[str]:
    try:
        return shlex.split(options, posix=os.name != "nt")
    except ValueError:  # a quote that is not closed: pip will say what it thinks of it
        return options.split()
