"""How a benchmark on the CPU has its memory allocated."""

from __future__ import annotations

import ctypes
import platform
import sys

# glibc's names for them, in malloc.h, and what they are set to: freed memory stays with the process. Otherwise every
# large result is new memory that the kernel clears page by page, which takes several times as long as writing it, in
# every candidate.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_SETTINGS = ((_MMAP_THRESHOLD, 1 << 30), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 1 << 30))

_kept = False


def keep_freed_memory() -> None:
    """Tells the allocator to keep freed memory, where it is glibc's; for this process, until it ends."""
    global _kept
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    _kept = all([mallopt(name, value) == 1 for name, value in _SETTINGS])


def keeps_freed_memory() -> bool:
    """Whether the allocator was told to keep freed memory."""
    return _kept
