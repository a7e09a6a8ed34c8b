"""Boxes: against what a person can count, and loops over single boxes and samples."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rotacube.networks.boxes import areas, changed, changes, cut_out, overlap, suppressed, within


def some(count, seed=0, side=60.0):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, side, (count, 2))
    return torch.tensor(np.concatenate([low, low + rng.uniform(2, 25, (count, 2))], 1), dtype=torch.float32)


def test_overlap_is_that_of_shapely():
    one, other = some(7, 1), some(9, 2)
    shapes = [[shapely.box(*box) for box in boxes.tolist()] for boxes in (one, other)]
    want = [[a.intersection(b).area / a.union(b).area for b in shapes[1]] for a in shapes[0]]
    np.testing.assert_allclose(overlap(one, other).numpy(), want, atol=1e-6)
    np.testing.assert_allclose(areas(one).numpy(), [a.area for a in shapes[0]], rtol=1e-6)


@given(st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_changes_bring_anchors_to_boxes_whatever_their_weights(seed):
    boxes, anchors = some(6, seed), some(6, seed + 1)
    for weights in ((1, 1, 1, 1), (10, 10, 5, 5)):
        torch.testing.assert_close(
            changed(anchors, changes(boxes, anchors, weights), weights), boxes, atol=1e-3, rtol=0
        )


def test_a_wild_change_stays_finite_and_in_the_image():
    wild = changed(some(3), torch.full((3, 4), 500.0))
    assert torch.isfinite(wild).all()
    inside = within(wild, 40, 50)
    assert (inside >= 0).all() and (inside[:, 2] <= 50).all() and (inside[:, 3] <= 40).all()


@given(st.integers(0, 1000), st.sampled_from([0.1, 0.3, 0.7]))
@settings(max_examples=25, deadline=None)
def test_of_boxes_that_overlap_the_best_is_kept(seed, most):
    boxes, scores = some(30, seed, side=30), torch.rand(30, generator=torch.Generator().manual_seed(seed))
    kept = []
    for number in scores.argsort(descending=True).tolist():
        if all(overlap(boxes[[number]], boxes[[other]]).item() <= most for other in kept):
            kept.append(number)
    assert suppressed(boxes, scores, most).tolist() == kept
    assert suppressed(boxes[:0], scores[:0], most).tolist() == []


@pytest.mark.parametrize("stride", [1, 4])
def test_cells_are_means_of_four_bilinear_samples(stride):
    maps = torch.randn(2, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    boxes, owners, size = some(5, 3, side=10) * stride, torch.tensor([0, 1, 1, 0, 1]), 3

    def at(image, channel, x, y):
        x, y = min(max(x - 0.5, 0), 23), min(max(y - 0.5, 0), 19)
        left, top = min(int(x), 22), min(int(y), 18)
        a, b = x - left, y - top
        m = maps[image, channel]
        above = m[top, left] * (1 - a) + m[top, left + 1] * a
        below = m[top + 1, left] * (1 - a) + m[top + 1, left + 1] * a
        return (above * (1 - b) + below * b).item()

    found = cut_out(maps, boxes, owners, size, stride)
    assert found.shape == (5, 3, size, size)
    for n, (left, top, right, bottom) in enumerate((boxes / stride).tolist()):
        width, height = (right - left) / size, (bottom - top) / size
        for row, column in ((0, 0), (1, 2), (2, 1)):
            samples = [
                at(owners[n], 1, left + (column + u) * width, top + (row + v) * height)
                for u in (0.25, 0.75)
                for v in (0.25, 0.75)
            ]
            assert found[n, 1, row, column].item() == pytest.approx(np.mean(samples), abs=1e-4)


def test_what_lies_under_a_box_is_differentiable():
    maps = torch.randn(1, 1, 6, 7, dtype=torch.float64, requires_grad=True)
    boxes = torch.tensor([[0.7, 1.2, 5.1, 4.9]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda m: cut_out(m, boxes, torch.zeros(1, dtype=torch.long), 2, 1.0), (maps,))
