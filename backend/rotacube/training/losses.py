"""What training minimises. Pixels without data are left out."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

SMOOTH = 50  # pixels: crops without a roof have a finite Jaccard index


def roof_loss(logits: Tensor, roof: Tensor, valid: Tensor) -> Tensor:
    """Binary cross-entropy (the loss of the Cube Kernel paper) and half a soft Jaccard loss.

    Args:
        logits: (B, 1, H, W).
        roof: (B, 1, H, W), 0 or 1.
        valid: (B, 1, H, W), 0 or 1.
    """
    cross = F.binary_cross_entropy_with_logits(logits, roof, valid, reduction="sum") / valid.sum().clamp(min=1)
    chance, truth = logits.sigmoid() * valid, roof * valid
    both = (chance * truth).sum((1, 2, 3))
    jaccard = 1 - (both + SMOOTH) / ((chance + truth).sum((1, 2, 3)) - both + SMOOTH)
    loss: Tensor = cross + 0.5 * jaccard.mean()
    return loss
