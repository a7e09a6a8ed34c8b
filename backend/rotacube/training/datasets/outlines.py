"""Single roofs out of the outlines of a map."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.features import rasterize
from rasterio.warp import transform_geom
from shapely.geometry import shape

from rotacube.errors import DatasetDamaged


def outlined(path: Path, transform: Affine, crs: Any, roof: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The roofs of a mask, one by one, from the outlines of a GeoJSON; 0 where the mask says that there is none.

    Args:
        path: the GeoJSON.
        transform: from pixels to the CRS.
        crs: of the tile.
        roof: (H, W).

    Raises:
        DatasetDamaged: the file is missing or no GeoJSON.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        given = CRS.from_user_input(content.get("crs", {}).get("properties", {}).get("name", "OGC:CRS84"))
        shapes = [feature["geometry"] for feature in content["features"]]
        if not given.equals(CRS.from_user_input(crs), ignore_axis_order=True):
            shapes = transform_geom(given.to_wkt(), crs, shapes)
        numbered = [(shape(geometry), number) for number, geometry in enumerate(shapes, start=1)]
        ids: NDArray[np.int32] = rasterize(numbered, roof.shape, transform=transform, dtype="int32")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DatasetDamaged(f"The outlines '{path}' are missing or no GeoJSON of polygons.") from error
    ids[~roof] = 0
    return ids
