"""`rotacube report`, as a person calls it."""

from __future__ import annotations

import numpy as np


def test_a_report_is_written_and_what_is_wrong_is_a_sentence(write_raster, call, tmp_path):
    values = np.zeros((1, 40, 40), np.uint8)
    values[0, :20, :20] = 1
    write_raster(tmp_path / "weeds.tif", values)
    assert call("statistics", "weeds.tif", "s.csv").code == 0
    done = call("report", "weeds.tif", "weeds.html", "--statistics", "s.csv", "--title", "North <field>")
    assert done.code == 0 and "weeds.html is written." in done.out, done.err
    assert "North &lt;field&gt;" in (tmp_path / "weeds.html").read_text(encoding="utf-8")
    assert call("report", "weeds.tif", "weeds.pdf").code == 0
    assert (tmp_path / "weeds.pdf").read_bytes().startswith(b"%PDF")
    before = sorted(tmp_path.iterdir())
    for options, word, limit in (
        (("weeds.tif", "weeds.pdf"), "is there already", 0),
        (("weeds.tif", "a.txt"), "does not end in", 0),
        (("weeds.tif", "a.pdf", "--photo", "none.tif"), "no raster 'none.tif'", 0),
        (("weeds.tif", "a.pdf", "--statistics", "s.csv", "--class", "1"), "count all classes", 0),
        (("weeds.tif", "a.pdf"), "could not be written", 5000),
        (("weeds.tif", "a.html"), "could not be written", 2000),
    ):
        done = call("report", *options, file_limit=limit)
        assert done.code == 2 and word in done.err and "Traceback" not in done.err, done.err
        assert sorted(tmp_path.iterdir()) == before
