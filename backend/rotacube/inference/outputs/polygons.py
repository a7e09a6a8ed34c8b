"""Polygons: each roof, or each patch of a class, with what is known of it."""

from __future__ import annotations

import math
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from rotacube.inference.ahead import ahead
from rotacube.inference.findings import CHANCE, Finding
from rotacube.inference.outputs.base import Setting
from rotacube.inference.pieces import Piece, PieceBlock
from rotacube.raster.destination import Destination, unwritable
from rotacube.raster.gdal import GDAL_ERRORS
from rotacube.vector.geoparquet import GeoParquetWriter
from rotacube.vector.layers import on_map
from rotacube.vector.regularise import Regularised, regularise, simplify
from rotacube.vector.writing import LayerWriter

DRIVERS = {"gpkg": "GPKG", "fgb": "FlatGeobuf"}
PARQUET = "parquet"
"""The format that is none of GDAL's here."""
TOLERANCE = 1.5
"""Pixels by which the outline of a patch may move."""


class Polygons:
    """Writes a layer of polygons when all is found.

    Args:
        destination: where the file goes.
        setting: grid, area, classes and provenance.
        form: a key of `DRIVERS`, or `PARQUET`.
    """

    def __init__(self, destination: Destination, setting: Setting, form: str) -> None:
        self.destination, self.setting = destination, setting
        self._part = destination.part("polygons", f".{form}")  # FlatGeobuf insists on the name's end
        name = "roofs" if setting.of_roofs else "patches"
        self._writer: LayerWriter | GeoParquetWriter
        if form == PARQUET:
            self._writer = GeoParquetWriter(self._part, setting.grid.crs, setting.tags)
        else:
            self._writer = LayerWriter(self._part, DRIVERS[form], name, setting.grid.crs, setting.tags)

    def open(self) -> None:
        """Nothing is needed."""

    def write(self, finding: Finding) -> None:
        """What is found is read again from the store."""

    def finish(self) -> None:
        """Outline everything, and write the layer.

        Raises:
            OutputUnwritable: the disk is full.
            JobCancelled: somebody asked for it.
        """
        pieces, table = self.setting.pieces
        try:
            self._writer.add(_NOTHING.shapes, self._fields(table, _NOTHING, _NOTHING.shapes, _NOTHING.ids, 1.0))
            done = 0
            with closing(ahead(partial(self._drawn, table), pieces.each(table))) as drawn:
                for shapes, fields, count in drawn:
                    self.setting.step("Drawing outlines", done / len(table.number))
                    self._writer.add(shapes, fields)
                    done += count
            self._writer.finish()
            self.setting.step("Drawing outlines", 1.0)
        except (*GDAL_ERRORS, RuntimeError) as error:
            raise unwritable(self.destination.output, error) from error

    def place(self) -> None:
        """Move it into place."""
        self.destination.place(self._part)

    def _drawn(self, table: Piece, block: PieceBlock) -> tuple[NDArray[np.object_], dict[str, NDArray[Any]], int]:
        """The polygons of a block on the map, with their fields; and of how many pieces they are."""
        grid, box = self.setting.grid, block.box
        there = np.bincount(block.ids.ravel()) > 0
        there[block.own] = there[0] = False
        others = np.flatnonzero(there)
        if self.setting.of_roofs:
            drawn = regularise(block.ids, fixed=others)
        else:
            drawn = simplify(block.ids, TOLERANCE, fixed=others)
        shapes, of = shapely.get_parts(drawn.shapes, return_index=True)  # what is in pieces becomes several polygons
        fields = self._fields(table, drawn, shapes, of, grid.pixel_area(box))
        return on_map(shapes, grid.transform, box.left, box.top), fields, len(block.own)

    def _fields(
        self, table: Piece, drawn: Regularised, shapes: NDArray[np.object_], of: NDArray[np.int64], ground: float
    ) -> dict[str, NDArray[Any]]:
        """The fields of polygons.

        Args:
            table: of all pieces.
            drawn: some of their outlines.
            shapes: polygons in pixels.
            of: which of the outlines each is, or a part of.
            ground: square metres of a pixel there.
        """
        at = drawn.ids[of] - 1
        names = np.array([c.name for c in self.setting.card.classes], object)
        areas, perimeters = measures(shapes, ground)
        fields: dict[str, NDArray[Any]] = {
            "number": table.number[at],
            "class": names[table.kind[at]],
            "class_id": self.setting.values_of(table.kind[at]),
            "area_m2": areas,
            "perimeter_m": perimeters,
        }
        if any(name.startswith(CHANCE) for name in self.setting.store.names):
            fields["confidence"] = table.confidence[at].round(3)
        if self.setting.of_roofs:
            fields["axis_deg"] = bearing(drawn.axis, self.setting.grid.transform)[of].round(1)
            fields["outline"] = np.where(drawn.kept[of], "as found", "regularised").astype(object)
        source = Path(self.setting.tags.get("ROTACUBE_RASTER", "")).name
        return {**fields, "source": np.full(len(at), source, object)}

    def drop(self) -> None:
        """Leave nothing but the finished file."""
        self._writer.drop()
        self.destination.drop()


def measures(shapes: NDArray[np.object_], ground: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Square metres and metres about polygons in pixels, whose pixels have `ground` square metres."""
    return (shapely.area(shapes) * ground).round(2), (shapely.length(shapes) * math.sqrt(ground)).round(2)


def bearing(axis: NDArray[np.float64], t: Affine) -> NDArray[np.float64]:
    """Degrees of a wall's direction clockwise from the CRS's north, 0 to 90, from those in pixels of a grid."""
    u, v = np.cos(np.radians(axis)), np.sin(np.radians(axis))
    found: NDArray[np.float64] = np.degrees(np.arctan2(t.a * u + t.b * v, t.d * u + t.e * v)) % 90
    return found


_NOTHING = Regularised(np.zeros(0, np.int64), np.zeros(0, object), np.zeros(0), np.zeros(0, bool))
