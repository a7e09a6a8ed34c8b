"""The algorithms of Processing, with a stand-in for the backend's command line."""

import json
import re
import sys
import threading
import time
from pathlib import Path

import pytest
from fixtures import gone, make_raster, wait
from osgeo import ogr
from qgis.core import (
    QgsApplication,
    QgsCategorizedSymbolRenderer,
    QgsPalettedRasterRenderer,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingOutputLayerDefinition,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import Qt
from qgis_plugin.algorithms.provider import ALGORITHMS, RotacubeProvider
from qgis_plugin.client import cards, environment
from qgis_plugin.layers import results

FAKE = Path(__file__).with_name("fake_cli.py")


@pytest.fixture
def provider(qgis_app):
    """The provider, in QGIS's registry."""
    made = RotacubeProvider()
    QgsApplication.processingRegistry().addProvider(made)
    yield made
    QgsApplication.processingRegistry().removeProvider(made)


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """The stand-in is the backend's Python; gives what it notes."""
    script, notes, layer = tmp_path / "python", tmp_path / "calls", tmp_path / "roofs.geojson"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" "$@"\n')
    script.chmod(0o755)
    ring = [[85.0, 27.0], [85.1, 27.0], [85.1, 27.1], [85.0, 27.0]]
    feature = {"type": "Feature", "properties": {"class": "roof", "area_m2": 3.0}}
    feature["geometry"] = {"type": "Polygon", "coordinates": [ring]}
    layer.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    packed = tmp_path / "roofs.gpkg"
    ogr.GetDriverByName("GPKG").CopyDataSource(ogr.Open(str(layer)), str(packed))
    monkeypatch.setenv("ROTACUBE_PYTHON", str(script))
    monkeypatch.setenv("FAKE_CALLS", str(notes))
    monkeypatch.setenv("FAKE_LAYER", str(packed))
    return lambda: [json.loads(line) for line in notes.read_text().splitlines()]


class Feedback(QgsProcessingFeedback):
    """Keeps what it is told."""

    def __init__(self):
        super().__init__(False)
        self.shares, self.lines, self.errors = [], [], []
        self.progressChanged.connect(self.shares.append)

    def pushInfo(self, text):
        self.lines.append(text)

    def reportError(self, text, fatal=False):
        self.errors.append(text)

    pushCommandInfo = pushConsoleInfo = setProgressText = pushInfo


def run(name, parameters, feedback=None, context=None):
    """Run an algorithm to its end; raises what it raises."""
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(f"rotacube:{name}")
    context = context or QgsProcessingContext()
    return algorithm.run(parameters, context, feedback or Feedback(), {}, False)


def test_each_algorithm_says_what_it_does(provider):
    assert [a.id() for a in provider.algorithms()] == sorted(f"rotacube:{a.NAME}" for a in ALGORITHMS)
    for algorithm in provider.algorithms():
        assert algorithm.displayName() and algorithm.group() and algorithm.tags()
        assert len(algorithm.shortHelpString()) > 80
        assert not algorithm.icon().isNull()
        assert not algorithm.flags() & algorithm.Flag.FlagNoThreading
    assert provider.defaultVectorFileExtension(True) == "gpkg" and provider.defaultVectorFileExtension(False) == "csv"


def test_models_are_those_whose_cards_are_there(tmp_path, monkeypatch):
    names = [model.name for model in cards.installed()]
    assert names[0] == cards.DEFAULT == "rooftop-lite" and "rooftop-small" in names
    folder = tmp_path / "mine"
    folder.mkdir()
    card = json.loads((Path(cards.paths.resource("models")) / "rooftop-lite" / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**card, "name": "mine"}))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.json").write_text('{"name": "broken"}')
    environment.set_setting("models", str(tmp_path))
    assert {model.name for model in cards.installed()} == {*names, "mine"}
    assert cards.find("mine").sha256 == card["weights"]["sha256"] and cards.find(str(folder)).name == "mine"
    assert cards.find("nobody") is None


