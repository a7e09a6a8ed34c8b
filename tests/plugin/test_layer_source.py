"""From layers and the map canvas to what the backend reads."""

import pytest
from fixtures import make_raster
from osgeo import gdal
from qgis.core import QgsCoordinateReferenceSystem, QgsMapSettings, QgsProject, QgsRasterLayer, QgsRectangle
from qgis.PyQt.QtCore import QSize
from qgis_plugin.layers import source


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda tmp: None, "Choose a raster layer first"),
        (lambda tmp: QgsRasterLayer(str(tmp / "none.tif"), "none"), "is broken"),
        (lambda tmp: QgsRasterLayer(make_raster(tmp / "bare.tif", crs=None), "bare"), "no coordinate reference system"),
        (lambda tmp: QgsRasterLayer(vsimem(tmp), "memory"), "memory only"),
        (lambda tmp: removed(tmp), "is gone"),
    ],
)
def test_sources_that_are_refused(qgis_app, tmp_path, make, words):
    with pytest.raises(source.SourceRefused, match=words):
        source.from_layer(make(tmp_path))


def vsimem(tmp):
    gdal.Translate("/vsimem/r.tif", make_raster(tmp / "r.tif"))
    return "/vsimem/r.tif"


def removed(tmp):
    layer = QgsRasterLayer(make_raster(tmp / "r.tif"), "r")
    (tmp / "r.tif").unlink()
    return layer


def test_sources_that_are_taken(qgis_app, tmp_path):
    path = make_raster(tmp_path / "r.tif")
    assert source.from_layer(QgsRasterLayer(path, "r")).path == path
    assert source.from_layer(QgsRasterLayer(path + "|option:NUM_THREADS=1", "r")).path == path
    odd = make_raster(tmp_path / "a|b.tif")
    assert source.from_layer(QgsRasterLayer(odd, "r")).path == odd
    assert source.from_layer(QgsRasterLayer(odd + "|option:NUM_THREADS=1", "r")).path == odd
    gdal.BuildVRT(str(tmp_path / "r.vrt"), [path])
    assert source.from_layer(QgsRasterLayer(str(tmp_path / "r.vrt"), "r")).path == str(tmp_path / "r.vrt")
    gdal.Translate(str(tmp_path / "r.gpkg"), path, format="GPKG", creationOptions=["RASTER_TABLE=t"])
    subdataset = f"GPKG:{tmp_path / 'r.gpkg'}:t"
    assert source.from_layer(QgsRasterLayer(subdataset, "r")).path == subdataset


def test_bounds_from_a_map_of_the_world_and_a_turned_map(qgis_app, tmp_path):
    origin = source.from_layer(QgsRasterLayer(make_raster(tmp_path / "r.tif"), "r"))
    context, settings = QgsProject.instance().transformContext(), QgsMapSettings()
    settings.setOutputSize(QSize(800, 600))
    settings.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:3857"))
    settings.setExtent(QgsRectangle(-2e7, -2e7, 2e7, 2e7))
    whole = origin.extent
    wanted = (whole.xMinimum(), whole.yMinimum(), whole.xMaximum(), whole.yMaximum())
    assert source.bounds(source.shown(settings), origin, context) == pytest.approx(wanted, abs=1e-6)
    settings.setDestinationCrs(origin.crs)
    settings.setExtent(whole.buffered(-20))
    straight = source.bounds(source.shown(settings), origin, context)
    settings.setRotation(30)
    turned = source.bounds(source.shown(settings), origin, context)
    assert turned[0] < straight[0] and turned[3] > straight[3]
