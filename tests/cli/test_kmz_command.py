"""`rotacube kmz`, as a person and as a program call it."""

from __future__ import annotations

import json
import zipfile

import numpy as np


def test_an_overlay_is_written_and_said(write_raster, call, tmp_path):
    values = np.zeros((1, 40, 40), np.uint8)
    values[0, :20, :20] = 1
    write_raster(tmp_path / "weeds.tif", values)
    write_raster(tmp_path / "photo.tif", np.full((3, 40, 40), 90, np.uint8))
    done = call("kmz", "weeds.tif", "weeds.kmz", "--photo", "photo.tif", "--title", "A & B")
    assert done.code == 0 and "weeds.kmz is written" in done.out, done.err
    with zipfile.ZipFile(tmp_path / "weeds.kmz") as archive:
        assert b"A &amp; B" in archive.read("doc.kml") and "photo1/0/0/0.jpg" not in archive.namelist()
        assert {"classes/0/0/0.png", "photo1/0/0/0.png"} <= set(archive.namelist())
    again = call("kmz", "weeds.tif", "weeds.kmz")
    assert again.code == 2 and "is there already" in again.err
    told = call("--progress", "json", "kmz", "weeds.tif", "weeds.kmz", "--overwrite", "--class", "1")
    assert json.loads(told.out.splitlines()[-1])["result"]["bytes"] == (tmp_path / "weeds.kmz").stat().st_size


def test_what_is_wrong_is_a_sentence_and_a_full_disk_leaves_nothing(write_raster, call, tmp_path):
    write_raster(tmp_path / "weeds.tif", np.random.default_rng(0).integers(0, 2, (1, 400, 400)).astype(np.uint8))
    before = sorted(tmp_path.iterdir())
    for options, word, limit in (
        (("--photo", "none.tif"), "no raster 'none.tif'", 0),
        (("--opacity", 0), "opacity", 0),
        ((), "could not be written", 20_000),
    ):
        done = call("kmz", "weeds.tif", "w.kmz", *options, file_limit=limit)
        assert done.code == 2 and word in done.err and "Traceback" not in done.err, done.err
        assert sorted(tmp_path.iterdir()) == before
