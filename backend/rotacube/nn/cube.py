"""The Cube convolution as a layer, with Channel Router and spatial attention mask (Cube Kernel, sections 1 to 4)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rotacube.ops.cube import Anchor, Mode, cube_conv2d


class ChannelRouter(nn.Module):
    """A learnable order of channels: those with the highest scores come first.

    In training the order is a permutation matrix that is exact forward, and backward the SoftSort relaxation
    `softmax(-|sort(s) - s| / temperature)` (straight-through), applied as a 1x1 convolution. In eval it is an index.

    Args:
        channels: whose order is learnt; at first it is as it stands.
        temperature: of the relaxation; by default the distance of neighbouring scores at the start.
    """

    def __init__(self, channels: int, temperature: float | None = None) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.linspace(1, -1, channels))
        self.temperature = 2 / channels if temperature is None else temperature
        self._fixed: Tensor | None = None

    @contextmanager
    def fixed(self) -> Iterator[None]:
        """Within it the order is a constant: exported programs hold the table, not the sorting."""
        self._fixed = self.order()
        try:
            yield
        finally:
            self._fixed = None

    def order(self) -> Tensor:
        """The order (C,) int64: channel i of the lattice is channel `order[i]` of the input."""
        if self._fixed is not None:
            return self._fixed
        return torch.argsort(self.scores.detach(), descending=True, stable=True)

    def matrix(self) -> Tensor:
        """The order as a permutation matrix (C, C) whose gradient is the relaxation's."""
        scores = self.scores.float()
        distance = (scores.sort(descending=True, stable=True).values[:, None] - scores[None]).abs()
        soft = F.softmax(-distance / self.temperature, dim=1)
        hard = F.one_hot(self.order(), len(scores)).to(soft.dtype)
        return hard + soft - soft.detach()

    def forward(self, x: Tensor) -> Tensor:
        """Put the channels of `(B, C, H, W)` in order, differentiably."""
        return F.conv2d(x, self.matrix().to(x.dtype)[:, :, None, None])


class LatticeAttention(nn.Module):
    """The spatial attention mask on the fine lattice: `sigmoid(conv7x7([mean, max]))` over the groups of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        """The mask (B, 1, 2H, 2W) of `(B, C, H, W)`, channels in the lattice's order; the lattice is not made."""
        batch, channels, *size = x.shape
        groups = x.reshape(batch, channels // 4, 4, *size)
        seen = torch.cat([F.pixel_shuffle(groups.mean(1), 2), F.pixel_shuffle(groups.amax(1), 2)], 1)
        mask: Tensor = self.conv(seen)
        return mask.sigmoid().to(x.dtype)


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
        router: whether to learn the order of the channels.
        attention: whether to multiply the lattice with a spatial attention mask.
        mode: "lattice", or "grouped" for the ablation (no attention; `out_channels` a multiple of 4).
        stride: 2, or 1 for the ablation; then the output is averaged over 2x2 pixels.

    Raises:
        ValueError: `in_channels` is not a multiple of 4, `kernel_size` is even, or choices do not go together.

    >>> CubeConv2d(8, 16)(torch.ones(1, 8, 6, 6)).shape
    torch.Size([1, 16, 6, 6])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        anchor: Anchor = "tl",
        bias: bool = True,
        router: bool = False,
        attention: bool = False,
        mode: Mode = "lattice",
        stride: int = 2,
    ) -> None:
        super().__init__()
        if in_channels % 4:
            raise ValueError(f"a Cube convolution needs a multiple of 4 input channels, not {in_channels}")
        if kernel_size % 2 == 0:
            raise ValueError(f"a Cube convolution needs an odd kernel size, not {kernel_size}")
        if mode == "grouped" and (attention or stride != 2 or out_channels % 4):
            raise ValueError("a grouped Cube convolution has a multiple of 4 outputs, stride 2 and no attention")
        if stride not in (1, 2) or (stride == 1 and anchor != "tl"):
            raise ValueError('a Cube convolution has stride 2, or for the ablation stride 1 with anchor "tl"')
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.anchor: Anchor = anchor
        self.mode: Mode = mode
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // 4, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.router = ChannelRouter(in_channels) if router else None
        self.attention = LatticeAttention() if attention else None
        nn.init.trunc_normal_(self.weight, std=(in_channels // 4 * kernel_size**2) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve `(B, in_channels, H, W)` to `(B, out_channels, H, W)`."""
        order = None
        if self.router is not None:
            if self.training:
                x = self.router(x)
            else:
                order = self.router.order()
        mask = None
        if self.attention is not None:
            mask = self.attention(x if order is None else x[:, order])
        out = cube_conv2d(
            x, self.weight, self.bias, order=order, mask=mask, stride=self.stride, anchor=self.anchor, mode=self.mode
        )
        return F.avg_pool2d(out, 2) if self.stride == 1 else out

    def extra_repr(self) -> str:
        """The layer's sizes, for printing."""
        return f"{self.in_channels}, {self.out_channels}, {tuple(self.weight.shape[2:])}, anchor={self.anchor!r}"
