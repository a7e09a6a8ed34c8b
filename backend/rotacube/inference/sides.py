"""What blocks of a map have in common along their sides, where a piece goes on from one to the next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rotacube.raster.grid import Box

Ids = NDArray[np.int32]


@dataclass(frozen=True)
class Sides:
    """The outermost pixels of a block, (length,) each: the numbers of its own pieces on all four sides; and on the left
    and on top what its window sees of them, and of those beside them in the block before, None where there is none.
    """

    left: Ids
    top: Ids
    right: Ids
    bottom: Ids
    seen: tuple[Ids, Ids]
    beside: tuple[Ids | None, Ids | None]


def sides_of(seen: Ids, ids: Ids, cut: tuple[slice, slice]) -> Sides:
    """The sides of a block, which is this part of its window; copies, as the block is let go of."""
    rows, columns = cut
    before = (
        seen[rows, columns.start - 1].copy() if columns.start else None,
        seen[rows.start - 1, columns].copy() if rows.start else None,
    )
    return Sides(
        left=ids[:, 0].copy(),
        top=ids[0].copy(),
        right=ids[:, -1].copy(),
        bottom=ids[-1].copy(),
        seen=(seen[rows, columns.start].copy(), seen[rows.start, columns].copy()),
        beside=before,
    )


def joins(
    sides: Sides, count: int, core: Box, edges: dict[tuple[int, int, str], NDArray[np.int64]]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs of numbers, here and in the block to the left or above, that are one piece as seen from here, and pairs
    that touch.

    The block's own numbers go on from `count`. `edges` are the last column and row of the blocks before; those of this
    one are added.
    """

    def given(line: Ids) -> NDArray[np.int64]:
        return np.where(line > 0, line.astype(np.int64) + count, 0)

    for side, own, inner, outer in zip(
        ("right", "bottom"), (sides.left, sides.top), sides.seen, sides.beside, strict=True
    ):
        beside = edges.pop((core.top, core.left, side), None)
        if beside is None or outer is None:
            continue
        here = given(own)
        there = (here > 0) & (beside > 0)
        same = there & (inner == outer) & (inner > 0)
        one, other = (np.unique(np.column_stack([here[by], beside[by]]), axis=0) for by in (same, there & ~same))
        yield one, other
    edges[core.top, core.right, "right"] = given(sides.right)
    edges[core.bottom, core.left, "bottom"] = given(sides.bottom)
