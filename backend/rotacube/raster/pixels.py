"""A raster's own pixels: the model's bands at full resolution, and where they are valid.

Valid is where every band that is used is valid, by all that speaks against it together: declared nodata of each band, a
mask, opacity, values that are no numbers, and what a person named as nodata.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.windows import Window

from rotacube.errors import RasterBands
from rotacube.models.card import ModelCard
from rotacube.raster.bands import Choice, choose_bands
from rotacube.raster.coverage import Coverage
from rotacube.raster.grid import Box
from rotacube.raster.opening import Facts, check_facts, open_raster
from rotacube.raster.reading import Reading
from rotacube.raster.references import References


class Pixels:
    """Reads windows of an open file, from one thread at a time.

    Attributes:
        facts: what the file says of itself.
        choice: the bands.

    Args:
        file: of rasterio.
        facts: what it says of itself.
        choice: the bands.
        reading: what a person says about it.
        name: for messages.

    Raises:
        RasterBands: the reading names a band that there is not.
    """

    def __init__(self, file: Any, facts: Facts, choice: Choice, reading: Reading, name: str) -> None:
        self.facts, self.choice = facts, choice
        self._file, self._reading = file, reading
        self._unique = sorted(set(choice.bands))
        self._take = [self._unique.index(b) for b in choice.bands]
        self._alpha = facts.alpha if reading.alpha_band is None else reading.alpha_band
        named = [self._alpha, *(n.band for n in reading.nodata if n.band is not None)]
        if any(not 0 <= b <= len(facts.nodata) for b in named):
            raise RasterBands(f"'{name}' has bands 1 to {len(facts.nodata)}; nodata or opacity is given for {named}.")
        self._mixed = len({facts.bands.dtypes[b - 1] for b in self._unique}) > 1
        declared = [facts.nodata[b - 1] for b in choice.bands]
        self._nodata = declared if reading.declared_nodata else [None] * len(declared)
        flags = [facts.masks[b - 1] for b in self._unique]
        # A mask of its own: neither made from nodata of one band nor from opacity, which are looked at by themselves.
        self._masks = [
            b
            for b, f in zip(self._unique, flags, strict=True)
            if f.isdisjoint({MaskFlags.all_valid, MaskFlags.alpha})
            and (MaskFlags.nodata not in f or (MaskFlags.per_dataset in f and reading.declared_nodata))
        ]

        # What was never written reads as the declared nodata, else as zero, which is opaque nowhere.
        decides = [b for b, nodata in zip(choice.bands, self._nodata, strict=True) if nodata is not None]
        opaque = [self._alpha] if self._alpha and facts.nodata[self._alpha - 1] is None else []
        self._coverage = Coverage(file, decides or opaque)

    @property
    def notes(self) -> list[str]:
        """Sentences on how it is read."""
        return [self.choice.note] if self.choice.note else []

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Of the model's bands."""
        return self.choice.dtypes

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def may_hold(self, box: Box) -> bool:
        """Whether anything can be valid in a window; true where that is not known without reading it."""
        return self._coverage.may_hold(box)

    def read(self, box: Box) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        """Read a window that lies within the raster.

        Returns:
            The model's bands (n, H, W), and the validity (H, W); values are finite where it holds.
        """
        window = Window(box.left, box.top, box.width, box.height)
        valid = np.ones((box.height, box.width), bool)
        # Where these hide all, the bands need not be decoded.
        if self._alpha:
            valid &= self._file.read(self._alpha, window=window) > 0
        for band in self._masks:
            valid &= self._file.read_masks(band, window=window) > 0
        if not valid.any():
            return np.broadcast_to(np.zeros((), self.dtypes[0]), (len(self.dtypes), *valid.shape)), valid
        if self._mixed:
            unique = np.stack([self._file.read(b, window=window).astype(np.float64) for b in self._unique])
        else:
            unique = self._file.read(self._unique, window=window)
        values = unique if self._take == list(range(len(self._unique))) else unique[self._take]
        for band, nodata in zip(values, self._nodata, strict=True):
            if nodata is not None and not np.isnan(nodata):
                valid &= ~_equal(band, nodata)
        for rule in self._reading.nodata:
            hits = [
                np.greater_equal(band, rule.low) & np.less_equal(band, rule.high)
                for band in self._hit_by(rule.band, values)
            ]
            if hits:
                valid &= ~np.logical_and.reduce(hits)
        if values.dtype.kind == "f":
            valid &= np.isfinite(values).all(0)
            values[:, ~valid] = 0
        return self.choice.decode(values, valid)

    def valid(self, box: Box) -> NDArray[np.bool_]:
        """The validity (H, W) of a window that lies within the raster; not read where nothing speaks against it."""
        declared = any(nodata is not None for nodata in self._nodata) or self.choice.palette is not None
        numbers = any(np.dtype(dtype).kind == "f" for dtype in self.dtypes)
        if declared or numbers or self._reading.nodata or self._alpha or self._masks:
            return self.read(box)[1]
        return np.ones((box.height, box.width), bool)

    def _hit_by(self, number: int | None, values: NDArray[np.generic]) -> list[NDArray[np.generic]]:
        return [v for b, v in zip(self.choice.bands, values, strict=True) if number in (None, b)]


def open_pixels(path: str, card: ModelCard, reading: Reading) -> tuple[Pixels, References]:
    """Open a raster for a model; gives what it reads, too.

    Raises:
        RasterMissing, RasterUnreadable, RasterNeedsNetwork, RasterNotGeoreferenced, RasterBands, RasterEmpty: in words
            that say what to do.
    """
    file, facts, references = open_raster(path, reading.allow_network)
    try:
        check_facts(facts, path)
        return Pixels(file, facts, choose_bands(facts.bands, card, reading.bands, path), reading, path), references
    except BaseException:
        file.close()
        raise


def _equal(band: NDArray[np.generic], nodata: float) -> NDArray[np.bool_]:
    if band.dtype.kind == "f":
        return np.asarray(np.isclose(band, nodata, rtol=1e-6, atol=0), bool)
    return np.asarray(np.equal(band, nodata), bool)
