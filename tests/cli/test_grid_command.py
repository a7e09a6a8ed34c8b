"""`rotacube grid`, as a person and as a program call it."""

from __future__ import annotations

import json
import sqlite3

import numpy as np
import pytest


@pytest.fixture
def weeds(write_raster, tmp_path):
    """40 x 40 pixels of 0.15 m, a quarter of them of class 1."""
    values = np.zeros((1, 40, 40), np.uint8)
    values[0, :20, :20] = 1
    return write_raster(tmp_path / "weeds.tif", values)


def test_cells_to_treat_are_said_and_written(weeds, call, tmp_path):
    done = call("grid", "weeds.tif", "g.gpkg", "--class", "1", "--cell", 1.5, "--rate", 100, "--also", "task.zip")
    assert done.code == 0, done.err
    assert "16 cells of 1.5 m, turned by 0°: 4 are to be treated, 9.0 of 36.0 m²." in done.out
    assert "task.zip is written." in done.out and (tmp_path / "task.zip").stat().st_size > 500
    with sqlite3.connect(tmp_path / "g.gpkg") as database:
        rows = database.execute("select treat, count(*), sum(rate_l_ha) from cells group by treat").fetchall()
    assert rows == [("no", 12, 0.0), ("yes", 4, 400.0)]
    again = call("grid", "weeds.tif", "g.gpkg", "--cell", 1.5)
    assert again.code == 2 and "is there already" in again.err
    told = call("--progress", "json", "grid", "weeds.tif", "g.gpkg", "--cell", 1.5, "--angle", "auto", "--overwrite")
    result = json.loads(told.out.splitlines()[-1])["result"]
    assert told.code == 0 and result["treated"] == 4 and result["angle_deg"] in (0, 90) and result["litres"] is None
    assert result["area_m2"] == pytest.approx(36, rel=2e-3)


def test_what_is_wrong_with_the_call_is_a_sentence(weeds, call, tmp_path):
    before = sorted(tmp_path.iterdir())
    for options, word in (
        (("--angle", "north"), "neither a number nor auto"),
        (("--by-share",), "--by-share needs --rate"),
        (("--class", "wheat"), "no class 'wheat'. It has: class 1 (1)"),
    ):
        done = call("grid", "weeds.tif", "g.gpkg", "--cell", 1.5, *options)
        assert done.code == 2 and word in done.err and "Traceback" not in done.err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(("name", "limit"), [("g.gpkg", 20_000), ("g.shp", 20_000), ("g.kml", 20_000), ("g.zip", 2000)])
def test_a_full_disk_leaves_nothing(weeds, call, tmp_path, name, limit):
    before = sorted(tmp_path.iterdir())
    done = call("grid", "weeds.tif", name, "--cell", 0.2, "--rate", 5, file_limit=limit)
    assert done.code == 2 and "could not be written" in done.err and "Traceback" not in done.err, done.err
    assert sorted(tmp_path.iterdir()) == before
