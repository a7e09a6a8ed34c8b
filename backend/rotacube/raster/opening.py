"""Opening a raster: files only, without the network unless it is allowed, within a time limit, and all that is asked of
it at once.
"""

from __future__ import annotations

import ctypes
import logging
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio import _base
from rasterio.enums import ColorInterp, MaskFlags

from rotacube.errors import (
    RasterEmpty,
    RasterMissing,
    RasterNeedsNetwork,
    RasterNotGeoreferenced,
    RasterUnreadable,
    RotacubeError,
)
from rotacube.raster.bands import BandFacts
from rotacube.raster.gdal import GDAL_ERRORS, TooSlow, cause_of, within
from rotacube.raster.members import SUFFIXES
from rotacube.raster.references import References, add_overviews, local_file, references_of

log = logging.getLogger(__name__)
LIMIT = 30.0
"""Seconds that opening a raster may take."""
MOST_BANDS = 4096
LARGEST_BLOCK = 2**29
"""Bytes of the largest block that is read; GDAL holds several."""
OPEN_MEMORY = 2**30
"""Bytes that a format's library may take for opening a file."""
_RASTER = 0x02
"""GDAL_OF_RASTER, for reading."""
_NETWORK_DRIVERS = {
    *("WMS", "WMTS", "WCS", "HTTP", "PLMOSAIC", "EEDA", "EEDAI", "DAAS", "NGW", "OGCAPI", "STACTA", "STACIT"),
    *("PostGISRaster", "RASDAMAN", "IIP"),
}


@dataclass(frozen=True)
class Facts:
    """What a raster says of itself, asked once.

    Attributes:
        height, width: pixels.
        crs: WKT; empty if it has none.
        transform: from pixel (column, row) to CRS coordinates.
        tied: what else ties it to the ground; empty if nothing does.
        bands: types, colours, descriptions and palettes.
        nodata: declared of each band, None where nothing is.
        masks: flags of each band's mask.
        driver: GDAL's name of the format.
    """

    height: int
    width: int
    crs: str
    transform: Affine
    tied: str
    bands: BandFacts
    nodata: tuple[float | None, ...]
    masks: tuple[frozenset[MaskFlags], ...]
    driver: str

    @property
    def alpha(self) -> int:
        """The band of opacity, from 1; 0 for none."""
        interpretations = self.bands.interpretations
        return interpretations.index("alpha") + 1 if "alpha" in interpretations else 0


def open_raster(path: str, allow_network: bool = False) -> tuple[Any, Facts, References]:
    """Open a raster with rasterio.

    Args:
        path: what GDAL opens.
        allow_network: whether it may make requests over the network.

    Returns:
        The open file, what it says of itself, and what it reads.

    Raises:
        RasterMissing: there is no such file, or one of those that it refers to is gone.
        RasterNeedsNetwork: it would make requests and may not.
        RasterUnreadable: it is no raster, is damaged, is no file, or takes too long to open.
    """

    def work() -> tuple[Any, Facts, References]:
        references = references_of(path)
        if references.network and not allow_network:
            raise _needs_network(path, references.network[:200])
        if references.missing:
            gone = list(dict.fromkeys(references.missing))
            rest = (
                f" and {len(gone) - 1} more, which are not there. Bring them"
                if gone[1:]
                else ", which is not there. Bring it"
            )
            raise RasterMissing(f"'{path}' refers to '{gone[0][:300]}'{rest} back, or make the virtual raster again.")
        if references.greedy:
            _try_elsewhere(path)
        with rasterio.Env():
            _try_open(path)
            file = rasterio.open(path)
        try:
            if file.driver in _NETWORK_DRIVERS and not allow_network:
                raise _needs_network(path, f"GDAL's driver {file.driver}")
            # Before anything is asked that has GDAL look for them.
            for key, name in file.tags(ns="OVERVIEWS").items():
                if key.upper() == "OVERVIEW_FILE":
                    add_overviews(references, name, path)
            if references.network and not allow_network:
                raise _needs_network(path, references.network[:200])
            facts = _facts(file, path)
            _add_beside(references, file)
        except BaseException:
            file.close()
            raise
        return file, facts, references

    try:
        return within(LIMIT, work, lambda opened: opened[0].close())
    except RotacubeError:
        raise
    except TooSlow:
        log.warning("%s: not open after %.0f s, left", path, LIMIT)
        raise RasterUnreadable(
            f"'{path}' takes longer than {LIMIT:.0f} s to open. Where it refers to others, make one file of it "
            "(gdal_translate); where it lies on a slow disk, copy it to a faster one."
        ) from None
    except GDAL_ERRORS as error:
        if local_file(path, Path()) and Path(path).is_dir():
            raise RasterMissing(
                f"The folder '{path}' holds no raster ({', '.join(SUFFIXES)}). Choose another, or list the rasters, "
                "one a line, in a file that ends in .txt."
            ) from error
        raise RasterUnreadable(
            f"'{path}' cannot be opened as a raster ({cause_of(error)}). The file may be damaged or of a format that "
            "GDAL does not know; try gdalinfo on it."
        ) from error


