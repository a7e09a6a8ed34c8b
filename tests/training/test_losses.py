"""The loss: against its formula in numpy, and pixels without data count for nothing."""

from __future__ import annotations

import numpy as np
import torch

from rotacube.training.losses import SMOOTH, roof_loss


def test_the_loss_is_cross_entropy_and_half_a_soft_jaccard_of_the_pixels_with_data():
    rng = np.random.default_rng(1)
    logits, roof, valid = rng.normal(0, 2, (2, 1, 9, 8)), rng.random((2, 1, 9, 8)) > 0.6, rng.random((2, 1, 9, 8)) > 0.3
    chance = 1 / (1 + np.exp(-logits))
    cross = -(np.where(roof, np.log(chance), np.log(1 - chance)) * valid).sum() / valid.sum()
    both, either = (chance * roof * valid).sum((1, 2, 3)), ((chance + roof) * valid).sum((1, 2, 3))
    jaccard = (1 - (both + SMOOTH) / (either - both + SMOOTH)).mean()
    given = [torch.tensor(v, dtype=torch.float64) for v in (logits, roof, valid)]
    np.testing.assert_allclose(roof_loss(*given).item(), cross + 0.5 * jaccard, rtol=1e-9)
    spoilt = given[0].clone()
    spoilt[given[2] == 0] = 50
    np.testing.assert_allclose(roof_loss(spoilt, *given[1:]).item(), roof_loss(*given).item(), rtol=1e-12)


def test_without_data_the_loss_is_finite():
    zero = torch.zeros(1, 1, 4, 4)
    assert roof_loss(zero, zero, zero).item() == 0
