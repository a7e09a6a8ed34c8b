"""Test-time augmentation: a tile is looked at turned and mirrored, too, and what was found is averaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from rotacube.logits import probabilities, sigmoid

TURNS = (1, 2, 4, 8)
"""How often: as it is; and turned by a quarter; by all quarter turns; and mirrored."""
LEAST = 1e-6
"""The smallest probability that is kept: its logit is finite."""
Floats = NDArray[np.float32]


def averaged(
    infer: Callable[[list[Floats]], Floats], tiles: list[Floats], turns: int, channels: Mapping[str, int]
) -> Floats:
    """All outputs of tiles, (tiles, channels, tile, tile), whose probabilities are means over the tiles' turns.

    Args:
        infer: gives all outputs of tiles as they are.
        tiles: (bands, tile, tile) each.
        turns: one of `TURNS`.
        channels: how many channels each output has, by name; each is one of logits.
    """
    if turns == 1:
        return infer(tiles)

    def look(quarters: int, mirrored: bool) -> Floats:
        turned = [np.rot90(tile[..., ::-1] if mirrored else tile, quarters, (1, 2)) for tile in tiles]
        back = np.rot90(infer([np.ascontiguousarray(tile) for tile in turned]), -quarters, (2, 3))
        return _chances(back[..., ::-1] if mirrored else back, channels)

    looks = [look(number % 4, number >= 4) for number in range(turns)]
    return _logits(np.stack(looks).mean(0, dtype=np.float64).astype(np.float32), channels)


def _parts(channels: Mapping[str, int]) -> Iterator[tuple[slice, bool]]:
    """The channels of each output, and whether they are classes that exclude each other."""
    start = 0
    for name, count in channels.items():
        yield slice(start, start + count), name == "logits" and count > 1
        start += count


def _chances(outputs: Floats, channels: Mapping[str, int]) -> Floats:
    made = np.empty_like(outputs)
    for part, classes in _parts(channels):
        if classes:
            made[:, part] = probabilities(np.moveaxis(outputs[:, part], 1, 0)).swapaxes(0, 1)
        else:
            made[:, part] = sigmoid(outputs[:, part])
    return made


def _logits(chances: Floats, channels: Mapping[str, int]) -> Floats:
    chances = np.clip(chances, LEAST, 1 - LEAST)
    made = np.log(chances)
    for part, classes in _parts(channels):
        if not classes:
            made[:, part] -= np.log1p(-chances[:, part])
    return made
