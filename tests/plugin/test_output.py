"""Where the mask may go."""

import pytest
from fixtures import make_raster
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
        (str(tmp_path / "source.tif"), "is the raster that is to be mapped"),
    ):
        with pytest.raises(output.OutputRefused, match=words):
            resolve(text, replace=True)
    (tmp_path / "old.tif").write_text("old")
    with pytest.raises(output.OutputExists):
        resolve(str(tmp_path / "old.tif"))
    assert resolve(str(tmp_path / "old.tif"), replace=True) == str(tmp_path / "old.tif")
