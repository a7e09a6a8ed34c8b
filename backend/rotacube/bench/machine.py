"""The machine and the source that a benchmark ran on, in plain words: no paths, no names of hosts."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import torch

_FLAGS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_bf16": "AVX512_BF16",
    "amx_tile": "AMX",
}


def describe_cpu() -> str:
    """The processor, its cores and vector instructions, its last-level cache and the memory."""
    fields: dict[str, str] = {}
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in reversed(info.read_text(encoding="utf-8", errors="replace").splitlines()):
            key, _, value = line.partition(":")
            fields[key.strip()] = value.strip()
    parts = [fields.get("model name") or platform.machine()]
    if "cpu family" in fields:
        parts[0] += f" (family {fields['cpu family']}, model {fields.get('model', '?')})"
    parts.append(f"{os.cpu_count()} cores")
    flags = set(fields.get("flags", "").split())
    vectors = [name for flag, name in _FLAGS.items() if flag in flags]
    if vectors:
        parts.append(" ".join(vectors))
    memory = _total_memory()
    if memory is not None:
        parts.append(f"{memory / 2**30:.0f} GiB of memory")
    return ", ".join(parts)


def describe_machine(device: str) -> str:
    """The device that was measured, in a line."""
    if device == "cuda":
        index = torch.cuda.current_device()
        gib = torch.cuda.get_device_properties(index).total_memory / 2**30
        return f"{torch.cuda.get_device_name(index)}, {gib:.0f} GiB; {describe_cpu()}"
    return f"{describe_cpu()}; {torch.get_num_threads()} threads"


def describe_torch() -> str:
    """PyTorch's version, and those of CUDA and cuDNN where they are used."""
    text = f"PyTorch {torch.__version__}"
    if torch.version.cuda is not None:
        cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
        text += f", CUDA {torch.version.cuda}, cuDNN {cudnn}"
    return text


def describe_commit() -> str:
    """The commit and its date, and whether the files differ from it; a sentence where there is no repository."""
    try:
        said = _git("log", "-1", "--format=%h of %cs")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "not a git checkout"
    changes = [line for line in changed.splitlines() if not line[3:].startswith("docs/results/")]
    return f"{said}, with changes that are not committed" if changes else said


def _git(*arguments: str) -> str:
    folder = Path(__file__).resolve().parent
    git = shutil.which("git")
    if git is None:
        raise FileNotFoundError("git is not installed")
    done = subprocess.run([git, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip("\n")


def _total_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
