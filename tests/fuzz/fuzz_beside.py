"""Hand-made cases of what lies beside a raster, behind it, or where its map is to go."""

from __future__ import annotations

import os
import socket
import struct
import zlib
from pathlib import Path
from typing import Any

import fuzz_seeds as seeds
import numpy as np
import rasterio
from fuzz_evil import CASES, Case, case, raster, text
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.shutil import copy
from rasterio.vrt import WarpedVRT

AWAY = "/vsicurl/http://127.0.0.1:9/none.tif"
SPARSE = 6 * 2**30
NO_PLACE = {"transform": rasterio.Affine.identity()}


def sparse(path: Path, start: bytes = b"") -> None:
    """A file of 6 GB of which only the start is there."""
    with path.open("wb") as file:
        file.write(start)
        file.truncate(SPARSE)


def _beside(name: str, **profile: Any) -> None:
    """Things of all kinds under a name that GDAL may look for beside a.tif."""
    word = name.removeprefix("a.").removeprefix("tif.").replace(".", "-")

    def fifo(folder: Path) -> Case:
        path = raster(folder, **profile)
        os.mkfifo(folder / name)
        return "any", path, {}

    def large(folder: Path) -> Case:
        path = raster(folder, **profile)
        sparse(folder / name, b"<PAMDataset>" if name.endswith("xml") else b"")
        return "any", path, {}

    def odd(folder: Path) -> Case:
        path = raster(folder, **profile)
        (folder / name).mkdir()
        return "any", path, {}

    def zero(folder: Path) -> Case:
        path = raster(folder, **profile)
        (folder / name).symlink_to("/dev/zero")
        return "any", path, {}

    def itself(folder: Path) -> Case:
        path = raster(folder, **profile)
        (folder / name).symlink_to(path)
        return "any", path, {}

    for make in (fifo, large, odd, zero, itself):
        CASES[f"beside-{word}-{make.__name__}"] = make


for _name in ("a.tif.aux.xml", "a.tif.msk", "a.tif.ovr", "a.aux"):
    _beside(_name)
for _name in ("a.tfw", "a.wld", "a.tab", "a_RPC.TXT", "a.RPB", "a.IMD"):
    _beside(_name, **NO_PLACE)


@case
def socket_as_raster(folder: Path) -> Case:
    here = Path.cwd()
    os.chdir(folder)  # the name of a socket is short
    try:
        socket.socket(socket.AF_UNIX).bind("a.tif")
    finally:
        os.chdir(here)
    return "bad", str(folder / "a.tif"), {}


def _warped(folder: Path) -> str:
    with rasterio.open(seeds.write(folder / "source.tif", seeds.town())) as file, WarpedVRT(file, crs="EPSG:4326") as w:
        copy(w, folder / "a.vrt", driver="VRT")
    return (folder / "a.vrt").read_text()


def _transformed(folder: Path, name: str, inner: str) -> Case:
    """A warped VRT whose transformer is another one."""
    content = _warped(folder)
    start, end = content.index("<SrcGeoTransform>"), content.index("</SrcInvGeoTransform>") + 21
    content = f"{content[:start]}<Src{name}><{name}><Reversed>0</Reversed>{inner}</{name}></Src{name}>{content[end:]}"
    return "bad", text(folder, "a.vrt", content), {}


@case
def away_in_small_letters(folder: Path) -> Case:
    return "bad", text(folder, "a.vrt", seeds.virtual(AWAY).replace("SourceFilename", "sourcefilename")), {}


@case
def away_as_overview_in_aux(folder: Path) -> Case:
    path = raster(folder)
    entry = f'<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{AWAY}</MDI></Metadata>'
    text(folder, "a.tif.aux.xml", f"<PAMDataset>{entry}</PAMDataset>")
    return "bad", path, {}


@case
def away_as_overview_in_tags(folder: Path) -> Case:
    path = raster(folder)
    with rasterio.open(path, "r+") as file:
        file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=AWAY)
    return "bad", path, {}


@case
def away_as_overview_of_a_vrt(folder: Path) -> Case:
    seeds.write(folder / "source.tif", seeds.town())
    entry = f'<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{AWAY}</MDI></Metadata>'
    return "bad", text(folder, "a.vrt", seeds.virtual("source.tif", more=entry)), {}


@case
def away_behind_an_overview(folder: Path) -> Case:
    path = raster(folder)
    text(folder, "a.tif.ovr", seeds.virtual(AWAY))
    return "bad", path, {}


