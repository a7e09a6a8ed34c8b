"""Pictures of what a model finds: image, truth and prediction side by side, one colour a roof or a class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rotacube.models.card import ModelCard
from rotacube.training.evaluate import Answer

GAP = 4
UNKNOWN = (128, 128, 128)


def panel(answer: Answer, card: ModelCard) -> NDArray[np.uint8]:
    """Image, truth, what is found: (3, H, 3 W + 2 gaps).

    For the task of rooftops a colour a roof, grey where nobody knows which one it is; else the colours of the classes.
    """
    area = answer.area
    image = np.where(area.seen, area.image, 0).astype(np.uint8)
    if card.task == "rooftops":
        truth, found = coloured(image, area.ids), coloured(image, answer.roofs(card.threshold, card.separation))
        truth[:, area.roof & (area.ids == 0)] = np.array(UNKNOWN)[:, None]
    else:
        truth, found = (_by_class(image, labels, card) for labels in (area.labels, answer.labels(card.threshold)))
    gap = np.full((3, image.shape[1], GAP), 255, np.uint8)
    return np.concatenate([image, gap, truth, gap, found], 2).astype(np.uint8)


def _by_class(image: NDArray[np.uint8], labels: NDArray[np.uint8], card: ModelCard) -> NDArray[np.uint8]:
    """The image, darker, with all classes but the first in their colours."""
    colours = np.array([part.rgb for part in card.classes], np.uint8)
    shown: NDArray[np.uint8] = np.where(labels > 0, colours[labels].transpose(2, 0, 1), image // 3)
    return shown


def coloured(image: NDArray[np.uint8], ids: NDArray[np.int32]) -> NDArray[np.uint8]:
    """The image, darkened, with each roof in a colour of its own.

    Args:
        image: (3, H, W).
        ids: (H, W), a number a roof, 0 elsewhere.
    """
    rng = np.random.default_rng(0)
    colours = rng.integers(60, 256, (int(ids.max()) + 1, 3))
    colours[np.arange(len(colours)), rng.integers(0, 3, len(colours))] = 0  # none is grey
    shown = (0.35 * image).astype(np.uint8)
    roofs = ids > 0
    shown[:, roofs] = (0.3 * image[:, roofs] + 0.7 * colours[ids[roofs]].T).astype(np.uint8)
    return shown
