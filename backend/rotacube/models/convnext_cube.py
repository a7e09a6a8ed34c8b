"""ConvNeXt-Cube: a ConvNeXt encoder with a symmetric decoder, its depthwise convolutions turned to Cube convolutions.

Source: the Cube Kernel paper (table of building networks: 45.35 M parameters, 48.41 G at 3x512x512). The text leaves
room; this reading: stages [3, 3, 9, 3] of widths [96, 192, 384, 768] with blocks of Cube 3x3, LayerNorm, 1x1 to four
times the width, GELU, 1x1 back; the decoder brings the coarser map to the finer width by a 3x3 convolution, doubles it
bilinearly, joins the encoder's map and fuses the two by a Cube convolution, then three blocks. Anchors alternate from
Cube to Cube so that the one-sided supports cancel.

Pointwise layers are 1x1 convolutions: in channels_last float32 they take the fast path on every CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rotacube.nn import CubeConv2d
from rotacube.ops.cube import Anchor


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of `(B, C, H, W)`; without a copy in channels_last."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each pixel over its channels."""
        return F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps).permute(
            0, 3, 1, 2
        )


class CubeBlock(nn.Module):
    """ConvNeXt's residual block with a Cube 3x3 in the place of the depthwise 7x7."""

    def __init__(self, width: int, anchor: Anchor) -> None:
        super().__init__()
        self.cube = CubeConv2d(width, width, anchor=anchor)
        self.norm = ChannelNorm(width, eps=1e-6)
        self.expand = nn.Conv2d(width, 4 * width, 1)
        self.reduce = nn.Conv2d(4 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Add the block's change to `(B, C, H, W)`."""
        change: Tensor = self.reduce(F.gelu(self.expand(self.norm(self.cube(x)))))
        return x + change


class FusionStage(nn.Module):
    """One decoder stage: the coarse map doubled, joined with the encoder's map, fused by a Cube, refined by blocks."""

    def __init__(self, coarse: int, width: int, depth: int, anchors: cycle[Anchor]) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(coarse, width, 3, padding=1)
        self.fuse = CubeConv2d(2 * width, width, anchor=next(anchors))
        self.norm = ChannelNorm(width, eps=1e-6)
        self.blocks = nn.Sequential(*[CubeBlock(width, next(anchors)) for _ in range(depth)])

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Fuse `(B, coarse, H, W)` with `(B, width, 2H, 2W)` to `(B, width, 2H, 2W)`."""
        up = F.interpolate(self.reduce(coarse), size=fine.shape[2:], mode="bilinear", align_corners=False)
        fused: Tensor = self.blocks(self.norm(self.fuse(torch.cat([up, fine], 1))))
        return fused


class ConvNeXtCube(nn.Module):
    """ConvNeXt-Cube for dense labels: `(B, bands, H, W)` to logits `(B, outputs, H, W)`; H and W multiples of 32.

    Args:
        bands: input bands.
        outputs: logits per pixel; one for two classes.
        depths: blocks of the four encoder stages.
        widths: channels of the four encoder stages, multiples of 4.
        decoder_depths: blocks of the three decoder stages, coarse to fine.
    """

    stride = 32

    def __init__(
        self,
        bands: int = 3,
        outputs: int = 1,
        *,
        depths: Sequence[int] = (3, 3, 9, 3),
        widths: Sequence[int] = (96, 192, 384, 768),
        decoder_depths: Sequence[int] = (3, 3, 3),
    ) -> None:
        super().__init__()
        anchors: cycle[Anchor] = cycle(["tl", "br"])
        patches = nn.Conv2d(bands, widths[0], 4, 4)
        self.stem = nn.Sequential(patches, ChannelNorm(widths[0], eps=1e-6))
        self.downs = nn.ModuleList(
            nn.Sequential(ChannelNorm(a, eps=1e-6), nn.Conv2d(a, b, 2, 2))
            for a, b in zip(widths, widths[1:], strict=False)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*[CubeBlock(width, next(anchors)) for _ in range(depth)])
            for width, depth in zip(widths, depths, strict=True)
        )
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.decoder = nn.ModuleList(
            FusionStage(coarse, fine, depth, anchors)
            for (coarse, fine), depth in zip(pairs, decoder_depths, strict=True)
        )
        self.head = nn.Sequential(
            ChannelNorm(widths[0], eps=1e-6), nn.Conv2d(widths[0], 16 * outputs, 3, padding=1), nn.PixelShuffle(4)
        )
        self.apply(_init)
        # Nodata is zero. Without a bias it would stay zero through every layer, and each LayerNorm would multiply its
        # gradient by 1 / sqrt(eps): to infinity within a few blocks.
        if patches.bias is not None:
            nn.init.normal_(patches.bias, std=0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits for every pixel."""
        x = self.stem(x)
        skips = []
        for index, stage in enumerate(self.stages):
            x = stage(self.downs[index - 1](x) if index else x)
            skips.append(x)
        x = skips.pop()
        for fusion in self.decoder:
            x = fusion(x, skips.pop())
        logits: Tensor = self.head(x)
        return logits


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def convnext_cube(bands: int = 3, outputs: int = 1) -> ConvNeXtCube:
    """The published size."""
    return ConvNeXtCube(bands, outputs)


def convnext_cube_small(bands: int = 3, outputs: int = 1) -> ConvNeXtCube:
    """A sister of about 5 M parameters, made for CPU work."""
    return ConvNeXtCube(bands, outputs, depths=(2, 2, 6, 2), widths=(40, 80, 160, 320), decoder_depths=(2, 2, 2))
