"""Scene classifiers with fusion of several layers: AlexNet, VGG-16 and Inception.

Source: "Kronecker Product Feature Fusion" (UC-Merced; the original networks against Add, Concat and KPFF). The text
names neither the layers nor the variants; this reading: the maps of the last three stages are averaged onto the grid of
the network's own classifier, brought to the channels of the last stage by a 1x1 layer, fused, and given to it. So
"none" is the original network, and the fusion is all that differs. AlexNet is Krizhevsky's of 2014 (one column), VGG is
VGG-16 (Simonyan and Zisserman 2015), Inception is GoogLeNet (Szegedy et al. 2015) with BatchNorm and without the
auxiliary classifiers, which only help training. Dropout is the paper's 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from rotacube.networks.layers import conv_norm, pooled, scaled
from rotacube.nn import FusionMode, KroneckerFusion

Fusion = Literal["none"] | FusionMode
DROPOUT = 0.5
TAPS = 3


class SceneNetwork(nn.Module):
    """Labels a whole image: `(B, bands, H, W)` to logits `(B, outputs)`.

    Args:
        stages: one after the other.
        channels: of the last three stages.
        grid: pixels a side that the classifier sees.
        hidden: widths of the classifier's hidden layers.
        outputs: logits an image.
        fusion: of the last three stages, or "none".

    Raises:
        ValueError: the fusion is unknown.
    """

    smallest = 64

    def __init__(
        self,
        stages: Sequence[nn.Module],
        channels: Sequence[int],
        grid: int,
        hidden: Sequence[int],
        outputs: int,
        fusion: Fusion,
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.grid = grid
        self.taps = 1 if fusion == "none" else TAPS
        # Of one map, the concatenation is the map itself.
        self.fusion = KroneckerFusion(channels[-self.taps :], channels[-1], "concat" if fusion == "none" else fusion)
        inputs = self.fusion.out_channels * grid**2
        layers: list[nn.Module] = [nn.Flatten()]
        for width in hidden:
            layers += [nn.Dropout(DROPOUT), nn.Linear(inputs, width), nn.ReLU()]
            inputs = width
        if not hidden:
            layers.append(nn.Dropout(DROPOUT))
        self.classifier = nn.Sequential(*layers, nn.Linear(inputs, outputs))
        self.apply(_init)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of every image.

        Raises:
            ValueError: height or width is less than 64.
        """
        if min(x.shape[2:]) < self.smallest:
            raise ValueError(
                f"This network takes {self.smallest} pixels a side or more, not {x.shape[2]} x {x.shape[3]}."
            )
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        logits: Tensor = self.classifier(self.fusion([pooled(m, self.grid, self.grid) for m in maps[-self.taps :]]))
        return logits


def _init(module: nn.Module) -> None:
    """He et al. 2015: deep networks without BatchNorm do not start otherwise."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, padding: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.ReLU())


def alexnet(bands: int, outputs: int, *, width: float = 1.0, fusion: Fusion = "none") -> SceneNetwork:
    """AlexNet; its last three convolutions are fused."""
    a, b, c, d, hidden = scaled((64, 192, 384, 256, 4096), width)
    stages = [
        _conv(bands, a, 11, 4, 2),
        nn.Sequential(nn.MaxPool2d(3, 2), _conv(a, b, 5, 1, 2)),
        nn.Sequential(nn.MaxPool2d(3, 2), _conv(b, c)),
        _conv(c, d),
        nn.Sequential(_conv(d, d), nn.MaxPool2d(3, 2)),
    ]
    return SceneNetwork(stages, (c, d, d), 6, (hidden, hidden), outputs, fusion)


def vgg16(bands: int, outputs: int, *, width: float = 1.0, fusion: Fusion = "none") -> SceneNetwork:
    """VGG-16; its last three stages are fused."""
    *widths, hidden = scaled((64, 128, 256, 512, 512, 4096), width)
    stages = []
    inputs = bands
    for channels, depth in zip(widths, (2, 2, 3, 3, 3), strict=True):
        layers: list[nn.Module] = [_conv(inputs if i == 0 else channels, channels) for i in range(depth)]
        stages.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
        inputs = channels
    return SceneNetwork(stages, widths[-TAPS:], 7, (hidden, hidden), outputs, fusion)


class InceptionBlock(nn.Module):
    """Four branches side by side: 1x1; 1x1 and 3x3; 1x1 and 5x5; pooling and 1x1."""

    def __init__(self, inputs: int, sizes: Sequence[int]) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, pool = sizes
        self.branches = nn.ModuleList(
            [
                conv_norm(inputs, one, 1),
                nn.Sequential(conv_norm(inputs, reduce3, 1), conv_norm(reduce3, three)),
                nn.Sequential(conv_norm(inputs, reduce5, 1), conv_norm(reduce5, five, 5)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), conv_norm(inputs, pool, 1)),
            ]
        )
        self.out_channels = one + three + five + pool

    def forward(self, x: Tensor) -> Tensor:
        """Join the branches of `(B, C, H, W)`."""
        return torch.cat([branch(x) for branch in self.branches], 1)


# Per stage and block: 1x1; 1x1 before 3x3, 3x3; 1x1 before 5x5, 5x5; 1x1 after pooling (Szegedy et al. 2015, table 1).
INCEPTION = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)


def inception(bands: int, outputs: int, *, width: float = 1.0, fusion: Fusion = "none") -> SceneNetwork:
    """GoogLeNet; its three stages of Inception blocks are fused."""
    stem, inputs = scaled((64, 192), width)
    stages = [
        nn.Sequential(
            conv_norm(bands, stem, 7, stride=2),
            nn.MaxPool2d(3, 2, 1),
            conv_norm(stem, stem, 1),
            conv_norm(stem, inputs),
        )
    ]
    taps = []
    for blocks in INCEPTION:
        layers: list[nn.Module] = [nn.MaxPool2d(3, 2, 1)]
        for sizes in blocks:
            block = InceptionBlock(inputs, scaled(sizes, width))
            layers.append(block)
            inputs = block.out_channels
        stages.append(nn.Sequential(*layers))
        taps.append(inputs)
    return SceneNetwork(stages, taps, 1, (), outputs, fusion)
