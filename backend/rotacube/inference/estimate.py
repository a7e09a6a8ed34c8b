"""What a run comes to, before it is made."""

from __future__ import annotations

from dataclasses import dataclass

from rotacube.inference.engine import count_tiles
from rotacube.inference.needs import Needs
from rotacube.inference.request import MapRequest, card_of, looked_at
from rotacube.models.store import find_model


@dataclass(frozen=True)
class Estimate:
    """The pixels of a map, the tiles that are looked at for them (nodata and all), and what is needed on the disks."""

    height: int
    width: int
    tiles: int
    needs: Needs


def estimate(request: MapRequest) -> Estimate:
    """Look at a request, and at nothing of its raster but what it says of itself.

    Raises:
        RotacubeError: as `prepared` says, but for a disk that is too full.
    """
    card = card_of(request, find_model(request.model)[0])
    with looked_at(request, card) as ready:
        tiles = count_tiles(ready.seen, ready.area, card.tile, card.overlap)
        return Estimate(ready.area.height, ready.area.width, tiles, ready.needs)
