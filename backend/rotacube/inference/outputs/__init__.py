"""What a run can make, by kind. A new kind is a file here, an entry in `KINDS`, and a word in the HTTP contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rotacube.inference.outputs.base import Output, Setting, opened
from rotacube.inference.outputs.mask import Mask
from rotacube.inference.outputs.totals import ClassTotal, Totals
from rotacube.raster.destination import Destination

__all__ = ["KINDS", "ClassTotal", "Kind", "Output", "Setting", "Totals", "opened"]


@dataclass(frozen=True)
class Kind:
    """A kind of product: the formats that it is written in, and what writes it."""

    formats: tuple[str, ...]
    make: Callable[[Destination, Setting], Output]


KINDS = {"mask": Kind(("cog",), Mask)}
