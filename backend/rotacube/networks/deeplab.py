"""DeepLabv3+ on ResNet-50, and its Cube decoder.

Source: Chen et al. 2018; output stride 16, atrous rates 6, 12 and 18, a decoder of two 3x3 convolutions on the quarter
of the resolution. The Cube Kernel paper does not name the backbone: of the usual ones ResNet-50 comes nearest to its
41.2 M parameters. "DeepLabv3+ Cube" turns the decoder's two 3x3 convolutions to Cubes. The branch of the image's mean
has no BatchNorm, so that a batch of one trains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rotacube.networks.dense import DenseNetwork
from rotacube.networks.layers import Bottleneck, CubeMaker, Kind, Stack, coarse_head, conv_norm, resized, scaled


class ResNet50(nn.Module):
    """ResNet-50 whose last stage is dilated instead of strided: output stride 16.

    Args:
        bands: input bands.
        widths: of the stem and the four stages, before their expansion.
        dilated: without it the last stage is strided, as it was at first: output stride 32.
    """

    def __init__(self, bands: int, widths: tuple[int, ...], *, dilated: bool = True) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_norm(bands, widths[0], 7, stride=2), nn.MaxPool2d(3, 2, 1))
        self.stages = nn.ModuleList()
        inputs = widths[0]
        last = (1, 2) if dilated else (2, 1)
        layout = zip(widths, (3, 4, 6, 3), (1, 2, 2, last[0]), (1, 1, 1, last[1]), strict=True)
        for inner, depth, stride, dilation in layout:
            blocks = []
            for i in range(depth):
                # The first block of the dilated stage still has the rate of the stage before.
                blocks.append(Bottleneck(inputs, inner, 1 if i else stride, dilation if i else 1))
                inputs = inner * Bottleneck.expansion
            self.stages.append(nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The maps at a quarter and at a sixteenth of the resolution."""
        maps = self.every(x)
        return maps[0], maps[-1]

    def every(self, x: Tensor) -> list[Tensor]:
        """The maps of the four stages."""
        maps, x = [], self.stem(x)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling: 1x1, three dilated 3x3 and the image's mean, joined by a 1x1."""

    def __init__(self, inputs: int, outputs: int, rates: tuple[int, ...] = (6, 12, 18)) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [conv_norm(inputs, outputs, 1), *(conv_norm(inputs, outputs, 3, dilation=rate) for rate in rates)]
        )
        self.mean = nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.ReLU())
        self.join = conv_norm((len(rates) + 2) * outputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Pool `(B, inputs, H, W)` to `(B, outputs, H, W)`."""
        mean = self.mean(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        mean = mean.contiguous(memory_format=torch.channels_last)  # else the concatenation were in another format
        joined: Tensor = self.join(torch.cat([*(branch(x) for branch in self.branches), mean], 1))
        return joined


class DeepLabV3Plus(DenseNetwork):
    """DeepLabv3+ for dense labels.

    Args:
        bands: input bands.
        outputs: logits a pixel.
        decoder: "conv", or "cube" for the decoder's 3x3 convolutions.
        width: a factor on all widths.
        further: outputs beside the logits, see `FURTHER`.
        cube: options of the Cube convolutions, see `CubeMaker`.
    """

    stride = 16

    def __init__(
        self,
        bands: int,
        outputs: int,
        *,
        decoder: Kind = "conv",
        width: float = 1.0,
        further: Sequence[str] = (),
        cube: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        widths = scaled((64, 128, 256, 512), width)
        inner, reduced = scaled((256, 48), width)
        self.backbone = ResNet50(bands, widths)
        self.pyramid = AtrousPyramid(widths[3] * Bottleneck.expansion, inner)
        self.reduce = conv_norm(widths[0] * Bottleneck.expansion, reduced, 1)
        self.decoder = Stack(inner + reduced, inner, (decoder, decoder), cubes=CubeMaker(**(cube or {})))
        self.add_head(lambda n: coarse_head(inner, n, 4), outputs, further)

    def features(self, x: Tensor) -> Tensor:
        """Maps (B, 256, H/4, W/4)."""
        low, high = self.backbone(x)
        up = resized(self.pyramid(high), low.shape[2:])
        found: Tensor = self.decoder(torch.cat([up, self.reduce(low)], 1))
        return found
