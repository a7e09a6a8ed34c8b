"""What logits say of classes. Two classes share one logit; K > 2 classes have one each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def outputs_of(classes: int) -> int:
    """How many logits a pixel, or an image, has for so many classes.

    >>> outputs_of(2), outputs_of(5)
    (1, 5)
    """
    return 1 if classes == 2 else classes


def class_ids(logits: NDArray[np.float32], threshold: float) -> NDArray[np.uint8]:
    """The class of every pixel.

    Args:
        logits: (outputs, ...).
        threshold: the probability from which on a pixel is of class 1, where two classes share a logit.

    Returns:
        Ids (...), the likeliest class where there are more than two.
    """
    if len(logits) == 1:
        ids: NDArray[np.uint8] = (logits[0] > np.log(threshold / (1 - threshold))).astype(np.uint8)
        return ids
    likeliest: NDArray[np.uint8] = logits.argmax(0).astype(np.uint8)
    return likeliest


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The probability that a logit of its own stands for."""
    chance: NDArray[np.float32] = (0.5 * (1 + np.tanh(0.5 * logits))).astype(np.float32)
    return chance


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The probability of each class, (classes, ...), which sum to one: the sigmoid of one logit, the softmax of more.

    Args:
        logits: (outputs, ...).
    """
    if len(logits) == 1:
        one = sigmoid(logits[0])
        return np.stack([1 - one, one])
    raised = np.exp(logits - logits.max(0))
    whole: NDArray[np.float32] = (raised / raised.sum(0)).astype(np.float32)
    return whole
