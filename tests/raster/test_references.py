"""What a raster reads, at any depth: files, streams, the network."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time

import numpy as np
import pytest
import rasterio
from virtual import write_vrt

from rotacube.errors import RasterMissing, RasterNeedsNetwork, RasterUnreadable
from rotacube.raster import opening, references
from rotacube.raster.file_source import FileSource
from rotacube.raster.references import BESIDE, local_file, references_of

SIZE = (40, 50)


@pytest.fixture
def ortho(tmp_path, write_raster):
    write_raster(tmp_path / "ortho.tif", np.ones((3, *SIZE), np.uint8))
    return tmp_path / "ortho.tif"


def chain(folder, names):
    """VRTs that each read the one before; the first reads ortho.tif."""
    for before, name in zip(["ortho.tif", *names], names, strict=False):
        write_vrt(folder / name, [(before, n) for n in (1, 2, 3)], SIZE)
    return str(folder / names[-1])


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_sources_are_followed_to_any_depth(depth, ortho, tmp_path):
    names = [f"{n}.vrt" for n in range(depth)]
    found = references_of(chain(tmp_path, names))
    assert found.files == {ortho, *(tmp_path / n for n in names)} and found.complete and not found.network


def test_a_warped_raster_and_an_overview_are_followed(ortho, tmp_path):
    subprocess.run(["gdalwarp", "-q", "-of", "VRT", "-t_srs", "EPSG:4326", ortho, tmp_path / "w.vrt"], check=True)
    more = '<OverviewList resampling="nearest">2</OverviewList>'
    write_vrt(tmp_path / "top.vrt", [("w.vrt", n) for n in (1, 2, 3)], SIZE, more=more)
    assert ortho in references_of(str(tmp_path / "top.vrt")).files


def test_a_tile_index_is_known_to_be_incomplete(ortho, tmp_path):
    index = tmp_path / "tiles.gti.gpkg"
    index.write_bytes(b"SQLite format 3\0")
    assert not references_of(str(index)).complete
    write_vrt(tmp_path / "over.vrt", [("tiles.gti.gpkg", 1)], SIZE)
    assert not references_of(str(tmp_path / "over.vrt")).complete
    index.write_bytes(b"SQLite format 3\0 /vsicurl/https://example.org/a.tif")
    assert references_of(str(index)).network


@pytest.mark.parametrize(
    "name",
    [
        "{0}",
        "GTIFF_DIR:1:{0}",
        'NETCDF:"{0}":band',
        "/vsisubfile/0_99,{0}",
        "/vsizip/{0}/inside/b.tif",
        "/vsizip/{{{0}}}/b.tif",
        "/vsigzip/{0}",
        "vrt://{0}?bands=1",
        "/vsicached?file={0}",
    ],
)
def test_the_file_behind_a_name_of_gdals_is_found(name, ortho):
    assert local_file(name.format(ortho), ortho.parent) == ortho


@pytest.mark.parametrize("name", ["nothing.tif", "/vsizip/no.zip/a.tif", "x" * 6000, "a\0b", "", ":", "{", "/vsizip/"])
def test_no_file_is_found_where_none_is(name, ortho):
    assert local_file(name, ortho.parent) is None


@pytest.mark.parametrize(
    "name",
    [
        "/vsicurl/http://127.0.0.1:9/a.tif",
        "http://127.0.0.1:9/a.tif",
        "https://example.org/a.tif",
        "/vsis3/bucket/a.tif",
        "/vsizip//vsicurl/http://127.0.0.1:9/a.zip/a.tif",
        "WMS:http://127.0.0.1:9/?LAYERS=a",
        "WMTS:http://127.0.0.1:9/",
        "s3://bucket/a.tif",
        "<GDAL_WMS><Service name='TMS'/></GDAL_WMS>",
    ],
)
@pytest.mark.parametrize("within", ["alone", "in a VRT"])
def test_the_network_is_asked_for_only_where_it_is_allowed(name, within, tmp_path, make_card, monkeypatch):
    path = name
    if within == "in a VRT":
        text = name.replace("<", "&lt;").replace("&LAYERS", "&amp;LAYERS")
        write_vrt(tmp_path / "a.vrt", [(text, n) for n in (1, 2, 3)], SIZE)
        path = write_vrt(tmp_path / "b.vrt", [("a.vrt", n) for n in (1, 2, 3)], SIZE)
    monkeypatch.setattr(opening.rasterio, "open", lambda *a, **k: pytest.fail("GDAL was asked"))
    with pytest.raises(RasterNeedsNetwork, match="allow-network"):
        FileSource(path, make_card())


def test_a_description_of_a_web_service_is_the_network(tmp_path, make_card):
    path = tmp_path / "map.xml"
    path.write_text("<GDAL_WMS><Service name='TMS'><ServerUrl>http://127.0.0.1:9/${z}</ServerUrl></Service></GDAL_WMS>")
    with pytest.raises(RasterNeedsNetwork):
        FileSource(str(path), make_card())


KERNEL = '<VRTDataset subClass="VRTWarpedDataset"><GDALWarpOptions>{}</GDALWarpOptions></VRTDataset>'


@pytest.mark.parametrize(
    "text",
    [
        "<VRTDataset><MaskBand><sourcefilename>{}</sourcefilename></MaskBand></VRTDataset>",
        '<VRTDataset xmlns="any"><MaskBand><SourceFilename>\n {}</SourceFilename></MaskBand></VRTDataset>',
        KERNEL.format("<DEMPath>{}</DEMPath>"),
        KERNEL.format('<Metadata><MDI key="X_DATASET">{}</MDI></Metadata>'),
        '<VRTDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{}</MDI></Metadata></VRTDataset>',
        '<VRTDataset><Step><Argument name="gain_dataset_filename_1">{}</Argument></Step></VRTDataset>',
    ],
)
def test_a_description_refers_to_others_in_many_ways(text, ortho, tmp_path):
    (tmp_path / "a.vrt").write_text(text.format(ortho))
    assert references_of(str(tmp_path / "a.vrt")).files == {ortho, tmp_path / "a.vrt"}
    (tmp_path / "a.vrt").write_text(text.format("/vsicurl/http://127.0.0.1:9/a.tif"))
    assert references_of(str(tmp_path / "a.vrt")).network
    (tmp_path / "a.vrt").write_text(text.format("gone.tif"))
    assert references_of(str(tmp_path / "a.vrt")).missing == (["gone.tif"] if "ilename>" in text else [])
    (tmp_path / "a.vrt").write_text(text.format("/dev/zero"))
    with pytest.raises(RasterUnreadable, match="no ordinary file"):
        references_of(str(tmp_path / "a.vrt"))


@pytest.fixture
def server():
    """A place that listens, and whether anybody has come."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)

        def visited():
            try:
                listening.accept()[0].close()
            except BlockingIOError:
                return False
            return True

        yield f"/vsicurl/http://127.0.0.1:{listening.getsockname()[1]}/a.tif", visited


