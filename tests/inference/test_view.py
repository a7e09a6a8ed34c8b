"""Roofs where somebody looks: each the same whatever is looked at, in which order; cut anew without inferring."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import shapely
import torch
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.io import MemoryFile
from torch import nn

from rotacube.errors import JobCancelled, OptionsRefused, RequestRefused
from rotacube.inference import view as module
from rotacube.inference.engine import Engine
from rotacube.inference.request import with_cuts
from rotacube.inference.run import MapRequest, Product, run_map
from rotacube.inference.view import View
from rotacube.jobs.views import Held
from rotacube.models.store import LoadedModel
from rotacube.networks.dense import DenseNetwork
from rotacube.raster import cell_source
from rotacube.raster.cell_source import CELL, CellSource
from rotacube.raster.file_source import FileSource
from rotacube.training.datasets.targets import depth_of
from rotacube.vector.layers import read_polygons

ORIGIN = Affine(0.15, 0, 300000, 0, -0.15, 3000000)
HIGH, WIDE = 480, 640
FAINT = range(5, 99, 4)
"""Numbers of the houses that are hardly more likely than the threshold."""
MISSED = (270, 40)
"""A row and a column in a roof that is less likely than the threshold."""


class Painted(DenseNetwork):
    """The logit of a pixel is its red band as a probability; its depth is the green one."""

    stride = 1
    calls = 0

    def __init__(self):
        super().__init__()
        self.add_head(lambda n: nn.Identity(), 1, ("distance",))

    def features(self, x):
        Painted.calls += len(x)
        return torch.logit(x[:, :2].clamp(1e-4, 1 - 1e-4))


def a_town():
    """Houses, pairs of them and terraces, whose roofs lie anywhere, and numbers of them."""
    rng = np.random.default_rng(4)
    ids = np.zeros((HIGH, WIDE), np.int32)
    number = 0
    for top in range(12, HIGH - 70, 76):
        left = 10
        while left < WIDE - 80:
            if top < MISSED[0] < top + 70 and left < 100:
                left += 100
                continue
            for _ in range(rng.integers(1, 5)):
                wide = int(rng.integers(22, 40))
                if left + wide >= WIDE - 8:
                    break
                number += 1
                ids[top : top + int(rng.integers(36, 60)), left : left + wide] = number
                left += wide
            left += int(rng.integers(12, 30))
    red = np.where(ids > 0, 225, 8)
    red[np.isin(ids, FAINT)] = 140
    red[MISSED[0] - 20 : MISSED[0] + 20, MISSED[1] - 18 : MISSED[1] + 18] = 70
    return np.stack([red, depth_of(ids) * 255, red]).astype(np.uint8), ids


@pytest.fixture(scope="module")
def town(tmp_path_factory, write_raster):
    path = tmp_path_factory.mktemp("town") / "town.tif"
    image, ids = a_town()
    write_raster(path, image, transform=ORIGIN)
    return path, image, ids


@pytest.fixture(scope="module")
def model(make_card):
    rule = {"scale": 255.0, "mean": [0.0] * 3, "std": [1.0] * 3}
    further = [{"name": "distance", "channels": 1, "meaning": "depth"}]
    card = make_card(
        tile=64, overlap=24, threshold=0.4, normalisation=rule, further=further, separation={"smallest": 1}
    )
    return LoadedModel(card, Painted().eval(), Path())


@pytest.fixture
def look(town, model, cpu, monkeypatch):
    """Opens a view on the town, in blocks of 192 pixels."""
    monkeypatch.setattr(module, "BLOCK", 192)
    opened = []

    def opening(card=model.card, kept=None):
        source = FileSource(str(town[0]), card)
        opened.append(source)
        found = View(source, card, Engine.of(model, cpu))
        if kept is not None:
            found._most = kept
        return found

    yield opening
    for source in opened:
        source.close()


def bounds(top, left, bottom, right):
    (x, y), (u, v) = ORIGIN * (left, top), ORIGIN * (right, bottom)
    return x, v, u, y


WHOLE = bounds(0, 0, HIGH, WIDE)


def by_id(roofs):
    found = {roof.id: (roof.shape.wkb, roof.area, roof.confidence, roof.axis) for roof in roofs}
    assert len(found) == len(roofs)
    return found


def test_every_roof_of_the_town_is_found_once(look, town):
    found = look().roofs(WHOLE)
    assert not found.needs and not found.cut
    assert len(found.roofs) == town[2].max()
    places = shapely.STRtree([roof.shape for roof in found.roofs])
    for number in range(1, town[2].max() + 1):
        rows, columns = np.nonzero(town[2] == number)
        x, y = ORIGIN * (columns.mean() + 0.5, rows.mean() + 0.5)
        (hit,) = places.query(shapely.Point(x, y), "within")
        roof = found.roofs[hit]
        assert roof.area == pytest.approx(len(rows) * 0.15**2, rel=0.1)
        assert roof.confidence == pytest.approx((140 if number in FAINT else 225) / 255, abs=0.02)
    shapes = np.array([roof.shape for roof in found.roofs])
    one, other = shapely.STRtree(shapes).query(shapes, "overlaps")
    assert shapely.area(shapely.intersection(shapes[one], shapes[other])).sum() < 1e-6


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(-50, HIGH), st.integers(-50, WIDE), st.integers(20, 300), st.integers(20, 300)),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from([None, 3]),
)
def test_a_roof_is_the_same_from_wherever_it_is_seen(look, town, places, kept):
    """Whatever was looked at before, however large the part is, and however few tiles are kept."""
    whole = getattr(look, "whole", None) or by_id(look().roofs(WHOLE).roofs)
    look.whole = whole
    one = look(kept=kept)
    for top, left, high, wide in places:
        part = bounds(top, left, top + high, left + wide)
        found = by_id(one.roofs(part).roofs)
        assert found.items() <= whole.items()
        seen = {name for name, values in whole.items() if shapely.from_wkb(values[0]).intersects(shapely.box(*part))}
        assert found.keys() == seen


@pytest.mark.parametrize("sure", [0.0, 0.7])
def test_roofs_are_those_of_a_run(sure, look, town, model, tmp_path, cpu):
    """The same outlines but for those of roofs at the edges of blocks, which are cut elsewhere: there nearly.

    Those that are not likely enough are in neither.
    """
    card = model.card.model_copy(update={"separation": model.card.separation.model_copy(update={"sure": sure})})
    products = (Product("polygons", tmp_path / "roofs.gpkg", "gpkg"),)
    run_map(MapRequest(str(town[0]), "painted", products), replace(model, card=card), place=cpu)
    want = read_polygons(str(tmp_path / "roofs.gpkg"), look().grid.crs).shapes
    got = [roof.shape for roof in look(card).roofs(WHOLE).roofs]
    houses = np.unique(town[2])[1:]
    assert len(want) == len(got) == (~np.isin(houses, FAINT) if sure else houses > 0).sum() != 0
    tree = shapely.STRtree(want)
    equal = 0
    for shape in got:
        other = want[tree.nearest(shape.representative_point())]
        equal += bool(shapely.equals_exact(shapely.normalize(shape), shapely.normalize(other), 1e-6))
        assert shape.intersection(other).area > 0.93 * shape.union(other).area
    assert equal > 0.6 * len(got)


def test_how_sure_a_roof_has_to_be_moves_with_the_threshold(model):
    separation = model.card.separation.model_copy(update={"sure": 0.7})
    card = model.card.model_copy(update={"threshold": 0.5, "separation": separation})
    assert with_cuts(card, None, None) == card and with_cuts(card, 0.5, None).separation.sure == pytest.approx(0.7)
    for threshold in (0.2, 0.6):
        moved = with_cuts(card, threshold, 3.0).separation
        logits = [np.log(p / (1 - p)) for p in (moved.sure, threshold, 0.7, 0.5)]
        assert logits[0] - logits[1] == pytest.approx(logits[2] - logits[3]) and moved.smallest == 3
    assert with_cuts(model.card, 0.2, None).separation.sure == 0


def test_another_threshold_cuts_anew_without_inferring(look):
    one = look()
    first = one.roofs(WHOLE).roofs
    calls = Painted.calls
    more = one.roofs(WHOLE, threshold=0.2).roofs
    assert len(more) == len(first) + 1, "the roof that was missed"
    assert by_id(one.roofs(WHOLE).roofs) == by_id(first)
    assert len(one.roofs(WHOLE, smallest=40.0).roofs) < len(first)
    assert Painted.calls == calls


def test_a_roof_is_grown_where_it_was_missed(look):
    one = look()
    roof, why, needs = one.grow(ORIGIN * (MISSED[1] + 3, MISSED[0] - 5))
    assert not why and not needs
    assert roof.area == pytest.approx(40 * 36 * 0.15**2, rel=0.12) and roof.regular
    free = one.grow(ORIGIN * (WIDE - 3, HIGH - 3))
    assert free[0] is None and "Draw it by hand." in free[1]
    assert "nothing of the raster" in one.grow((0.0, 0.0))[1]


def test_a_roof_that_is_there_is_given_as_it_is_shown(look):
    """Also where a block ends, and first of all: a click draws no second outline."""
    shown = look().roofs(WHOLE).roofs
    one = look()
    for roof in shown[::4]:
        again = one.grow(roof.shape.representative_point().coords[0])[0]
        assert by_id([again]) == by_id([roof])


def test_a_roof_larger_than_a_block_is_whole_or_left_out_and_told(make_card, write_raster, tmp_path, cpu, look, model):
    image = np.full((3, 900, 900), 8, np.uint8)
    for left, side in ((40, 170), (300, 520)):
        image[:2, 60 : 60 + side, left : left + side] = 240
    write_raster(tmp_path / "halls.tif", image, transform=ORIGIN)
    with FileSource(str(tmp_path / "halls.tif"), model.card) as source:
        one = View(source, model.card, Engine.of(model, cpu))
        found = one.roofs(bounds(0, 0, 900, 900))
    assert [round(roof.area) for roof in found.roofs] == [round((170 * 0.15) ** 2)] and found.cut


def test_what_is_cancelled_ends_at_once(look):
    one, asked = look(), []

    def cancelled():
        asked.append(1)
        return len(asked) > 3

    with pytest.raises(JobCancelled):
        one.roofs(WHOLE, cancelled=cancelled)
    assert len(one.tiles) < 12
    assert one.roofs(WHOLE).roofs


def test_memory_is_bounded(look):
    one = look(kept=5)
    one.roofs(WHOLE)
    assert len(one.tiles) == 5 and 0 < one.size <= 5 * 128 * 128 * 9


def test_what_cannot_be_is_refused_in_a_sentence(look, monkeypatch):
    one = look()
    assert one.roofs((0, 0, 1, 1)).roofs == []
    for asked in ({"threshold": 1.5}, {"smallest": -1.0}):
        with pytest.raises(OptionsRefused, match=r"\.$"):
            one.roofs(WHOLE, **asked)
    monkeypatch.setattr(module, "WIDEST", 300)
    with pytest.raises(OptionsRefused, match="zoom in"):
        one.roofs(WHOLE)


def a_png(pixels):
    with MemoryFile() as memory:
        with memory.open(
            driver="PNG", width=pixels.shape[2], height=pixels.shape[1], count=len(pixels), dtype="uint8"
        ) as file:
            file.write(pixels)
        return memory.read()


@pytest.fixture
def sent(town, model, cpu):
    """A view whose pixels are sent, and what sends those of the town that it asks for, brighter or darker."""

    def make():
        source = CellSource("EPSG:32645", (ORIGIN.c + 50, ORIGIN.f - 50), model.card)
        held = Held(View(source, model.card, Engine.of(model, cpu)))
        left, top = (round(n) for n in ~source.grid.transform * (ORIGIN.c, ORIGIN.f))
        side = cell_source.CELL

        def put(column, row, light=1.0):
            pixels = np.zeros((4, side, side), np.uint8)
            rows, columns = (n * side + np.arange(side) - start for n, start in ((row, top), (column, left)))
            inside = np.ix_((rows >= 0) & (rows < HIGH), (columns >= 0) & (columns < WIDE))
            at = np.ix_(rows[(rows >= 0) & (rows < HIGH)], columns[(columns >= 0) & (columns < WIDE)])
            for band in range(3):
                pixels[band][inside] = town[1][band][at] * light
            pixels[3][inside] = 255
            held.put(column, row, a_png(pixels))

        def look(asked, light=1.0, without=None):
            for _ in range(5):
                found = held.view.roofs(asked)
                needs = [at for at in found.needs if at[0] != without]
                if not needs:
                    return found
                for at in needs:
                    put(*at, light)
            raise AssertionError("cells are asked for without end")

        return held, put, look

    return make


def test_pixels_that_are_sent_give_the_roofs_of_a_file(look, sent):
    """The cells that are asked for are enough; the roofs are the town's."""
    asked = bounds(60, 60, 300, 400)
    found, want = sent()[2](asked), look().roofs(asked).roofs
    assert not found.needs and len(found.roofs) == len(want) > 10
    areas = sorted(roof.area for roof in want)
    assert sorted(roof.area for roof in found.roofs) == pytest.approx(areas, rel=0.05)


