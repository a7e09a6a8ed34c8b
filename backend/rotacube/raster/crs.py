"""Whether a GeoTIFF can hold a CRS, and the nearest one that it can."""

from __future__ import annotations

import warnings
from functools import lru_cache

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError
from rasterio.io import MemoryFile

from rotacube.errors import OutputUnwritable
from rotacube.raster.gdal import GDAL_ERRORS

CLOSE = 1e-3
"""Metres up to which two CRS place a pixel equally."""


def storable(crs: str, transform: Affine, height: int, width: int) -> tuple[str, str | None]:
    """The CRS that a GeoTIFF of the grid has once it is opened again, and a sentence where it is not the one given.

    Args:
        crs: WKT.
        transform: of the grid.
        height: of the grid, pixels.
        width: of the grid, pixels.

    Raises:
        OutputUnwritable: no CRS that a GeoTIFF can hold places the pixels as this one does.
    """
    x, y = _places(transform, height, width)
    own = CRS.from_wkt(crs)
    for candidate in _candidates(own):
        if same_place(crs, _kept(candidate.to_wkt()), x, y):
            if candidate is own:
                return crs, None
            return candidate.to_wkt(), (
                f"A GeoTIFF cannot hold the raster's CRS ({own.name}). The map has its horizontal part "
                f"({candidate.name}): every pixel lies where it did."
            )
    raise OutputUnwritable(
        f"A GeoTIFF cannot hold the raster's CRS ({own.name}), so the map would lie nowhere. Warp the raster to a CRS "
        "that it can hold first: gdalwarp -t_srs EPSG:4326 IN OUT, or a UTM zone."
    )


def same_place(one: str, other: str | None, x: NDArray[np.float64], y: NDArray[np.float64]) -> bool:
    """Whether two CRS (WKT) place coordinates equally, up to a millimetre."""
    if other is None:
        return False
    try:
        a, b = CRS.from_wkt(one), CRS.from_wkt(other)
        if a.equals(b, ignore_axis_order=True):
            return True
        if a.ellipsoid is None or b.ellipsoid is None:
            return False
        for size in ("semi_major_metre", "semi_minor_metre"):
            if abs(getattr(a.ellipsoid, size) - getattr(b.ellipsoid, size)) > CLOSE:
                return False
        moved = Transformer.from_crs(a.to_2d(), b.to_2d(), always_xy=True).transform(x, y)
    except (CRSError, ProjError):
        return False
    metre = 1.0 if b.is_projected else 1 / 111_320
    return bool(
        np.isfinite(moved).all() and max(np.abs(moved[0] - x).max(), np.abs(moved[1] - y).max()) < CLOSE * metre
    )


def _places(transform: Affine, height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    u = np.array([0, width, width, 0, width / 2], float)
    v = np.array([0, 0, height, height, height / 2], float)
    t = transform
    return t.a * u + t.b * v + t.c, t.d * u + t.e * v + t.f


def _candidates(own: CRS) -> list[CRS]:
    flat = own.to_2d()
    return [own] if flat == own else [own, flat]


@lru_cache(maxsize=64)
def _kept(crs: str) -> str | None:
    """What is left of a CRS in a GeoTIFF that is opened with nothing beside it."""
    shape = {"height": 1, "width": 1, "count": 1, "dtype": "uint8", "transform": Affine(1, 0, 0, 0, -1, 0)}
    try:
        with (
            warnings.catch_warnings(),
            rasterio.Env(GDAL_PAM_ENABLED=False),
            MemoryFile() as memory,
        ):
            warnings.simplefilter("ignore")
            with memory.open(driver="GTiff", crs=crs, **shape) as file:
                file.write(np.zeros((1, 1, 1), np.uint8))
            with memory.open() as file:
                return str(file.crs.to_wkt()) if file.crs else None
    except GDAL_ERRORS:
        return None
