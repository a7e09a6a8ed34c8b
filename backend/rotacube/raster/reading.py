"""How a raster is to be read where its file does not say it, or says it otherwise than the person who asks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NodataRange:
    """Values, low to high inclusive, that mean nodata beside those that the file declares.

    With a band (from 1) a pixel is nodata where that band has such a value; without one, where every band that is read
    has.
    """

    low: float
    high: float
    band: int | None = None


@dataclass(frozen=True)
class Reading:
    """What a person may say about a raster.

    Attributes:
        bands: in the model's order, from 1; the first ones, or red, green and blue where they are named so, if None.
        nodata: further values that mean nodata.
        declared_nodata: whether the nodata values that the file declares count.
        alpha_band: the band of opacity, from 1; 0 for none, whatever the file has; the file's own if None.
        any_resolution: whether a ground sample distance far from the model's is taken.
        allow_network: whether the raster may make requests over the network.

    >>> Reading(bands=(3, 2, 1)).alpha_band is None
    True
    """

    bands: tuple[int, ...] | None = None
    nodata: tuple[NodataRange, ...] = ()
    declared_nodata: bool = True
    alpha_band: int | None = None
    any_resolution: bool = False
    allow_network: bool = False


AS_THE_FILE_SAYS = Reading()
