"""How a benchmark on the CPU has its memory allocated; imports nothing large, since it may start the program again."""

from __future__ import annotations

import os
import platform
import sys

# What glibc is told: freed memory stays with the process. Otherwise every large result is new memory that the kernel
# clears page by page, which takes several times as long as writing it, in every candidate.
KEEP = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=16000000000:glibc.malloc.top_pad=1000000000"


def keep_freed_memory() -> None:
    """Starts this program again with an allocator that keeps freed memory, where it is glibc's and not told already."""
    glibc = sys.platform == "linux" and platform.libc_ver()[0] == "glibc"
    if glibc and "GLIBC_TUNABLES" not in os.environ:
        command = [sys.executable, "-m", "rotacube", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "GLIBC_TUNABLES": KEEP})  # noqa: S606


def keeps_freed_memory() -> bool:
    """Whether the allocator was told to keep freed memory."""
    return "mmap_max=0" in os.environ.get("GLIBC_TUNABLES", "")
