"""One run, from an order to its last event, without dock and controller."""

from unittest.mock import Mock

import pytest
from fixtures import MODEL, make_raster, started, until, wait
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsProject,
    QgsRasterLayer,
    QgsRasterRange,
    QgsRectangle,
    QgsReferencedRectangle,
)
from qgis.PyQt.QtTest import QSignalSpy
from qgis_plugin.client.events import EventReader
from qgis_plugin.client.schema import (
    FINAL_STATES,
    BackendError,
    ErrorBody,
    JobInfo,
    JobRequest,
    JobResult,
    NodataRange,
    ProductRequest,
)
from qgis_plugin.layers.output import OutputExists, OutputRefused
from qgis_plugin.layers.results import Finished, mask_layer
from qgis_plugin.layers.source import SourceRefused
from qgis_plugin.run import Order, Run, build_request, outcome


def asked(order, open_layers=()):
    return build_request(order, QgsProject.instance().transformContext(), open_layers)


def test_order_of_a_whole_layer(qgis_app, raster, tmp_path):
    layer = QgsRasterLayer(raster, "ortho")
    request = asked(Order(layer, MODEL, str(tmp_path / "mask")))
    assert request == JobRequest(raster, MODEL.name, [ProductRequest(str(tmp_path / "mask.tif"))], bands=[1, 2, 3])
    assert asked(Order(layer, MODEL)).products[0].path.endswith("ortho_mask.tif")


def test_order_says_what_was_agreed_and_what_the_layer_shows(qgis_app, raster):
    layer = QgsRasterLayer(raster, "ortho")
    layer.renderer().setRedBand(3)
    layer.dataProvider().setUserNoDataValue(2, [QgsRasterRange(7, 9)])
    plain = asked(Order(layer, MODEL))
    assert plain.bands == [3, 2, 3] and plain.nodata == [NodataRange(7, 9, 2)]
    assert not (plain.any_resolution or plain.allow_network or plain.overwrite)
    agreed = asked(Order(layer, MODEL, black_is_nodata=True, any_resolution=True, allow_network=True))
    assert agreed.nodata == [NodataRange(7, 9, 2), NodataRange(0, 0)]
    assert agreed.any_resolution and agreed.allow_network


def test_more_nodata_values_than_a_request_holds(qgis_app, raster):
    layer = QgsRasterLayer(raster, "ortho")
    layer.dataProvider().setUserNoDataValue(1, [QgsRasterRange(n, n) for n in range(257)])
    with pytest.raises(SourceRefused, match="256 can be told"):
        asked(Order(layer, MODEL))


def test_order_of_an_area_in_another_crs(qgis_app, raster):
    layer = QgsRasterLayer(raster, "ortho")
    world = QgsReferencedRectangle(QgsRectangle(-180, -80, 180, 80), QgsCoordinateReferenceSystem("EPSG:4326"))
    request = asked(Order(layer, MODEL, area=world))
    extent = layer.extent()
    whole = (extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum())
    assert request.bounds == pytest.approx(whole, abs=1e-6) and request.bounds_crs == "EPSG:32645"


def test_order_that_cannot_be_carried_out(qgis_app, raster, tmp_path):
    layer, old = QgsRasterLayer(raster, "ortho"), make_raster(tmp_path / "old.tif")
    with pytest.raises(SourceRefused):
        asked(Order(None, MODEL))
    with pytest.raises(SourceRefused):
        asked(Order(layer, MODEL, area=QgsReferencedRectangle(QgsRectangle(0, 0, 1, 1), layer.crs())))
    with pytest.raises(OutputExists):
        asked(Order(layer, MODEL, old))
    assert asked(Order(layer, MODEL, old, replace=True)).overwrite
    with pytest.raises(OutputRefused, match="open in this project"):
        asked(Order(layer, MODEL, old, replace=True), [QgsRasterLayer(old, "old")])


@pytest.mark.parametrize(
    ("state", "more", "code", "words"),
    [
        ("failed", {"error": ErrorBody("raster_empty", "All of it is nodata.")}, "raster_empty", "nodata"),
        ("failed", {}, "error", "without saying why"),
        ("finished", {}, "protocol", "without a result"),
        ("finished", {"result": JobResult([], 1, 1, (1, 1), [], 0, 1.0, "cpu", [])}, "protocol", "without a mask"),
    ],
)
def test_outcome_of_a_job_that_left_nothing(state, more, code, words):
    with pytest.raises(BackendError, match=words) as caught:
        outcome(JobInfo("x", state, JobRequest("r.tif", "m", []), **more))
    assert caught.value.code == code


def test_tile_pictures_come_with_the_events(supervisor, raster, tmp_path):
    s = started(supervisor())
    run = Run(s.client, JobRequest(raster, MODEL.name, [ProductRequest(str(tmp_path / "m.tif"))]), "r", MODEL)
    tiles, finished = QSignalSpy(run.tile), QSignalSpy(run.finished)
    run.start()
    wait(lambda: len(finished) == 1)
    assert all(image.width() == 64 and image.height() == 64 for _, image in tiles)
    run.drop()


def test_order_becomes_a_layer_where_no_event_loop_turns(supervisor, raster, tmp_path):
    order = Order(QgsRasterLayer(raster, "ortho"), MODEL, str(tmp_path / "mask.tif"))
    request, client, states = asked(order), supervisor().wait_ready(), []
    heard = {name: Mock() for name in ("on_tile", "on_broken", "on_lost")}
    EventReader(client, client.submit(request).id, on_state=states.append, **heard).start()
    until(lambda: states and states[-1].state in FINAL_STATES)
    layer = mask_layer(Finished("ortho", request, outcome(states[-1]), MODEL))
    assert layer.source() == str(tmp_path / "mask.tif")
    assert heard["on_tile"].call_count == 20 and not heard["on_lost"].called
