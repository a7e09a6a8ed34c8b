"""Statistics: area and share of each class, and the number of roofs, with 95% intervals, over the map and in zones."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from rotacube.inference.findings import CHANCE, FULL, LABELS, VOTE, Finding
from rotacube.inference.outputs.base import Setting
from rotacube.inference.shares import Blocks, Estimate, likely, roofs, shares
from rotacube.inference.within import inside_of
from rotacube.raster.destination import Destination, unwritable
from rotacube.raster.gdal import GDAL_ERRORS
from rotacube.raster.grid import Box
from rotacube.raster.write import NODATA
from rotacube.vector.layers import moved, read_polygons

BLOCK = 64
"""Pixels a side of the squares that are counted one by one: errors are alike within them."""
CHUNK = 2048
"""Pixels a side of what is read at once of a zone."""
WHOLE = "whole map"
_AREA = ("area_m2", "area_best_m2", "area_low_m2", "area_high_m2")
_SHARE = ("share", "share_best", "share_low", "share_high")
_VEGETATED = ("vegetated_share", "vegetated_share_best", "vegetated_share_low", "vegetated_share_high")
"""Of a class of plants: its share of what is covered by plants."""
_COUNT = ("count", "count_best", "count_low", "count_high")


@dataclass
class Sums:
    """Counts of the blocks of the absolute grid that a part of it touches.

    Args:
        extent: the part.
        classes: how many there are.
    """

    extent: Box
    classes: int

    def __post_init__(self) -> None:
        high, wide = (-(-stop // BLOCK) - start // BLOCK for start, stop in self._sides())
        self.pixels = np.zeros((high, wide))
        self.found, self.chance, self.votes = (np.zeros((self.classes, high, wide)) for _ in range(3))
        self.area = np.zeros(self.classes)

    def _sides(self) -> tuple[tuple[int, int], tuple[int, int]]:
        return (self.extent.top, self.extent.bottom), (self.extent.left, self.extent.right)

    def add(self, box: Box, parts: dict[str, NDArray[np.uint8]], inside: NDArray[np.bool_], ground: float) -> None:
        """Count a window.

        Args:
            box: where it lies.
            parts: of a finding, (H, W) each.
            inside: (H, W), the pixels that count, all of them with data.
            ground: square metres of a pixel there.
        """
        at: list[slice] = []
        starts: list[NDArray[np.int64]] = []
        for first, last, origin in ((box.top, box.bottom, self.extent.top), (box.left, box.right, self.extent.left)):
            edges = np.arange(first // BLOCK, -(-last // BLOCK))
            starts.append(np.maximum(edges * BLOCK, first) - first)
            at.append(np.s_[int(edges[0]) - origin // BLOCK : int(edges[-1]) + 1 - origin // BLOCK])

        def summed(values: NDArray[Any]) -> NDArray[np.float64]:
            rows = np.add.reduceat(values, starts[0], axis=0, dtype=np.uint32)
            return np.add.reduceat(rows, starts[1], axis=1).astype(np.float64)

        cut: tuple[slice, slice] = (at[0], at[1])
        pixels = summed(inside)
        self.pixels[cut] += pixels
        for name, sums in ((CHANCE, self.chance), (VOTE, self.votes)):
            if f"{name} 1" in parts:
                each = [summed(np.where(inside, parts[f"{name} {n}"], 0)) / FULL for n in range(1, self.classes)]
                sums[(slice(None), *cut)] += np.stack([np.maximum(pixels - sum(each), 0), *each])
        for number in range(self.classes):
            found = summed(inside & (parts[LABELS] == number))
            self.found[number][cut] += found
            self.area[number] += found.sum() * ground

    @property
    def blocks(self) -> Blocks:
        """The blocks that hold anything."""
        there = self.pixels > 0
        chance = self.chance if self.chance.any() else self.found  # without probabilities what was found is sure
        votes = self.votes[:, there].T if self.votes.any() else None
        return Blocks(self.pixels[there], self.found[:, there].T, chance[:, there].T, votes)


class Statistics:
    """Writes a table when all is found.

    Args:
        destination: where the file goes.
        setting: grid, area, classes, provenance and zones.
        form: "csv" or "json".
    """

    def __init__(self, destination: Destination, setting: Setting, form: str) -> None:
        self.destination, self.setting, self.form = destination, setting, form
        self._part = destination.part(form)
        self._whole = Sums(setting.area, len(setting.card.classes))

    def open(self) -> None:
        """Nothing is needed."""

    def write(self, finding: Finding) -> None:
        """Count a finding."""
        inside = finding.labels != NODATA
        if inside.any():
            self._whole.add(finding.box, finding.parts, inside, self.setting.grid.pixel_area(finding.box))

    def finish(self) -> None:
        """Estimate, and write the table.

        Raises:
            OutputUnwritable: the disk is full.
            LayerRefused: the zones cannot be read any more.
            JobCancelled: somebody asked for it.
        """
        rows: list[dict[str, Any]] = []
        said: list[str] = []
        whole = self._whole.blocks
        for name, sums, count in self._parts():
            if not sums.pixels.any():
                said.append(f"The zone '{name}' has no pixel with data.")
                continue
            rows += self._rows(name, sums, whole, count, said)
        try:
            self._write(rows, list(dict.fromkeys(said)))
        except (*GDAL_ERRORS, RuntimeError) as error:
            raise unwritable(self.destination.output, error) from error

    def place(self) -> None:
        """Move it into place."""
        self.destination.place(self._part)

    def drop(self) -> None:
        """Leave nothing but the finished file."""
        self.destination.drop()

    def _parts(self) -> Iterator[tuple[str, Sums, int]]:
        """The whole map and each zone: its name, its sums, and how many roofs have their middle in it."""
        of_roofs = self.setting.of_roofs
        table = self.setting.pieces[1] if of_roofs else None
        yield WHOLE, self._whole, 0 if table is None else len(table.number)
        if not self.setting.zones:
            return
        zones = read_polygons(self.setting.zones, self.setting.grid.crs, self.setting.zone_field or None)
        onto = ~self.setting.grid.transform
        for number, shape in enumerate(zones.shapes):
            self.setting.step("Counting zones", number / len(zones.shapes))
            drawn = moved(shape, onto)
            shapely.prepare(drawn)  # it is asked for every roof
            count = 0
            if table is not None:
                count = int(shapely.contains_xy(drawn, table.middle[:, 1], table.middle[:, 0]).sum())
            yield zones.values[number] or f"zone {number + 1}", self._sums_in(drawn), count

    def _sums_in(self, zone: BaseGeometry) -> Sums:
        left, top, right, bottom = zone.bounds
        extent = Box(int(top) - 1, int(left) - 1, int(bottom) + 2, int(right) + 2) & self.setting.area
        sums = Sums(extent if not extent.empty else Box(0, 0, 1, 1), len(self.setting.card.classes))
        names = [name for name in self.setting.store.names if name == LABELS or name.startswith(CHANCE)]
        for row in range(extent.top, extent.bottom, CHUNK):
            for column in range(extent.left, extent.right, CHUNK):
                box = Box(row, column, row + CHUNK, column + CHUNK) & extent
                parts = dict(zip(names, self.setting.store.read(box, names), strict=True))
                inside = inside_of([zone], box) & (parts[LABELS] != NODATA)
                if inside.any():
                    sums.add(box, parts, inside, self.setting.grid.pixel_area(box))
        return sums

    def _rows(self, name: str, sums: Sums, whole: Blocks, count: int, said: list[str]) -> list[dict[str, Any]]:
        """The rows of a zone; sentences on it are added to those that are `said`."""
        card = self.setting.card
        blocks = whole if sums is self._whole else sums.blocks
        if f"{CHANCE} 1" not in self.setting.store.names and not self.setting.unknown:
            turn = likely(whole.found.sum(0) / whole.found.sum(), card.confusion)
            blocks, whole = (replace(part, chance=part.found @ turn) for part in (blocks, whole))
        found = shares(blocks, card.confusion, [c.name for c in card.classes], whole, self.setting.accord)
        said += [self.setting.unknown] if self.setting.unknown else found.said
        total = float(sums.area.sum())
        rows = []
        for part, share, area, pixels in zip(
            card.classes, found.classes, found.areas(total), sums.found.sum((1, 2)), strict=True
        ):
            row = {
                "zone": name,
                "class_id": int(self.setting.values_of(np.array(part.id))),
                "class": part.name,
                "pixels": int(pixels),
            }
            row |= _columns(_AREA, area, 2) | _columns(_SHARE, share, 6)
            if self.setting.of_plants and part.id and found.further:
                row |= _columns(_VEGETATED, found.further[part.id - 1], 6)
            if self.setting.of_roofs and part.id == 1:
                number, words = roofs(count, card.counts)
                row |= _columns(_COUNT, number, 0)
                said += words
            rows.append(row)
        return rows

    def _write(self, rows: list[dict[str, Any]], said: list[str]) -> None:
        if self.form == "json":
            content = {"rows": rows, "assumptions": said, "about": dict(self.setting.tags)}
            self._part.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
            return
        further = (*(_VEGETATED if self.setting.of_plants else ()), *(_COUNT if self.setting.of_roofs else ()))
        columns = ["zone", "class_id", "class", "pixels", *_AREA, *_SHARE, *further, "assumptions"]
        with self._part.open("w", newline="", encoding="utf-8-sig") as stream:  # with its mark spreadsheets read it
            table = csv.DictWriter(stream, columns, restval="")
            table.writeheader()
            table.writerows([{**row, "assumptions": "" if n else " ".join(said)} for n, row in enumerate(rows)])


def _columns(names: tuple[str, ...], estimate: Estimate, digits: int) -> dict[str, float | None]:
    """An estimate under these names: as found, as it likely is, and between what."""
    return {
        name: None if value is None else round(float(value), digits or None)
        for name, value in zip(names, estimate, strict=True)
    }
