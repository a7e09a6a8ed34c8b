"""A CRS in which a metre is a metre on the ground, for shapes of a given size."""

from __future__ import annotations

import math

from pyproj import CRS, Transformer
from pyproj.aoi import AreaOfInterest
from pyproj.database import query_utm_crs_info
from pyproj.exceptions import ProjError

from rotacube.errors import RasterNotGeoreferenced
from rotacube.raster.map_grid import MapGrid

CLOSE = 0.005
"""By which part a metre of a raster's CRS may differ from one on the ground; in a UTM zone it is up to 0.001."""


def metric_crs(grid: MapGrid) -> str:
    """WKT of the grid's own CRS where its unit is a metre on the ground, else of the UTM zone of the grid's middle.

    Raises:
        RasterNotGeoreferenced: the middle lies in no UTM zone.
    """
    t, own = grid.transform, CRS.from_wkt(grid.crs)
    steps = math.hypot(t.a, t.d), math.hypot(t.b, t.e)
    if own.is_projected and all(abs(step / size - 1) < CLOSE for step, size in zip(steps, grid.gsd, strict=True)):
        return grid.crs
    x, y = t * (grid.width / 2, grid.height / 2)
    try:
        zone = utm_zone(*Transformer.from_crs(own, "EPSG:4326", always_xy=True).transform(x, y))
    except ProjError:
        zone = None
    if zone is None:
        raise RasterNotGeoreferenced(
            "The raster lies in no UTM zone, and its CRS has no metres of the ground. Warp it to a projected CRS in "
            "metres first (gdalwarp -t_srs)."
        )
    return str(zone.to_wkt())


def utm_zone(longitude: float, latitude: float) -> CRS | None:
    """The UTM zone (WGS 84) of a place in degrees; None where it lies in none.

    >>> utm_zone(85.3, 27.7).to_epsg(), utm_zone(0, 89)
    (32645, None)
    """
    if not (math.isfinite(longitude) and math.isfinite(latitude)):
        return None
    here = AreaOfInterest(longitude, latitude, longitude, latitude)
    zones = query_utm_crs_info(datum_name="WGS 84", area_of_interest=here)
    return CRS.from_authority(zones[0].auth_name, zones[0].code) if zones else None
