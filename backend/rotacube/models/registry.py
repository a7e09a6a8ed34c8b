"""The networks by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from rotacube.errors import ModelMissing
from rotacube.models.convnext_cube import convnext_cube, convnext_cube_small

ARCHITECTURES: dict[str, Callable[[int, int], nn.Module]] = {
    "convnext-cube": convnext_cube,
    "convnext-cube-small": convnext_cube_small,
}


def create_model(name: str, in_bands: int, classes: int) -> nn.Module:
    """Build a network with fresh weights.

    Args:
        name: an architecture's name, a key of `ARCHITECTURES`.
        in_bands: input bands.
        classes: classes, background among them; two classes share one logit, K > 2 have K.

    Raises:
        ModelMissing: there is no architecture of that name.
    """
    if name not in ARCHITECTURES:
        raise ModelMissing(f"There is no architecture '{name}'. Known are: {', '.join(sorted(ARCHITECTURES))}.")
    return ARCHITECTURES[name](in_bands, 1 if classes == 2 else classes)
