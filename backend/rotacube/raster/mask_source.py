"""A mask that is there already, whoever made it: whole numbers that stand for classes, read by windows as class ids."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from rotacube.errors import OptionsRefused, RasterBands, RasterEmpty, RasterNotGeoreferenced
from rotacube.models.card import COLOURS
from rotacube.raster.crs import storable
from rotacube.raster.file_source import all_nodata
from rotacube.raster.gdal import damage_told
from rotacube.raster.grid import Box
from rotacube.raster.ground import Ground
from rotacube.raster.map_grid import MapGrid
from rotacube.raster.opening import check_facts, open_raster
from rotacube.raster.references import References
from rotacube.raster.write import NODATA

CHUNK = 2048
"""Pixels a side of what is read at once."""
MOST = 254
"""Classes that a byte tells apart, beside nodata."""


@dataclass(frozen=True)
class MaskClass:
    """What a value of the mask stands for."""

    value: int
    name: str
    color: str


class MaskSource:
    """A mask, open; a context manager.

    Attributes:
        grid: its own.
        classes: by their ids: 0 is the value 0, which is the background, the others are the other values in order; of a
            map of ours all that it declares, also where no pixel is of one.
        tags: of the file, with its provenance where it is a map of ours.

    Args:
        path: what GDAL opens.
        band: that holds the classes, from 1.
        only: names or values of the classes that count; all but the background if empty.
        on_step: is told the share that is read.

    Raises:
        RasterMissing, RasterUnreadable, RasterNeedsNetwork, RasterNotGeoreferenced, RasterEmpty: it is not usable.
        RasterBands: its values are no classes.
        OptionsRefused: it has no such class.
    """

    def __init__(
        self,
        path: str,
        band: int = 1,
        only: Collection[str] = (),
        on_step: Callable[[float], None] = lambda share: None,
    ) -> None:
        self.path = path
        self._file, facts, self.references = open_raster(path)
        try:
            check_facts(facts, path)
            if not 1 <= band <= len(facts.bands.dtypes):
                raise RasterBands(f"'{path}' has {len(facts.bands.dtypes)} bands, no band {band}. Name one of them.")
            if facts.bands.dtypes[band - 1].startswith("complex"):
                raise RasterBands(f"'{path}' holds complex numbers, which are no classes. Choose a mask.")
            self._band = band
            size = Ground(facts.crs, facts.transform).pixel_size(facts.width / 2, facts.height / 2)
            if not all(math.isfinite(s) and s > 0 for s in size):
                raise RasterNotGeoreferenced(
                    f"The pixels of '{path}' have no size on the ground. Check the raster's CRS and georeference."
                )
            crs, _ = storable(facts.crs, facts.transform, facts.height, facts.width)
            self.grid = MapGrid(facts.height, facts.width, crs, facts.transform, size)
            self.tags = dict(self._file.tags())
            values = self._values(on_step)
            self._names = self._file.tags(band)
            self._palette = facts.bands.palettes.get(band)
            declared = sorted(int(key[6:]) for key in self._names if key.startswith("CLASS_") and key[6:].isdecimal())
            if declared != list(range(len(declared))) or not set(values) <= set(declared):
                declared = [0, *(value for value in values if value != 0)]
            found = [self._class(number, value) for number, value in enumerate(declared)]
            kept = found[:1] + [c for c in found[1:] if not only or {c.name, str(c.value)} & set(only)]
            unknown = set(only) - {c.name for c in found} - {str(c.value) for c in found}
            if unknown:
                known = ", ".join(f"{c.name} ({c.value})" for c in found[1:])
                raise OptionsRefused(
                    f"'{path}' has no class '{min(unknown)}'. It has: {known or 'the background alone'}."
                )
            self.classes = kept
            ids = {c.value: n for n, c in enumerate(kept)}
            self._known = np.array(values)
            self._ids = np.array([ids.get(value, 0) for value in values], np.uint8)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> MaskSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def files(self) -> References:
        """What is read, at any depth."""
        return self.references

    def windows(self) -> Iterator[Box]:
        """Boxes that tile the grid."""
        for top in range(0, self.grid.height, CHUNK):
            for left in range(0, self.grid.width, CHUNK):
                yield Box(top, left, top + CHUNK, left + CHUNK) & self.grid.extent

    def hull(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Columns and rows, in pixels, of places about the data, as an overview shows it; none lies far inside of it.

        Raises:
            RasterUnreadable: the file is damaged.
        """
        size = np.array([self.grid.height, self.grid.width])
        shape = np.maximum(1, size // max(1, math.ceil(size.max() / CHUNK)))
        with damage_told(self.path):
            valid = self._file.read_masks(self._band, out_shape=tuple(shape.tolist())) > 0
        rows = np.flatnonzero(valid.any(1))
        if not len(rows):  # what there is fell between
            valid[:], rows = True, np.arange(len(valid))
        first, last = valid[rows].argmax(1), valid.shape[1] - valid[rows, ::-1].argmax(1)
        columns = np.concatenate([first, first, last, last]) * (size[1] / shape[1])
        return columns, np.concatenate([rows, rows + 1, rows, rows + 1]) * (size[0] / shape[0])

    def read(self, box: Box) -> NDArray[np.uint8]:
        """Class ids (H, W) of a window of the grid, nodata where nothing is known.

        Raises:
            RasterUnreadable: the file is damaged there.
        """
        raw, valid = self._raw(box)
        at = np.searchsorted(self._known, np.where(valid, raw, self._known[0]))
        return np.where(valid, self._ids[at], NODATA).astype(np.uint8)

    def _raw(self, box: Box) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        rows, columns = (box.top, box.bottom), (box.left, box.right)
        with damage_told(self.path):
            raw = self._file.read(self._band, window=(rows, columns))
            valid = self._file.read_masks(self._band, window=(rows, columns)) > 0
        if raw.dtype.kind == "f":
            valid &= np.isfinite(raw)
        return raw, valid

    def _values(self, on_step: Callable[[float], None]) -> list[int]:
        """All values that there are, in order."""
        found: set[float] = set()
        boxes = list(self.windows())
        for done, box in enumerate(boxes, 1):
            raw, valid = self._raw(box)
            found |= set(np.unique(raw[valid]).tolist())
            if len(found) > MOST or any(value != int(value) for value in found):
                what = f"more than {MOST} values" if len(found) > MOST else "values that are no whole numbers"
                raise RasterBands(
                    f"'{self.path}' has {what} in band {self._band}, so it is no mask of classes. Choose a mask, or "
                    "reclassify it first (QGIS: Processing > Reclassify by table)."
                )
            on_step(done / len(boxes))
        if not found:
            raise RasterEmpty(all_nodata(self.path).message)
        return sorted(int(value) for value in found)

    def _class(self, number: int, value: int) -> MaskClass:
        """What the file says of a value."""
        name = self._names.get(f"CLASS_{value}", "background" if value == 0 else f"class {value}")
        color = COLOURS[(number - 1) % len(COLOURS)] if number else "#000000"
        if self._palette is not None and 0 <= value < len(self._palette) and self._palette[value][3]:
            color = "#" + bytes(self._palette[value][:3].tolist()).hex()
        return MaskClass(value, name[:500], color)
