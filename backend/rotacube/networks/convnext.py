"""ConvNeXt networks: ConvNeXt-Cube, ConvNeXt-U and ConvNeXt-U-Cube on ConvNeXt-Tiny's stages [3, 3, 9, 3].

Source: Liu et al., "A ConvNet for the 2020s", 2022; the Cube Kernel paper (ConvNeXt-Cube: 45.35 M parameters, 48.41 G
at 3x512x512) and its later abstract (ConvNeXt-U-Cube). The texts leave room; this reading:

ConvNeXt-Cube has blocks of Cube 3x3, LayerNorm, 1x1 to four times the width, GELU, 1x1 back; its decoder brings the
coarser map to the finer width by a 3x3 convolution, doubles it bilinearly, joins the encoder's map and fuses the two by
a Cube convolution, then three blocks. ConvNeXt-U keeps ConvNeXt's own encoder (depthwise 7x7) and has UNet's decoder;
in ConvNeXt-U-Cube the double 3x3 convolutions of that decoder are Cubes. Layer scale is left out: it is a factor on the
block's last weights, into which pretrained ones are multiplied (`pretrained.py`).

Pointwise layers are 1x1 convolutions: in channels_last float32 they take the fast path on every CPU.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from rotacube.networks.dense import DenseNetwork
from rotacube.networks.layers import ChannelNorm, CubeMaker, Kind, UpStage, init_normal, resized, scaled, u_shape
from rotacube.nn import FusionMode, KroneckerFusion

WIDTHS = (96, 192, 384, 768)
DEPTHS = (3, 3, 9, 3)


class ConvNeXtBlock(nn.Module, ABC):
    """ConvNeXt's residual block; what mixes neighbouring pixels is the subclass's."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(width, eps=1e-6)
        self.expand = nn.Conv2d(width, 4 * width, 1)
        self.reduce = nn.Conv2d(4 * width, width, 1)

    @abstractmethod
    def mix(self, x: Tensor) -> Tensor:
        """Mix neighbouring pixels."""

    def forward(self, x: Tensor) -> Tensor:
        """Add the block's change to `(B, C, H, W)`."""
        change: Tensor = self.reduce(F.gelu(self.expand(self.norm(self.mix(x)))))
        return x + change


class CubeBlock(ConvNeXtBlock):
    """The block with a Cube 3x3."""

    def __init__(self, width: int, cubes: CubeMaker) -> None:
        super().__init__(width)
        self.cube = cubes(width, width)

    def mix(self, x: Tensor) -> Tensor:
        """The Cube convolution."""
        mixed: Tensor = self.cube(x)
        return mixed


