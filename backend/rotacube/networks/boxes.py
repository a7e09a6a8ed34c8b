"""Boxes, for networks that find objects: overlap, changes to anchors, suppression, and maps cut out under boxes.

A box is left, top, right, bottom in pixels, (N, 4); the middle of pixel i lies at i + 0.5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

MOST_GROWTH = math.log(1000 / 16)
"""By which factor, as a logarithm, a side grows at most: a wild change stays finite (Ren et al. 2015)."""


def areas(boxes: Tensor) -> Tensor:
    """Pixels of boxes, (N,)."""
    size = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0)
    return size[:, 0] * size[:, 1]


def overlap(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union of each of N boxes with each of M, (N, M).

    >>> overlap(torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[0.0, 0, 4, 2], [9, 9, 10, 10]]))
    tensor([[0.5000, 0.0000]])
    """
    low, high = torch.maximum(one[:, None, :2], other[:, :2]), torch.minimum(one[:, None, 2:], other[:, 2:])
    size = (high - low).clamp(min=0)
    both = size[..., 0] * size[..., 1]
    return both / (areas(one)[:, None] + areas(other) - both).clamp(min=1e-6)


def changes(boxes: Tensor, anchors: Tensor, weights: Sequence[float] = (1, 1, 1, 1)) -> Tensor:
    """What brings anchors to boxes, (N, 4): shift of the middle in sides, logarithm of the sides' ratio."""
    sides, to = anchors[:, 2:] - anchors[:, :2], boxes[:, 2:] - boxes[:, :2]
    shift = (boxes[:, :2] + to / 2 - anchors[:, :2] - sides / 2) / sides
    return torch.cat([shift, (to / sides).log()], 1) * shift.new_tensor(weights)


def changed(anchors: Tensor, change: Tensor, weights: Sequence[float] = (1, 1, 1, 1)) -> Tensor:
    """Anchors after `changes`."""
    change = change / change.new_tensor(weights)
    sides = anchors[:, 2:] - anchors[:, :2]
    middle = anchors[:, :2] + sides / 2 + change[:, :2] * sides
    half = sides * change[:, 2:].clamp(max=MOST_GROWTH).exp() / 2
    return torch.cat([middle - half, middle + half], 1)


def within(boxes: Tensor, height: int, width: int) -> Tensor:
    """Boxes cut off at the edge of an image."""
    return torch.stack([boxes[:, 0::2].clamp(0, width), boxes[:, 1::2].clamp(0, height)], 2).reshape(-1, 4)


def suppressed(boxes: Tensor, scores: Tensor, most: float) -> Tensor:
    """Indices of the boxes, best first, none of which overlaps a better one that is kept by more than `most`."""
    order = scores.argsort(descending=True, stable=True)
    hidden = torch.zeros(len(order), dtype=torch.bool, device=boxes.device)
    covered = (overlap(boxes[order], boxes[order]) > most).triu(1)
    kept = []
    for number in range(len(order)):
        if not hidden[number]:
            kept.append(number)
            hidden |= covered[number]
    return order[kept]


def cut_out(maps: Tensor, boxes: Tensor, owners: Tensor, size: int, stride: float) -> Tensor:
    """RoIAlign (He et al. 2017): what lies under boxes, each cell the mean of four bilinear samples.

    Args:
        maps: (B, C, H, W).
        boxes: (N, 4), in pixels of the image.
        owners: (N,), which of the B images each lies on.
        size: cells a side.
        stride: pixels of the image in one of the map.

    Returns:
        (N, C, size, size).
    """
    _, channels, height, width = maps.shape
    found = maps.new_zeros(len(boxes), channels, size, size)
    steps = (torch.arange(2 * size, device=maps.device, dtype=boxes.dtype) + 0.5) / (2 * size)
    for image in sorted(set(owners.tolist())):
        own = owners == image
        low, side = boxes[own, :2] / stride, (boxes[own, 2:] - boxes[own, :2]) / stride
        at = low[:, None] + steps[:, None] * side[:, None]  # (n, 2 * size, 2), columns and rows
        x, y = 2 * at[..., 0] / width - 1, 2 * at[..., 1] / height - 1
        rows = len(at) * 2 * size
        grid = torch.stack([x[:, None].expand(-1, 2 * size, -1), y[:, :, None].expand(-1, -1, 2 * size)], -1).reshape(
            1, rows, 2 * size, 2
        )
        part = maps[image : image + 1]
        samples = F.grid_sample(part, grid.to(maps.dtype), padding_mode="border", align_corners=False)
        cells = F.avg_pool2d(samples, 2)[0].reshape(channels, len(at), size, size)
        found[own] = cells.transpose(0, 1).to(found.dtype)
    return found