def in_aux(ortho, name):
    entry = f'<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{name}</MDI></Metadata>'
    ortho.with_name("ortho.tif.aux.xml").write_text(f"<PAMDataset>{entry}</PAMDataset>")


def in_tags(ortho, name):
    with rasterio.open(ortho, "r+") as file:
        file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=name)


def beside(ortho, name):
    write_vrt(ortho.with_name("ortho.tif.ovr"), [(name, n) for n in (1, 2, 3)], SIZE)


@pytest.mark.parametrize("put", [in_aux, in_tags, beside])
def test_overviews_are_followed_too_before_they_are_asked_for(put, ortho, server, make_card, write_raster):
    address, visited = server
    put(ortho, address)
    with pytest.raises(RasterNeedsNetwork):
        FileSource(str(ortho), make_card())
    assert not visited()


@pytest.mark.parametrize("put", [in_aux, in_tags])
def test_overviews_that_are_elsewhere_are_files_that_are_read(put, ortho, make_card, write_raster):
    write_raster(ortho.with_name("small.tif"), np.ones((3, 20, 25), np.uint8))
    put(ortho, ":::BASE:::small.tif")
    with FileSource(str(ortho), make_card()) as source:
        assert ortho.with_name("small.tif") in source.files.files
    put(ortho, "gone.tif")  # GDAL does without them
    FileSource(str(ortho), make_card()).close()
    os.mkfifo(ortho.with_name("pipe"))
    put(ortho, str(ortho.with_name("pipe")))
    with pytest.raises(RasterUnreadable, match="no ordinary file"):
        FileSource(str(ortho), make_card())


