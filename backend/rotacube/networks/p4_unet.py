"""A UNet whose whole output turns with its input: every layer is equivariant under quarter turns (group p4).

Our step beyond the rotation-invariant convolution paper, whose RI-UNet pools orientations within each block and lets
standard convolutions follow. Here orientations are carried through to the end and pooled once, before the head. A field
has four orientations, so half of UNet's widths as fields give its number of parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rotacube.networks.dense import DenseNetwork
from rotacube.networks.layers import resized, scaled, u_shape
from rotacube.nn import FusionMode, KroneckerFusion, P4BatchNorm2d, P4Conv2d, RotationConv2d


class Lift(nn.Module):
    """Takes bands to fields: a rotation convolution without pooling."""

    def __init__(self, bands: int, fields: int) -> None:
        super().__init__()
        self.conv = RotationConv2d(bands, fields, pool=None, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Lift `(B, bands, H, W)` to `(B, 4 * fields, H, W)`."""
        lifted: Tensor = self.conv(x)
        return lifted.flatten(1, 2)


def _double(first: nn.Module, fields: int) -> nn.Sequential:
    """UNet's base block on fields."""
    second = P4Conv2d(fields, fields)
    return nn.Sequential(first, P4BatchNorm2d(fields), nn.ReLU(), second, P4BatchNorm2d(fields), nn.ReLU())


class P4UpStage(nn.Module):
    """One decoder stage: 1x1 to the finer fields, bilinear doubling, fusion, the base block."""

    def __init__(self, coarse: int, fields: int, skip: FusionMode) -> None:
        super().__init__()
        self.reduce = P4Conv2d(coarse, fields, 1)
        self.fusion = KroneckerFusion([4 * fields, 4 * fields], 4 * fields, skip)
        self.block = _double(P4Conv2d(self.fusion.out_channels // 4, fields), fields)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Fuse `(B, 4 * coarse, H, W)` with `(B, 4 * fields, 2H, 2W)`."""
        fused: Tensor = self.block(self.fusion([fine, resized(self.reduce(coarse), fine.shape[2:])]))
        return fused


class P4UNet(DenseNetwork):
    """The p4-equivariant UNet for dense labels.

    Args:
        bands: input bands.
        outputs: logits a pixel.
        width: a factor on all widths.
        skip: how encoder and decoder maps are fused.
        further: outputs beside the logits, see `FURTHER`.
    """

    stride = 16

    def __init__(
        self,
        bands: int,
        outputs: int,
        *,
        width: float = 1.0,
        skip: FusionMode = "concat",
        further: Sequence[str] = (),
    ) -> None:
        super().__init__()
        fields = scaled((32, 64, 128, 256, 512), width)
        firsts = [Lift(bands, fields[0]), *(P4Conv2d(a, b) for a, b in zip(fields, fields[1:], strict=False))]
        self.encoder = nn.ModuleList(_double(first, n) for first, n in zip(firsts, fields, strict=True))
        self.decoder = nn.ModuleList(
            P4UpStage(coarse, fine, skip) for coarse, fine in zip(fields[:0:-1], fields[-2::-1], strict=True)
        )
        self.add_head(lambda n: nn.Conv2d(fields[0], n, 1), outputs, further)

    def features(self, x: Tensor) -> Tensor:
        """Maps (B, 32, H, W), the maximum over the orientations of each field."""
        x = u_shape(x, self.encoder, self.decoder)
        batch, channels, *size = x.shape
        pooled = x.reshape(batch, channels // 4, 4, *size).amax(2)
        return pooled.contiguous(memory_format=torch.channels_last)
