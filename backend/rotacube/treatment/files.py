"""The files of a plan, by how their names end: layers for programs, and a machine's task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from rotacube.errors import OutputUnwritable
from rotacube.raster.destination import Destination, check_output, unwritable
from rotacube.raster.gdal import GDAL_ERRORS
from rotacube.raster.references import References
from rotacube.treatment.plan import Plan
from rotacube.treatment.taskdata import check_plan, write_task
from rotacube.vector.writing import LayerWriter, field_names

DRIVERS = {".gpkg": "GPKG", ".fgb": "FlatGeobuf", ".shp": "ESRI Shapefile", ".kml": "KML"}
TASK = ".zip"
SUFFIXES = (*DRIVERS, TASK)
GLOBAL = (".kml", TASK)
"""Formats that hold degrees (WGS 84) alone."""
SHAPEFILE = (".shp", ".shx", ".dbf", ".prj", ".cpg")
STALE = (".qix", ".sbn", ".sbx", ".qpj")
"""What other programs put beside a Shapefile; it would belie a new one."""
LONGEST = 10
"""Bytes of a field's name in a Shapefile."""
PART = 100_000


class PlanFile:
    """One file, or the files of a Shapefile; complete or absent.

    Args:
        output: the path.
        overwrite: whether what is there may be replaced.
    """

    def __init__(self, output: Path, overwrite: bool) -> None:
        self.output, self.overwrite = output, overwrite
        self.suffix = output.suffix.lower()
        ends = SHAPEFILE if self.suffix == ".shp" else (self.suffix,)
        self._paths = {end: output.with_suffix(end) if number else output for number, end in enumerate(ends)}
        self._own: list[Destination] = []
        self._parts: dict[str, Path] = {}

    def check(self, references: References) -> None:
        """Check, before any work, that it can be written.

        Raises:
            OutputUnwritable: it cannot, or something is there already.
        """
        if self.suffix not in SUFFIXES:
            raise OutputUnwritable(
                f"'{self.output.name}' does not say what to write. Let it end in {', '.join(SUFFIXES[:-1])}, or {TASK} "
                "for ISOXML."
            )
        for end, path in self._paths.items():
            check_output(path, self.overwrite, references, (end,))

    def check_plan(self, plan: Plan) -> None:
        """Check that the format can hold a plan.

        Raises:
            OptionsRefused: it cannot.
        """
        if self.suffix == TASK:
            check_plan(plan)

    def write(self, plan: Plan, tags: Mapping[str, str]) -> None:
        """Write everything beside its place; `drop` follows, whatever happens.

        Raises:
            OutputUnwritable: the disk is full.
        """
        self._own = [Destination(path, self.overwrite) for path in self._paths.values()]
        self._parts = {end: self._own[0].part("cells", end) for end in self._paths}
        crs = "EPSG:4326" if self.suffix in GLOBAL else plan.cells.crs
        try:
            if self.suffix == TASK:
                write_task(self._parts[TASK], plan, _shapes(plan, plan.numbers, crs), self.output.stem)
            else:
                self._write_layer(plan, crs, tags)
        except (*GDAL_ERRORS, RuntimeError) as error:
            raise unwritable(self.output, error) from error

    def place(self) -> None:
        """Put it in its place, the file that was asked for last; where that fails nothing is left of it.

        Raises:
            OutputUnwritable: whatever keeps it from there.
        """
        placed: list[Path] = []
        try:
            for own, (end, path) in reversed(list(zip(self._own, self._paths.items(), strict=True))):
                own.place(self._parts[end])
                placed.append(path)
        except BaseException:
            for path in placed:
                path.unlink(missing_ok=True)
            raise
        if self.suffix == ".shp":
            for end in STALE:
                self.output.with_suffix(end).unlink(missing_ok=True)

    def drop(self) -> None:
        """Leave nothing but what is in its place."""
        for own in self._own:
            own.drop()

    def _write_layer(self, plan: Plan, crs: str, tags: Mapping[str, str]) -> None:
        driver = DRIVERS[self.suffix]
        writer = LayerWriter(self._parts[self.suffix], driver, "cells", CRS.from_user_input(crs).to_wkt(), tags)
        fields = _fields(plan, short=self.suffix == ".shp")
        for start in range(0, len(plan.numbers), PART):
            part = slice(start, start + PART)
            shapes = _shapes(plan, plan.numbers[part], crs)
            writer.add(shapes, {name: values[part] for name, values in fields.items()})
        writer.finish()
        # a driver that fails as it closes tells nobody
        if pyogrio.read_info(writer.path, force_feature_count=True)["features"] != len(plan.numbers):
            raise OSError("not all cells were written")


def _shapes(plan: Plan, numbers: NDArray[np.int64], crs: str) -> NDArray[np.object_]:
    shapes = plan.cells.polygons(numbers)
    if crs == plan.cells.crs:
        return shapes
    turn = Transformer.from_crs(plan.cells.crs, crs, always_xy=True)
    moved: NDArray[np.object_] = shapely.transform(shapes, turn.transform, interleaved=False)
    return moved


def _fields(plan: Plan, short: bool) -> dict[str, NDArray[Any]]:
    """The fields of all cells."""
    row, column = np.divmod(plan.numbers, plan.cells.columns)
    fields: dict[str, NDArray[Any]] = {
        "row": (row + 1).astype(np.int32),
        "column": (column + 1).astype(np.int32),
        "treat": np.where(plan.treat, "yes", "no").astype(object),
        "class": plan.reason,
    }
    names = field_names(plan.names, LONGEST if short else 60)
    fields |= {name: share.round(4) for name, share in zip(names, plan.shares, strict=True)}
    fields |= {"area_m2": plan.areas.round(2), "valid": plan.valid.round(4)}
    return fields if plan.rate is None else {**fields, "rate_l_ha": plan.rate.round(4)}
