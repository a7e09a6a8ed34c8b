"""Good rasters of many kinds, from which damaged ones are made."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.shutil import copy
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT

warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)
UTM = "EPSG:32645"
HEIGHT, WIDTH = 150, 180
PLACE = from_origin(353000, 3060000, 0.15, 0.15)
# Drivers that write what they are given, with what lies beside it, and how many bands they take.
OTHERS = {
    "HFA": ("img", 3), "PCIDSK": ("pix", 3), "ENVI": ("dat", 3), "EHdr": ("bil", 3), "ERS": ("ers", 3),
    "JP2OpenJPEG": ("jp2", 3), "PNG": ("png", 3), "JPEG": ("jpg", 3), "WEBP": ("webp", 3), "GPKG": ("gpkg", 3),
    "NITF": ("ntf", 3), "BMP": ("bmp", 3), "MRF": ("mrf", 3), "RRASTER": ("grd", 3), "ILWIS": ("mpl", 3),
    "RST": ("rst", 3), "GIF": ("gif", 1), "AAIGrid": ("asc", 1), "XYZ": ("xyz", 1), "GSAG": ("gsag", 1),
    "SAGA": ("sdat", 1), "netCDF": ("nc", 1), "SGI": ("rgb", 3), "PNM": ("ppm", 3), "TGA": ("tga", 3),
}  # fmt: skip
SINGLE = {suffix for suffix, bands in OTHERS.values() if bands == 1}
"""Suffixes of rasters of one band."""


def town(bands: int = 3, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """(bands, height, width) uint8: blocks of colours with noise, nothing at 0 or 255."""
    rng = np.random.default_rng(5)
    blocks = rng.integers(40, 210, (bands, height // 30 + 1, width // 30 + 1))
    image = blocks.repeat(30, 1).repeat(30, 2)[:, :height, :width] + rng.normal(0, 6, (bands, height, width))
    return np.clip(image, 1, 254).astype(np.uint8)


def write(path: Path, array: np.ndarray, **profile) -> Path:
    """A GeoTIFF of (bands, rows, columns); keyword arguments replace its profile."""
    count, height, width = array.shape
    size = {"count": count, "height": height, "width": width, "dtype": array.dtype}
    place = {"driver": "GTiff", "crs": UTM, "transform": PLACE}
    with rasterio.open(path, "w", **{**place, **size, **profile}) as file:
        file.write(array)
    return path


def virtual(source: str, bands=(1, 2, 3), width=WIDTH, height=HEIGHT, crs=UTM, place=None, more="", inner="") -> str:
    """A VRT as text."""
    numbers = place or "353000, 0.15, 0, 3060000, 0, -0.15"
    box = f'xOff="0" yOff="0" xSize="{width}" ySize="{height}"'
    parts = [
        f'<VRTRasterBand dataType="Byte" band="{n}"><SimpleSource><SourceFilename relativeToVRT="1">{source}'
        f"</SourceFilename><SourceBand>{band}</SourceBand><SrcRect {box}/><DstRect {box}/>{inner}</SimpleSource>"
        "</VRTRasterBand>\n"
        for n, band in enumerate(bands, 1)
    ]
    head = f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{crs}</SRS>\n'
    return f"{head}<GeoTransform>{numbers}</GeoTransform>\n{more}{''.join(parts)}</VRTDataset>\n"


def make_seeds(folder: Path) -> list[str]:
    """Write the good rasters, each in a folder of its own with all that belongs to it.

    Returns:
        Their paths within `folder`: what a run is given.
    """
    made: list[str] = []

    def place(name: str) -> Path:
        path = folder / name.replace(".", "_") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        made.append(str(path.relative_to(folder)))
        return path

    image = town()
    tall = image.astype(np.uint16) * 40 + 300
    write(place("strips.tif"), image)
    write(place("tiles.tif"), image, tiled=True, blockxsize=64, blockysize=64, compress="deflate", predictor=2)
    write(place("jpeg.tif"), image, tiled=True, blockxsize=64, blockysize=64, compress="jpeg", photometric="ycbcr")
    write(place("lzw16.tif"), tall, compress="lzw", predictor=2, nodata=300)
    write(place("big32.tif"), tall.astype(np.float32), BIGTIFF="YES", compress="zstd", nodata=np.nan, predictor=3)
    write(place("planes.tif"), image, interleave="band", compress="packbits", ENDIANNESS="BIG")
    with rasterio.open(write(place("alpha.tif"), town(4)), "r+") as file:
        file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(write(place("mask.tif"), image), "r+") as file:
        file.write_mask(image[0] < 180)
    with rasterio.open(write(place("overviews.tif"), image, tiled=True, blockxsize=64, blockysize=64), "r+") as file:
        file.build_overviews([2], Resampling.average)
    with rasterio.open(place("palette.tif"), "w", "GTiff", WIDTH, HEIGHT, 1, UTM, PLACE, "uint8") as file:
        file.write(image[:1])
        file.write_colormap(1, {n: (n, 255 - n, n // 2, 255) for n in range(256)})
    with rasterio.open(place("points.tif"), "w", "GTiff", WIDTH, HEIGHT, 3, dtype="uint8") as file:
        corners = [(0, 0), (0, WIDTH), (HEIGHT, 0), (HEIGHT, WIDTH)]
        points = [GroundControlPoint(r, c, 353000 + 0.15 * c, 3060000 - 0.15 * r) for r, c in corners]
        file.gcps = points, rasterio.crs.CRS.from_string(UTM)
        file.write(image)
    _virtual_seeds(place, image)
    for driver, (suffix, bands) in OTHERS.items():
        path = place(f"{driver.lower()}.{suffix}")
        try:
            copy(write(folder / "whole.tif", image[:bands]), path, driver=driver)
        except (
            RasterioError,
            CPLE_BaseError,
            OSError,
            ValueError,
        ):  # a driver that this build lacks, or that cannot write this
            made.pop()
    (folder / "whole.tif").unlink()
    return made


def _virtual_seeds(place, image: np.ndarray) -> None:
    path = place("plain.vrt")
    write(path.with_name("source.tif"), image)
    path.write_text(virtual("source.tif"))
    path = place("scaled.vrt")
    write(path.with_name("source.tif"), image)
    text = virtual("source.tif", inner="<NODATA>3</NODATA><ScaleRatio>0.5</ScaleRatio><ScaleOffset>4</ScaleOffset>")
    path.write_text(text.replace("SimpleSource", "ComplexSource"))
    path = place("deep.vrt")
    write(path.with_name("source.tif"), image)
    path.with_name("inner.vrt").write_text(virtual("source.tif"))
    path.write_text(virtual("inner.vrt", bands=(3, 2, 1)))
    path = place("warped.vrt")
    source = write(path.with_name("source.tif"), image)
    with rasterio.open(source) as file, WarpedVRT(file, crs="EPSG:4326") as warped:
        copy(warped, path, driver="VRT")
    path = place("derived.vrt")
    write(path.with_name("source.tif"), image)
    text = virtual("source.tif").replace("<VRTRasterBand ", '<VRTRasterBand subClass="VRTDerivedRasterBand" ')
    path.write_text(text.replace("<SimpleSource>", "<PixelFunctionType>sum</PixelFunctionType><SimpleSource>"))
    path = place("raw.vrt")
    path.with_name("raw.bin").write_bytes(image.tobytes())
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{n + 1}" subClass="VRTRawRasterBand"><SourceFilename relativeToVRT="1">'
        f"raw.bin</SourceFilename><ImageOffset>{n * HEIGHT * WIDTH}</ImageOffset><PixelOffset>1</PixelOffset>"
        f"<LineOffset>{WIDTH}</LineOffset></VRTRasterBand>\n"
        for n in range(3)
    )
    path.write_text(virtual("", bands=()).replace("</VRTDataset>", f"{bands}</VRTDataset>"))
