"""Fast-SCNN. Source: Poudel et al. 2019, table 1: learning to downsample, global features, fusion, classifier."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rotacube.networks.dense import DenseNetwork
from rotacube.networks.layers import coarse_head, conv_norm, pooled, resized, scaled


def separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A depthwise 3x3 and a 1x1 convolution."""
    return nn.Sequential(conv_norm(inputs, inputs, 3, stride=stride, groups=inputs), conv_norm(inputs, outputs, 1))


class InvertedBottleneck(nn.Module):
    """MobileNetV2's block: 1x1 to six times the width, depthwise 3x3, 1x1; residual where the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, expansion: int = 6) -> None:
        super().__init__()
        inner = expansion * inputs
        self.residual = inputs == outputs and stride == 1
        self.change = nn.Sequential(
            conv_norm(inputs, inner, 1),
            conv_norm(inner, inner, 3, stride=stride, groups=inner),
            conv_norm(inner, outputs, 1, act=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Change `(B, inputs, H, W)`."""
        changed: Tensor = self.change(x)
        return x + changed if self.residual else changed


class PyramidPooling(nn.Module):
    """The means over 1, 2, 3 and 6 bins a side, joined to the map (Zhao et al. 2017); without BatchNorm on one bin."""

    bins = (1, 2, 3, 6)

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // len(self.bins)
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, inner, 1), nn.ReLU()) if n == 1 else conv_norm(channels, inner, 1)
            for n in self.bins
        )
        self.join = conv_norm(channels + inner * len(self.bins), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Join `(B, C, H, W)` with its means."""
        means = [
            resized(branch(pooled(x, n, n)), x.shape[2:]) for n, branch in zip(self.bins, self.branches, strict=True)
        ]
        joined: Tensor = self.join(torch.cat([x, *means], 1))
        return joined


class FastSCNN(DenseNetwork):
    """Fast-SCNN for dense labels.

    Args:
        bands: input bands.
        outputs: logits a pixel.
        width: a factor on all widths.
        further: outputs beside the logits, see `FURTHER`.
    """

    stride = 32

    def __init__(self, bands: int, outputs: int, *, width: float = 1.0, further: Sequence[str] = ()) -> None:
        super().__init__()
        stem, second, low, middle, high = scaled((32, 48, 64, 96, 128), width)
        self.downsample = nn.Sequential(
            conv_norm(bands, stem, stride=2), separable(stem, second, 2), separable(second, low, 2)
        )
        blocks = []
        inputs = low
        for outs, stride in ((low, 2), (middle, 2), (high, 1)):
            for i in range(3):
                blocks.append(InvertedBottleneck(inputs, outs, 1 if i else stride))
                inputs = outs
        self.global_features = nn.Sequential(*blocks, PyramidPooling(high))
        self.from_low = conv_norm(low, high, 1, act=False)
        self.from_high = nn.Sequential(conv_norm(high, high, groups=high), nn.Conv2d(high, high, 1, bias=False))
        self.norm = nn.BatchNorm2d(high)
        self.classifier = nn.Sequential(separable(high, high), separable(high, high))
        self.add_head(lambda n: coarse_head(high, n, 8), outputs, further)

    def features(self, x: Tensor) -> Tensor:
        """Maps (B, 128, H/8, W/8)."""
        low = self.downsample(x)
        high = resized(self.global_features(low), low.shape[2:])
        fused = F.relu(self.from_low(low) + self.norm(self.from_high(high)))
        found: Tensor = self.classifier(fused)
        return found
