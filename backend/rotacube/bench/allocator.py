"""How a benchmark on the CPU has its memory allocated."""

from __future__ import annotations

import resource
from pathlib import Path

import torch

from rotacube.memory import MMAP_THRESHOLD, TOP_PAD, TRIM_THRESHOLD, give_back, set_allocator

# Freed memory stays with the process. Otherwise every large result is new memory that the kernel clears page by page,
# which takes several times as long as writing it, in every candidate.
_BLOCK = 1 << 28  # below the threshold, above which memory is mapped for a while only
_SETTINGS = ((MMAP_THRESHOLD, 1 << 30), (TRIM_THRESHOLD, -1), (TOP_PAD, 1 << 30))

_kept = False
_touched = False


def keep_freed_memory() -> None:
    """Tells the allocator to keep freed memory, where it is glibc's; for this process, until it ends."""
    global _kept
    _kept = set_allocator(_SETTINGS)


def renew(touched: int, most: int = 10 << 30) -> None:
    """Where more than `most` bytes are resident, gives back what is free: the shapes of all measurements would pile up.

    Then, and at first, touches `touched` bytes, so that no measurement begins on new memory. Does nothing where the
    allocator does not keep what is freed.
    """
    global _touched
    if not _kept:
        return
    resident = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    if resident > most:
        give_back()
        _touched = False
    if not _touched:
        _ = [torch.empty(_BLOCK, dtype=torch.uint8).fill_(1) for _ in range(touched // _BLOCK)]
        _touched = True


def keeps_freed_memory() -> bool:
    """Whether the allocator was told to keep freed memory."""
    return _kept
