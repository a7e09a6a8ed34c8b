"""Where the mask may go."""

import pytest
from fixtures import make_raster
from osgeo import gdal
from qgis.core import QgsRasterLayer, QgsVectorLayer
from qgis_plugin.layers import output


def test_outputs(qgis_app, tmp_path):
    def resolve(text, replace=False, layers=()):
        return output.resolve(text, "my layer/x", str(tmp_path / "source.tif"), layers, replace)

    make_raster(tmp_path / "source.tif")
    assert resolve("").endswith("my_layer_x_mask.tif")
    assert resolve(str(tmp_path / "mask")) == str(tmp_path / "mask.tif")
    for text, words in (
        ("mask.tif", "whole path"),
        (str(tmp_path / "mask.png"), "end in .tif"),
        (str(tmp_path / "no" / "mask.tif"), "does not exist"),
        (str(tmp_path), "is a folder"),
        (str(tmp_path / "no") + "/", "is a folder"),
        (str(tmp_path / "source.tif"), "is the raster that is to be mapped"),
    ):
        with pytest.raises(output.OutputRefused, match=words):
            resolve(text, replace=True)
    (tmp_path / "old.tif").write_text("old")
    with pytest.raises(output.OutputExists):
        resolve(str(tmp_path / "old.tif"))
    assert resolve(str(tmp_path / "old.tif"), replace=True) == str(tmp_path / "old.tif")


def test_file_that_a_layer_of_the_project_reads_is_not_replaced(qgis_app, tmp_path):
    old = make_raster(tmp_path / "old.tif")
    gdal.BuildVRT(str(tmp_path / "mosaic.vrt"), [old])
    for path in (old, str(tmp_path / "mosaic.vrt")):
        layer = QgsRasterLayer(path, "other")
        with pytest.raises(output.OutputRefused, match="open in this project as “other”"):
            output.resolve(old, "x", str(tmp_path / "source.tif"), [layer], True)
    table = QgsVectorLayer(str(tmp_path / "none.shp"), "table", "ogr")
    assert output.resolve(old, "x", str(tmp_path / "source.tif"), [table], True) == old


def test_file_of_a_mask_that_is_shown_is_replaced_when_agreed(qgis_app, tmp_path):
    old = make_raster(tmp_path / "old.tif")
    layer = QgsRasterLayer(old, "roofs")
    metadata = layer.metadata()
    metadata.setKeywords({"rotacube": ["x"]})
    layer.setMetadata(metadata)
    with pytest.raises(output.OutputExists) as caught:
        output.resolve(old, "x", str(tmp_path / "source.tif"), [layer], False)
    assert caught.value.layer_name == "roofs"
    assert output.resolve(old, "x", str(tmp_path / "source.tif"), [layer], True) == old
    with pytest.raises(output.OutputRefused, match="is the raster"):
        output.resolve(old, "x", old, [layer], True)
