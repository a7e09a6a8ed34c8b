"""HRNet-W48 for dense labels (HRNetV2). Source: Wang et al. 2020, "Deep high-resolution representation learning"."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rotacube.networks.dense import DenseNetwork
from rotacube.networks.layers import Bottleneck, coarse_head, conv_norm, resized, scaled


class BasicBlock(nn.Module):
    """ResNet's residual block of two 3x3 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.change = nn.Sequential(conv_norm(channels, channels), conv_norm(channels, channels, act=False))

    def forward(self, x: Tensor) -> Tensor:
        """Add the block's change to `(B, C, H, W)`."""
        return F.relu(x + self.change(x))


class Exchange(nn.Module):
    """One module of a stage: four blocks in each branch, then every branch receives the sum of all."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*[BasicBlock(w) for _ in range(4)]) for w in widths)
        self.paths = nn.ModuleList(
            nn.ModuleList(_path(widths, source, target) for source in range(len(widths)))
            for target in range(len(widths))
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Exchange the branches' maps, each half the height and width of the one before."""
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        fused = []
        for target, paths in enumerate(self.paths):
            total = maps[target]
            for source, x in enumerate(maps):
                if source != target:
                    moved = paths[source](x)  # type: ignore[index]
                    total = total + (resized(moved, total.shape[2:]) if source > target else moved)
            fused.append(F.relu(total))
        return fused


def _path(widths: Sequence[int], source: int, target: int) -> nn.Module:
    """Brings a branch to another's channels: by a 1x1 upwards (enlarged afterwards), by strided 3x3 downwards."""
    if source == target:
        return nn.Identity()
    if source > target:
        return conv_norm(widths[source], widths[target], 1, act=False)
    steps = [conv_norm(widths[source], widths[source], stride=2) for _ in range(target - source - 1)]
    return nn.Sequential(*steps, conv_norm(widths[source], widths[target], stride=2, act=False))


class HRNet(DenseNetwork):
    """HRNetV2 for dense labels: four branches of widths 48, 96, 192 and 384, joined for the head.

    Args:
        bands: input bands.
        outputs: logits a pixel.
        width: a factor on all widths.
        further: outputs beside the logits, see `FURTHER`.
    """

    stride = 32

    def __init__(self, bands: int, outputs: int, *, width: float = 1.0, further: Sequence[str] = ()) -> None:
        super().__init__()
        widths = scaled((48, 96, 192, 384), width)
        (stem,) = scaled((64,), width)
        first = stem * Bottleneck.expansion
        self.stem = nn.Sequential(conv_norm(bands, stem, stride=2), conv_norm(stem, stem, stride=2))
        self.stage1 = nn.Sequential(Bottleneck(stem, stem), *[Bottleneck(first, stem) for _ in range(3)])
        self.enter = conv_norm(first, widths[0])
        # Each stage opens one more branch from the coarsest of the stage before.
        self.opens = nn.ModuleList(
            conv_norm(a, b, stride=2) for a, b in zip((first, *widths[1:]), widths[1:], strict=False)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*[Exchange(widths[: i + 2]) for _ in range(count)]) for i, count in enumerate((1, 4, 3))
        )
        joined = sum(widths)
        self.join = conv_norm(joined, joined, 1)
        self.add_head(lambda n: coarse_head(joined, n, 4), outputs, further)

    def features(self, x: Tensor) -> Tensor:
        """Maps (B, 720, H/4, W/4)."""
        x = self.stage1(self.stem(x))
        maps = [self.enter(x)]
        coarsest = x
        for opens, stage in zip(self.opens, self.stages, strict=True):
            maps = [*maps, opens(coarsest)]
            maps = stage(maps)
            coarsest = maps[-1]
        size = maps[0].shape[2:]
        found: Tensor = self.join(torch.cat([maps[0], *(resized(m, size) for m in maps[1:])], 1))
        return found