def test_cells_that_come_late_change_no_roof(sent, monkeypatch):
    """Blocks on both sides of a gap are known: no tile between them is inferred, and kept, without its pixels."""
    monkeypatch.setattr(module, "BLOCK", 96)
    monkeypatch.setattr(module, "MARGIN", 48)
    monkeypatch.setattr(cell_source, "CELL", 64)
    asked = bounds(60, 20, 300, 620)
    whole, late = sent(), sent()
    want = by_id(whole[2](asked).roofs)
    columns = sorted(column for column, _ in late[0].view.roofs(asked).needs)
    partly = late[2](asked, without=columns[len(columns) // 2])
    assert partly.needs and partly.roofs
    assert by_id(partly.roofs).items() <= want.items()
    assert by_id(late[2](asked).roofs) == want


def test_a_cell_that_is_sent_again_counts(sent):
    """As when a web map's picture did not come the first time."""
    held, put, look = sent()
    asked = bounds(60, 60, 300, 400)
    assert not look(asked, light=0.0).roofs
    tiles = len(held.view.tiles)
    for at in list(held.view.source._cells):
        put(*at, 0.0)
    assert len(held.view.tiles) == tiles, "the same pixels change nothing"
    for at in list(held.view.source._cells):
        put(*at)
    assert by_id(look(asked).roofs) == by_id(sent()[2](asked).roofs) != {}


def test_a_view_that_is_closed_looks_for_nothing_more(sent):
    held = sent()[0]
    held.close()
    held._look_ahead(WHOLE)
    with pytest.raises(RequestRefused, match="reads its raster itself"):
        Held(SimpleNamespace(source=None)).put(0, 0, b"")


def test_a_cell_that_is_no_picture_is_refused(model):
    source = CellSource("EPSG:32645", (300000.0, 3000000.0), model.card)
    whole, grey = (a_png(np.zeros((bands, CELL, CELL), np.uint8)) for bands in (3, 1))
    for png in (b"", b"no picture", grey):
        with pytest.raises(RequestRefused):
            source.put(1024, 1024, png)
    with pytest.raises(RequestRefused, match="no cell"):
        source.put(-1, 0, whole)
    assert source.count == 0
