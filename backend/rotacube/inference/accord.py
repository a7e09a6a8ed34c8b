"""How often frames that see the same ground find other classes there: what a map says of its own errors.

Of two views that disagree one is wrong. Were each to err by itself, a class would be found by the one and not by the
other as often as sum_i T_i C_ik (1 - C_ik), of shares T and rates C at which class i is found as class k; errors that
both have alike make it less, frames that lie beside their place make it more. So disagreement far beyond what the
places of validation lead to expect says that this is a place of another kind, and what places may differ by is widened
by it, as the errors of measurements are that disagree: by the scale factor of Birge (1932, Physical Review 40) and the
Particle Data Group (Review of Particle Physics, "Treatment of errors"). It takes for granted that views which agree
prove nothing: less disagreement than expected narrows nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rotacube.raster.grid import Box

CELL = 8
"""Pixels a side of what is compared: the class in a cell's middle, with those that another view finds anywhere in it.
So frames that lie up to four pixels beside each other do not disagree for that."""
FEWEST = 100
"""Pairs of views that say anything."""
SELDOM = 1e-3
"""Disagreement that counts as none."""
SURPRISING = 2.0
"""Standard deviations: one of forty places of the same kind has more."""
WIDEST = 3.0
"""The largest factor: beyond it nothing is known anyhow."""


class Accord:
    """Counts pairs of views of a cell. All are whole numbers, so no order of frames gives others.

    Args:
        classes: how many there are.

    Attributes:
        pairs: of a view and another one, over all cells.
        apart: (classes,) those in which the first finds a class in the cell's middle, the second nowhere in the cell.
        other: (classes,) those in which the second does not find the class in the middle.
        nowhere: (classes,) those in which it finds it nowhere in the cell.
    """

    def __init__(self, classes: int) -> None:
        self.pairs = 0
        self.apart, self.other, self.nowhere = (np.zeros(classes, np.int64) for _ in range(3))

    @property
    def rates(self) -> NDArray[np.float64]:
        """Of all pairs those that disagree on each class (classes,), frames that lie some pixels off aside.

        That a class which a view misses in the middle lies elsewhere in its cell hides disagreement: taken to be as
        often as in all cells that have another class in their middle.
        """
        hidden = self.other / np.maximum(1, self.nowhere)
        result: NDArray[np.float64] = self.apart / max(1, self.pairs) * hidden
        return result

    def widening(self, usual: NDArray[np.float64], rates: NDArray[np.float64]) -> tuple[tuple[float, ...], list[str]]:
        """By how much the spread between places is widened for each class, and sentences on that.

        The logarithm of how often views disagree on a class lies z standard deviations above the median of the draws;
        the factor is z where that is surprising, else 1.

        Args:
            usual: (K,), shares of the classes.
            rates: (draws, K, K), at which each class (rows) is found as each class, in places as those of validation.

        Returns:
            (K,) factors, none where all are 1; and sentences, none where views say nothing.
        """
        if self.pairs < FEWEST:
            return (), []
        apart = self.rates
        expected = np.einsum("i,dik->dk", usual, rates * (1 - rates))
        middle, high = np.log(SELDOM + np.quantile(expected, (0.5, 0.84), axis=0))
        z = (np.log(SELDOM + apart) - middle) / np.maximum(high - middle, 1e-9)
        wider = np.where(z > SURPRISING, np.minimum(z, WIDEST), 1.0)
        said = (
            f"Of two views of the same ground {100 * apart.sum():.1f}% disagree; were each to err by itself as on "
            f"validation, {100 * float(np.median(expected.sum(1))):.1f}% would"
        )
        if wider.max() <= 1:
            return (), [f"{said}. That narrows nothing: errors that all views have alike are not seen so."]
        said += (
            f", so errors are taken to differ up to {wider.max():.1f} times as much from those of validation. Frames "
        )
        return tuple(wider.tolist()), [f"{said}that lie beside their place disagree, too."]


class Cells:
    """The views of the cells of a part of the grid.

    Args:
        box: the part; only cells that lie wholly in it count.
        classes: how many there are.
    """

    def __init__(self, box: Box, classes: int) -> None:
        self.box, self.classes = box, classes
        shape = box.height // CELL, box.width // CELL
        self._views = np.zeros(shape, np.int64)
        self._middle, self._anywhere = (np.zeros((classes, *shape), np.int64) for _ in range(2))

    def add(self, window: Box, found: NDArray[np.integer], seen: NDArray[np.bool_]) -> None:
        """Count a view.

        Args:
            window: within the box.
            found: (H, W), the classes that it finds in the window.
            seen: (H, W), where it sees anything; a cell must be seen as a whole.
        """
        rows, columns = window.within(self.box)
        first, last = ([-(-s.start // CELL) for s in (rows, columns)], [s.stop // CELL for s in (rows, columns)])
        high, wide = min(last[0], len(self._views)) - first[0], min(last[1], self._views.shape[1]) - first[1]
        if high < 1 or wide < 1:
            return
        at = np.s_[first[0] : first[0] + high, first[1] : first[1] + wide]
        top, left = first[0] * CELL - rows.start, first[1] * CELL - columns.start
        cut = np.s_[top : top + high * CELL, left : left + wide * CELL]
        whole = ~_any(~seen[cut])
        middle = found[cut][CELL // 2 :: CELL, CELL // 2 :: CELL]
        self._views[at] += whole
        for number in range(self.classes):
            self._middle[number][at] += whole & (middle == number)
            self._anywhere[number][at] += whole & _any(found[cut] == number)

    def tell(self, accord: Accord) -> None:
        """Add the pairs of all views that were counted."""
        nowhere, others = self._views - self._anywhere, self._views - 1
        accord.pairs += int((self._views * others).sum())
        accord.apart += (self._middle * nowhere).sum((1, 2))
        accord.nowhere += (others * nowhere).sum((1, 2))
        accord.other += (others * (self._views - self._middle)).sum((1, 2))


def _any(values: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of cells (H, W) whether any pixel (H * CELL, W * CELL) is true."""
    packed = np.packbits(values, axis=1)  # a cell's row is a byte
    result: NDArray[np.bool_] = np.bitwise_or.reduce(packed.reshape(-1, CELL, packed.shape[1]), axis=1) > 0
    return result