@case
def away_as_heights(folder: Path) -> Case:
    one, none = "1" + " 0" * 19, "0 1" + " 0" * 18
    numbers = {"LINE_OFF": 75, "SAMP_OFF": 90, "LAT_OFF": 27.6, "LONG_OFF": 85.5, "HEIGHT_OFF": 0, "LINE_SCALE": 75}
    numbers |= {"SAMP_SCALE": 90, "LAT_SCALE": 1e-3, "LONG_SCALE": 1e-3, "HEIGHT_SCALE": 100, "LINE_NUM_COEFF": none}
    numbers |= {"LINE_DEN_COEFF": one, "SAMP_NUM_COEFF": none, "SAMP_DEN_COEFF": one}
    terms = "".join(f'<MDI key="{key}">{value}</MDI>' for key, value in numbers.items())
    inner = f"<DEMPath>{AWAY}</DEMPath><PixErrThreshold>0.1</PixErrThreshold><Metadata>{terms}</Metadata>"
    return _transformed(folder, "RPCTransformer", inner)


@case
def away_as_places(folder: Path) -> Case:
    keys = {"X_DATASET": AWAY, "X_BAND": 1, "Y_DATASET": AWAY, "Y_BAND": 1, "PIXEL_OFFSET": 0, "LINE_OFFSET": 0}
    keys |= {"PIXEL_STEP": 1, "LINE_STEP": 1, "SRS": "EPSG:4326"}
    inner = "".join(f'<MDI key="{key}">{value}</MDI>' for key, value in keys.items())
    return _transformed(folder, "GeoLocTransformer", f"<Metadata>{inner}</Metadata>")


@case
def away_as_argument(folder: Path) -> Case:
    seeds.write(folder / "source.tif", seeds.town())
    arguments = "".join(
        f'<Argument name="{what}_dataset_filename_{n}">{AWAY}</Argument>'
        f'<Argument name="{what}_dataset_band_{n}">1</Argument>'
        for what in ("gain", "offset")
        for n in (1, 2, 3)
    )
    content = (
        '<VRTDataset subClass="VRTProcessedDataset"><Input><SourceFilename relativeToVRT="1">source.tif'
        '</SourceFilename></Input><ProcessingSteps><Step name="a"><Algorithm>LocalScaleOffset</Algorithm>'
        f"{arguments}</Step></ProcessingSteps></VRTDataset>"
    )
    return "bad", text(folder, "a.vrt", content), {}


@case
def fifo_as_overview_in_tags(folder: Path) -> Case:
    path = raster(folder)
    os.mkfifo(folder / "pipe")
    with rasterio.open(path, "r+") as file:
        file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=str(folder / "pipe"))
    return "bad", path, {}


@case
def sparse_asc(folder: Path) -> Case:
    head = b"ncols 100\nnrows 100\nxllcorner 353000\nyllcorner 3060000\ncellsize 0.15\n"
    sparse(folder / "a.asc", head)
    return "any", str(folder / "a.asc"), {"bands": (1, 1, 1)}


@case
def sparse_xyz(folder: Path) -> Case:
    sparse(folder / "a.xyz", b"0 0 1\n1 0 1\n2 0 2\n")
    return "any", str(folder / "a.xyz"), {"bands": (1, 1, 1)}


@case
def sparse_vrt(folder: Path) -> Case:
    sparse(folder / "a.vrt", b"<VRTDataset>")
    return "bad", str(folder / "a.vrt"), {}


@case
def sparse_kml(folder: Path) -> Case:
    sparse(folder / "a.kml", b"<kml>")
    return "bad", str(folder / "a.kml"), {}


@case
def sparse_json(folder: Path) -> Case:
    sparse(folder / "a.json", b'{"type":"FeatureCollection","features":[')
    return "bad", str(folder / "a.json"), {}


@case
def png_bomb(folder: Path) -> Case:
    """60,000 x 60,000 pixels in a few megabytes."""
    side, out = 60_000, zlib.compressobj(9, zlib.DEFLATED, -15)
    rows = out.compress(bytes(100 * (1 + 3 * side))) + out.flush(zlib.Z_FULL_FLUSH)  # black, and the same again
    total = struct.pack(">HH", side * (1 + 3 * side) % 65_521, 1)
    data = b"\x78\x9c" + rows * (side // 100) + b"\x03\x00" + total
    parts = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)), (b"IDAT", data), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in parts]
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    (folder / "a.pgw").write_text("0.15\n0\n0\n-0.15\n353000\n3060000\n")
    (folder / "a.png.aux.xml").write_text("<PAMDataset><SRS>EPSG:32645</SRS></PAMDataset>")
    return "any", str(folder / "a.png"), {}


