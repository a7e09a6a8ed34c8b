"""What a layer shows is what the backend is told to read, against what QGIS itself draws."""

import numpy as np
import pytest
from fixtures import make_raster
from osgeo import gdal, osr
from qgis.core import (
    QgsMultiBandColorRenderer,
    QgsProject,
    QgsRasterLayer,
    QgsRasterRange,
    QgsRasterTransparency,
    QgsSingleBandGrayRenderer,
)
from qgis_plugin.client.schema import NodataRange
from qgis_plugin.layers import ground, reading

RGB = ["red", "green", "blue"]


def made(path, bands, nodata=None, alpha=False, mask=False, values=None):
    out = gdal.GetDriverByName("GTiff").Create(
        str(path), 16, 16, bands, gdal.GDT_Byte, options=["ALPHA=YES"] if alpha else []
    )
    out.SetGeoTransform((335000, 0.3, 0, 3058000, 0, -0.3))
    reference = osr.SpatialReference()
    reference.ImportFromEPSG(32645)
    out.SetSpatialRef(reference)
    for band in range(1, bands + 1):
        data = values if values is not None else np.random.default_rng(band).integers(1, 255, (16, 16))
        out.GetRasterBand(band).WriteArray(data.astype("uint8"))
        if nodata is not None:
            out.GetRasterBand(band).SetNoDataValue(nodata)
    if mask:
        out.CreateMaskBand(gdal.GMF_PER_DATASET)
        out.GetRasterBand(1).GetMaskBand().Fill(255)
    out = None
    return QgsRasterLayer(str(path), path.stem, "gdal")


def test_layer_as_qgis_opens_it(qgis_app, tmp_path):
    shown = reading.as_shown(made(tmp_path / "r.tif", 3), RGB)
    assert shown == reading.Shown([1, 2, 3])
    assert reading.sentence(shown) == "Reads bands 1, 2, 3 as the layer shows them."


def test_bands_and_nodata_that_a_person_chose(qgis_app, tmp_path):
    layer = made(tmp_path / "r.tif", 5)
    layer.setRenderer(QgsMultiBandColorRenderer(layer.dataProvider(), 4, 3, 2))
    for band in range(1, 6):
        layer.dataProvider().setUserNoDataValue(band, [QgsRasterRange(0, 0)])
    shown = reading.as_shown(layer, RGB)
    assert shown.bands == [4, 3, 2] and shown.nodata == [NodataRange(0, 0, band) for band in (2, 3, 4)]
    assert reading.sentence(shown) == "Reads bands 4, 3, 2 as the layer shows them; 0 is nodata."
    assert reading.as_shown(layer, ["nir", "red", "green"]).bands is None


@pytest.mark.parametrize(
    ("bounds", "low", "high"),
    [("IncludeMinAndMax", 5, 9), ("IncludeMin", 5, 8.9), ("IncludeMax", 5.1, 9), ("Exclusive", 5.1, 8.9)],
)
def test_ends_of_ranges(qgis_app, tmp_path, bounds, low, high):
    layer = made(tmp_path / "r.tif", 3)
    item = QgsRasterRange(5, 9, getattr(QgsRasterRange.BoundsType, bounds))
    layer.dataProvider().setUserNoDataValue(1, [item])
    (told,) = reading.as_shown(layer, RGB).nodata
    for value in (4.9, 5, 5.1, 8.9, 9, 9.1):
        assert (told.low <= value <= told.high) == item.contains(value)
    assert told.low <= low and told.high >= high


def test_open_ends_fit_into_json(qgis_app, tmp_path):
    layer = made(tmp_path / "r.tif", 3)
    layer.dataProvider().setUserNoDataValue(1, [QgsRasterRange(float("-inf"), 3)])
    (told,) = reading.as_shown(layer, RGB).nodata
    assert told.low < -1e308 and told.low > float("-inf") and told.high == 3


def test_declared_nodata_that_is_switched_off(qgis_app, tmp_path):
    layer = made(tmp_path / "r.tif", 3, nodata=0)
    assert reading.as_shown(layer, RGB).declared_nodata
    for band in (1, 2, 3):
        layer.dataProvider().setUseSourceNoDataValue(band, False)
    shown = reading.as_shown(layer, RGB)
    assert not shown.declared_nodata and "counts as data" in reading.sentence(shown)