def check_facts(facts: Facts, path: str) -> None:
    """Check that a raster has pixels, and that each has its place on the ground.

    Raises:
        RasterEmpty: it has next to none.
        RasterNotGeoreferenced: they have no place.
    """
    if min(facts.width, facts.height) < 2:
        raise RasterEmpty(
            f"'{path}' is {facts.width} x {facts.height} pixels: there is nothing to map. Choose a raster of at least "
            "2 x 2 pixels."
        )
    numbers = tuple(facts.transform)[:6]
    nowhere = facts.transform.is_identity or not all(map(math.isfinite, numbers)) or facts.transform.determinant == 0
    if facts.tied and (nowhere or not facts.crs):
        raise RasterNotGeoreferenced(
            f"'{path}' is tied to the ground by {facts.tied} alone, which do not say where each pixel lies. Warp it "
            "first: gdalwarp -tps IN OUT for control points, gdalwarp -rpc IN OUT for coefficients (QGIS: Raster > "
            "Projections > Warp)."
        )
    if not facts.crs:
        raise RasterNotGeoreferenced(
            f"'{path}' has no coordinate reference system. Assign the true one (gdal_edit.py -a_srs EPSG:... or QGIS: "
            "Raster > Projections > Assign Projection)."
        )
    if nowhere:
        raise RasterNotGeoreferenced(
            f"'{path}' has no georeference: its pixels are tied to no ground coordinates. Georeference it first (QGIS: "
            "Layer > Georeferencer)."
        )


