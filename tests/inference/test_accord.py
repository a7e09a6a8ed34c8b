"""Views of the same ground that disagree are counted pair by pair, and widen intervals beyond what a card explains."""

from __future__ import annotations

import numpy as np
import pytest

from rotacube.inference.accord import CELL, Accord, Cells
from rotacube.inference.shares import Blocks, shares
from rotacube.raster.grid import Box

SIDE = 64
NAMES = ["soil", "crop", "weed"]
CARD = {"a": [[0.97, 0.02, 0.01], [0.03, 0.96, 0.01], [0.05, 0.02, 0.93]]}
CARD["b"] = [[0.95, 0.03, 0.02], [0.04, 0.95, 0.01], [0.08, 0.03, 0.89]]
TRUTH = [0.6, 0.3, 0.1]


def counted(views, box, classes=3):
    """An accord of views: (window, found, seen) each."""
    accord, cells = Accord(classes), Cells(box, classes)
    for view in views:
        cells.add(*view)
    cells.tell(accord)
    return accord


def by_pairs(views, box):
    """The same, cell by cell and pair by pair."""
    pairs, (apart, other_, nowhere) = 0, np.zeros((3, 3), int)
    for top in range(box.top, box.bottom - CELL + 1, CELL):
        for left in range(box.left, box.right - CELL + 1, CELL):
            cell, there = Box(top, left, top + CELL, left + CELL), []
            for window, found, seen in views:
                if cell & window == cell and seen[cell.within(window)].all():
                    there.append(found[cell.within(window)])
            for one in there:
                for other in there:
                    if one is not other:
                        pairs += 1
                        number = one[CELL // 2, CELL // 2]
                        apart[number] += number not in other
                        other_ += np.arange(3) != other[CELL // 2, CELL // 2]
                        nowhere += [kind not in other for kind in range(3)]
    return pairs, apart.tolist(), other_.tolist(), nowhere.tolist()


def all_of(accord):
    return accord.pairs, accord.apart.tolist(), accord.other.tolist(), accord.nowhere.tolist()


def test_pairs_are_those_that_are_counted_one_by_one():
    rng = np.random.default_rng(0)
    box, views = Box(16, 8, 16 + 61, 8 + SIDE), []
    for window in (box, Box(16, 8, 50, 60), Box(27, 13, 77, 72), Box(16, 30, 40, 37), Box(70, 60, 77, 72)):
        coarse = rng.integers(0, 3, (-(-window.height // 9), -(-window.width // 9)))
        found = coarse.repeat(9, 0).repeat(9, 1)[: window.height, : window.width]
        views.append((window, found, rng.random(found.shape) > 0.002))
    accord = counted(views, box)
    assert all_of(accord) == by_pairs(views, box)
    assert accord.pairs > 100 and accord.apart.all()
    assert all_of(counted(views[::-1], box)) == all_of(accord)


def test_views_that_lie_some_pixels_off_each_other_agree():
    box = Box(0, 0, 256, 256)
    rows, columns = np.indices((300, 300))
    ground = (rows // 30 + columns // 40) % 3
    seen = np.ones((256, 256), bool)

    def off(pixels):
        views = [(box, ground[k : k + 256, k : k + 256], seen) for k in (10, 10 + pixels)]
        return counted(views, box).apart.sum()

    assert off(0) == off(3) == 0 < off(9)


def accord_of(rate, alike=0.0, views=5, seed=0):
    """Views of which each finds wrong cells at this rate, a share of these alike in all."""
    rng = np.random.default_rng(seed)
    box, count = Box(0, 0, 512, 512), 512 // CELL

    def wrong(field, rate):
        moved = (field + rng.integers(1, 3, field.shape)) % 3
        return np.where(rng.random(field.shape) < rate, moved, field)

    truth = wrong(rng.choice(3, (count, count), p=TRUTH), rate * alike)
    seen = np.ones((512, 512), bool)
    each = [wrong(truth, rate * (1 - alike)).repeat(CELL, 0).repeat(CELL, 1) for _ in range(views)]
    return counted([(box, found, seen) for found in each], box)


def width(accord):
    """Of weeds, with the sentences."""
    pixels = np.full(60, 4096.0)
    both = pixels[:, None] * TRUTH
    found = shares(Blocks(pixels, both, both), CARD, NAMES, accord=accord)
    return found.classes[2].high - found.classes[2].low, found.said


def test_intervals_widen_where_views_disagree_more_than_validation_says_and_never_narrow():
    usual, _ = width(None)
    for accord in (accord_of(0.0), accord_of(0.03), accord_of(0.3, alike=1.0)):
        same, said = width(accord)
        assert same == usual and "narrows nothing" in said[-1]
    some, more = width(accord_of(0.15)), width(accord_of(0.4))
    assert usual < some[0] < more[0]
    assert "times as much" in more[1][-1] and "disagree" in more[1][-1]


def test_what_views_say_is_measured_in_the_same_words_as_what_is_expected():
    accord = accord_of(0.2)
    # Cells are of one class, two views err independently: 1 - the sum of squares of the rates of each true class.
    rates = np.full((3, 3), 0.1) + np.eye(3) * 0.7
    for number, rate in enumerate(accord.rates):
        expected = np.array(TRUTH) @ (rates[:, number] * (1 - rates[:, number]))
        assert rate == pytest.approx(expected, rel=0.08)


def test_errors_finer_than_a_cell_are_not_hidden_by_the_rest_of_it():
    """Squares of 2 pixels are wrong: most cells have both classes somewhere, and disagree all the same."""
    rng, box = np.random.default_rng(0), Box(0, 0, 512, 512)
    seen, views = np.ones((512, 512), bool), []
    for _ in range(4):
        views.append((box, (rng.random((256, 256)) < 0.2).repeat(2, 0).repeat(2, 1).astype(int), seen))
    accord = counted(views, box, classes=2)
    np.testing.assert_allclose(accord.rates[1], 0.2 * 0.8, rtol=0.15)


def test_few_views_say_nothing():
    assert width(counted([(Box(0, 0, 8, 8), np.zeros((8, 8), int), np.ones((8, 8), bool))], Box(0, 0, 8, 8))) == width(
        None
    )


def test_the_shares_of_votes_are_corrected_not_those_of_their_mask():
    """The joint vote has outvoted single errors; to take the card's off once more would be too much."""
    pixels = np.full(200, 4096.0)
    truth = np.array(TRUTH)
    votes = pixels[:, None] * (truth @ np.mean(list(CARD.values()), axis=0))
    mask = chance = pixels[:, None] * truth
    right, wrong = (shares(Blocks(pixels, mask, chance, v), CARD, NAMES).classes for v in (votes, None))
    for one, other, there in zip(right, wrong, truth, strict=True):
        assert one.found == other.found == pytest.approx(there)
        assert abs(one.best - there) < 0.5 * abs(other.best - there)
