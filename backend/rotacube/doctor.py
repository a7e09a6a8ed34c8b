"""What the backend runs on, and which path every operator takes, in words: for terminal, server and log."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rotacube import __version__
from rotacube.errors import printable
from rotacube.files import is_folder
from rotacube.models.store import model_folders
from rotacube.ops import (
    CompiledStatus,
    OperatorStatus,
    compiled_status,
    device_status,
    operator_status,
)


@dataclass(frozen=True)
class Diagnosis:
    """What was found: versions, device and why, threads, operators and their libraries, folders with models."""

    version: str
    torch: str
    device: str
    device_why: str
    threads: int
    operators: list[OperatorStatus]
    compiled: CompiledStatus
    model_folders: list[str]


def diagnose() -> Diagnosis:
    """Look, and launch every operator once on every device.

    >>> diagnose().version == __version__
    True
    """
    device = device_status()
    return Diagnosis(
        version=__version__,
        torch=torch.__version__,
        device=device.device,
        device_why=device.why,
        threads=torch.get_num_threads(),
        operators=operator_status(),
        compiled=compiled_status(),
        model_folders=[printable(str(folder)) for folder in model_folders() if is_folder(folder)],
    )
