"""UNet and its relatives: one network whose base blocks are stacks of operators.

Sources: Ronneberger et al. 2015 (UNet; padded, with BatchNorm, widths 64 to 1024, 2x2 up-convolutions); Hu et al. 2018
(Squeeze-and-Excitation after each base block); the Cube Kernel paper (Cube and Involution at the first or last stage);
the rotation-invariant convolution paper (RI-UNet: the first convolution of every base block is rotation-invariant, its
maximum taken over each group of four orientations, the second is a standard one).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from rotacube.networks.dense import DenseNetwork
from rotacube.networks.layers import CubeMaker, Kind, Stack, UpStage, scaled, u_shape
from rotacube.nn import FusionMode

WIDTHS = (64, 128, 256, 512, 1024)


class UNet(DenseNetwork):
    """UNet for dense labels.

    Args:
        bands: input bands.
        outputs: logits a pixel.
        block: the operators of every base block.
        first: the operators of the first encoder stage, where they differ. The first of them takes the bands.
        last: the operators of the last decoder stage, where they differ.
        orientations: of the rotation-invariant convolutions.
        width: a factor on all widths.
        skip: how encoder and decoder maps are fused.
        further: outputs beside the logits, see `FURTHER`.
        cube: options of the Cube convolutions, see `CubeMaker`.
    """

    stride = 16

    def __init__(
        self,
        bands: int,
        outputs: int,
        *,
        block: Sequence[Kind] = ("conv", "conv"),
        first: Sequence[Kind] | None = None,
        last: Sequence[Kind] | None = None,
        orientations: int = 4,
        width: float = 1.0,
        skip: FusionMode = "concat",
        further: Sequence[str] = (),
        cube: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        widths = scaled(WIDTHS, width)
        cubes = CubeMaker(**(cube or {}))
        inputs = (bands, *widths)
        self.encoder = nn.ModuleList(
            Stack(a, b, block if i or first is None else first, cubes=cubes, orientations=orientations)
            for i, (a, b) in enumerate(zip(inputs, widths, strict=False))
        )
        kinds = [block] * (len(widths) - 2) + [block if last is None else last]
        self.decoder = nn.ModuleList(
            UpStage(coarse, fine, k, skip=skip, cubes=cubes, orientations=orientations)
            for coarse, fine, k in zip(widths[:0:-1], widths[-2::-1], kinds, strict=True)
        )
        self.add_head(lambda n: nn.Conv2d(widths[0], n, 1), outputs, further)

    def features(self, x: Tensor) -> Tensor:
        """Maps (B, widths[0], H, W)."""
        return u_shape(x, self.encoder, self.decoder)
