"""What a network looks at: anything that gives windows of network input on a grid of pixels."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rotacube.raster.grid import Box


class Source(Protocol):
    """Network input by windows.

    `FileSource` reads what GDAL opens, `ArraySource` holds an image in memory. Another one (frames of a drone, say) is
    a class with these members; the engine asks for nothing else.
    """

    @property
    def height(self) -> int:
        """Rows of the grid."""

    @property
    def width(self) -> int:
        """Columns of the grid."""

    def read(self, box: Box) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read a window, which may reach beyond the grid. Called from one thread at a time.

        Returns:
            Network input (bands, box height, box width), zero where nodata, and the validity (box height, box width).
        """
