"""Outputs: several at once, each complete or absent."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import CRS

from rotacube.inference.engine import Strip
from rotacube.inference.findings import finding_of, names_of
from rotacube.inference.outputs import KINDS, Setting, Totals, format_of, opened
from rotacube.inference.run import MapRequest, Product
from rotacube.inference.store import Store
from rotacube.raster.destination import Destination
from rotacube.raster.grid import Box
from rotacube.raster.map_grid import MapGrid


@pytest.fixture
def setting(make_card, tmp_path_factory):
    grid = MapGrid(40, 50, CRS.from_epsg(32645).to_wkt(), Affine(0.15, 0, 353000, 0, -0.15, 3060000), (0.15, 0.15))
    area = Box(10, 5, 40, 45)
    store = Store(tmp_path_factory.mktemp("store") / "job", area, names_of(make_card(), {"chance"}))
    return Setting(grid, area, make_card(), {"ROTACUBE_MODEL": "tiny"}, store)


def made(kind, path, setting):
    return KINDS[kind].make(Destination(path, False), setting, format_of(kind, path.name))


def strips():
    rng = np.random.default_rng(0)
    for top in (10, 25):
        valid = rng.random((15, 40)) > 0.3
        yield Strip(Box(top, 5, top + 15, 45), rng.normal(size=(1, 15, 40)).astype(np.float32), {}, valid)


def test_several_outputs_take_the_same_strips(tmp_path, setting):
    totals = Totals(setting)
    outputs = [totals, *(made("mask", tmp_path / f"{name}.tif", setting) for name in "ab")]
    assert totals.empty and list(tmp_path.iterdir()) == []
    with opened(outputs):
        for strip in strips():
            for output in outputs:
                output.write(finding_of(strip, setting.card, setting.store.names))
        for output in outputs:
            output.finish()
        assert not (tmp_path / "a.tif").exists(), "none is in its place before all are whole"
        for output in outputs:
            output.place()
    with rasterio.open(tmp_path / "a.tif") as file:
        labels = file.read(1)
        assert file.transform == setting.grid.transform_of(setting.area) and file.tags()["ROTACUBE_MODEL"] == "tiny"
    want = np.concatenate([np.where(s.valid, s.logits[0] > 0, 255) for s in strips()])
    np.testing.assert_array_equal(labels, want)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    assert [c.pixels for c in totals.classes] == [int((want == i).sum()) for i in (0, 1)]
    assert totals.nodata == (want == 255).sum() and not totals.empty
    assert sum(c.area_m2 for c in totals.classes) == pytest.approx(0.0225 * (want < 255).sum(), rel=2e-3)


@pytest.mark.parametrize("until", ["open", "write"])
def test_what_is_not_finished_leaves_nothing(until, tmp_path, setting):
    outputs = [made("mask", tmp_path / f"{name}.tif", setting) for name in "ab"]

    def work():
        with opened(outputs):
            if until == "write":
                outputs[0].write(finding_of(next(strips()), setting.card, setting.store.names))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert list(tmp_path.iterdir()) == []


def test_one_that_cannot_open_leaves_nothing_of_the_others(tmp_path, setting):
    outputs = [made("mask", path, setting) for path in (tmp_path / "a.tif", tmp_path / "no" / "b.tif")]
    with pytest.raises(Exception, match="could not be written"), opened(outputs):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_request_can_be_sent_to_another_process(tmp_path):
    request = MapRequest("a.tif", "tiny", (Product("mask", tmp_path / "mask.tif"),), (0.0, 0.0, 1.0, 1.0), "EPSG:4326")
    assert pickle.loads(pickle.dumps(request)) == request
