"""Lengths and areas on the ellipsoid, whatever the units, the projection or the rotation of a raster's grid."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import CRSError, ProjError

from rotacube.errors import RasterNotGeoreferenced


class Ground:
    """The ground under a grid: maps pixel coordinates to longitude and latitude on the CRS's own ellipsoid.

    Args:
        crs: WKT of the grid's CRS.
        transform: from pixel (column, row) to CRS coordinates.

    Raises:
        RasterNotGeoreferenced: the CRS has no tie to the ground (an engineering CRS, say).
    """

    def __init__(self, crs: str, transform: Affine) -> None:
        self.transform = transform
        try:
            self._lonlat, self._geod = _to_ground(crs)
        except (CRSError, ProjError) as error:
            raise RasterNotGeoreferenced(
                f"The raster's CRS has no tie to the ground ({error}). Give the raster its true CRS (Layer > Set CRS, "
                "or gdal_edit.py -a_srs)."
            ) from error

    def lonlat(self, columns: NDArray[np.float64], rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """Longitude and latitude, degrees, of pixel coordinates (0.5 is the first pixel's centre)."""
        t = self.transform
        x, y = t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f
        longitude, latitude = self._lonlat.transform(x, y)
        return np.asarray(longitude), np.asarray(latitude)

    def pixel_size(self, column: float, row: float) -> tuple[float, float]:
        """Geodesic size in metres of one pixel along its row and along its column, measured around a place.

        Raises:
            RasterNotGeoreferenced: the place is nowhere on the ground.
        """
        longitude, latitude = self.lonlat(
            np.array([column - 0.5, column + 0.5, column, column]), np.array([row, row, row - 0.5, row + 0.5])
        )
        if not (np.isfinite(longitude).all() and np.isfinite(latitude).all()):
            raise RasterNotGeoreferenced(
                "The raster's coordinates lie outside of what its CRS covers. Check that the CRS is the true one."
            )
        _, _, metres = self._geod.inv(longitude[::2], latitude[::2], longitude[1::2], latitude[1::2])
        return float(metres[0]), float(metres[1])

    def area(self, column: float, row: float, width: float, height: float) -> float:
        """Area in square metres on the ellipsoid of a window of pixels, its edges followed at 8 points each."""
        steps = np.linspace(0, 1, 8, endpoint=False)
        u = np.concatenate([steps, np.ones(8), 1 - steps, np.zeros(8)])
        v = np.concatenate([np.zeros(8), steps, np.ones(8), 1 - steps])
        longitude, latitude = self.lonlat(column + u * width, row + v * height)
        area, _ = self._geod.polygon_area_perimeter(longitude, latitude)
        return abs(float(area))


@lru_cache(maxsize=32)
def _to_ground(crs: str) -> tuple[Transformer, Geod]:
    source = CRS.from_wkt(crs)
    geodetic = source.geodetic_crs
    geod = source.get_geod()
    if geodetic is None or geod is None:
        raise CRSError("it is not geographic or projected")
    return Transformer.from_crs(source, geodetic, always_xy=True), geod
