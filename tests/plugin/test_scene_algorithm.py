"""Scenes in Processing: what the layer shows is asked for, and the classes have their colours."""

import json

import pytest
from fixtures import make_raster
from qgis.core import (
    QgsProcessingContext,
    QgsProcessingOutputLayerDefinition,
    QgsProject,
    QgsRasterLayer,
    QgsRasterRange,
    QgsVectorLayer,
)
from qgis_plugin.client import cards, environment
from test_algorithms import Feedback, calls, fails, provider, run

__all__ = ["calls", "provider"]


@pytest.fixture
def model(tmp_path):
    """The name of a model of scenes, which is installed."""
    folder = tmp_path / "models" / "land"
    folder.mkdir(parents=True)
    card = json.loads((cards.Path(cards.paths.resource("models")) / "rooftop-lite" / "model.json").read_text())
    colours = ("#d9c36a", "#2f7d32", "#c0392b")
    named = [{"id": n, "name": name, "color": colours[n]} for n, name in enumerate(("field", "forest", "houses"))]
    card.update(name="land", task="scenes", architecture="inception", classes=named)
    (folder / "model.json").write_text(json.dumps(card))
    environment.set_setting("models", str(tmp_path / "models"))
    return "land"


def test_squares_are_asked_for_as_the_layer_shows_it(provider, calls, model, tmp_path):
    layer = QgsRasterLayer(make_raster(tmp_path / "ortho.tif"), "ortho", "gdal")
    layer.renderer().setRedBand(3)
    layer.dataProvider().setUserNoDataValue(2, [QgsRasterRange(7, 9)])
    QgsProject.instance().addMapLayer(layer)
    box, out = layer.extent(), str(tmp_path / "s.gpkg")
    extent = f"{box.xMinimum()},{box.center().x()},{box.yMinimum()},{box.yMaximum()} [EPSG:32645]"
    asked = {"INPUT": layer.id(), "MODEL": model, "SIZE": 40, "EXTENT": extent, "BLACK": True, "OUTPUT": out}
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    made, ok = run("classifyscenes", asked, context=context)
    assert ok and made == {"OUTPUT": out, "SCENES": 20, "LEFT_OUT": 3}
    call, told = calls()
    assert call["command"] == "scenes" and call["arguments"][:2] == [str(tmp_path / "ortho.tif"), out]
    words = call["arguments"]
    assert words[words.index("--model") + 1] == "land" and words[words.index("--size") + 1] == "40.0"
    bounds = [float(value) for value in words[words.index("--bounds") + 1 :][:4]]
    assert bounds == pytest.approx([box.xMinimum(), box.yMinimum(), box.center().x(), box.yMaximum()])
    assert words[-1] == "--overwrite" and "--cells" not in words
    assert told["reading"]["bands"] == [3, 2, 3] and told["reading"]["path"] == str(tmp_path / "ortho.tif")
    nodata = [(item["low"], item["high"], item["band"]) for item in told["reading"]["nodata"]]
    assert nodata == [(7, 9, 2), (0, 0, None)]
    QgsProject.instance().clear()


def test_polygons_take_the_place_of_squares(provider, calls, model, tmp_path, monkeypatch):
    raster, fields = make_raster(tmp_path / "ortho.tif"), str(tmp_path / "roofs.gpkg")
    asked = {"INPUT": raster, "MODEL": model, "CELLS": fields, "CELL_FIELD": "class", "LEAST": 20}
    assert run("classifyscenes", {**asked, "OUTPUT": str(tmp_path / "s.gpkg")})[1]
    words = calls()[0]["arguments"]
    assert words[words.index("--cells") + 1] == fields and words[words.index("--cell-field") + 1] == "class"
    assert words[words.index("--least") + 1] == "20.0" and "--size" not in words and "--bounds" not in words
    both = {**asked, "SIZE": 10, "OUTPUT": str(tmp_path / "s.gpkg")}
    fails(monkeypatch, "classifyscenes", both, "leave side and extent empty")


def test_the_layer_has_the_classes_colours(provider, calls, model, tmp_path):
    project, out = QgsProject.instance(), str(tmp_path / "s.gpkg")
    context = QgsProcessingContext()
    context.setProject(project)
    target = QgsProcessingOutputLayerDefinition(out, project)
    asked = {"INPUT": make_raster(tmp_path / "ortho.tif"), "MODEL": model, "OUTPUT": target}
    assert run("classifyscenes", asked, context=context)[1]
    fields = "field=class:string&field=p_field:double&field=p_forest:double"
    layer = QgsVectorLayer(f"Polygon?crs=EPSG:32645&{fields}", "scenes", "memory")
    (details,) = context.layersToLoadOnCompletion().values()
    details.postProcessor().postProcessLayer(layer, context, Feedback())
    kept = layer.renderer().categories()  # they own the symbols
    look = {category.value(): category.symbol().symbolLayer(0).fillColor().name() for category in kept}
    assert look == {"field": "#d9c36a", "forest": "#2f7d32", "houses": "#c0392b"}
    assert layer.renderer().classAttribute() == "class" and "p_forest" in layer.mapTipTemplate()
    assert "name" not in layer.mapTipTemplate()


def test_models_of_scenes_map_nothing_else(provider, model):
    def offered(name):
        parameter = provider.algorithm(name).parameterDefinition("MODEL")
        return parameter.metadata().get("widget_wrapper", {}).get("value_hints", [])

    provider.refreshAlgorithms()
    assert offered("classifyscenes") == ["land"]
    assert "rooftop-lite" in offered("mapraster")
    assert not any("land" in offered(name) for name in ("mapraster", "maprooftops", "mapspecies"))