class DepthwiseBlock(ConvNeXtBlock):
    """The block with ConvNeXt's own depthwise 7x7."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)

    def mix(self, x: Tensor) -> Tensor:
        """The depthwise convolution."""
        mixed: Tensor = self.depthwise(x)
        return mixed


class FusionStage(nn.Module):
    """One decoder stage: the coarse map doubled, joined with the encoder's map, fused by a Cube, refined by blocks."""

    def __init__(self, coarse: int, width: int, depth: int, cubes: CubeMaker, skip: FusionMode) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(coarse, width, 3, padding=1)
        self.fusion = KroneckerFusion([width, width], width, skip)
        self.fuse = cubes(self.fusion.out_channels, width)
        self.norm = ChannelNorm(width, eps=1e-6)
        self.blocks = nn.Sequential(*[CubeBlock(width, cubes) for _ in range(depth)])

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Fuse `(B, coarse, H, W)` with `(B, width, 2H, 2W)` to `(B, width, 2H, 2W)`."""
        up = resized(self.reduce(coarse), fine.shape[2:])
        fused: Tensor = self.blocks(self.norm(self.fuse(self.fusion([up, fine]))))
        return fused


class ConvNeXtNetwork(DenseNetwork):
    """A ConvNeXt encoder, a decoder that is given a stage at a time, and a head with pixel shuffle.

    Args:
        bands: input bands.
        outputs: logits a pixel.
        depths: blocks of the four encoder stages.
        widths: channels of the four encoder stages, multiples of 4.
        block: makes an encoder block of a width.
        up: makes the decoder stage number i from a coarser width to a finer one.
        further: outputs beside the logits, see `FURTHER`.
    """

    stride = 32

    def __init__(
        self,
        bands: int,
        outputs: int,
        *,
        depths: Sequence[int],
        widths: Sequence[int],
        block: Callable[[int], nn.Module],
        up: Callable[[int, int, int], nn.Module],
        further: Sequence[str],
    ) -> None:
        super().__init__()
        patches = nn.Conv2d(bands, widths[0], 4, 4)
        self.stem = nn.Sequential(patches, ChannelNorm(widths[0], eps=1e-6))
        self.downs = nn.ModuleList(
            nn.Sequential(ChannelNorm(a, eps=1e-6), nn.Conv2d(a, b, 2, 2))
            for a, b in zip(widths, widths[1:], strict=False)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*[block(width) for _ in range(depth)]) for width, depth in zip(widths, depths, strict=True)
        )
        pairs = zip(widths[:0:-1], widths[-2::-1], strict=True)
        self.decoder = nn.ModuleList(up(i, coarse, fine) for i, (coarse, fine) in enumerate(pairs))
        self.add_head(lambda n: _head(widths[0], n), outputs, further)
        self.apply(init_normal)
        # Nodata is zero. Without a bias it would stay zero through every layer, and each LayerNorm would multiply its
        # gradient by 1 / sqrt(eps): to infinity within a few blocks.
        if patches.bias is not None:
            nn.init.normal_(patches.bias, std=0.1)

    def features(self, x: Tensor) -> Tensor:
        """Maps (B, widths[0], H/4, W/4)."""
        return u_shape(self.stem(x), self.stages, self.decoder, self.downs)


def _head(width: int, outputs: int) -> nn.Module:
    return nn.Sequential(ChannelNorm(width, eps=1e-6), nn.Conv2d(width, 16 * outputs, 3, padding=1), nn.PixelShuffle(4))


def convnext_cube(
    bands: int,
    outputs: int,
    *,
    depths: Sequence[int] = DEPTHS,
    widths: Sequence[int] = WIDTHS,
    decoder_depths: Sequence[int] = (3, 3, 3),
    width: float = 1.0,
    skip: FusionMode = "concat",
    further: Sequence[str] = (),
    cube: Mapping[str, Any] | None = None,
) -> ConvNeXtNetwork:
    """ConvNeXt-Cube; by default of the published size.

    Args:
        bands: input bands.
        outputs: logits a pixel.
        depths: blocks of the four encoder stages.
        widths: channels of the four encoder stages.
        decoder_depths: blocks of the three decoder stages, coarse to fine.
        width: a factor on all widths.
        skip: how encoder and decoder maps are fused.
        further: outputs beside the logits, see `FURTHER`.
        cube: options of the Cube convolutions, see `CubeMaker`.
    """
    if len(decoder_depths) != 3 or not all(1 <= depth <= 100 for depth in (*depths, *decoder_depths)):
        raise ValueError(f"A stage has between 1 and 100 blocks, not {(*depths, *decoder_depths)}.")
    cubes = CubeMaker(**(cube or {}))
    return ConvNeXtNetwork(
        bands,
        outputs,
        depths=depths,
        widths=scaled(widths, width),
        block=lambda channels: CubeBlock(channels, cubes),
        up=lambda i, coarse, fine: FusionStage(coarse, fine, decoder_depths[i], cubes, skip),
        further=further,
    )


def convnext_u(
    bands: int,
    outputs: int,
    *,
    decoder: Kind = "conv",
    width: float = 1.0,
    skip: FusionMode = "concat",
    further: Sequence[str] = (),
    cube: Mapping[str, Any] | None = None,
) -> ConvNeXtNetwork:
    """ConvNeXt-U: ConvNeXt-Tiny as encoder, UNet's decoder; with `decoder="cube"` ConvNeXt-U-Cube."""
    cubes = CubeMaker(**(cube or {}))
    return ConvNeXtNetwork(
        bands,
        outputs,
        depths=DEPTHS,
        widths=scaled(WIDTHS, width),
        block=DepthwiseBlock,
        up=lambda i, coarse, fine: UpStage(coarse, fine, (decoder, decoder), skip=skip, cubes=cubes),
        further=further,
    )