@case
def png_and_world_file(folder: Path) -> Case:
    copy(seeds.write(folder / "source.tif", seeds.town()), folder / "a.png", driver="PNG", WORLDFILE="YES")
    (folder / "a.png.aux.xml").write_text("<PAMDataset><SRS>EPSG:32645</SRS></PAMDataset>")
    return "good", str(folder / "a.png"), {}


@case
def huge_tile(folder: Path) -> Case:
    return _empty(folder, "any", (60_000, 60_000), "float64", (32_768, 32_768), compress="deflate")


@case
def large_tile(folder: Path) -> Case:
    return _empty(folder, "any", (44_800, 44_800), "uint8", (22_400, 22_400), compress="deflate")


def _empty(folder: Path, must: str, size: tuple[int, int], dtype: str, block: tuple[int, int], **profile: Any) -> Case:
    """Tiles that are not there."""
    more = {"blockxsize": block[0], "blockysize": block[1], "BIGTIFF": "YES", "SPARSE_OK": True, **profile}
    with rasterio.open(folder / "a.tif", "w", "GTiff", *size, 3, seeds.UTM, seeds.PLACE, dtype, tiled=True, **more):
        pass
    return must, str(folder / "a.tif"), {}


@case
def tiles_of_sixteen(folder: Path) -> Case:
    return _empty(folder, "any", (20_000, 20_000), "uint8", (16, 16), nodata=0, interleave="band")


@case
def long_and_thin(folder: Path) -> Case:
    return _empty(folder, "any", (2**31 - 1, 3), "uint8", (2**20, 16))


@case
def points_alone(folder: Path) -> Case:
    with rasterio.open(folder / "a.tif", "w", "GTiff", 180, 150, 3, dtype="uint8") as file:
        corners = [(0, 0), (0, 180), (150, 0), (150, 180)]
        points = [GroundControlPoint(r, c, 353000 + 0.15 * c, 3060000 - 0.15 * r) for r, c in corners]
        file.gcps = points, rasterio.crs.CRS.from_string(seeds.UTM)
        file.write(seeds.town())
    return "bad", str(folder / "a.tif"), {}


@case
def opacity_of_nothing(folder: Path) -> Case:
    image = seeds.town(4)
    image[3] = 0
    path = raster(folder, image)
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    return "bad", path, {}


@case
def specks_of_nan(folder: Path) -> Case:
    image = seeds.town().astype(np.float32)
    image[0, ::7, ::5] = np.nan
    return "good", raster(folder, image, transform=rasterio.Affine(0.1, 0, 353000, 0, -0.1, 3060000)), {}


def _output(name: str, must: str, target: str, prepare: Any = None, **asked: Any) -> None:
    def make(folder: Path) -> Case:
        if prepare:
            prepare(folder)
        return must, raster(folder), {"output": str(folder / target), **asked}

    CASES[f"output-{name}"] = make


_output("dangling-link", "any", "link.tif", lambda f: (f / "link.tif").symlink_to(f / "none" / "a.tif"))
_output("endless-link", "bad", "link.tif", lambda f: (f / "link.tif").symlink_to(f / "link.tif"), overwrite=True)
_output("to-the-source", "bad", "link.tif", lambda f: (f / "link.tif").symlink_to(f / "a.tif"), overwrite=True)
_output("folder", "bad", "dir.tif", lambda f: (f / "dir.tif").mkdir(), overwrite=True)
_output("in-proc", "bad", "/proc/self/a.tif")
_output("in-sys", "bad", "/sys/a.tif")
_output("under-a-file", "bad", "file/a.tif", lambda f: (f / "file").write_text("x"))
_output("pipe-beside", "bad", "out/mask.tif", lambda f: ((f / "out").mkdir(), os.mkfifo(f / "out/mask.tif.aux.xml")))
_output("newline", "any", "a\nb.tif")
_output("percent", "any", "%s%n%d.tif")
_output("bar", "any", "a|b.tif")
_output("vsimem", "bad", "/vsimem/a.tif")
_output("empty", "bad", "")
_output("name-of-a-part", "bad", ".mask.tif.rotacube-part")
