"""Single roofs: those that touch come apart where depth or border says so, and none is lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.ndimage import gaussian_filter
from skimage.measure import label
from skimage.morphology import local_maxima
from skimage.segmentation import watershed

from rotacube.training.datasets.targets import border_of, depth_of
from rotacube.training.metrics import compare_roofs
from rotacube.vector.instances import SMOOTH, separate_roofs, without_unsure


def terrace(count=5, wide=24, deep=40):
    """A row of houses that share their walls, and a shed of its own: numbers a roof."""
    ids = np.zeros((deep + 40, count * wide + 40), np.int32)
    for number in range(count):
        ids[20 : 20 + deep - 3 * (number % 2), 20 + number * wide : 20 + (number + 1) * wide] = number + 1
    ids[4:10, 4:12] = count + 1
    return ids


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize(("with_border", "saddle"), [(False, 0.2), (True, 0.2), (True, 0.5)])
def test_houses_that_share_walls_come_apart(turn, with_border, saddle):
    ids = np.rot90(terrace(), turn)
    border = border_of(ids).astype(np.float32) if with_border else None
    found = separate_roofs(ids > 0, depth_of(ids), border, saddle=saddle)
    assert found.max() == 6 and (found > 0).tolist() == (ids > 0).tolist()
    roofs = compare_roofs(ids, found, np.ones(ids.shape, bool), 0.3)
    assert (roofs.matched, roofs.merged, roofs.split) == (6, 0, 0)


def test_without_depth_what_is_connected_is_one_roof():
    assert separate_roofs(terrace() > 0).max() == 2


def test_a_border_that_weighs_nothing_changes_nothing():
    ids = terrace()
    depth, border = np.where(ids > 0, 1, 0).astype(np.float32), border_of(ids).astype(np.float32)
    assert separate_roofs(ids > 0, depth, border, weight=0).max() == 2
    assert separate_roofs(ids > 0, depth, border, weight=1).max() == 6


def test_small_pieces_are_no_roofs_and_numbers_have_no_gaps():
    ids = terrace()
    found = separate_roofs(ids > 0, depth_of(ids), smallest=100)
    assert np.unique(found).tolist() == list(range(6)) and not found[:12].any()
    assert not separate_roofs(np.zeros((5, 7), bool), np.zeros((5, 7), np.float32)).any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 0.9), st.floats(0, 1))
def test_any_mask_is_covered_by_connected_roofs(number, saddle, weight):
    rng = np.random.default_rng(number)
    mask = rng.random((rng.integers(1, 40), rng.integers(1, 40))) > rng.random()
    depth, border = rng.random((2, *mask.shape), np.float32)
    found = separate_roofs(mask, depth, border, saddle=saddle, weight=weight)
    assert found.dtype == np.int32 and found.shape == mask.shape
    np.testing.assert_array_equal(found > 0, mask)
    assert np.unique(found[found > 0]).tolist() == list(range(1, found.max() + 1))
    assert all(label(found == one, connectivity=1).max() == 1 for one in range(1, found.max() + 1))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([2.0, 4.0, 8.0]))
def test_basins_are_those_of_a_watershed(seed, grain):
    """Without joining, each peak's basin is that of scikit-image's flooding, but for pixels where both are as near."""
    rng = np.random.default_rng(seed)
    depth = gaussian_filter(rng.random((90, 110)), grain)
    depth = ((depth - depth.min()) / np.ptp(depth)).astype(np.float32)
    roof = gaussian_filter(rng.random(depth.shape), 6) > 0.5
    found = separate_roofs(roof, depth, saddle=0.0)
    height = np.where(roof, gaussian_filter(depth, SMOOTH), -1)
    wanted = watershed(-height, label(local_maxima(height, connectivity=1) & roof, connectivity=1), mask=roof)
    assert found.max() == wanted.max()
    pairs, count = np.unique(np.stack([found[roof], wanted[roof]]), axis=1, return_counts=True)
    largest = [count[pairs[0] == number].max() for number in range(1, found.max() + 1)]
    assert sum(largest) >= 0.97 * roof.sum()


def test_roofs_that_are_not_likely_enough_are_none():
    rng = np.random.default_rng(2)
    ids = np.kron(rng.permutation(12).reshape(3, 4), np.ones((5, 7))).astype(np.int32)
    chance = rng.random(ids.shape)
    means = dict(zip(range(1, 12), ndimage.mean(chance, ids, range(1, 12)), strict=True))
    least = np.mean(sorted(means.values())[4:6])
    kept = {number for number, mean in means.items() if mean >= least}
    assert set(np.unique(without_unsure(ids, chance, least))) == {0, *kept} and len(kept) == 6
    spared = np.array(sorted(set(means) - kept)[:2])
    found = without_unsure(ids, chance, least, spared)
    np.testing.assert_array_equal(found, np.where(np.isin(ids, [*kept, *spared]), ids, 0))
    np.testing.assert_array_equal(without_unsure(ids, chance, 0.0), ids)
    assert not without_unsure(np.zeros((4, 4), np.int32), np.ones((4, 4)), 0.5).any()


def test_level_ground_is_one_roof():
    roof = np.zeros((40, 60), bool)
    roof[5:30, 5:20] = roof[10:35, 30:55] = True
    assert separate_roofs(roof, roof.astype(np.float32)).max() == 2
    assert separate_roofs(roof, np.zeros(roof.shape, np.float32)).max() == 2


@pytest.mark.parametrize("turn", range(4))
def test_a_border_alone_tells_roofs_apart(turn):
    ids = np.rot90(terrace(), turn)
    found = separate_roofs(ids > 0, None, border_of(ids).astype(np.float32), saddle=0.3, weight=1.0)
    assert found.max() == ids.max()
    assert compare_roofs(ids, found, np.ones(ids.shape, bool), 0.15).f1 == 1
