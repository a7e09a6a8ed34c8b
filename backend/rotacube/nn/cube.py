"""The Cube convolution as a layer (Cube Kernel paper, section on feature reconstruction and equation 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rotacube.ops.cube import Anchor, cube_conv2d


class CubeConv2d(nn.Module):
    """A Cube convolution: a K x K kernel with stride 2 over the 2x2 lattice of each group of four channels.

    Takes `(B, in_channels, H, W)` to `(B, out_channels, H, W)` with a quarter of the weights and multiplications of a
    standard convolution of the same widths.

    Args:
        in_channels: a multiple of 4.
        out_channels: any.
        kernel_size: odd.
        anchor: "tl" (the paper's padding, support above and left) or "br" (its mirror image). Alternated from
            block to block the two keep footprints in place.
        bias: whether to add a bias per output channel.

    Raises:
        ValueError: `in_channels` is not a multiple of 4, or `kernel_size` is even.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        anchor: Anchor = "tl",
        bias: bool = True,
    ) -> None:
        super().__init__()
        if in_channels % 4:
            raise ValueError(f"a Cube convolution needs a multiple of 4 input channels, not {in_channels}")
        if kernel_size % 2 == 0:
            raise ValueError(f"a Cube convolution needs an odd kernel size, not {kernel_size}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.anchor: Anchor = anchor
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // 4, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        nn.init.trunc_normal_(self.weight, std=(in_channels // 4 * kernel_size**2) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve `(B, in_channels, H, W)` to `(B, out_channels, H, W)`."""
        return cube_conv2d(x, self.weight, self.bias, anchor=self.anchor)

    def extra_repr(self) -> str:
        """The layer's sizes, for printing."""
        return f"{self.in_channels}, {self.out_channels}, {tuple(self.weight.shape[2:])}, anchor={self.anchor!r}"
