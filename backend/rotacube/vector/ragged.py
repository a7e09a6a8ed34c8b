"""Rows of unequal lengths that lie one after the other in one array."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def offsets(sizes: NDArray[Any]) -> Ints:
    """Where each row begins and the last one ends, (N + 1,).

    >>> offsets(np.array([2, 0, 3]))
    array([0, 2, 2, 5])
    """
    found: Ints = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])
    return found


def expanded(sizes: NDArray[Any]) -> tuple[Ints, Ints]:
    """The row of each element, and its place in it.

    >>> expanded(np.array([2, 0, 3]))
    (array([0, 0, 2, 2, 2]), array([0, 1, 0, 1, 2]))
    """
    row: Ints = np.repeat(np.arange(len(sizes)), sizes)
    return row, np.arange(len(row)) - offsets(sizes)[row]


def firsts_of(rows: Ints, count: int) -> Ints:
    """Where each row begins and the last one ends, (N + 1,), from the ascending row of each element."""
    return offsets(np.bincount(rows, minlength=count))


def summed(rows: Ints, values: NDArray[Any], count: int) -> Floats:
    """The sum of each row's values, (count,)."""
    found: Floats = np.bincount(rows, values, count).astype(np.float64)
    return found