@pytest.mark.parametrize("name", ["ortho.tfw", "ortho_RPC.TXT", "ortho.IMD", "ORTHO.rpb", "ortho.aux"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_whatever_gdal_may_look_for_beside_a_raster_is_no_pipe(name, kind, ortho, tmp_path, make_card):
    if kind == "pipe":
        os.mkfifo(tmp_path / name)
    else:
        (tmp_path / name).symlink_to("/dev/zero")
    path = write_vrt(tmp_path / "a.vrt", [("ortho.tif", n) for n in (1, 2, 3)], SIZE)
    for raster in (str(ortho), path):
        with pytest.raises(RasterUnreadable, match="no ordinary file"):
            FileSource(raster, make_card())
    (tmp_path / name).rename(tmp_path / f"other-{name}")
    FileSource(str(ortho), make_card()).close()


def test_a_flood_beside_a_raster_is_refused(ortho, make_card):
    with ortho.with_name("ortho.tif.aux.xml").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(RasterUnreadable, match="too large to be read"):
        FileSource(str(ortho), make_card())


def test_a_source_that_is_gone_is_named(tmp_path, make_card):
    write_vrt(tmp_path / "a.vrt", [("not_there.tif", n) for n in (1, 2, 3)], SIZE)
    path = write_vrt(tmp_path / "b.vrt", [("a.vrt", n) for n in (1, 2, 3)], SIZE)
    with pytest.raises(RasterMissing, match=r"not_there\.tif', which is not there"):
        FileSource(path, make_card())


def test_sources_that_are_gone_are_counted_once_each(tmp_path, make_card):
    path = write_vrt(tmp_path / "a.vrt", [(name, 1) for name in ("one.tif", "two.tif", "one.tif")], SIZE)
    with pytest.raises(RasterMissing, match=r"one\.tif' and 1 more, which are not there"):
        FileSource(path, make_card())


@pytest.mark.parametrize("name", ["/dev/stdin", "/vsistdin/", "/dev/zero", "/proc/self/fd/0", "pipe", "pipe.vrt"])
def test_streams_and_devices_are_refused_at_once(name, tmp_path, make_card):
    os.mkfifo(tmp_path / "pipe")
    write_vrt(tmp_path / "pipe.vrt", [("pipe", n) for n in (1, 2, 3)], SIZE)
    path = name if name.startswith("/") else str(tmp_path / name)
    start = time.monotonic()
    with pytest.raises(RasterUnreadable, match="no ordinary file"):
        FileSource(path, make_card())
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("suffix", BESIDE)
def test_a_pipe_beside_a_raster_is_refused(suffix, ortho, make_card):
    os.mkfifo(f"{ortho}{suffix}")
    with pytest.raises(RasterUnreadable, match="no ordinary file"):
        FileSource(str(ortho), make_card())


def test_a_raster_that_reads_itself_is_refused(tmp_path, make_card):
    write_vrt(tmp_path / "a.vrt", [("b.vrt", n) for n in (1, 2, 3)], SIZE)
    path = write_vrt(tmp_path / "b.vrt", [("a.vrt", n) for n in (1, 2, 3)], SIZE)
    with pytest.raises(RasterUnreadable, match="refers to itself"):
        FileSource(path, make_card())


def test_sources_that_multiply_are_refused_at_once(ortho, tmp_path, make_card):
    before = "ortho.tif"
    for level in range(9):
        write_vrt(tmp_path / f"{level}.vrt", [(before, 1 + n % 3) for n in range(10)], SIZE)
        before = f"{level}.vrt"
    start = time.monotonic()
    with pytest.raises(RasterUnreadable, match="reads"):
        FileSource(str(tmp_path / before), make_card())
    assert time.monotonic() - start < 10


def test_a_raster_that_hangs_in_gdal_is_left_and_holds_up_nobody(tmp_path, make_card, write_raster, monkeypatch):
    path = write_raster(tmp_path / "a.tif", np.ones((3, *SIZE), np.uint8), transform=False)
    os.mkfifo(tmp_path / "a.tfw")
    monkeypatch.setattr(references, "_no_files", lambda *_: [])  # as if the pipe had a name that nobody knows
    monkeypatch.setattr(opening, "LIMIT", 1.0)
    start, ticks = time.monotonic(), []
    ended = threading.Event()

    def tick():
        while not ended.wait(0.05):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    with pytest.raises(RasterUnreadable, match="takes longer"):
        FileSource(path, make_card())
    ended.set()
    thread.join()
    assert time.monotonic() - start < 10 and len(ticks) > 5


def test_opening_ends_after_its_time(ortho, make_card, monkeypatch):
    monkeypatch.setattr(opening, "LIMIT", 0.2)
    given = opening.rasterio.open
    opened = []

    def slow(*arguments, **options):
        time.sleep(1)
        opened.append(given(*arguments, **options))
        return opened[0]

    monkeypatch.setattr(opening.rasterio, "open", slow)
    with pytest.raises(RasterUnreadable, match="takes longer"):
        FileSource(str(ortho), make_card())
    for _ in range(50):
        if opened and opened[0].closed:
            return
        time.sleep(0.1)
    pytest.fail("what was opened too late is not closed")


def test_a_container_names_its_rasters(tmp_path, write_raster, make_card):
    path = tmp_path / "pages.tif"
    write_raster(path, np.ones((3, *SIZE), np.uint8))
    with rasterio.open(path) as file:
        profile = file.profile
    subprocess.run(
        ["gdal_translate", "-q", "-of", "GPKG", "-co", "RASTER_TABLE=one", path, tmp_path / "a.gpkg"], check=True
    )
    more = ["-co", "RASTER_TABLE=two", "-co", "APPEND_SUBDATASET=YES"]
    subprocess.run(["gdal_translate", "-q", "-of", "GPKG", *more, path, tmp_path / "a.gpkg"], check=True)
    with pytest.raises(RasterUnreadable, match=r"holds 2 rasters: name one of them, such as 'GPKG:.*one"):
        FileSource(str(tmp_path / "a.gpkg"), make_card())
    assert profile["count"] == 3
    with FileSource(f"GPKG:{tmp_path / 'a.gpkg'}:one", make_card()) as source:
        assert source.files.files == {tmp_path / "a.gpkg"}
