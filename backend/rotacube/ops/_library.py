"""The compiled libraries: where they lie, whether they could be opened, and why not.

There are two, both against PyTorch's stable ABI: one for the CPU, and one for CUDA that is opened only where PyTorch
itself was built for CUDA. They are opened once, on import; the answer is kept as a sentence. The environment variable
`ROTACUBE_OPS=reference` leaves both shut, and `ROTACUBE_LIBRARY_FOLDER` names another folder to open them from, such as
one with a build for AddressSanitizer.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from rotacube.errors import first_line

FOLDER = Path(os.environ.get("ROTACUBE_LIBRARY_FOLDER") or Path(__file__).resolve().parents[1] / "_lib").resolve()
ABI_TARGET = "2.10"  # the oldest PyTorch that the libraries load in; setup.py compiles against its stable ABI
CPU_FILE = "librotacube_cpu.so"
CUDA_FILE = "librotacube_cuda.so"


@dataclass(frozen=True)
class Library:
    """One compiled library: whether it is open, and why (not), as a sentence."""

    loaded: bool
    why: str


def forced_reference() -> str | None:
    """Returns the sentence that says who switched the compiled operators off, or None where nobody did."""
    if os.environ.get("ROTACUBE_OPS", "").strip().lower() == "reference":
        return "the environment variable ROTACUBE_OPS asks for the reference path"
    return None


def _open(file: str, needs: str) -> Library:
    path = FOLDER / file
    if not path.is_file():
        return Library(False, f"the compiled library {file} is not installed (pip builds it where it finds {needs})")
    try:
        torch.ops.load_library(str(path))  # type: ignore[no-untyped-call]
    except (OSError, RuntimeError) as error:
        return Library(False, f"the compiled library {file} could not be opened: {first_line(error)}")
    return Library(True, f"the compiled library {file} is open")


def _open_cpu() -> Library:
    forced = forced_reference()
    return Library(False, forced) if forced else _open(CPU_FILE, "a C++ compiler")


def _open_cuda(cpu: Library) -> Library:
    if torch.version.cuda is None:
        return Library(False, "the installed PyTorch has no CUDA support")
    if not cpu.loaded:  # the CPU library carries the schemas
        return Library(False, cpu.why)
    return _open(CUDA_FILE, "nvcc")


CPU = _open_cpu()
CUDA = _open_cuda(CPU)