def _try_elsewhere(path: str) -> None:
    """Have a process of its own open the raster first, which gets so much memory and no more."""
    if sys.platform == "win32":  # nothing there bounds a process's memory from within
        return
    command = [sys.executable, "-c", _PROBE, path, str(OPEN_MEMORY)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        raise TooSlow from None
    if done.returncode:
        raise RasterUnreadable(
            f"'{path}' cannot be opened as a raster, or takes more than {OPEN_MEMORY / 2**30:.0f} GB of memory for "
            "that. The file may be damaged; try gdalinfo on it."
        )


_PROBE = """
import resource, sys
import psutil, rasterio
limit = psutil.Process().memory_info().vms + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
rasterio.open(sys.argv[1]).close()
"""


def _try_open(path: str) -> None:
    """Have GDAL open the raster once without Python's lock, which rasterio would hold: others go on if it hangs."""
    gdal = _library()
    if gdal is None:
        return
    gdal.CPLPushErrorHandler(gdal.CPLQuietErrorHandler)
    try:
        handle = gdal.GDALOpenEx(os.fsencode(path), _RASTER, None, None, None)
        if handle:
            raster = ctypes.c_void_p(handle)
            count = gdal.GDALGetRasterCount(raster)
            if count > MOST_BANDS:  # told before rasterio makes something of each
                gdal.GDALClose(raster)
                raise _too_many_bands(path, count)
            # What lies beside the file is looked at only when it is asked for.
            gdal.GDALGetGeoTransform(raster, (ctypes.c_double * 6)())
            gdal.GDALGetSpatialRef(raster)
            for domain in (None, b"RPC"):
                gdal.GDALGetMetadata(raster, domain)
            gdal.GDALClose(raster)
    finally:
        gdal.CPLPopErrorHandler()


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL | None:
    """The GDAL that rasterio brings; None where a system does not let us find it behind rasterio."""
    try:
        gdal = ctypes.CDLL(_base.__file__)
        for name in ("GDALOpenEx", "GDALGetSpatialRef", "GDALGetMetadata"):
            getattr(gdal, name).restype = ctypes.c_void_p
        for name in ("GDALClose", "GDALGetRasterCount", "GDALGetGeoTransform"):
            getattr(gdal, name)
        for name in ("CPLPushErrorHandler", "CPLPopErrorHandler"):
            getattr(gdal, name)
    except (OSError, AttributeError):
        return None
    return gdal


def _needs_network(path: str, why: str) -> RasterNeedsNetwork:
    return RasterNeedsNetwork(
        f"'{path}' would ask for data over the network ({why}). Allow it (--allow-network; in QGIS: Allow network), or "
        "save the raster as a file first."
    )


def _too_many_bands(path: str, count: int) -> RasterUnreadable:
    return RasterUnreadable(f"'{path}' has {count:,} bands; {MOST_BANDS:,} are the most that are read.")


def _facts(file: Any, path: str) -> Facts:
    if file.count == 0:
        parts = file.subdatasets
        if parts:
            some = ", ".join(f"'{part}'" for part in parts[:3])
            raise RasterUnreadable(
                f"'{path}' holds {len(parts)} rasters: name one of them, such as {some} (gdalinfo lists them; in QGIS "
                "add the one as a layer)."
            )
        raise RasterUnreadable(f"'{path}' has no band that holds pixels. Choose another raster.")
    if file.count > MOST_BANDS:
        raise _too_many_bands(path, file.count)
    blocks = zip(file.block_shapes, file.dtypes, strict=True)
    largest = max(height * width * _bytes(dtype) for (height, width), dtype in blocks)
    if largest > LARGEST_BLOCK:
        raise RasterUnreadable(
            f"'{path}' is stored in blocks of {largest / 2**30:.1f} GB, which have to be read whole. Tile it: "
            "gdal_translate -co TILED=YES IN OUT."
        )
    try:
        interpretations = tuple(c.name for c in file.colorinterp)
    except ValueError:  # one that this rasterio does not know
        interpretations = ("undefined",) * file.count
    palettes = {
        n: _palette(file.colormap(n)) for n, name in enumerate(interpretations, 1) if name == ColorInterp.palette.name
    }
    points = file.gcps[0]
    tied = f"{len(points)} ground control points" if points else "rational polynomial coefficients" if file.rpcs else ""
    return Facts(
        height=file.height,
        width=file.width,
        crs=file.crs.to_wkt() if file.crs else "",
        transform=file.transform,
        tied=tied,
        bands=BandFacts(tuple(file.dtypes), interpretations, tuple(d or "" for d in file.descriptions), palettes),
        nodata=tuple(file.nodatavals),
        masks=tuple(frozenset(flags) for flags in file.mask_flag_enums),
        driver=file.driver,
    )


def _bytes(dtype: str) -> int:
    """Of a value; of GDAL's complex integers, which NumPy lacks, at most."""
    return 8 if dtype.startswith("complex_int") else np.dtype(dtype).itemsize


def _palette(entries: dict[int, tuple[int, ...]]) -> NDArray[np.uint8]:
    table = np.zeros((max(entries) + 1, 4), np.uint8)
    for value, colour in entries.items():
        table[value] = colour
    return table


def _add_beside(references: References, file: Any) -> None:
    """Also what GDAL takes beside the file: masks, overviews, statistics, the other files of a format."""
    for name in file.files:
        path = local_file(name, Path())
        if path is not None:
            references.files.add(path)
