"""What logits say of classes, against PyTorch's own sigmoid and softmax."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rotacube.logits import class_ids, outputs_of, probabilities


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_probabilities_are_pytorchs(classes):
    logits = np.random.default_rng(classes).normal(0, 30, (outputs_of(classes), 5, 6)).astype(np.float32)
    got, given = probabilities(logits), torch.from_numpy(logits)
    if classes == 2:
        want = torch.cat([1 - given.double().sigmoid(), given.double().sigmoid()])
    else:
        want = given.double().softmax(0)
    assert got.dtype == np.float32 and got.shape == (classes, 5, 6)
    np.testing.assert_allclose(got, want.numpy(), atol=1e-6)
    np.testing.assert_allclose(got.sum(0), 1, atol=1e-6)


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.83])
def test_of_two_classes_the_second_begins_at_the_threshold(threshold):
    logits = np.random.default_rng(1).normal(0, 3, (1, 40, 50)).astype(np.float32)
    want = torch.from_numpy(logits[0]).double().sigmoid().numpy() > threshold
    ids = class_ids(logits, threshold)
    assert ids.dtype == np.uint8 and ids.shape == (40, 50)
    np.testing.assert_array_equal(ids, want)


def test_of_more_classes_the_likeliest_is_taken():
    logits = np.random.default_rng(2).normal(size=(5, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(class_ids(logits, 0.9), torch.from_numpy(logits).argmax(0).numpy())
