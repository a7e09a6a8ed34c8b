"""The rotation-invariant convolution as a layer (Accelerated Rotation-Invariant Convolution, equations 5 to 20)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from rotacube.ops.rotation import Pool, rotation_conv2d


class RotationConv2d(nn.Module):
    """A convolution in several orientations, pooled over them at every pixel.

    Takes `(B, in_channels, H, W)` to `(B, m * out_channels, H', W')`, m = 1 for 1 and 4 orientations, else a quarter of
    their number; without pooling to `(B, m * out_channels, 4, H', W')` (`(B, out_channels, 1, H', W')` for one).

    Args:
        in_channels: any.
        out_channels: filters, before they are steered.
        kernel_size: odd.
        orientations: 1, 4, or 4m with two base filters that are steered to m angles.
        pool: "max", "mean" or None, over the four symmetric orientations of each filter.
        padding: zeros on every side; "same" keeps height and width.
        bias: whether to add a bias per output channel.

    Attributes:
        total_channels: m * out_channels.
        weight: (O, C, K, K), or with steering (2, O, C, K, K): Gx and Gy.

    Raises:
        ValueError: `kernel_size` is even, or `orientations` is neither 1 nor a multiple of 4.

    >>> RotationConv2d(3, 16, orientations=8)(torch.ones(1, 3, 6, 6)).shape
    torch.Size([1, 32, 6, 6])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        orientations: int = 4,
        pool: Pool = "max",
        padding: int | Literal["same"] = "same",
        bias: bool = True,
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"a rotation convolution needs an odd kernel size, not {kernel_size}")
        if orientations != 1 and (orientations < 4 or orientations % 4):
            raise ValueError(f"a rotation convolution has 1 orientation or a multiple of 4, not {orientations}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.orientations = orientations
        self.pool: Pool = pool
        self.padding: int | Literal["same"] = padding
        self.total_channels = out_channels * max(orientations // 4, 1)
        bases = (2,) if orientations > 4 else ()
        self.weight = nn.Parameter(torch.empty(*bases, out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(self.total_channels)) if bias else None
        nn.init.normal_(self.weight, std=(2 / (in_channels * kernel_size**2)) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and pool."""
        return rotation_conv2d(
            x, self.weight, orientations=self.orientations, pool=self.pool, padding=self.padding, bias=self.bias
        )

    def magnitude_loss(self) -> Tensor:
        """Equation 19: the mean over outputs of `(|gx|^2 - |gy|^2)^2`; zero without steering."""
        if self.weight.dim() == 4:
            return self.weight.new_zeros(())
        along, across = self.weight.flatten(2).square().sum(2)
        loss: Tensor = (along - across).square().mean()
        return loss

    def orthogonality_loss(self, eps: float = 1e-8) -> Tensor:
        """Equation 20: the mean over outputs of `(<gx, gy> / (|gx| |gy| + eps))^2`; zero without steering."""
        if self.weight.dim() == 4:
            return self.weight.new_zeros(())
        along, across = self.weight.flatten(2)
        lengths = along.norm(dim=1) * across.norm(dim=1)
        loss: Tensor = ((along * across).sum(1) / (lengths + eps)).square().mean()
        return loss

    def extra_repr(self) -> str:
        """The layer's sizes, for printing."""
        return (
            f"{self.in_channels}, {self.out_channels}, {tuple(self.weight.shape[-2:])}, "
            f"orientations={self.orientations}, pool={self.pool!r}"
        )
