"""Pixel sizes and areas on the ellipsoid, against pyproj's geodesics and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from affine import Affine
from pyproj import CRS, Geod

from rotacube.errors import RasterNotGeoreferenced
from rotacube.raster.ground import Ground

WGS84 = Geod(ellps="WGS84")


@pytest.mark.parametrize("latitude", [0.0, 27.6, -45.0, 60.0])
def test_degrees_are_measured_by_the_local_radii_of_curvature(latitude):
    step = 1e-6
    ground = Ground(CRS(4326).to_wkt(), Affine(step, 0, 85, 0, -step, latitude))
    along, down = ground.pixel_size(0, 0)
    e2, a, phi = WGS84.es, WGS84.a, math.radians(latitude)
    normal = a / math.sqrt(1 - e2 * math.sin(phi) ** 2)
    meridian = a * (1 - e2) / (1 - e2 * math.sin(phi) ** 2) ** 1.5
    assert along == pytest.approx(math.radians(step) * normal * math.cos(phi), rel=1e-5)
    assert down == pytest.approx(math.radians(step) * meridian, rel=1e-5)


@pytest.mark.parametrize("latitude", [0.0, 27.6, 60.0, -60.0])
def test_web_mercator_shrinks_by_the_cosine_of_the_latitude(latitude):
    y = 6378137 * math.asinh(math.tan(math.radians(latitude)))
    along, down = Ground(CRS(3857).to_wkt(), Affine(1, 0, 9e6, 0, -1, y)).pixel_size(0, 0)
    assert along == pytest.approx(math.cos(math.radians(latitude)), rel=0.007)
    assert down == pytest.approx(math.cos(math.radians(latitude)), rel=0.007)


def test_feet_are_feet():
    along, down = Ground(CRS(2263).to_wkt(), Affine(1, 0, 985000, 0, -1, 200000)).pixel_size(0, 0)
    assert along == pytest.approx(1200 / 3937, rel=2e-4) and down == pytest.approx(1200 / 3937, rel=2e-4)


def test_a_compound_crs_is_as_its_horizontal_part():
    grid = Affine(0.2, 0, 353000, 0, -0.2, 3060000)
    assert Ground(CRS("EPSG:32645+5773").to_wkt(), grid).pixel_size(5, 5) == pytest.approx(
        Ground(CRS(32645).to_wkt(), grid).pixel_size(5, 5)
    )


@pytest.mark.parametrize("rotation", [0, 30, -77])
def test_the_area_of_a_window_is_that_of_its_geodesic_polygon(rotation):
    grid = Affine.translation(353000, 3060000) * Affine.rotation(rotation) * Affine.scale(0.5, -0.25)
    ground = Ground(CRS(32645).to_wkt(), grid)
    u, v = np.array([100, 700, 700, 100.0]), np.array([-20, -20, 380, 380.0])
    longitude, latitude = ground.lonlat(u, v)
    area, _ = WGS84.polygon_area_perimeter(longitude, latitude)
    assert ground.area(100, -20, 600, 400) == pytest.approx(abs(area), rel=1e-6)
    assert abs(area) == pytest.approx(600 * 400 * 0.125, rel=2e-3)


@pytest.mark.parametrize(
    "wkt",
    [
        'LOCAL_CS["site",UNIT["metre",1]]',
        'ENGCRS["site",EDATUM["peg"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]',
        "no CRS at all",
    ],
)
def test_a_crs_without_a_tie_to_the_ground_is_told(wkt):
    with pytest.raises(RasterNotGeoreferenced, match="no tie to the ground"):
        Ground(wkt, Affine.identity())


def test_coordinates_outside_of_the_crs_are_told():
    with pytest.raises(RasterNotGeoreferenced, match="outside"):
        Ground(CRS(32645).to_wkt(), Affine(1, 0, 1e12, 0, -1, 1e12)).pixel_size(0, 0)
