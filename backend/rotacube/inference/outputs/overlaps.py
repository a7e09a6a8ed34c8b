"""What a map of overlapping frames has beside its mask: their colours, and how far they agree, as COGs."""

from __future__ import annotations

from rotacube.inference.findings import FULL
from rotacube.inference.outputs.base import Setting
from rotacube.inference.outputs.raster import Raster
from rotacube.inference.votes import AGREEMENT, COLOURS, VIEWS
from rotacube.raster.destination import Destination
from rotacube.raster.write import Band


class Photo(Raster):
    """Writes red, green and blue.

    Args:
        destination: where the file goes.
        setting: grid, area, classes and provenance.
    """

    def __init__(self, destination: Destination, setting: Setting) -> None:
        super().__init__(destination, setting, {colour: Band(colour) for colour in COLOURS})


class Agreement(Raster):
    """Writes the share of the votes' weight that is for the class of the mask, and how many frames see the pixel.

    Args:
        destination: where the file goes.
        setting: grid, area, classes and provenance.
    """

    def __init__(self, destination: Destination, setting: Setting) -> None:
        bands = {
            AGREEMENT: Band("share of the votes for the class of the mask", scale=1 / FULL),
            VIEWS: Band("frames that see the pixel"),
        }
        super().__init__(destination, setting, bands)