def test_a_map_is_asked_for_as_the_layer_shows_it_and_styled(provider, calls, tmp_path):
    layer = QgsRasterLayer(make_raster(tmp_path / "ortho.tif"), "ortho", "gdal")
    layer.renderer().setRedBand(3)
    layer.renderer().setBlueBand(1)
    project = QgsProject.instance()
    project.addMapLayer(layer)
    context, feedback = QgsProcessingContext(), Feedback()
    context.setProject(project)
    box = layer.extent()
    asked = {
        "INPUT": layer.id(),
        "MODEL": "rooftop-lite",
        "EXTENT": f"{box.xMinimum()},{box.center().x()},{box.yMinimum()},{box.yMaximum()} [EPSG:32645]",
        "SMALLEST": 6,
        "BLACK": True,
        "GRID": 1,
        "TURNS": 2,
        "AREA": str(tmp_path / "roofs.gpkg"),
        "MASK": QgsProcessingOutputLayerDefinition(str(tmp_path / "mask.tif"), project),
        "POLYGONS": QgsProcessingOutputLayerDefinition(str(tmp_path / "out.gpkg"), project),
    }
    made, ok = run("maprooftops", asked, feedback, context)
    assert ok and made["FOUND_M2"] == 40 and made["MASK"] == str(tmp_path / "mask.tif")
    (call,) = calls()
    request = call["request"]
    assert request["grid"] == "source" and request["turns"] == 4
    assert request["bands"] == [3, 2, 1] and request["nodata"] == [{"low": 0, "high": 0, "band": None}]
    assert request["smallest"] == 6 and "threshold" not in request and request["within"] == str(tmp_path / "roofs.gpkg")
    assert request["bounds"][2] == pytest.approx(box.center().x()) and request["overwrite"]
    assert {p["kind"]: p["format"] for p in request["products"]} == {"polygons": "gpkg", "mask": "cog"}
    assert feedback.shares[-1] == 100 and "Mapping" in feedback.lines and "a note for people" in feedback.lines
    for path, details in context.layersToLoadOnCompletion().items():
        kind = QgsRasterLayer if path.endswith(".tif") else QgsVectorLayer
        opened = kind(path, "made")
        details.postProcessor().postProcessLayer(opened, context, feedback)
        if kind is QgsRasterLayer:
            assert isinstance(opened.renderer(), QgsPalettedRasterRenderer) and results.is_mask(opened)
            assert [c.label for c in opened.renderer().classes()] == ["background", "roof"]
        else:
            assert isinstance(opened.renderer(), QgsCategorizedSymbolRenderer) and not results.is_mask(opened)
    assert len(context.layersToLoadOnCompletion()) == 2
    project.clear()


def test_masks_become_polygons_and_tables(provider, calls, tmp_path):
    mask, out = make_raster(tmp_path / "mask.tif"), str(tmp_path / "p.gpkg")
    made, ok = run("polygonise", {"INPUT": mask, "CLASSES": "1,4", "OUTLINES": 2, "SMALLEST": 5, "OUTPUT": out})
    assert ok and made == {"OUTPUT": out}
    zones = {"ZONES": str(tmp_path / "roofs.gpkg"), "ZONE_FIELD": "class"}
    made, ok = run("statistics", {"INPUT": mask, **zones, "OUTPUT": "TEMPORARY_OUTPUT"})
    assert ok and made["OUTPUT"].endswith(".csv")
    first, second = calls()
    options = ["--classes", "1,4", "--band", "1", "--overwrite", "--no-regularise", "--smallest", "5.0"]
    assert first["arguments"] == [mask, out, *options]
    assert second["arguments"][-4:] == ["--zones", zones["ZONES"], "--zone-field", "class"]


def test_a_mask_becomes_a_treatment_grid(provider, calls, tmp_path):
    mask, out, task = make_raster(tmp_path / "mask.tif"), str(tmp_path / "g.gpkg"), str(tmp_path / "task.zip")
    made, ok = run("treatmentgrid", {"INPUT": mask, "OUTPUT": out})
    assert ok and made == {"OUTPUT": out, "TREATED_M2": 36, "ANGLE_DEG": 12.5}
    asked = {"INPUT": mask, "CLASSES": "weed", "SIZE": 2.5, "SHARE": 10, "ANGLE": 0, "RATE": 150, "BY_SHARE": True}
    asked.update(WITHIN=str(tmp_path / "roofs.gpkg"), OUTPUT=out, EXPORT=task)
    made, ok = run("treatmentgrid", asked)
    assert ok and made["EXPORT"] == task
    first, second = calls()
    plain = ["--classes", "", "--band", "1", "--overwrite", "--cell", "3.0", "--share", "5.0"]
    plain += ["--least", "10.0", "--angle", "auto"]
    assert first["command"] == "grid" and first["arguments"] == [mask, out, *plain]
    options = ["--cell", "2.5", "--share", "10.0", "--least", "10.0", "--angle", "0.0", "--within", asked["WITHIN"]]
    assert second["arguments"][7:] == [*options, "--rate", "150.0", "--by-share", "--also", task]
    assert second["arguments"][2:4] == ["--classes", "weed"]


