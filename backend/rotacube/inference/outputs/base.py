"""What a run makes of its strips: the protocol that every output keeps to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

from rotacube.inference.engine import Strip
from rotacube.models.card import ModelCard
from rotacube.raster.grid import Box
from rotacube.raster.map_grid import MapGrid


@dataclass(frozen=True)
class Setting:
    """What an output is made of, beside the strips.

    Attributes:
        grid: the map's.
        area: the part of the grid that is mapped.
        card: of the model.
        tags: provenance.
    """

    grid: MapGrid
    area: Box
    card: ModelCard
    tags: Mapping[str, str]


class Output(Protocol):
    """Takes strips; is complete or absent.

    `open` comes first, then `write` with strips that tile the area, then `finish`, which puts the result in its place.
    `drop` comes last in any case, and leaves nothing but what `finish` has put in place.
    """

    def open(self) -> None:
        """Begin."""

    def write(self, strip: Strip) -> None:
        """Take a strip; its arrays hold until the next one."""

    def finish(self) -> None:
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
