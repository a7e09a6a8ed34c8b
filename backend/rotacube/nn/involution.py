"""Involution as a layer (Li et al., CVPR 2021, equations 4 to 6)."""

from __future__ import annotations

from torch import Tensor, nn

from rotacube.ops.involution import involution2d


class Involution2d(nn.Module):
    """An involution whose kernels are made from the pixel that they stand at: `span(relu(norm(reduce(x))))`.

    Takes `(B, channels, H, W)` to the same shape; `reduce` and `span` are 1x1 convolutions. The stride is 1.

    Args:
        channels: of input and output.
        kernel_size: odd; 3, 5 and 7 are compiled.
        groups: divides the channels; each group has its own kernels. By default groups of 16 channels, the paper's, or
            one group where the channels are no multiple of 16.
        reduction: the bottleneck between input and kernels has `channels / reduction` channels, at least one.

    Raises:
        ValueError: `kernel_size` is even, or `groups` does not divide `channels`.

    >>> Involution2d(16)(torch.ones(1, 16, 6, 6)).shape
    torch.Size([1, 16, 6, 6])
    """

    def __init__(self, channels: int, kernel_size: int = 7, *, groups: int | None = None, reduction: int = 4) -> None:
        super().__init__()
        if groups is None:
            groups = channels // 16 if channels % 16 == 0 else 1
        if kernel_size % 2 == 0:
            raise ValueError(f"an involution needs an odd kernel size, not {kernel_size}")
        if groups < 1 or channels % groups:
            raise ValueError(f"an involution's groups divide its channels: {channels} is no multiple of {groups}")
        inner = max(1, channels // reduction)
        self.groups = groups
        self.kernel_size = kernel_size
        self.reduce = nn.Conv2d(channels, inner, 1, bias=False)
        self.norm = nn.BatchNorm2d(inner)
        self.relu = nn.ReLU()
        self.span = nn.Conv2d(inner, groups * kernel_size**2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Involve `(B, channels, H, W)` with the kernels made from it."""
        kernel = self.span(self.relu(self.norm(self.reduce(x))))
        return involution2d(x, kernel, groups=self.groups)

    def extra_repr(self) -> str:
        """The layer's sizes, for printing."""
        return f"groups={self.groups}, kernel_size={self.kernel_size}"
