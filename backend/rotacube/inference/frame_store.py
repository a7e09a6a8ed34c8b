"""The folder of a run over a drone's frames: of each frame what was found, on the lines of the map's grid."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rotacube.errors import JobDamaged
from rotacube.inference.scratch import is_whole, read_array, write_array
from rotacube.inference.store import FRAME, Store
from rotacube.raster.destination import unwritable
from rotacube.raster.gdal import GDAL_ERRORS, cause_of
from rotacube.raster.grid import Box
from rotacube.raster.write import NODATA


class FrameStore(Store):
    """What was found of frames, on disk, read back by windows.

    Args:
        folder: its own; see `folder_of`.
        area: the map's grid.
        names: of the parts of every frame.
    """

    def __init__(self, folder: Path, area: Box, names: Sequence[str]) -> None:
        super().__init__(folder, area, names)
        self._kept: dict[str, Box] = {}

    def box_of(self, name: str) -> Box | None:
        """The part of the grid that a frame is kept of, by this run or one that was cut off; None if it is not."""
        return self._kept.get(_mark(name))

    def add_frame(self, name: str, box: Box, parts: NDArray[np.uint8]) -> None:
        """Keep a frame's parts (names, height, width).

        Raises:
            OutputUnwritable: the disk is full, or the folder was taken away.
        """
        try:
            write_array(self._file(name, box), parts, NODATA)
        except GDAL_ERRORS as error:
            raise unwritable(self.folder, error) from error
        self._kept[_mark(name)] = box

    def read_frame(self, name: str, window: Box) -> NDArray[np.uint8]:
        """A frame's parts (names, height, width) in a window that lies within its box.

        Raises:
            JobDamaged: it cannot be read.
        """
        box = self._kept[_mark(name)]
        bands = list(range(1, len(self.names) + 1))
        try:
            found: NDArray[np.uint8] = read_array(self._file(name, box), bands, *window.within(box))
        except GDAL_ERRORS as error:
            raise JobDamaged(
                f"What was kept of a frame in '{self.folder}' cannot be read ({cause_of(error)}). Resume the run: it "
                "is found again."
            ) from error
        return found

    def keeps(self, path: Path) -> bool:
        """Whether a file that a killed run has left is gone on with; `box_of` knows it then."""
        found = FRAME.fullmatch(path.name)
        if not found:
            return False
        left, top, right, bottom = map(int, found[2].split("_")[1:])
        box = Box(top, left, bottom, right)
        try:
            whole = is_whole(path, (len(self.names), box.height, box.width))
        except GDAL_ERRORS:
            return False
        if whole:
            self._kept[found["mark"]] = box
        return whole

    def _file(self, name: str, box: Box) -> Path:
        return self.folder / f"frame_{_mark(name)}_{box.left}_{box.top}_{box.right}_{box.bottom}.tif"


def _mark(name: str) -> str:
    """A frame's name as any file system takes it."""
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:16]
