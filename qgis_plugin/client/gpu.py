"""Whether there is an NVIDIA GPU that PyTorch's CUDA build could use: the driver is asked, no package is needed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

OLDEST_DRIVER = 580  # what CUDA 13 needs, which PyTorch is built for
_PROC = Path("/proc/driver/nvidia/version")
_PATIENCE_S = 10


@dataclass(frozen=True)
class Gpu:
    """A GPU by its name, and its driver's version."""

    name: str
    driver: str

    @property
    def is_usable(self) -> bool:
        """Whether the driver is new enough."""
        number = re.match(r"\d+", self.driver)
        return bool(number) and int(number[0]) >= OLDEST_DRIVER


def find_gpu() -> Optional[Gpu]:
    """The first NVIDIA GPU; None if there is none, or no driver for it. It takes up to seconds."""
    program = _nvidia_smi()
    if program is not None:
        command = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
        flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
        try:
            answer = subprocess.run(
                command, capture_output=True, timeout=_PATIENCE_S, check=False, creationflags=flags
            ).stdout.decode("utf-8", "replace")
        except (OSError, subprocess.SubprocessError):
            answer = ""
        name, comma, driver = answer.partition("\n")[0].rpartition(",")
        if comma and re.match(r"\s*\d+\.", driver):
            return Gpu(name.strip(), driver.strip())
    return _from_kernel()


def _nvidia_smi() -> Optional[str]:
    if os.name == "nt":
        place = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "nvidia-smi.exe"
        if place.is_file():
            return str(place)
    return shutil.which("nvidia-smi")


def _from_kernel() -> Optional[Gpu]:
    """What the driver says of itself where nvidia-smi is not installed."""
    try:
        found = re.search(r"Kernel Module\D*?\s(\d+(?:\.\d+)+)", _PROC.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return Gpu("NVIDIA", found[1]) if found else None
