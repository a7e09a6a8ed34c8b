"""Rows and blocks hold roofs that touch, and their borders show."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from rotacube.training.drawn.canvas import Canvas, sides
from rotacube.training.drawn.ground import tree
from rotacube.training.drawn.scenes import Scene, draw_scene

SEEDS = range(4)


@pytest.fixture(scope="module")
def drawn() -> dict[str, list[Scene]]:
    return {name: [draw_scene(seed, 400, 400, 0.25, setting=name) for seed in SEEDS] for name in ("terraces", "blocks")}


def neighbours(ids: np.ndarray) -> dict[int, set[int]]:
    """The roofs that touch each roof, by three pixels or more."""
    steps = np.concatenate([
        np.stack([ids[1:], ids[:-1]], -1).reshape(-1, 2),
        np.stack([ids[:, 1:], ids[:, :-1]], -1).reshape(-1, 2),
    ])  # fmt: skip
    pairs, pixels = np.unique(np.sort(steps[(steps > 0).all(1)], axis=1), axis=0, return_counts=True)
    touching: dict[int, set[int]] = {int(roof): set() for roof in np.unique(ids) if roof}
    for a, b in pairs[(pixels >= 3) & (pairs[:, 0] != pairs[:, 1])].tolist():
        touching[a].add(b)
        touching[b].add(a)
    return touching


def house_neighbours(scene: Scene) -> np.ndarray:
    """How many roofs touch each roof of 20 m2 or more: sheds stand alone."""
    sizes = np.bincount(scene.ids.ravel()) * 0.25**2
    return np.array([len(others) for roof, others in neighbours(scene.ids).items() if sizes[roof] > 20])


def test_terraces_are_rows_of_roofs_that_touch(drawn):
    for scene in drawn["terraces"]:
        count = house_neighbours(scene)
        assert len(count) > 40
        assert (count > 0).mean() > 0.9 and (count == 2).mean() > 0.4


def test_roofs_in_blocks_have_several_neighbours(drawn):
    count = np.concatenate([house_neighbours(scene) for scene in drawn["blocks"]])
    assert (count > 1).mean() > 0.7 and (count > 2).mean() > 0.1


def courtyards(ids: np.ndarray) -> list[np.ndarray]:
    """Ground of 100 m2 or more that roofs enclose."""
    parts, count = ndimage.label(ids == 0)
    outside = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    enclosed = [parts == part for part in set(range(1, count + 1)) - set(outside.tolist())]
    return [part for part in enclosed if part.sum() * 0.25**2 > 100]


def test_blocks_enclose_courtyards(drawn):
    found = [(scene.ids, yard) for scene in drawn["blocks"] for yard in courtyards(scene.ids)]
    assert len(found) >= 4
    for ids, yard in found:
        around = np.unique(ids[ndimage.binary_dilation(yard, np.ones((3, 3))) & ~yard])
        assert 0 not in around and len(around) >= 6, "several buildings stand around it"


@pytest.mark.parametrize("setting", ["terraces", "blocks"])
def test_borders_between_roofs_show(drawn, setting):
    """Colours step more from roof to roof than within one, and no ground lies between them."""
    for scene in drawn[setting]:
        borders, inside = [], []
        for axis in (0, 1):
            step = np.abs(np.diff(scene.image.astype(float), axis=axis + 1)).mean(0)
            low, high = (scene.ids.take(range(i, 399 + i), axis) for i in (0, 1))
            roofs = (low > 0) & (high > 0)
            borders.append(step[roofs & (low != high)])
            inside.append(step[roofs & (low == high)])
        assert np.concatenate(borders).mean() > 1.25 * np.concatenate(inside).mean()
        assert len(np.concatenate(borders)) > 500


def test_neighbours_differ_in_colour_or_height(drawn):
    """Of most pairs that touch, the medians of their colours are apart."""
    apart = []
    for scene in drawn["terraces"]:
        sizes = np.bincount(scene.ids.ravel())
        for roof, others in neighbours(scene.ids).items():
            for other in (other for other in others if other > roof and min(sizes[other], sizes[roof]) > 300):
                medians = [np.median(scene.image[:, scene.ids == i], axis=1) for i in (roof, other)]
                apart.append(np.abs(medians[0] - medians[1]).mean())
    assert np.mean(np.array(apart) > 4) > 0.8


def test_a_crown_over_the_eaves_leaves_the_label():
    for share, hidden in ((2, True), (6, False)):
        canvas = Canvas(np.random.default_rng(0), 100, 100, 0.15)
        canvas.rgb[:], canvas.ids[:, :45] = 150.0, 1  # the eaves run half a metre left of the trunk
        before = canvas.ids.copy()
        tree(canvas, 0j, 3.0, share)
        np.testing.assert_array_equal(canvas.ids, before)
        assert (canvas.rgb[:, :, :40] != 150).any() == hidden


def test_sides_go_round_a_block_and_look_inwards():
    four = sides((0.0, 0.0, 30.0, 20.0))
    for side, after in zip(four, four[1:] + four[:1]):
        assert side.at(side.length, 0) == after.at(0, 0)
        u0, v0, u1, v1 = side.rect(2, 5, 1, 4)
        assert 0 < u0 < u1 < 30 and 0 < v0 < v1 < 20 and (u1 - u0, v1 - v0) == (3, 3)


@pytest.mark.parametrize("index", range(4))
def test_a_lot_has_its_axes_along_and_away_from_its_street(index):
    canvas = Canvas(np.random.default_rng(0), 300, 300, 0.15)
    side = sides((-20.0, -15.0, 20.0, 15.0))[index]
    patch = canvas.lot(side, 4, 10, 2, 5)
    for s, t in ((5.0, 3.0), (9.0, 4.5)):
        place, _ = canvas.place(side.at(s, t))
        row, column = (int(part / 0.15 + 150) for part in (place.imag, place.real))
        at = row - patch.window[0].start, column - patch.window[1].start
        assert (patch.u[at], patch.v[at]) == pytest.approx((s - 7, t - 3.5), abs=0.2)
