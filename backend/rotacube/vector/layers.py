"""Polygons that a person drew, out of any file that GDAL reads, in the CRS of a raster: every fault is a sentence."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError
from shapely.geometry.base import BaseGeometry

from rotacube.errors import LayerRefused, first_line

AS_QGIS_SAYS = "|layername="


@dataclass(frozen=True)
class Polygons:
    """Polygons of a layer.

    Attributes:
        shapes: valid ones, none empty, each a polygon or several.
        values: of the field that was asked for, as text; empty ones without.
        notes: sentences on what was left out or mended.
    """

    shapes: list[BaseGeometry]
    values: list[str]
    notes: list[str] = field(default_factory=list)


def read_polygons(path: str, crs: str, name: str | None = None) -> Polygons:
    """Read a layer's polygons.

    Args:
        path: a file; one of its layers as QGIS names it: "towns.gpkg|layername=roofs".
        crs: WKT of the CRS that they are wanted in.
        name: a field; features without a value in it are left out.

    Raises:
        LayerRefused: there is no such file, layer or field, it has no CRS or no polygons; the sentence says which.
    """
    file, _, layer = path.partition(AS_QGIS_SAYS)
    if not Path(file).exists():
        raise LayerRefused(f"There is no file '{file}'. Check its name.")
    try:
        names = [str(known) for known, _ in pyogrio.list_layers(file)]
        if layer and layer not in names:
            raise LayerRefused(f"'{file}' has no layer '{layer}'. It has: {', '.join(names)}.")
        if not layer and len(names) > 1:
            raise LayerRefused(
                f"'{file}' has {len(names)} layers: name one, as in '{file}{AS_QGIS_SAYS}{names[0]}'. "
                f"It has: {', '.join(names)}."
            )
        fields = [str(known) for known in pyogrio.read_info(file, layer=layer or None)["fields"]]
        if name is not None and name not in fields:
            raise LayerRefused(f"'{path}' has no field '{name}'. It has: {', '.join(fields) or 'none'}.")
        columns = [] if name is None else [name]
        meta, _, found, data = pyogrio.raw.read(file, layer=layer or None, columns=columns, force_2d=True)
    except (DataSourceError, DataLayerError, OSError, ValueError) as error:
        raise LayerRefused(f"'{file}' cannot be read as a layer of polygons ({first_line(error)}).") from error
    if found is None or not len(found):
        raise LayerRefused(f"'{path}' holds no polygon. Choose a layer of polygons, with at least one.")
    shapes = shapely.from_wkb(found, on_invalid="ignore")
    values = _texts(data[0]) if name is not None else [""] * len(shapes)
    return _in_crs(path, shapes, values, meta["crs"], crs, name)


def moved(shapes: Any, onto: Affine) -> Any:
    """Shapes, one or an array of them, with each of their places sent through a transform."""
    return shapely.transform(shapes, lambda at: np.column_stack(onto * (at[:, 0], at[:, 1])))


def on_map(shapes: Any, transform: Affine, left: int, top: int) -> Any:
    """Shapes in the pixels of a part of a grid, on the map; (left, top) is the part's first pixel.

    A corner that two parts have in common comes out the same to the last bit: whole pixels are added before anything is
    rounded. Walls that roofs of two parts share would not be equal else.
    """
    return moved(moved(shapes, Affine.translation(left, top)), transform)


def _texts(values: NDArray[Any]) -> list[str]:
    """Values of a field as a person reads them; empty where there is none."""
    return [
        "" if value is None or value != value else f"{value:g}" if isinstance(value, float) else str(value).strip()
        for value in values.tolist()
    ]


def _in_crs(
    path: str, shapes: NDArray[Any], values: list[str], own: str | None, wanted: str, name: str | None
) -> Polygons:
    if own is None:
        raise LayerRefused(
            f"'{path}' has no coordinate reference system. Assign the true one (QGIS: the layer's Properties > Source)."
        )
    try:
        given, target = CRS.from_user_input(own), CRS.from_user_input(wanted)
    except CRSError as error:
        raise LayerRefused(f"The CRS of '{path}' is none that PROJ knows. Assign another one.") from error
    notes = []
    empty = shapely.is_missing(shapes) | shapely.is_empty(shapes)
    flat = np.isin(shapely.get_type_id(shapes), (3, 6))
    if not (flat & ~empty).any():
        raise LayerRefused(f"'{path}' holds no polygon but empty ones. Choose a layer of polygons.")
    unnamed = np.array([name is not None and not value for value in values])
    invalid = flat & ~empty & ~shapely.is_valid(shapes)
    shapes[invalid] = [_polygons_of(part) for part in shapely.make_valid(shapes[invalid])]
    if not given.equals(target, ignore_axis_order=True):
        turn = Transformer.from_crs(given, target, always_xy=True)
        shapes[~empty] = shapely.transform(shapes[~empty], turn.transform, interleaved=False)
    nowhere = flat & ~empty & ~np.isfinite(shapely.bounds(shapes)).all(1)
    for wrong, what in (
        (empty, "are empty"),
        (~flat & ~empty, "are no polygons"),
        (nowhere, "lie where the raster's CRS cannot be reached"),
        (unnamed & flat & ~empty, f"have no value in '{name}'"),
    ):
        if wrong.any():
            notes.append(f"{wrong.sum()} of {len(shapes)} features of '{path}' {what}: they were left out.")
    if invalid.any():
        notes.append(f"{invalid.sum()} of {len(shapes)} polygons of '{path}' cross themselves: they were mended.")
    kept = flat & ~empty & ~nowhere & ~unnamed & ~shapely.is_empty(shapes)
    if not kept.any():
        raise LayerRefused(f"Nothing of '{path}' can be used. {notes[0] if notes else ''}".strip())
    return Polygons([shapes[i] for i in np.flatnonzero(kept)], [values[i] for i in np.flatnonzero(kept)], notes)


def _polygons_of(shape: BaseGeometry) -> BaseGeometry:
    """What is flat of a mended shape."""
    return shapely.union_all([part for part in shapely.get_parts(shape) if shapely.get_type_id(part) in (3, 6)])
