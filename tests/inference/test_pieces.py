"""Pieces of a map: the same whatever blocks it is cut into."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from rotacube.inference import pieces as module
from rotacube.inference.findings import FULL, LABELS, Finding
from rotacube.inference.pieces import Pieces, Splitter, roofs_of
from rotacube.inference.store import Store
from rotacube.raster.grid import Box
from rotacube.raster.write import NODATA
from rotacube.training.datasets.targets import border_of, depth_of
from rotacube.training.drawn.scenes import draw_scene
from rotacube.vector.instances import separate_roofs

NAMES = [LABELS, "chance 1", "distance", "border"]


@pytest.fixture(scope="module")
def card(make_card):
    further = [{"name": name, "channels": 1, "meaning": "x"} for name in ("border", "distance")]
    return make_card(further=further, separation={"saddle": 0.2, "border": 0.5, "smallest": 0})


@pytest.fixture(scope="module")
def town():
    """What a network would say of a drawn town: the parts of a finding, by name."""
    ids = np.concatenate([draw_scene(s, 360, 460, 0.15, setting="terraces").ids for s in (1, 2)])
    rng = np.random.default_rng(0)
    wobble = ndimage.gaussian_filter(rng.standard_normal(ids.shape), 2)
    depth = np.clip(depth_of(ids) + 0.3 * wobble, 0, 1)
    border = np.clip(ndimage.gaussian_filter(border_of(ids).astype(float), 1) + 0.1 * wobble, 0, 1)
    chance = np.where(ids > 0, 0.8, 0.1)
    labels = (ids > 0).astype(np.uint8)
    labels[:20, :30] = NODATA
    found = {LABELS: labels} | {
        name: np.rint(values * FULL).astype(np.uint8)
        for name, values in (("chance 1", chance), ("distance", depth), ("border", border))
    }
    for part in found.values():
        part[:20, :30] = NODATA
    return found


def stored(folder, town, area, height=100):
    """A store with the strips of an area."""
    store = Store(folder / "store", area, NAMES)
    store.begin({}, resume=False)
    for top in range(area.top, area.bottom, height):
        box = Box(top, area.left, min(top + height, area.bottom), area.right)
        store.add(Finding(box, {name: town[name][box.within(Box(0, 0, 9999, 9999))] for name in NAMES}))
    return store


def whole_of(town, card):
    """The pieces in one go."""
    height, width = town[LABELS].shape
    seen = {name: town[name] for name in roofs_of(card).names}
    return roofs_of(card).split(seen)[0], Box(0, 0, height, width)


def same_parts(ids, others):
    """Whether two ways of numbering are the same, but for the numbers."""
    assert ((ids > 0) == (others > 0)).all()
    pairs = np.unique(np.column_stack([ids[ids > 0], others[ids > 0]]), axis=0)
    return len(pairs) == len(np.unique(pairs[:, 0])) == len(np.unique(pairs[:, 1]))


@pytest.mark.parametrize("block", [64, 150, 4096])
def test_blocks_change_nothing(block, town, card, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", block)
    monkeypatch.setattr(module, "MARGIN", 96)
    expected, extent = whole_of(town, card)
    assert expected.max() > 30
    shares = []
    pieces = Pieces(stored(tmp_path, town, extent), tmp_path / "pieces", roofs_of(card), 1)
    table = pieces.find(shares.append)
    ids = pieces.read(extent)
    assert same_parts(expected, ids)
    assert shares[-1] == 1 and shares == sorted(shares)
    np.testing.assert_array_equal(table.pixels, np.bincount(ids.ravel())[1:])
    np.testing.assert_allclose(table.confidence, 0.8, atol=0.01)
    for number, (rows, columns) in enumerate(ndimage.find_objects(ids)):
        assert table.bounds[number].tolist() == [rows.start, columns.start, rows.stop, columns.stop]
    given = np.zeros(ids.shape, np.int32)
    for each in pieces.each(table):
        part = np.where(np.isin(each.ids, each.own), each.ids, 0)
        given[each.box.within(extent)] += part
    np.testing.assert_array_equal(given, ids)


def test_a_part_has_the_roofs_of_the_whole_but_those_at_its_edge(town, card, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 128)
    expected, _ = whole_of(town, card)
    area = Box(170, 33, 505, 371)
    pieces = Pieces(stored(tmp_path, town, area), tmp_path / "pieces", roofs_of(card), 1)
    pieces.find(lambda share: None)
    ids, cut = pieces.read(area), expected[area.within(Box(0, 0, *expected.shape))]
    edge = np.unique(np.concatenate([cut[0], cut[-1], cut[:, 0], cut[:, -1]]))
    inner = ~np.isin(cut, edge) & (cut > 0)
    assert len(np.unique(cut[inner])) > 10
    assert same_parts(np.where(inner, cut, 0), np.where(inner, ids, 0))


def test_small_pieces_are_none_and_numbers_have_no_gaps(town, card, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 128)
    _, extent = whole_of(town, card)
    pieces = Pieces(stored(tmp_path, town, extent), tmp_path / "pieces", roofs_of(card), 400)
    table = pieces.find(lambda share: None)
    assert table.pixels.min() >= 400
    assert np.unique(pieces.read(extent)).tolist() == list(range(len(table.number) + 1))


@pytest.mark.parametrize("block", [64, 4096])
def test_pieces_that_are_not_likely_enough_are_none_wherever_blocks_lie(block, town, card, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", block)
    monkeypatch.setattr(module, "MARGIN", 96)
    expected, extent = whole_of(town, card)
    numbers = np.arange(1, expected.max() + 1)
    likely = np.random.default_rng(1).uniform(0.55, 0.95, len(numbers) + 1)
    faded = dict(town)
    faded["chance 1"] = np.where(expected > 0, np.rint(likely[expected] * FULL), town["chance 1"]).astype(np.uint8)
    means = ndimage.mean(faded["chance 1"], expected, numbers) / FULL
    surer = card.model_copy(update={"separation": card.separation.model_copy(update={"sure": 0.75})})
    pieces = Pieces(stored(tmp_path, faded, extent), tmp_path / "pieces", roofs_of(surer), 1)
    table = pieces.find(lambda share: None)
    want = np.isin(expected, numbers[means >= 0.75])
    assert 0 < want.sum() < (expected > 0).sum()
    np.testing.assert_array_equal(pieces.read(extent) > 0, want)
    assert table.confidence.min() >= 0.75 and len(table.number) == (means >= 0.75).sum()


def test_a_piece_too_large_is_cut_at_the_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 64)
    monkeypatch.setattr(module, "LONGEST", 200)
    labels = np.zeros((300, 400), np.uint8)
    labels[10:290, 30:50] = 1
    labels[100:150, 100:220] = 1
    area = Box(0, 0, 300, 400)
    store = Store(tmp_path / "store", area, [LABELS])
    store.begin({}, resume=False)
    store.add(Finding(area, {LABELS: labels}))
    splitter = Splitter([LABELS], lambda parts: (separate_roofs(parts[LABELS] > 0), parts[LABELS].astype(np.int32)))
    table = Pieces(store, tmp_path / "pieces", splitter, 1).find(lambda share: None)
    assert sorted(table.pixels.tolist()) == sorted([54 * 20, 64 * 20, 64 * 20, 64 * 20, 34 * 20, 50 * 120])


def test_nothing_has_no_pieces(tmp_path, card):
    area = Box(5, 7, 45, 60)
    store = Store(tmp_path / "store", area, NAMES)
    store.begin({}, resume=False)
    pieces = Pieces(store, tmp_path / "pieces", roofs_of(card), 1)
    table = pieces.find(lambda share: None)
    assert not len(table.number) and not list(pieces.each(table)) and not pieces.read(area).any()