@pytest.mark.parametrize(("bands", "more"), [(4, {"alpha": True}), (3, {"mask": True})])
def test_opacity_of_the_file(qgis_app, tmp_path, bands, more):
    layer = made(tmp_path / "r.tif", bands, **more)
    assert reading.as_shown(layer, RGB).alpha_band is None
    layer.renderer().setAlphaBand(-1)
    shown = reading.as_shown(layer, RGB)
    assert shown.alpha_band == 0 and "opacity is not used" in reading.sentence(shown)


def test_another_band_as_opacity(qgis_app, tmp_path):
    layer = made(tmp_path / "r.tif", 5)
    layer.renderer().setAlphaBand(5)
    shown = reading.as_shown(layer, RGB)
    assert shown.alpha_band == 5 and "band 5 is opacity" in reading.sentence(shown)


def test_layer_that_is_shown_in_gray(qgis_app, tmp_path):
    layer = made(tmp_path / "r.tif", 3)
    layer.setRenderer(QgsSingleBandGrayRenderer(layer.dataProvider(), 2))
    layer.dataProvider().setUserNoDataValue(2, [QgsRasterRange(0, 0)])
    shown = reading.as_shown(layer, RGB)
    assert shown.bands is None and shown.nodata == [NodataRange(0, 0, 2)]
    assert reading.sentence(shown).startswith("The file says which bands")


def test_transparent_colours(qgis_app, tmp_path):
    layer = made(tmp_path / "r.tif", 3)
    layer.renderer().setRasterTransparency(transparency((0, 0, 0)))
    shown = reading.as_shown(layer, RGB)
    assert shown.nodata == [NodataRange(0, 0)] and not shown.unsent
    layer.renderer().setRasterTransparency(transparency((0, 0, 0), (255, 0, 255)))
    shown = reading.as_shown(layer, RGB)
    assert shown.nodata == [NodataRange(0, 0)] and shown.unsent
    assert "colours that the layer makes transparent are read as data" in reading.sentence(shown)


def transparency(*colours):
    pixels = []
    for red, green, blue in colours:
        pixel = QgsRasterTransparency.TransparentThreeValuePixel()
        pixel.red, pixel.green, pixel.blue = red, green, blue
        if hasattr(pixel, "opacity"):
            pixel.opacity = 0
        else:
            pixel.percentTransparent = 100
        pixels.append(pixel)
    whole = QgsRasterTransparency()
    whole.setTransparentThreeValuePixelList(pixels)
    return whole


def test_what_is_told_as_nodata_is_what_qgis_leaves_blank(qgis_app, tmp_path):
    values = np.arange(256).reshape(16, 16)
    layer = made(tmp_path / "r.tif", 3, values=values)
    layer.dataProvider().setUserNoDataValue(2, [QgsRasterRange(3, 7), QgsRasterRange(200, 200)])
    block = layer.renderer().block(0, layer.extent(), 16, 16)
    blank = [n for n in range(256) if block.color(n // 16, n % 16) >> 24 == 0]
    told = reading.as_shown(layer, RGB).nodata
    assert blank == [n for n in range(256) if any(item.low <= n <= item.high for item in told)]


def test_black_borders_are_told_in_the_line():
    assert reading.sentence(reading.Shown([1, 2, 3]), black=True).endswith("; 0 is nodata.")


def test_size_of_pixels_on_the_ground(qgis_app, tmp_path):
    context = QgsProject.instance().transformContext()
    metres = QgsRasterLayer(make_raster(tmp_path / "m.tif", size=0.3), "m")
    assert ground.pixel_size(metres, context) == pytest.approx((0.3, 0.3), rel=2e-3)
    mercator = QgsRasterLayer(make_raster(tmp_path / "w.tif", crs=3857, origin=(0, 8399737.9), size=0.6), "w")
    assert ground.pixel_size(mercator, context) == pytest.approx((0.3, 0.3), rel=6e-3)  # at 60 degrees north
    degrees = QgsRasterLayer(make_raster(tmp_path / "d.tif", crs=4326, origin=(10, 60), size=1e-5), "d")
    assert ground.pixel_size(degrees, context) == pytest.approx((0.558, 1.114), rel=2e-3)
    assert ground.pixel_size(QgsRasterLayer(make_raster(tmp_path / "n.tif", crs=None), "n"), context) is None
