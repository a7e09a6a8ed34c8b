"""Opening a raster takes no more than it may."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import rasterio.shutil

from rotacube.errors import RasterUnreadable
from rotacube.raster import opening
from rotacube.raster.file_source import FileSource
from rotacube.raster.reading import Reading


@pytest.mark.skipif(sys.platform == "win32", reason="nothing there bounds a process's memory from within")
def test_a_file_that_takes_too_much_memory_to_open_is_told(tmp_path, write_raster, make_card, monkeypatch):
    path = tmp_path / "a.nc"
    rasterio.shutil.copy(write_raster(tmp_path / "a.tif", np.full((1, 64, 64), 7, np.uint8)), path, driver="netCDF")
    reading = Reading(bands=(1, 1, 1))
    with FileSource(str(path), make_card(), reading) as source:
        assert source.read(source.grid.extent)[1].any()
    monkeypatch.setattr(opening, "OPEN_MEMORY", 0)
    with pytest.raises(RasterUnreadable, match="memory"):
        FileSource(str(path), make_card(), reading)
