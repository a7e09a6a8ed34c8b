"""GeoParquet, part by part: what was added is what lies there, in groups, and little of it is held."""

from __future__ import annotations

import json

import numpy as np
import pytest
import shapely
from pyproj import CRS

from rotacube.vector import geoparquet
from rotacube.vector.geoparquet import GeoParquetWriter

parquet = pytest.importorskip("pyarrow.parquet")
CRS_WKT = CRS.from_epsg(32645).to_wkt()


def squares(start, count):
    """Squares of 2 m with their numbers and names."""
    at = np.arange(start, start + count)
    return shapely.box(at * 3.0, 10.0, at * 3.0 + 2, 12.0), {"number": at, "name": at.astype(str).astype(object)}


def test_parts_become_groups_and_are_not_held(tmp_path, monkeypatch):
    monkeypatch.setattr(geoparquet, "ROWS", 100)
    writer = GeoParquetWriter(tmp_path / "a.parquet", CRS_WKT, {"ROTACUBE_MODEL": "tiny"})
    held = []
    writer.add(*squares(0, 0))
    for start in range(0, 1000, 40):
        writer.add(*squares(start, 40))
        held.append(sum(len(part) for part in writer._held))
    writer.finish()
    writer.drop()
    assert max(held) < 100
    known = parquet.read_metadata(tmp_path / "a.parquet")
    assert known.num_row_groups == 9 and known.num_rows == 1000
    table = parquet.read_table(tmp_path / "a.parquet")
    wanted, fields = squares(0, 1000)
    assert shapely.equals_exact(shapely.from_wkb(table["geometry"].to_pylist()), wanted).all()
    assert all(table[name].to_pylist() == values.tolist() for name, values in fields.items())
    assert json.loads(known.metadata[b"geo"])["columns"]["geometry"]["bbox"] == [0, 10, 2999, 12]


def test_what_is_not_finished_is_let_go(tmp_path, monkeypatch):
    monkeypatch.setattr(geoparquet, "ROWS", 10)
    writer = GeoParquetWriter(tmp_path / "a.parquet", CRS_WKT, {})
    writer.add(*squares(0, 40))
    writer.drop()
    writer.drop()
    (tmp_path / "a.parquet").unlink()


def test_a_folder_that_is_not_there_is_an_error_of_the_system(tmp_path):
    writer = GeoParquetWriter(tmp_path / "none" / "a.parquet", CRS_WKT, {})
    writer.add(*squares(0, 1))
    with pytest.raises(OSError):
        writer.finish()
    writer.drop()
