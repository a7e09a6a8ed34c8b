"""Kronecker feature fusion as a layer, with Add and Concat, its special cases (Kronecker Product Feature Fusion)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Literal

import torch
from torch import Tensor, nn

from rotacube.ops.kronecker import kronecker_fusion

FusionMode = Literal["kpff", "add", "concat"]


class KroneckerFusion(nn.Module):
    """Fuses n feature maps of one height and width.

    A 1x1 convolution first brings each map to `width` channels, where it has another number. Then, by `mode`: "kpff"
    mixes them with a learnable (n, n) weight, which starts at the concatenation; "concat" concatenates; "add" adds.

    Args:
        channels: the channels of each map.
        width: the channels that each map is brought to.
        mode: "kpff", "concat" or "add".

    Attributes:
        out_channels: n * width for "kpff" and "concat", width for "add".
        weight: (n, n), row j the shares of map j in the n blocks; None unless the mode is "kpff".

    Raises:
        ValueError: There are no maps, or the mode is unknown.

    >>> KroneckerFusion([4, 8], 8, "kpff")([torch.ones(1, 4, 6, 6), torch.ones(1, 8, 6, 6)]).shape
    torch.Size([1, 16, 6, 6])
    """

    def __init__(self, channels: Sequence[int], width: int, mode: FusionMode = "kpff") -> None:
        super().__init__()
        if not channels:
            raise ValueError("a fusion needs one map or more")
        if mode not in ("kpff", "add", "concat"):
            raise ValueError(f'the mode of a fusion is "kpff", "add" or "concat", not {mode!r}')
        self.channels = tuple(channels)
        self.mode: FusionMode = mode
        self.out_channels = width if mode == "add" else len(channels) * width
        self.bring = nn.ModuleList(nn.Identity() if c == width else nn.Conv2d(c, width, 1) for c in channels)
        self.weight = nn.Parameter(torch.eye(len(channels))) if mode == "kpff" else None

    def forward(self, xs: Sequence[Tensor]) -> Tensor:
        """Fuse maps `(B, channels[j], H, W)` to `(B, out_channels, H, W)`."""
        if len(xs) != len(self.channels):
            raise ValueError(f"this fusion takes {len(self.channels)} maps, not {len(xs)}")
        maps = [bring(x) for bring, x in zip(self.bring, xs, strict=True)]
        if self.weight is not None:
            return kronecker_fusion(maps, self.weight)
        return reduce(torch.add, maps) if self.mode == "add" else torch.cat(maps, 1)

    def extra_repr(self) -> str:
        """The layer's sizes, for printing."""
        return f"{self.channels}, out_channels={self.out_channels}, mode={self.mode!r}"
