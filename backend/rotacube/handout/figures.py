"""How much each class covers, as statistics of a mask say it: read from their file, or made."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rotacube.errors import LayerRefused
from rotacube.inference.of_mask import STATISTICS, MaskRequest, of_mask
from rotacube.inference.outputs.statistics import WHOLE
from rotacube.inference.shares import Estimate
from rotacube.raster.mask_source import MaskSource

LARGEST = 2**26
"""Bytes of the largest file of statistics that is read."""
HECTARE = 1e4


@dataclass(frozen=True)
class ClassFigures:
    """A class: its name and colour, whether it is the background, square metres, and the share of all data."""

    name: str
    color: str
    background: bool
    area: Estimate
    share: Estimate


@dataclass(frozen=True)
class Figures:
    """The classes of a map, in order, and what their intervals take for granted."""

    classes: list[ClassFigures]
    said: str

    @property
    def area(self) -> float:
        """Square metres with data."""
        return sum(part.area.found for part in self.classes)


def figures_of(
    mask: str, band: int, classes: tuple[str, ...], source: MaskSource, step: Callable[[str, float], None]
) -> Figures:
    """Make statistics of a mask.

    Raises:
        RotacubeError: as `of_mask` says.
    """
    with tempfile.TemporaryDirectory(prefix="rotacube-") as folder:
        path = Path(folder) / "shares.json"
        of_mask(MaskRequest(mask, STATISTICS, path, band, classes), on_step=step)
        return read_figures(path, source)


def read_figures(path: Path, source: MaskSource) -> Figures:
    """Read the statistics of a mask from a file, as `rotacube map --statistics` and others write it.

    Args:
        path: .csv or .json.
        source: the mask.

    Raises:
        LayerRefused: it cannot be read, holds no such table, or is of another mask.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it is larger than {LARGEST >> 20} MB")
        text = path.read_text(encoding="utf-8-sig")
        rows, said = _of_json(text) if path.suffix.lower() == ".json" else _of_csv(text)
        rows = [row for row in rows if row["zone"] == WHOLE]
        # Of a mask of one class there is a second one, of no pixel.
        found = [_class(row, source) for row in rows if len(source.classes) > 1 or int(row["pixels"])]
    except OSError as error:
        raise LayerRefused(f"The statistics '{path}' cannot be read ({error.strerror}). Check the path.") from error
    except (ValueError, LookupError, TypeError, AttributeError, csv.Error) as error:
        raise LayerRefused(
            f"'{path}' holds no statistics of a map ({error}). Give a file of 'rotacube map --statistics' or 'rotacube "
            "statistics', or leave it out: then they are made."
        ) from error
    if len(found) != len(source.classes):
        raise LayerRefused(
            f"The statistics '{path}' have {len(found)} classes, the mask has {len(source.classes)}: they are of "
            "another mask. Leave them out: then they are made."
        )
    return Figures(found, said)


def _of_json(text: str) -> tuple[Sequence[dict[str, Any]], str]:
    content = json.loads(text)
    return content["rows"], " ".join(content["assumptions"])


def _of_csv(text: str) -> tuple[Sequence[dict[str, Any]], str]:
    rows = list(csv.DictReader(text.splitlines()))
    return rows, rows[0]["assumptions"] or ""


def _class(row: dict[str, Any], source: MaskSource) -> ClassFigures:
    """A row of the table, with the colour that the mask has for its class."""
    value = int(row["class_id"])
    known = {part.value: (number, part) for number, part in enumerate(source.classes)}
    if value not in known or known[value][1].name != row["class"]:
        raise LookupError(f"the mask has no class {value} '{row['class']}'")
    number, part = known[value]
    return ClassFigures(part.name, part.color, number == 0, _estimate(row, "area", "_m2"), _estimate(row, "share", ""))


def _estimate(row: dict[str, Any], name: str, unit: str) -> Estimate:
    found, best, low, high = (row[f"{name}{part}{unit}"] for part in ("", "_best", "_low", "_high"))
    ends = [None if end in (None, "") else float(end) for end in (low, high)]
    return Estimate(float(found), float(best), *ends)


def area_text(area: Estimate, whole: float) -> tuple[str, str, str]:
    """As mapped, as estimated, and the interval, in hectares where the whole has one, else in square metres."""
    size = HECTARE if whole >= HECTARE else 1.0
    digits = 1 if size == 1 else 4 if whole < 10 * HECTARE else 2 if whole < 1000 * HECTARE else 0
    found, best, low, high = (None if value is None else f"{value / size:,.{digits}f}" for value in area)
    return found or "", best or "", f"{low} to {high}" if low and high else "–"


def unit_of(whole: float) -> str:
    """The unit that `area_text` takes."""
    return "ha" if whole >= HECTARE else "m²"


def share_text(share: Estimate) -> tuple[str, str]:
    """The best estimate and its interval, in percent."""
    ends = "–" if share.low is None or share.high is None else f"{100 * share.low:.1f} to {100 * share.high:.1f}"
    return f"{100 * share.best:.1f}", ends