def test_cells_to_treat_are_red_the_others_outlines(provider, calls, tmp_path):
    project, out = QgsProject.instance(), str(tmp_path / "g.gpkg")
    context = QgsProcessingContext()
    context.setProject(project)
    asked = {"INPUT": make_raster(tmp_path / "mask.tif"), "OUTPUT": QgsProcessingOutputLayerDefinition(out, project)}
    assert run("treatmentgrid", asked, context=context)[1]
    fields = "field=treat:string&field=share_weed:double&field=rate_l_ha:double"
    layer = QgsVectorLayer(f"Polygon?crs=EPSG:32645&{fields}", "grid", "memory")
    (details,) = context.layersToLoadOnCompletion().values()
    details.postProcessor().postProcessLayer(layer, context, Feedback())
    kept = layer.renderer().categories()  # they own the symbols
    look = {category.value(): category.symbol().symbolLayer(0) for category in kept}
    assert layer.renderer().classAttribute() == "treat" and set(look) == {"yes", "no"}
    red = look["yes"].fillColor()
    assert red.red() > 200 > 50 > red.green() and look["yes"].brushStyle() == Qt.BrushStyle.SolidPattern
    assert look["no"].brushStyle() == Qt.BrushStyle.NoBrush
    assert "weed: " in layer.mapTipTemplate() and "l/ha" in layer.mapTipTemplate()


