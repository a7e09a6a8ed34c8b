"""Swin-UNet, and the Swin encoder with a decoder of convolutions or Cubes.

Source: Cao et al. 2021 (patches of 4, widths 96 to 768, two blocks a stage, patch merging and expanding, skips from
each stage's input). Windows are 8 pixels a side, which divide a tile of 512 as the original's 7 divide 224; maps that
they do not divide are padded, and no pixel attends to padding.

Swin-UNet's own decoder has no convolution that a Cube could replace. The Cube Kernel paper's "Swin-UCube" and its sizes
speak of a convolutional decoder, so there are two more: `decoder="conv"` has two 3x3 convolutions a stage in the place
of the transformer blocks, `decoder="cube"` has Cubes there; the encoder is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rotacube.networks.dense import DenseNetwork
from rotacube.networks.layers import ChannelNorm, CubeMaker, Stack, init_normal, scaled
from rotacube.nn import FusionMode, KroneckerFusion

WINDOW = 8
HEADS = (3, 6, 12, 24)
DEPTH = 2

Decoder = Literal["swin", "conv", "cube"]


class WindowAttention(nn.Module):
    """Self-attention within windows, with a learnt bias for every relative position (Liu et al. 2021).

    Args:
        channels: a multiple of `heads`.
        heads: attention heads.
        shift: whether windows are shifted by half their side.
    """

    def __init__(self, channels: int, heads: int, shift: bool) -> None:
        super().__init__()
        self.heads = heads
        self.shift = WINDOW // 2 if shift else 0
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)
        self.positions = nn.Parameter(torch.empty(heads, (2 * WINDOW - 1) ** 2))
        nn.init.trunc_normal_(self.positions, std=0.02)
        place = torch.stack(torch.meshgrid(torch.arange(WINDOW), torch.arange(WINDOW), indexing="ij")).flatten(1)
        down, right = place[:, :, None] - place[:, None] + WINDOW - 1
        self.register_buffer("index", down * (2 * WINDOW - 1) + right, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Attend within the windows of `(B, C, H, W)`."""
        batch, channels, *size = x.shape
        whole = [-(-n // WINDOW) * WINDOW for n in size]
        # A map that one window covers has nothing to shift.
        shifts = [self.shift if n > WINDOW else 0 for n in whole]
        x = F.pad(self.qkv(x), (0, whole[1] - size[1], 0, whole[0] - size[0]))
        x = torch.roll(x, [-s for s in shifts], (2, 3))
        rows, columns = (n // WINDOW for n in whole)
        parts = x.reshape(batch, 3, self.heads, -1, rows, WINDOW, columns, WINDOW)
        parts = parts.permute(1, 0, 4, 6, 2, 5, 7, 3).reshape(
            3, batch, rows * columns, self.heads, WINDOW**2, channels // self.heads
        )
        query, key, value = parts.unbind()
        scores = query @ key.mT * (channels // self.heads) ** -0.5 + self.positions[:, self.index]  # type: ignore[index]
        if any(shifts) or whole != size:
            scores = scores.masked_fill(_strangers(size, whole, shifts).to(x.device)[:, None], float("-inf"))
        seen = (scores.softmax(-1) @ value).reshape(batch, rows, columns, self.heads, WINDOW, WINDOW, -1)
        x = seen.permute(0, 3, 6, 1, 4, 2, 5).reshape(batch, channels, *whole)
        x = torch.roll(x, shifts, (2, 3))[:, :, : size[0], : size[1]]
        result: Tensor = self.project(x.contiguous(memory_format=torch.channels_last))
        return result


def _strangers(size: list[int], whole: list[int], shifts: list[int]) -> Tensor:
    """The pairs (windows, 64, 64) that must not see each other: brought together by the shift only, or padding."""
    axes = []
    for n, padded, shift in zip(size, whole, shifts, strict=True):
        place = (torch.arange(padded) + shift) % padded  # on the map, of what lies here after the shift
        wrapped = torch.arange(padded) >= padded - shift
        axes.append(torch.where(place < n, wrapped.long(), 2))
    region = 3 * axes[0][:, None] + axes[1]
    rows, columns = (n // WINDOW for n in whole)
    region = region.reshape(rows, WINDOW, columns, WINDOW).transpose(1, 2).reshape(rows * columns, WINDOW**2)
    return region[:, :, None] != region[:, None]


class SwinBlock(nn.Module):
    """Attention within windows, then two pointwise layers, both residual."""

    def __init__(self, channels: int, heads: int, shift: bool) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(channels)
        self.attention = WindowAttention(channels, heads, shift)
        self.norm2 = ChannelNorm(channels)
        self.expand = nn.Conv2d(channels, 4 * channels, 1)
        self.reduce = nn.Conv2d(4 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Add both changes to `(B, C, H, W)`."""
        x = x + self.attention(self.norm1(x))
        change: Tensor = self.reduce(F.gelu(self.expand(self.norm2(x))))
        return x + change


def _blocks(channels: int, heads: int) -> nn.Sequential:
    return nn.Sequential(*[SwinBlock(channels, heads, shift=i % 2 == 1) for i in range(DEPTH)])


class PatchMerging(nn.Sequential):
    """Halves height and width and doubles the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.PixelUnshuffle(2), ChannelNorm(4 * channels), nn.Conv2d(4 * channels, 2 * channels, 1, bias=False)
        )


class PatchExpanding(nn.Sequential):
    """Multiplies height and width by `factor`."""

    def __init__(self, inputs: int, outputs: int, factor: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs * factor**2, 1, bias=False), nn.PixelShuffle(factor), ChannelNorm(outputs)
        )


class DecoderStage(nn.Module):
    """Fuses the enlarged coarse map with the encoder's, then transformer blocks, or two convolutions."""

    def __init__(self, width: int, heads: int, kind: Decoder, skip: FusionMode, cubes: CubeMaker) -> None:
        super().__init__()
        self.expand = PatchExpanding(2 * width, width, 2)
        self.fusion = KroneckerFusion([width, width], width, skip)
        joined = self.fusion.out_channels
        if kind == "swin":
            self.refine: nn.Module = nn.Sequential(nn.Conv2d(joined, width, 1), _blocks(width, heads))
        else:
            self.refine = Stack(joined, width, (kind, kind), cubes=cubes)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Fuse `(B, 2 * width, H, W)` with `(B, width, 2H, 2W)`."""
        refined: Tensor = self.refine(self.fusion([self.expand(coarse), fine]))
        return refined


class SwinUNet(DenseNetwork):
    """Swin-UNet for dense labels.

    Args:
        bands: input bands.
        outputs: logits a pixel.
        decoder: "swin", the original's; "conv" or "cube" for a convolutional one.
        width: a factor on all widths.
        skip: how encoder and decoder maps are fused.
        further: outputs beside the logits, see `FURTHER`.
        cube: options of the Cube convolutions, see `CubeMaker`.

    Raises:
        ValueError: The decoder is unknown, or a width is no multiple of its attention heads.
    """

    stride = 32

    def __init__(
        self,
        bands: int,
        outputs: int,
        *,
        decoder: Decoder = "swin",
        width: float = 1.0,
        skip: FusionMode = "concat",
        further: Sequence[str] = (),
        cube: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if decoder not in ("swin", "conv", "cube"):
            raise ValueError(f'The decoder of a Swin-UNet is "swin", "conv" or "cube", not {decoder!r}.')
        (stem,) = scaled((96,), width)
        if stem % HEADS[0]:
            raise ValueError(f"The widths of a Swin-UNet are multiples of 12: a factor of {width} makes {stem}.")
        widths = [stem * 2**i for i in range(4)]
        cubes = CubeMaker(**(cube or {}))
        self.embed = nn.Sequential(nn.Conv2d(bands, stem, 4, 4), ChannelNorm(stem))
        self.stages = nn.ModuleList(_blocks(w, heads) for w, heads in zip(widths, HEADS, strict=True))
        self.merges = nn.ModuleList(PatchMerging(w) for w in widths[:-1])
        self.norm = ChannelNorm(widths[-1])
        self.decoder = nn.ModuleList(
            DecoderStage(w, heads, decoder, skip, cubes) for w, heads in zip(widths[-2::-1], HEADS[-2::-1], strict=True)
        )
        self.expand = nn.Sequential(ChannelNorm(stem), PatchExpanding(stem, stem, 4))
        self.add_head(lambda n: nn.Conv2d(stem, n, 1, bias=False), outputs, further)
        self.apply(init_normal)

    def features(self, x: Tensor) -> Tensor:
        """Maps (B, 96, H, W)."""
        x = self.embed(x)
        skips = []
        for index, stage in enumerate(self.stages):
            if index:
                x = self.merges[index - 1](x)
            skips.append(x)
            x = stage(x)
        x = self.norm(x)
        for stage, skip in zip(self.decoder, skips[-2::-1], strict=True):
            x = stage(x, skip)
        found: Tensor = self.expand(x)
        return found
