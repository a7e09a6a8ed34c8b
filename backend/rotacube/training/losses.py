"""What training minimises. Pixels of which nothing is known are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SMOOTH = 50  # pixels: crops without a roof have a finite Jaccard index
BORDER_WEIGHT = 4.0
"""Of a pixel between two roofs over another: there are few."""


def class_loss(logits: Tensor, labels: Tensor, valid: Tensor, weights: Sequence[float] = ()) -> Tensor:
    """Cross-entropy (the loss of the Cube Kernel paper) and half a soft Jaccard loss.

    Of two classes the Jaccard loss is that of the second one in each crop; of more the mean over the classes that are
    there, each in the whole batch, so that rare ones count.

    Args:
        logits: (B, 1, H, W), or (B, K, H, W) of K > 2 classes.
        labels: (B, 1, H, W), numbers of classes.
        valid: (B, 1, H, W), 0 or 1.
        weights: of the classes in the cross-entropy; none: all of them count the same.
    """
    weight = valid * labels.new_tensor(weights)[labels.long()] if weights else valid
    if logits.shape[1] == 1:
        cross = _mean(F.binary_cross_entropy_with_logits(logits, labels, reduction="none"), weight)
        jaccard = _jaccard(logits.sigmoid() * valid, labels * valid, (1, 2, 3))
        known = (valid.sum((1, 2, 3)) > 0).float()
    else:
        cross = _mean(F.cross_entropy(logits, labels[:, 0].long(), reduction="none")[:, None], weight)
        truth = F.one_hot(labels[:, 0].long(), logits.shape[1]).movedim(-1, 1).to(logits.dtype) * valid
        jaccard = _jaccard(logits.softmax(1) * valid, truth, (0, 2, 3))
        known = (truth.sum((0, 2, 3)) > 0).float()
    loss: Tensor = cross + 0.5 * (jaccard * known).sum() / known.sum().clamp(min=1)
    return loss


def _jaccard(chance: Tensor, truth: Tensor, over: tuple[int, ...]) -> Tensor:
    both = (chance * truth).sum(over)
    loss: Tensor = 1 - (both + SMOOTH) / ((chance + truth).sum(over) - both + SMOOTH)
    return loss


def separation_losses(maps: Mapping[str, Tensor], item: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The losses of what tells roofs apart, by the outputs' names.

    Args:
        maps: the network's outputs, each (B, C, H, W): "border" and "distance" as logits, "direction" as it is.
        item: the targets of the same names, the labels, and "certain" (B, 1, H, W), where single roofs are known.
    """
    certain, losses = item["certain"], {}
    if "border" in maps:
        weight = certain * (1 + (BORDER_WEIGHT - 1) * item["border"])
        cross = F.binary_cross_entropy_with_logits(maps["border"], item["border"], reduction="none")
        losses["border"] = _mean(cross, weight)
    if "distance" in maps:
        cross = F.binary_cross_entropy_with_logits(maps["distance"], item["distance"], reduction="none")
        losses["distance"] = _mean(cross, certain)
    if "direction" in maps:
        error = (maps["direction"] - item["direction"]).square().sum(1, keepdim=True)
        losses["direction"] = _mean(error, certain * item["labels"])
    return losses


def imitation_loss(maps: Mapping[str, Tensor], taught: Mapping[str, Tensor], seen: Tensor) -> Tensor:
    """Cross-entropy with a teacher's softened outputs, which are logits as ours; directions are not imitated.

    Source: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015.

    Args:
        maps: the network's outputs by name, each (B, C, H, W).
        taught: the teacher's.
        seen: (B, 1, H, W), 1 where there is imagery, whether labelled or not.
    """
    parts = [
        _mean(
            F.binary_cross_entropy_with_logits(maps[name], taught[name].sigmoid(), reduction="none")
            if maps[name].shape[1] == 1
            else F.cross_entropy(maps[name], taught[name].softmax(1), reduction="none")[:, None],
            seen,
        )
        for name in maps
        if name in taught and name != "direction"
    ]
    return torch.stack(parts).sum()


def feature_loss(projected: Tensor, taught: Tensor) -> Tensor:
    """One less the cosine between a network's maps, projected to a teacher's width, and the teacher's.

    Args:
        projected: (B, C, h, w).
        taught: (B, C, H, W), is brought to h x w.
    """
    taught = F.interpolate(taught, projected.shape[2:], mode="bilinear", align_corners=False)
    return 1 - F.cosine_similarity(projected, taught, dim=1).mean()


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """The weighted mean; zero where nothing has a weight."""
    mean: Tensor = (values * weight).sum() / weight.sum().clamp(min=1)
    return mean
