"""A finished file says alone where it lies."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import CRS

from rotacube.errors import OutputUnwritable
from rotacube.raster.crs import storable

UTM = Affine(0.15, 0, 353000, 0, -0.15, 3060000)
DEGREES = Affine(2e-6, 0, 87.5, 0, -2e-6, 27.6)
ROTATED = (
    'GEOGCRS["rotated",BASEGEOGCRS["WGS 84",DATUM["World Geodetic System 1984",ELLIPSOID["WGS 84",6378137'
    ',298.257223563]]],DERIVINGCONVERSION["pole",METHOD["PROJ ob_tran o_proj=longlat"],PARAMETER["o_lat_p'
    '",37.5,ANGLEUNIT["degree",0.0174532925199433]],PARAMETER["o_lon_p",0,ANGLEUNIT["degree",0.0174532925'
    '199433]],PARAMETER["lon_0",180,ANGLEUNIT["degree",0.0174532925199433]]],CS[ellipsoidal,2],AXIS["lat"'
    ',north],AXIS["lon",east],ANGLEUNIT["degree",0.0174532925199433]]'
)
DERIVED = (
    'DERIVEDPROJCRS["site grid",BASEPROJCRS["WGS 84 / UTM zone 45N",BASEGEOGCRS["WGS 84",DATUM["World Geo'
    'detic System 1984",ELLIPSOID["WGS 84",6378137,298.257223563]]],CONVERSION["UTM zone 45N",METHOD["Tra'
    'nsverse Mercator"],PARAMETER["Latitude of natural origin",0],PARAMETER["Longitude of natural origin"'
    ',87],PARAMETER["Scale factor at natural origin",0.9996],PARAMETER["False easting",500000],PARAMETER['
    '"False northing",0]]],DERIVINGCONVERSION["turn",METHOD["Affine parametric transformation",ID["EPSG",'
    '9624]],PARAMETER["A0",5,LENGTHUNIT["metre",1]],PARAMETER["A1",0.9,SCALEUNIT["coefficient",1]],PARAME'
    'TER["A2",0.1,SCALEUNIT["coefficient",1]],PARAMETER["B0",7,LENGTHUNIT["metre",1]],PARAMETER["B1",-0.1'
    ',SCALEUNIT["coefficient",1]],PARAMETER["B2",0.9,SCALEUNIT["coefficient",1]]],CS[Cartesian,2],AXIS["x'
    '",east],AXIS["y",north],LENGTHUNIT["metre",1]]'
)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32645", UTM),
        ("EPSG:2263", UTM),
        ("EPSG:3857", UTM),
        ("EPSG:4326", DEGREES),
        ("EPSG:4979", DEGREES),
        ("EPSG:32645+5773", UTM),
        ("EPSG:31468", UTM),
        ("EPSG:2056", UTM),
        ("+proj=laea +lat_0=27 +lon_0=87 +ellps=GRS80 +units=m", UTM),
        ("+proj=tmerc +lat_0=27 +lon_0=87 +ellps=bessel +towgs84=598,73,418,0.2,0.04,-2.4,6.7", UTM),
    ],
)
def test_what_a_geotiff_holds_is_kept(crs, transform):
    wkt = CRS.from_user_input(crs).to_wkt()
    assert storable(wkt, transform, 100, 100) == (wkt, None)


@pytest.mark.parametrize("crs", ["EPSG:32645", "EPSG:2056", "EPSG:3857"])
def test_of_a_projected_crs_in_three_dimensions_the_horizontal_part_is_kept(crs):
    flat = CRS.from_user_input(crs)
    wkt, note = storable(flat.to_3d().to_wkt(), UTM, 100, 100)
    assert CRS.from_wkt(wkt) == flat and "horizontal part" in note


@pytest.mark.parametrize(("crs", "transform"), [(ROTATED, DEGREES), (DERIVED, UTM)], ids=["rotated pole", "derived"])
def test_what_no_geotiff_can_hold_is_refused(crs, transform):
    with pytest.raises(OutputUnwritable, match="Warp the raster"):
        storable(CRS.from_wkt(crs).to_wkt(), transform, 100, 100)


def test_a_file_that_lost_its_place_is_not_kept(tmp_path, monkeypatch):
    from rotacube.raster import write
    from rotacube.raster.destination import Destination
    from rotacube.raster.grid import Box

    writer = write.CogWriter(
        Destination(tmp_path / "a.tif", False),
        Box(0, 0, 20, 30),
        CRS.from_epsg(32645).to_3d().to_wkt(),
        UTM,
        bands=[write.Band("0 background")],
        tags={},
        colours={0: (0, 0, 0, 255)},
    )
    writer.open()
    writer.write(Box(0, 0, 20, 30), np.zeros((1, 20, 30), np.uint8))
    monkeypatch.setattr(rasterio, "open", rasterio.open)
    with pytest.raises(OutputUnwritable, match="would not say where"):
        writer.finish()
    writer.drop()
    assert list(tmp_path.iterdir()) == []
