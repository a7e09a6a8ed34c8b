"""How the process has its memory from glibc: kept while a run goes on, given back after it.

By default every large array is new memory, which the kernel clears page by page, and is unmapped when it is freed. Kept
for the next one, a run has a fifth of the page faults. One arena serves all threads: each of its own keeps what its
thread has freed from the others. Elsewhere than with glibc nothing here does anything.
"""

from __future__ import annotations

import ctypes
import platform
import sys

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD, ARENA_MAX = -1, -2, -3, -8  # glibc's names for them, in malloc.h
_RUN = ((MMAP_THRESHOLD, 1 << 30), (TRIM_THRESHOLD, 1 << 30), (TOP_PAD, 1 << 26), (ARENA_MAX, 1))


def set_allocator(settings: tuple[tuple[int, int], ...] = _RUN) -> bool:
    """Tell the allocator what to keep, for this process until it ends; whether it took all of it.

    Args:
        settings: glibc's names and values; what suits runs by default.
    """
    libc = _glibc()
    return libc is not None and all([libc.mallopt(name, value) == 1 for name, value in settings])


def give_back() -> None:
    """Give freed memory back to the system."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform == "linux" and platform.libc_ver()[0] == "glibc" else None
