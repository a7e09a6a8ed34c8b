"""What a run can make, by kind. A new kind is a file here, an entry in `KINDS`, and a word in the HTTP contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rotacube.inference.outputs.base import Output, Setting, opened
from rotacube.inference.outputs.mask import Mask
from rotacube.inference.outputs.polygons import PARQUET, Polygons
from rotacube.inference.outputs.probability import Probability
from rotacube.inference.outputs.statistics import Statistics
from rotacube.inference.outputs.totals import ClassTotal, Totals
from rotacube.raster.destination import Destination
from rotacube.vector.geoparquet import check_installed

__all__ = ["KINDS", "ClassTotal", "Kind", "Output", "Setting", "Totals", "check_format", "format_of", "opened"]


@dataclass(frozen=True)
class Kind:
    """A kind of product.

    Attributes:
        formats: how the names of its files end, by format; the first format is the usual one.
        make: what writes it, from its place, what it is made of, and its format.
        needs: the parts of the findings that it needs where the model has them, beside the class ids.
    """

    formats: Mapping[str, tuple[str, ...]]
    make: Callable[[Destination, Setting, str], Output]
    needs: frozenset[str] = field(default_factory=frozenset)


_COG = {"cog": (".tif", ".tiff")}
_ALL = frozenset({"chance", "distance", "border"})
KINDS = {
    "mask": Kind(_COG, Mask),
    "probability": Kind(_COG, Probability, frozenset({"chance"})),
    "polygons": Kind({"gpkg": (".gpkg",), "fgb": (".fgb",), PARQUET: (".parquet", ".geoparquet")}, Polygons, _ALL),
    "statistics": Kind({"csv": (".csv",), "json": (".json",)}, Statistics, _ALL),
}


def format_of(kind: str, name: str) -> str:
    """The format that a file's name asks for by its end; the kind's usual one where it asks for none."""
    formats = KINDS[kind].formats
    asked = [form for form, suffixes in formats.items() if name.lower().endswith(suffixes)]
    return next(iter([*asked, *formats]))


def check_format(form: str) -> None:
    """Check that a format can be written here.

    Raises:
        OptionsRefused: what writes it is not installed.
    """
    if form == PARQUET:
        check_installed()
