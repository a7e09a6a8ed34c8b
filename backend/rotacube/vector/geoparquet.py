"""Layers of polygons written as GeoParquet 1.1, part by part (https://geoparquet.org/releases/v1.1.0/).

GDAL as wheels bring it has no driver for Parquet: pyarrow writes it. It is an extra, imported where it is used.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from rotacube.errors import OptionsRefused
from rotacube.vector.writing import Fields

ROWS = 2**16
"""Features of a row group, at least: so many are held in memory."""
GEOMETRY = "geometry"
"""The name of the column with the polygons, as WKB."""


class GeoParquetWriter:
    """Writes one layer.

    Args:
        path: of the new file.
        crs: WKT.
        tags: of the file, beside what says where its polygons lie.
    """

    def __init__(self, path: Path, crs: str, tags: Mapping[str, str]) -> None:
        self.path, self.crs, self.tags = path, crs, dict(tags)
        self._held: list[Any] = []
        self._writer: Any = None
        self._bounds = np.array([np.inf, np.inf, -np.inf, -np.inf])

    def add(self, shapes: NDArray[np.object_], fields: Fields) -> None:
        """Add polygons, (N,), with their fields, (N,) each and of the same types every time.

        Raises:
            OSError, RuntimeError, ValueError: the file cannot be written.
        """
        import pyarrow as pa

        columns = {
            name: pa.array(values, pa.string() if values.dtype == object else None) for name, values in fields.items()
        }
        table = pa.table({**columns, GEOMETRY: pa.array(shapely.to_wkb(shapes), pa.binary())})
        self._held.append(table)
        if len(shapes):
            least, most = shapely.total_bounds(shapes).reshape(2, 2)
            self._bounds = np.array([*np.minimum(self._bounds[:2], least), *np.maximum(self._bounds[2:], most)])
        if sum(len(part) for part in self._held) >= ROWS:
            self._write()

    def finish(self) -> None:
        """Write what is held, and where all of it lies; `add` was called once at least.

        Raises:
            OSError, RuntimeError, ValueError: the file cannot be written.
        """
        self._write()
        self._writer.add_key_value_metadata({**self.tags, "geo": json.dumps(self._about())})
        self._writer.close()

    def drop(self) -> None:
        """Let go of a file that is not finished."""
        self._held = []
        if self._writer is not None and self._writer.is_open:
            with contextlib.suppress(OSError):  # the disk may be full
                self._writer.close()

    def _write(self) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        table = pa.concat_tables(self._held)
        if self._writer is None:
            self._writer = parquet.ParquetWriter(self.path, table.schema, compression="zstd")
        if len(table):
            self._writer.write_table(table)
        self._held = [table.slice(0, 0)]

    def _about(self) -> dict[str, Any]:
        """The metadata that make a GeoParquet file of a Parquet file."""
        column: dict[str, Any] = {
            "encoding": "WKB",
            "geometry_types": ["Polygon"],
            "crs": CRS.from_wkt(self.crs).to_json_dict(),
        }
        if np.isfinite(self._bounds).all():
            column["bbox"] = self._bounds.tolist()
        return {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}


def check_installed() -> None:
    """Check that GeoParquet can be written.

    Raises:
        OptionsRefused: what writes it is not installed.
    """
    if find_spec("pyarrow") is None:
        raise OptionsRefused("GeoParquet needs the package pyarrow: pip install 'rotacube[parquet]'.")
