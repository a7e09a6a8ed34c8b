"""An image in memory as a source."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rotacube.models.card import Normalisation
from rotacube.raster.grid import Box


class ArraySource:
    """An image in memory, at the model's ground sample distance.

    Args:
        image: (bands, H, W) in 0..1.
        valid: (H, W).
        rule: the card's normalisation.
    """

    def __init__(self, image: NDArray[np.float32], valid: NDArray[np.bool_], rule: Normalisation) -> None:
        self._values, self._valid = rule.apply(image, valid), valid

    @property
    def height(self) -> int:
        """Rows."""
        return len(self._valid)

    @property
    def width(self) -> int:
        """Columns."""
        return int(self._valid.shape[1])

    def read(self, box: Box) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read a window, which may reach beyond the image; see `Source.read`."""
        values = np.zeros((len(self._values), box.height, box.width), np.float32)
        valid = np.zeros((box.height, box.width), bool)
        whole = Box(0, 0, self.height, self.width)
        inside = box & whole
        if not inside.empty:
            into, cut = inside.within(box), inside.within(whole)
            values[(slice(None), *into)] = self._values[(slice(None), *cut)]
            valid[into] = self._valid[cut]
        return values, valid
