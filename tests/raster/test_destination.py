"""Where files go: nothing is replaced that nobody agreed to, and nothing strange stays beside."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
from virtual import write_vrt

from rotacube.errors import OutputUnwritable
from rotacube.raster import destination
from rotacube.raster.destination import Destination, check_output, sweep
from rotacube.raster.references import BESIDE, References, references_of

NOTHING = References()


def put(path, content, overwrite=False):
    place = Destination(path, overwrite)
    try:
        part = place.part("cog")
        part.write_bytes(content)
        place.put(part)
    finally:
        place.drop()


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_file_takes_its_place_and_leaves_nothing_else(tmp_path):
    put(tmp_path / "a.tif", b"one")
    put(tmp_path / "a.tif", b"two", overwrite=True)
    assert names(tmp_path) == ["a.tif"] and (tmp_path / "a.tif").read_bytes() == b"two"


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
def test_of_two_runs_to_one_name_the_second_replaces_nothing(links, tmp_path, monkeypatch):
    if not links:

        def refuse(*arguments):
            raise PermissionError(1, "no links here")

        monkeypatch.setattr(destination.os, "link", refuse)
    results = []
    gate = threading.Barrier(8)

    def work(n):
        gate.wait()
        try:
            put(tmp_path / "a.tif", str(n).encode() * 1000)
            results.append(n)
        except OutputUnwritable as error:
            assert "somebody else" in error.message

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 1 and (tmp_path / "a.tif").read_bytes() == str(results[0]).encode() * 1000
    assert names(tmp_path) == ["a.tif"]


@pytest.mark.parametrize("suffix", BESIDE)
def test_what_an_earlier_file_left_beside_goes_with_it(suffix, tmp_path):
    output, beside = tmp_path / "a.tif", tmp_path / f"a.tif{suffix}"
    beside.write_bytes(b"stale")
    with pytest.raises(OutputUnwritable, match="earlier file"):
        check_output(output, False, NOTHING)
    with pytest.raises(FileExistsError):
        put(output, b"new")
    assert beside.read_bytes() == b"stale" and names(tmp_path) == [beside.name]
    check_output(output, True, NOTHING)
    put(output, b"new", overwrite=True)
    assert names(tmp_path) == ["a.tif"]


def test_what_lies_beside_comes_back_where_the_last_step_fails(tmp_path, monkeypatch):
    (tmp_path / "a.tif").write_bytes(b"old")
    (tmp_path / "a.tif.aux.xml").write_bytes(b"its own")
    replace = destination.Path.replace

    def fail(self, target):
        if str(target).endswith("a.tif"):
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(destination.Path, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        put(tmp_path / "a.tif", b"new", overwrite=True)
    monkeypatch.undo()
    assert names(tmp_path) == ["a.tif", "a.tif.aux.xml"]
    assert (tmp_path / "a.tif").read_bytes() == b"old" and (tmp_path / "a.tif.aux.xml").read_bytes() == b"its own"


def test_a_link_is_followed_and_stays_one(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link.tif").symlink_to(tmp_path / "there" / "real.tif")
    check_output(tmp_path / "link.tif", False, NOTHING)
    put(tmp_path / "link.tif", b"new")
    assert (tmp_path / "link.tif").is_symlink() and (tmp_path / "there" / "real.tif").read_bytes() == b"new"
    with pytest.raises(OutputUnwritable, match="is there already"):
        check_output(tmp_path / "link.tif", False, NOTHING)


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_pipe_beside_an_output_is_no_part_of_an_earlier_file(overwrite, tmp_path):
    os.mkfifo(tmp_path / "a.tif.aux.xml")
    with pytest.raises(OutputUnwritable, match="a device or a pipe, which would be taken for a part"):
        check_output(tmp_path / "a.tif", overwrite, NOTHING)
    assert names(tmp_path) == ["a.tif.aux.xml"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_pipes_devices_and_loops_are_no_outputs(overwrite, tmp_path):
    os.mkfifo(tmp_path / "pipe.tif")
    (tmp_path / "null.tif").symlink_to("/dev/null")
    (tmp_path / "loop.tif").symlink_to(tmp_path / "loop.tif")
    for name in ("pipe.tif", "null.tif"):
        with pytest.raises(OutputUnwritable, match="device or a pipe"):
            check_output(tmp_path / name, overwrite, NOTHING)
    with pytest.raises(OutputUnwritable):
        check_output(tmp_path / "loop.tif", overwrite, NOTHING)
    with pytest.raises(OutputUnwritable, match="NUL"):
        check_output(tmp_path / "a\0b.tif", overwrite, NOTHING)
    with pytest.raises(OutputUnwritable, match="too long"):
        check_output(tmp_path / ("é" * 100 + ".tif"), overwrite, NOTHING)


def test_nothing_that_is_read_is_replaced_however_deep(tmp_path, write_raster):
    write_raster(tmp_path / "ortho.tif", np.ones((3, 40, 50), np.uint8))
    (tmp_path / "twin.tif").hardlink_to(tmp_path / "ortho.tif")
    (tmp_path / "link.tif").symlink_to(tmp_path / "ortho.tif")
    (tmp_path / "out.tif.msk").write_bytes((tmp_path / "ortho.tif").read_bytes())
    for before, name in (("ortho.tif", "one.vrt"), ("one.vrt", "two.vrt"), ("out.tif.msk", "three.vrt")):
        write_vrt(tmp_path / name, [(before, n) for n in (1, 2, 3)], (40, 50))
    for name in ("ortho.tif", "twin.tif", "link.tif"):
        with pytest.raises(OutputUnwritable, match="never replaces its source"):
            check_output(tmp_path / name, True, references_of(str(tmp_path / "two.vrt")))
    with pytest.raises(OutputUnwritable, match="never replaces its source"):
        check_output(tmp_path / "out.tif", True, references_of(str(tmp_path / "three.vrt")))


def test_under_a_tile_index_nothing_that_is_there_is_replaced(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"a tile, perhaps")
    index = References(complete=False)
    with pytest.raises(OutputUnwritable, match="tile index"):
        check_output(tmp_path / "a.tif", True, index)
    check_output(tmp_path / "new.tif", True, index)


def test_a_folder_that_is_renamed_keeps_nothing(tmp_path):
    (tmp_path / "before").mkdir()
    place = Destination(tmp_path / "before" / "a.tif", False)
    part = place.part("strips")
    part.write_bytes(b"x")
    (tmp_path / "before").rename(tmp_path / "after")
    place.drop()
    assert names(tmp_path / "after") == []


def test_sweeping_a_folder_that_is_gone_does_nothing(tmp_path):
    sweep(tmp_path / "no")