def test_drone_frames_become_a_map_whose_layers_come_styled(provider, calls, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_RASTER", make_raster(tmp_path / "made.tif"))
    project, frames, out = QgsProject.instance(), tmp_path / "meadow", tmp_path / "out"
    context, feedback = QgsProcessingContext(), Feedback()
    context.setProject(project)
    asked = {"INPUT": str(frames), "MODEL": "plants-potato", "GSD": 0.05, "GROUND": 430, "THRESHOLD": 0.4}
    terrain, lens = make_raster(tmp_path / "terrain.tif"), tmp_path / "lens.json"
    lens.touch()
    asked.update(ANY_RESOLUTION=True, REFINE=True, KMZ=True, REPORT=True, OUTPUT=str(out))
    asked.update(TERRAIN=terrain, CALIBRATION=str(lens))
    made, ok = run("mapframes", asked, feedback, context)
    assert ok and made["FRAMES"] == 3 and made["FOUND_M2"] == 40 and made["OUTPUT"] == str(out)
    (call,) = calls()
    given = ["map", str(frames), str(out), "--model", "plants-potato", "--ground", "430.0"]
    given += ["--calibration", str(lens), "--dem", terrain, "--refine", "--gsd", "0.05", "--threshold", "0.4"]
    given += ["--any-resolution", "--overwrite", "--kmz", "--report"]
    assert made["KMZ_FILE"] == f"{out}/map.kmz" and made["REPORT_FILE"] == f"{out}/report.pdf"
    assert call["arguments"] == [*given, "--footprints", f"{out}/footprints.gpkg"]
    assert "Mapping frames" in feedback.lines and feedback.shares[-1] == 100
    loaded = {details.outputName: (path, details) for path, details in context.layersToLoadOnCompletion().items()}
    assert loaded.keys() == {"MASK", "PROBABILITY", "PHOTO", "AGREEMENT", "SHARES", "FOOTPRINTS"}
    renderers = {}
    for name, (path, details) in loaded.items():
        assert made[name] == path and details.name.startswith("meadow ")
        opened = QgsRasterLayer(path, details.name) if path.endswith(".tif") else QgsVectorLayer(path, details.name)
        project.addMapLayer(opened)
        details.postProcessor().postProcessLayer(opened, context, feedback)
        renderers[name] = type(opened.renderer()).__name__
        assert results.is_mask(opened) == (name == "MASK")
    assert renderers["MASK"] == "QgsPalettedRasterRenderer" and renderers["PHOTO"] == "QgsMultiBandColorRenderer"
    assert renderers["PROBABILITY"] == renderers["AGREEMENT"] == "QgsSingleBandPseudoColorRenderer"
    root = project.layerTreeRoot()
    wait(lambda: len(root.children()) == 1)  # once QGIS has added them all
    (group,) = root.findGroup("Rotacube").findGroups()
    order = [node.name().removeprefix("meadow ") for node in group.children()]
    assert order == ["frames", "mask", "probability", "agreement", "photo", "shares"] and group.name() == "meadow"
    assert [node.itemVisibilityChecked() for node in group.children()] == [False, True, False, False, True, False]
    project.clear()
    context = QgsProcessingContext()
    context.setProject(project)
    asked = {"INPUT": str(frames), "MODEL": "plants-potato", "ADD": False, "OUTPUT": "TEMPORARY_OUTPUT"}
    made, ok = run("mapframes", asked, feedback, context)
    assert ok and Path(made["MASK"]).is_file() and not context.layersToLoadOnCompletion()
    assert len(calls()[1]["arguments"]) == 8  # nothing that was not asked for


def test_a_map_of_frames_goes_on_in_a_model(provider, calls, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_RASTER", make_raster(tmp_path / "made.tif"))
    source, model = QgsProcessingModelChildParameterSource, QgsProcessingModelAlgorithm("m", "m")
    frames, polygons = (QgsProcessingModelChildAlgorithm(f"rotacube:{name}") for name in ("mapframes", "polygonise"))
    given = {"INPUT": str(tmp_path), "MODEL": "plants-potato", "OUTPUT": str(tmp_path / "map")}
    for key, value in given.items():
        frames.addParameterSources(key, [source.fromStaticValue(value)])
    polygons.addParameterSources("INPUT", [source.fromChildOutput(model.addChildAlgorithm(frames), "MASK")])
    polygons.addParameterSources("OUTPUT", [source.fromStaticValue(str(tmp_path / "patches.gpkg"))])
    model.addChildAlgorithm(polygons)
    assert model.run({}, QgsProcessingContext(), Feedback())[1]
    assert calls()[1]["arguments"][0] == str(tmp_path / "map" / "mask.tif") and (tmp_path / "patches.gpkg").exists()


def test_footprints_of_frames_are_drawn_and_those_left_out_told(provider, calls, tmp_path):
    out, feedback = str(tmp_path / "f.gpkg"), Feedback()
    made, ok = run("framefootprints", {"INPUT": str(tmp_path), "GROUND": 3, "OUTPUT": out}, feedback)
    assert ok and made == {"OUTPUT": out, "FRAMES": 3, "LEFT_OUT": 1}
    assert calls()[0]["arguments"] == ["footprints", str(tmp_path), out, "--ground", "3.0", "--overwrite"]
    assert any("blurred" in line for line in feedback.lines)


def test_tiles_training_and_import(provider, calls, tmp_path):
    raster, drawn, folder = make_raster(tmp_path / "r.tif"), str(tmp_path / "roofs.gpkg"), tmp_path / "tiles"
    folder.mkdir()
    asked = {"INPUT": raster, "POLYGONS": drawn, "FIELD": "class", "MODEL": "rooftop-lite", "OUTPUT": str(folder)}
    assert run("maketiles", asked)[1]  # the empty folder is gone before: the stand-in cannot make one that is there
    tuned = {"TILES": str(tmp_path), "MODEL": "rooftop-lite", "STEPS": 9, "NAME": "mine", "TITLE": "My: own"}
    assert run("finetune", {**tuned, "OUTPUT": str(tmp_path / "model")})[1]
    assert run("importmodel", {"FOLDER": str(tmp_path), "REPLACE": True})[0] == {"MODEL": "mine"}
    tiles, train, install = calls()
    assert tiles["arguments"][:4] == ["from-labels", raster, drawn, str(folder)] and "--any-resolution" not in tiles
    assert {'card.title="My: own"', "schedule.steps=9", f'data="{tmp_path}"'} <= set(train["arguments"])
    assert install["arguments"] == ["install", str(tmp_path), "--overwrite"]


def fails(monkeypatch, name, parameters, word, mode=""):
    """What is wrong before the work QGIS reports, what is wrong in it comes as an exception."""
    monkeypatch.setenv("FAKE_CLI", mode)
    feedback = Feedback()
    try:
        ok = run(name, parameters, feedback)[1]
    except QgsProcessingException as error:
        feedback.errors.append(str(error))
        ok = False
    assert not ok and len(feedback.errors) == 1 and re.search(word, feedback.errors[0]), feedback.errors


def test_an_onnx_file_is_imported_with_what_is_said_of_it(provider, calls, tmp_path, monkeypatch):
    file = tmp_path / "x.onnx"
    file.write_bytes(b"")
    said = {"NAME": "x", "CLASSES": "background,roof", "RESOLUTION": 0.2, "ROOFS": True}
    assert run("importmodel", {"FILE": str(file), **said})[0] == {"MODEL": "mine"}
    assert run("importmodel", {"FILE": str(file)})[0] == {"MODEL": "mine"}
    full, bare = (call["arguments"] for call in calls())
    told = ["--name", "x", "--classes", "background,roof", "--resolution", "0.2", "--roofs"]
    assert full == ["install", str(file), *told] and bare == ["install", str(file)]
    for both in ({}, {"FILE": str(file), "FOLDER": str(tmp_path)}):
        fails(monkeypatch, "importmodel", both, "Choose the folder of a model, or an ONNX file")


def test_what_is_wrong_is_a_sentence(provider, calls, tmp_path, monkeypatch):
    raster = make_raster(tmp_path / "r.tif")
    asked = {"INPUT": raster, "MODEL": "rooftop-lite", "MASK": str(tmp_path / "m.tif")}
    fails(monkeypatch, "mapraster", asked, "^'x.tif' is damaged or cut short. Copy or download", "fail")
    fails(monkeypatch, "mapraster", asked, "ended unexpectedly .exit code 3.", "crash")
    flight = {"INPUT": str(tmp_path), "MODEL": "rooftop-lite", "OUTPUT": str(tmp_path / "map")}
    fails(monkeypatch, "mapframes", flight, "damaged or cut short", "fail")
    assert not (tmp_path / "map").exists()
    fails(monkeypatch, "mapraster", {**asked, "MODEL": "nobody"}, "no model “nobody”. Installed are: rooftop-lite")
    fails(monkeypatch, "mapraster", {**asked, "MASK": str(tmp_path / "m.png")}, "does not write m.png")
    no_crs = make_raster(tmp_path / "nowhere.tif", crs=None)
    fails(monkeypatch, "mapraster", {**asked, "INPUT": no_crs}, "no coordinate reference system")
    monkeypatch.delenv("ROTACUBE_PYTHON")
    fails(monkeypatch, "mapraster", asked, "not set up yet. Press “Set up backend”")


@pytest.mark.parametrize(("mode", "seconds"), [("hang", 3), ("deaf", 9)])
def test_cancelled_it_ends_within_seconds_and_nothing_stands_still(
    provider, calls, tmp_path, monkeypatch, mode, seconds
):
    monkeypatch.setenv("FAKE_CLI", mode)
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("rotacube:mapraster")
    context, feedback = QgsProcessingContext(), Feedback()
    asked = {"INPUT": make_raster(tmp_path / "r.tif"), "MODEL": "rooftop-lite", "MASK": str(tmp_path / "m.tif")}
    task = QgsProcessingAlgRunnerTask(algorithm, asked, context, feedback)
    ends = []
    task.executed.connect(lambda ok, made: ends.append((ok, dict(made))))
    QgsApplication.taskManager().addTask(task)
    moments = []
    wait(lambda: moments.append(time.monotonic()) or feedback.progress() > 0, 20)
    assert max(b - a for a, b in zip(moments, moments[1:])) < 0.5
    start = time.monotonic()
    feedback.cancel()
    wait(lambda: ends, 20)
    assert time.monotonic() - start < seconds
    assert ends[0][1] == {} and not (tmp_path / "m.tif").exists()
    assert gone(calls()[0]["pid"]) and (mode == "deaf") != any("ended" in call for call in calls())


def test_cancelled_after_the_map_it_says_that_the_map_stays(provider, calls, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_CLI", "more")
    monkeypatch.setenv("FAKE_RASTER", make_raster(tmp_path / "made.tif"))
    feedback = Feedback()
    feedback.progressChanged.connect(lambda share: "Writing squares" in feedback.lines and feedback.cancel())
    asked = {"INPUT": str(tmp_path), "MODEL": "plants-potato", "KMZ": True, "OUTPUT": str(tmp_path / "out")}
    run("mapframes", asked, feedback)
    assert (tmp_path / "out" / "mask.tif").is_file()
    assert feedback.lines[-1] == "Cancelled; what was finished before that stays."


def test_it_runs_in_a_model_with_a_plain_text_for_the_model(provider, calls, tmp_path):
    model, child = QgsProcessingModelAlgorithm("m", "m"), QgsProcessingModelChildAlgorithm("rotacube:mapraster")
    given = {"INPUT": make_raster(tmp_path / "r.tif"), "MODEL": "rooftop-lite", "MASK": str(tmp_path / "m.tif")}
    for key, value in given.items():
        child.addParameterSources(key, [QgsProcessingModelChildParameterSource.fromStaticValue(value)])
    model.addChildAlgorithm(child)
    done = []
    thread = threading.Thread(target=lambda: done.append(model.run({}, QgsProcessingContext(), Feedback())))
    thread.start()
    wait(lambda: not thread.is_alive())
    assert done[0][1] and (tmp_path / "m.tif").exists() and calls()[0]["request"]["model"] == "rooftop-lite"
