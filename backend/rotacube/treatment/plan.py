"""What is to be done in which cell: where a class passes the share, and how much is spread there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rotacube.treatment.cells import Cells
from rotacube.treatment.counting import CellCounts

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Dose:
    """How much is spread in cells that are treated.

    Attributes:
        litres: a hectare.
        by_share: whether that is for cells that a class covers wholly, and others get as much less, in hundredths.
    """

    litres: float
    by_share: bool = False

    def of(self, share: Floats) -> Floats:
        """Litres a hectare where a class has these shares."""
        if not self.by_share:
            return np.full(share.shape, self.litres)
        return np.maximum(1.0, (100 * share).round()) / 100 * self.litres


@dataclass(frozen=True)
class Plan:
    """The cells with data.

    Attributes:
        cells: the whole grid.
        numbers: (N,) of the cells in it, row by row, from 0.
        names: of K classes.
        shares: (K, N) of each class of the pixels with data.
        valid: (N,) share of the cell's pixels that have data.
        treat: (N,) whether a class passes the share.
        rate: (N,) litres a hectare, or None.
        cell_m2: square metres on the ellipsoid of a cell.
    """

    cells: Cells
    numbers: NDArray[np.int64]
    names: Sequence[str]
    shares: Floats
    valid: Floats
    treat: NDArray[np.bool_]
    rate: Floats | None
    cell_m2: float

    @property
    def areas(self) -> Floats:
        """(N,) square metres with data."""
        return self.valid * self.cell_m2

    @property
    def reason(self) -> NDArray[np.object_]:
        """(N,) the class with the largest share where cells are treated, else nothing."""
        names = np.array(self.names, object)
        found: NDArray[np.object_] = np.where(self.treat, names[self.shares.argmax(0)], "")
        return found


def planned(
    cells: Cells,
    counts: CellCounts,
    names: Sequence[str],
    share: float,
    least: float,
    dose: Dose | None,
    cell_m2: float,
) -> Plan:
    """Decide cell by cell.

    Args:
        cells: the grid.
        counts: of its pixels.
        names: of the classes.
        share: from which on a class is treated, above 0, at most 1.
        least: share of a cell's pixels that must have data; cells with less are left out.
        dose: what is spread, if it is known.
        cell_m2: square metres on the ellipsoid of a cell.
    """
    numbers = np.flatnonzero((counts.valid > 0) & (counts.valid >= least * counts.pixels))
    shares = counts.found[:, numbers] / counts.valid[numbers]
    treat: NDArray[np.bool_] = np.asarray((shares >= share).any(0))
    rate = None if dose is None else np.where(treat, dose.of(shares.max(0)), 0.0)
    valid = counts.valid[numbers] / counts.pixels[numbers]
    return Plan(cells, numbers, names, shares, valid, treat, rate, cell_m2)
