"""From logits and validity to class ids, as a model's card has them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rotacube.logits import class_ids
from rotacube.models.card import ModelCard
from rotacube.raster.write import NODATA


def labels_of(logits: NDArray[np.float32], valid: NDArray[np.bool_], card: ModelCard) -> NDArray[np.uint8]:
    """Class ids (H, W) of logits (outputs, H, W), nodata where `valid` (H, W) is false."""
    ids = class_ids(logits, card.threshold)
    ids[~valid] = NODATA
    return ids
