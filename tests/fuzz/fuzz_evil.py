"""Hand-made rasters and names that a mapper meets once and must not die of."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fuzz_seeds as seeds
import numpy as np
import rasterio
from rasterio.transform import from_origin
from rasterio.windows import Window

# A case: what must come of it ("bad": a sentence; "good": a mask; "any": one of the two), the raster's name, and what
# else is asked for.
Case = tuple[str, str, dict[str, Any]]
CASES: dict[str, Callable[[Path], Case]] = {}


def case(function: Callable[[Path], Case]) -> Callable[[Path], Case]:
    CASES[function.__name__.replace("_", "-")] = function
    return function


def names() -> Iterator[tuple[str, str]]:
    """Names that lead nowhere, or where nothing may be read."""
    yield "nul", "a\0b.tif"
    yield "surrogate", "a\ud800.tif"
    yield "undecodable", os.fsdecode(b"a\xff\xfe.tif")
    yield "long", "x" * 5000
    yield "long-part", "x" * 300 + "/a.tif"
    yield "empty", ""
    yield "blank", " "
    yield "newline", "a\nb.tif"
    yield "stdin", "/dev/stdin"
    yield "vsistdin", "/vsistdin/"
    yield "fd", "/proc/self/fd/0"
    yield "zero", "/dev/zero"
    yield "random", "/dev/urandom"
    yield "null", "/dev/null"
    yield "proc", "/proc/self/mem"
    yield "pipe", "layer.tif|layername=x"
    yield "url", "http://127.0.0.1:9/a.tif"
    yield "curl", "/vsicurl/http://127.0.0.1:9/a.tif"
    yield "wms", "WMS:http://127.0.0.1:9/?SERVICE=WMS"
    yield "inline", seeds.virtual("/dev/zero")
    yield "subdataset", "NETCDF:/dev/zero:a"
    yield "directory", "/tmp"
    yield "root", "/"
    yield "zip", "/vsizip//dev/zero/a.tif"
    yield "gzip", "/vsigzip//dev/zero"
    yield "sparse", "/vsisparse//dev/zero"
    yield "memory", "/vsimem/none.tif"
    yield "subfile", "/vsisubfile/0_99999999999,/dev/zero"


for _name, _path in names():
    CASES[f"name-{_name}"] = lambda folder, path=_path: ("bad", path, {})


def text(folder: Path, name: str, content: str) -> str:
    (folder / name).write_text(content)
    return str(folder / name)


def raster(folder: Path, array: np.ndarray | None = None, **profile: Any) -> str:
    return str(seeds.write(folder / "a.tif", seeds.town() if array is None else array, **profile))


@case
def fifo(folder: Path) -> Case:
    os.mkfifo(folder / "a.tif")
    return "bad", str(folder / "a.tif"), {}


@case
def fifo_behind_a_vrt(folder: Path) -> Case:
    os.mkfifo(folder / "pipe.tif")
    return "bad", text(folder, "a.vrt", seeds.virtual("pipe.tif")), {}


@case
def fifo_behind_a_raw_vrt(folder: Path) -> Case:
    os.mkfifo(folder / "pipe.bin")
    band = (
        '<VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand"><SourceFilename relativeToVRT="1">pipe.bin'
        "</SourceFilename></VRTRasterBand></VRTDataset>"
    )
    content = seeds.virtual("", bands=()).replace("</VRTDataset>", band)
    return "bad", text(folder, "a.vrt", content), {"bands": (1, 1, 1)}


@case
def fifo_beside(folder: Path) -> Case:
    path = raster(folder)
    for suffix in (".aux.xml", ".msk", ".ovr"):
        os.mkfifo(path + suffix)
    return "any", path, {}


@case
def fifo_as_output(folder: Path) -> Case:
    os.mkfifo(folder / "out.tif")
    return "bad", raster(folder), {"output": str(folder / "out.tif"), "overwrite": True}


@case
def device_as_output(folder: Path) -> Case:
    (folder / "out.tif").symlink_to("/dev/full")
    return "bad", raster(folder), {"output": str(folder / "out.tif"), "overwrite": True}


@case
def endless_link(folder: Path) -> Case:
    (folder / "a.tif").symlink_to(folder / "a.tif")
    return "bad", str(folder / "a.tif"), {}


@case
def many_bands(folder: Path) -> Case:
    seeds.write(folder / "source.tif", seeds.town())
    return "any", text(folder, "a.vrt", seeds.virtual("source.tif", bands=[1] * 65_535)), {}


@case
def reads_itself(folder: Path) -> Case:
    return "bad", text(folder, "a.vrt", seeds.virtual("a.vrt")), {}


@case
def read_each_other(folder: Path) -> Case:
    text(folder, "b.vrt", seeds.virtual("a.vrt"))
    return "bad", text(folder, "a.vrt", seeds.virtual("b.vrt")), {}


@case
def thousand_deep(folder: Path) -> Case:
    seeds.write(folder / "v0.vrt", seeds.town())
    for n in range(1, 1000):
        text(folder, f"v{n}.vrt", seeds.virtual(f"v{n - 1}.vrt"))
    return "any", str(folder / "v999.vrt"), {}


@case
def billion_laughs_of_sources(folder: Path) -> Case:
    seeds.write(folder / "v0.vrt", seeds.town())
    for n in range(1, 12):
        content = seeds.virtual(f"v{n - 1}.vrt")
        source = content[content.index("<SimpleSource>") : content.index("</SimpleSource>") + 15]
        text(folder, f"v{n}.vrt", content.replace(source, source * 10))
    return "bad", str(folder / "v11.vrt"), {}


@case
def billion_laughs_of_entities(folder: Path) -> Case:
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    head = f'<?xml version="1.0"?><!DOCTYPE VRTDataset [<!ENTITY l0 "lol">{entities}]>'
    return "bad", text(folder, "a.vrt", head + seeds.virtual("&l9;")), {}


@case
def http_source(folder: Path) -> Case:
    return "bad", text(folder, "a.vrt", seeds.virtual("http://127.0.0.1:9/a.tif")), {}


@case
def service_description(folder: Path) -> Case:
    content = (
        '<GDAL_WMS><Service name="TMS"><ServerUrl>http://127.0.0.1:9/${z}/${x}/${y}.png</ServerUrl></Service><DataWindow>'
        "<UpperLeftX>-20037508</UpperLeftX><UpperLeftY>20037508</UpperLeftY><LowerRightX>20037508</LowerRightX>"
        "<LowerRightY>-20037508</LowerRightY><TileLevel>18</TileLevel></DataWindow><Projection>EPSG:3857</Projection>"
        "<BandsCount>3</BandsCount></GDAL_WMS>"
    )
    return "bad", text(folder, "a.xml", content), {}


@case
def source_is_gone(folder: Path) -> Case:
    return "bad", text(folder, "a.vrt", seeds.virtual("none.tif")), {}


@case
def python_function(folder: Path) -> Case:
    seeds.write(folder / "source.tif", seeds.town())
    content = seeds.virtual("source.tif").replace("<VRTRasterBand ", '<VRTRasterBand subClass="VRTDerivedRasterBand" ')
    function = "<PixelFunctionType>f</PixelFunctionType><PixelFunctionLanguage>Python</PixelFunctionLanguage>"
    code = "<PixelFunctionCode><![CDATA[def f(*a, **k): import os; os._exit(7)]]></PixelFunctionCode>"
    return "bad", text(folder, "a.vrt", content.replace("<SimpleSource>", f"{function}{code}<SimpleSource>")), {}


@case
def huge_vrt(folder: Path) -> Case:
    seeds.write(folder / "source.tif", seeds.town())
    return "any", text(folder, "a.vrt", seeds.virtual("source.tif", width=2**31 - 1, height=2**31 - 1)), {}


@case
def huge_and_sparse(folder: Path) -> Case:
    with rasterio.open(folder / "a.tif", "w", "GTiff", 300_000, 300_000, 3, seeds.UTM, seeds.PLACE, "uint8", nodata=0,
                       tiled=True, compress="deflate", BIGTIFF="YES", SPARSE_OK=True) as file:  # fmt: skip
        file.write(seeds.town(3, 256, 256), window=Window(0, 0, 256, 256))
    return "any", str(folder / "a.tif"), {}


@case
def huge_strip(folder: Path) -> Case:
    """One strip of 200,000 x 50,000 pixels that is not there."""
    with rasterio.open(folder / "a.tif", "w", "GTiff", 200_000, 50_000, 3, seeds.UTM, seeds.PLACE, "uint8",
                       blockysize=50_000, BIGTIFF="YES", SPARSE_OK=True, compress="deflate"):  # fmt: skip
        pass
    return "any", str(folder / "a.tif"), {}


@case
def mercator_of_a_megametre(folder: Path) -> Case:
    return "bad", raster(folder, crs="EPSG:3857", transform=from_origin(0, 0, 1e6, 1e6)), {}


@case
def megametres_wanted(folder: Path) -> Case:
    return "any", raster(folder, crs="EPSG:3857", transform=from_origin(0, 0, 1e6, 1e6)), {"any_resolution": True}


def _place(name: str, place: str, crs: str = seeds.UTM, must: str = "any") -> None:
    def make(folder: Path) -> Case:
        seeds.write(folder / "source.tif", seeds.town())
        content = seeds.virtual("source.tif", crs=crs, place=place)
        return must, text(folder, "a.vrt", content), {"any_resolution": True}

    CASES[f"place-{name}"] = make


for _name, _numbers, _crs, _must in [
    ("nan", "nan, 0.15, 0, 3060000, 0, -0.15", seeds.UTM, "bad"),
    ("inf", "353000, inf, 0, 3060000, 0, -0.15", seeds.UTM, "bad"),
    ("huge-pixels", "353000, 1e300, 0, 3060000, 0, -1e300", seeds.UTM, "bad"),
    ("far-origin", "1e300, 0.15, 0, 1e300, 0, -0.15", seeds.UTM, "bad"),
    ("tiny-pixels", "353000, 1e-300, 0, 3060000, 0, -1e-300", seeds.UTM, "bad"),
    ("no-pixels", "353000, 0, 0, 3060000, 0, 0", seeds.UTM, "bad"),
    ("flat", "353000, 0.15, 0.15, 3060000, 0.15, 0.15", seeds.UTM, "bad"),
    ("rotated", "353000, 0.12, 0.09, 3060000, 0.09, -0.12", seeds.UTM, "good"),
    ("south-up", "353000, 0.15, 0, 3060000, 0, 0.15", seeds.UTM, "good"),
    ("mirrored", "353000, -0.15, 0, 3060000, 0, -0.15", seeds.UTM, "good"),
    ("sheared", "353000, 0.15, 0.1, 3060000, 0, -0.15", seeds.UTM, "any"),
    ("pole", "0, 1e-6, 0, 90, 0, -1e-6", "EPSG:4326", "any"),
    ("beyond-the-pole", "0, 1e-6, 0, 120, 0, -1e-6", "EPSG:4326", "any"),
    ("date-line", "179.9999, 1.4e-6, 0, 27, 0, -1.35e-6", "EPSG:4326", "good"),
    ("geocentric", "0, 0.15, 0, 0, 0, -0.15", "EPSG:4978", "bad"),
    ("engineering", "0, 0.15, 0, 10, 0, -0.15", 'LOCAL_CS["site",UNIT["metre",1]]', "bad"),
    ("vertical", "0, 0.15, 0, 10, 0, -0.15", "EPSG:5773", "bad"),
    ("unknown-crs", "0, 0.15, 0, 10, 0, -0.15", "EPSG:999999", "bad"),
    ("no-crs", "0, 0.15, 0, 10, 0, -0.15", "", "bad"),
    ("compound", "353000, 0.15, 0, 3060000, 0, -0.15", "EPSG:32645+5773", "good"),
    ("long-crs", "353000, 0.15, 0, 3060000, 0, -0.15", "x" * 100_000, "bad"),
    ("moon", "0, 5e-6, 0, 0, 0, -5e-6", "IAU_2015:30100", "any"),
]:
    _place(_name, _numbers, _crs, _must)


def _kind(
    name: str, must: str, make: Callable[[], np.ndarray], asked: dict[str, Any] | None = None, **profile: Any
) -> None:
    CASES[f"kind-{name}"] = lambda folder: (must, raster(folder, make(), **profile), asked or {})


_kind("one-pixel", "bad", lambda: seeds.town(3, 1, 1))
_kind("one-row", "bad", lambda: seeds.town(3, 1, 300))
_kind("two-pixels", "any", lambda: seeds.town(3, 2, 2))
_kind("five-pixels", "any", lambda: seeds.town(3, 5, 5))
_kind("cmyk", "any", lambda: seeds.town(4), photometric="CMYK")
_kind("complex", "bad", lambda: seeds.town().astype(np.complex64))
_kind("int8", "good", lambda: seeds.town().astype(np.int8))
_kind("int64", "any", lambda: seeds.town().astype(np.int64))
_kind("float64", "good", lambda: seeds.town().astype(np.float64))
_kind("float-extremes", "any", lambda: np.where(seeds.town() > 100, np.float64(1.7e308), np.float64(-1.7e308)))
_kind("all-nan", "bad", lambda: np.full((3, 60, 60), np.nan, np.float32))
_kind("all-inf", "bad", lambda: np.full((3, 60, 60), np.inf, np.float32))
_kind("constant", "good", lambda: np.full((3, 60, 60), 7, np.uint16))
_kind("nodata-nan", "good", lambda: seeds.town().astype(np.float32), nodata=float("nan"))
_kind("nodata-inf", "good", lambda: seeds.town().astype(np.float32), nodata=float("inf"))
_kind("nodata-of-all", "bad", lambda: np.full((3, 60, 60), 9, np.uint8), nodata=9)
_kind("one-band", "bad", lambda: seeds.town(1))
_kind("bands-beyond", "bad", seeds.town, {"bands": (1, 2, 99)})
_kind("bands-negative", "bad", seeds.town, {"bands": (-1, 0, 1)})
_kind("bands-huge", "bad", seeds.town, {"bands": (10**30, 1, 2)})
_kind("alpha-beyond", "bad", seeds.town, {"alpha_band": 99})
_kind("bounds-nan", "bad", seeds.town, {"bounds": (float("nan"), 0.0, 1.0, 1.0)})
_kind("bounds-huge", "any", seeds.town, {"bounds": (-1e300, -1e300, 1e300, 1e300)})
_kind("bounds-crs", "bad", seeds.town, {"bounds": (0.0, 0.0, 1.0, 1.0), "bounds_crs": "\ud800"})
_kind("bounds-crs-long", "bad", seeds.town, {"bounds": (0.0, 0.0, 1.0, 1.0), "bounds_crs": "+proj=" + "x" * 100_000})
_kind("output-nul", "bad", seeds.town, {"output": "FOLDER/a\0b.tif"})
_kind("output-surrogate", "any", seeds.town, {"output": "FOLDER/a\ud800.tif"})
_kind("output-undecodable", "any", seeds.town, {"output": os.fsdecode(b"FOLDER/a\xff.tif")})
_kind("output-long", "bad", seeds.town, {"output": "FOLDER/" + "x" * 5000 + ".tif"})
_kind("output-is-input", "bad", seeds.town, {"output": "FOLDER/a.tif", "overwrite": True})


@case
def nodata_out_of_range(folder: Path) -> Case:
    seeds.write(folder / "source.tif", seeds.town())
    content = seeds.virtual("source.tif").replace(
        "<SimpleSource>", "<NoDataValue>-1e300</NoDataValue><SimpleSource>", 1
    )
    return "good", text(folder, "a.vrt", content), {}


@case
def mixed_types(folder: Path) -> Case:
    seeds.write(folder / "source.tif", seeds.town())
    content = seeds.virtual("source.tif").replace('dataType="Byte"', 'dataType="Float64"', 1)
    return "any", text(folder, "a.vrt", content), {}


@case
def scale_and_offset(folder: Path) -> Case:
    seeds.write(folder / "source.tif", seeds.town())
    odd = "<Scale>0</Scale><Offset>nan</Offset><SimpleSource>"
    return "any", text(folder, "a.vrt", seeds.virtual("source.tif").replace("<SimpleSource>", odd)), {}


@case
def subdatasets(folder: Path) -> Case:
    with rasterio.open(
        folder / "a.gpkg", "w", "GPKG", 64, 64, 3, seeds.UTM, seeds.PLACE, "uint8", RASTER_TABLE="a"
    ) as f:
        f.write(seeds.town(3, 64, 64))
    with rasterio.open(folder / "a.gpkg", "w", "GPKG", 64, 64, 3, seeds.UTM, seeds.PLACE, "uint8", RASTER_TABLE="b",
                       APPEND_SUBDATASET="YES") as f:  # fmt: skip
        f.write(seeds.town(3, 64, 64))
    return "any", str(folder / "a.gpkg"), {}


@case
def folder_that_looks_like_a_raster(folder: Path) -> Case:
    (folder / "a.tif").mkdir()
    return "bad", str(folder / "a.tif"), {}
