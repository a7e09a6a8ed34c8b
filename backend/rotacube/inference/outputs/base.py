"""What a run makes of what it finds: the protocol that every output keeps to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rotacube.inference.accord import Accord
from rotacube.inference.findings import Finding
from rotacube.inference.pieces import Piece, Pieces, Splitter, patches_of, roofs_of
from rotacube.inference.store import Store
from rotacube.models.card import PLANTS, ROOFS, ModelCard
from rotacube.raster.destination import unwritable
from rotacube.raster.gdal import GDAL_ERRORS
from rotacube.raster.grid import Box
from rotacube.raster.map_grid import MapGrid


@dataclass(frozen=True)
class Setting:
    """What an output is made of.

    Attributes:
        grid: the map's.
        area: the part of the grid that is mapped.
        card: of the model, as the request changes it.
        tags: provenance.
        store: keeps what was found, to be read again when all is.
        step: is told what is being done after the last tile, and its share that is done; raises `JobCancelled`.
        zones: a layer of polygons whose statistics are wanted; none if empty.
        zone_field: the field with their names; they are numbered if empty.
        values: of the classes in files, where they are not the ids.
        unknown: why nothing is known of the errors of what was found, where that is so.
        accord: how far several views of the same ground agree, where there are such; known when all is found.
    """

    grid: MapGrid
    area: Box
    card: ModelCard
    tags: Mapping[str, str]
    store: Store
    step: Callable[[str, float], None] = lambda what, share: None
    zones: str = ""
    zone_field: str = ""
    values: Sequence[int] = ()
    unknown: str = ""
    accord: Accord | None = None

    @property
    def of_roofs(self) -> bool:
        """Whether the map's pieces are single roofs."""
        return self.card.task == ROOFS

    @property
    def of_plants(self) -> bool:
        """Whether all classes but the first are plants."""
        return self.card.task == PLANTS

    def values_of(self, ids: NDArray[np.int64]) -> NDArray[np.int32]:
        """What stands in files for these class ids."""
        return (np.asarray(self.values)[ids] if self.values else ids).astype(np.int32)

    def splitter(self, smallest: int) -> Splitter:
        """How the map becomes pieces, of which patches of less than `smallest` pixels are none."""
        return roofs_of(self.card) if self.of_roofs else patches_of(smallest)

    @cached_property
    def pieces(self) -> tuple[Pieces, Piece]:
        """The single roofs of the whole map, or the patches of its classes; found when they are first asked for."""
        smallest = math.ceil(self.card.separation.smallest / (self.grid.gsd[0] * self.grid.gsd[1]))
        what = "Telling roofs apart" if self.of_roofs else "Outlining patches"
        pieces = Pieces(self.store, self.store.folder / "pieces", self.splitter(smallest), smallest)
        try:
            return pieces, pieces.find(lambda share: self.step(what, share))
        except GDAL_ERRORS as error:
            raise unwritable(self.store.folder, error) from error


class Output(Protocol):
    """Takes what was found; is complete or absent.

    `open` comes first, then `write` with findings that tile the area, then `finish`; where that has gone well for all
    outputs of a run, `place` puts the result in its place. `drop` comes last in any case, and leaves nothing else.
    """

    def open(self) -> None:
        """Begin."""

    def write(self, finding: Finding) -> None:
        """Take a finding; its arrays hold until the next one."""

    def finish(self) -> None:
        """Make the result whole, beside its place."""

    def place(self) -> None:
        """Put the result in its place."""

    def drop(self) -> None:
        """Let go of everything that is not finished."""


@contextmanager
def opened(outputs: Sequence[Output]) -> Iterator[None]:
    """Opens outputs, and drops what of them is not finished at the end."""
    with ExitStack() as stack:
        for output in outputs:
            stack.callback(output.drop)
            output.open()
        yield
