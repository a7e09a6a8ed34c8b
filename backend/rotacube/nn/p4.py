"""Convolutions on the group p4, of shifts and quarter turns (Cohen and Welling 2016), our step beyond the paper.

A map of F fields is (B, 4 * F, H, W): channel `4 * f + r` is field f at orientation r. Turning the input by 90 degrees
turns every map and moves each orientation to the next; a maximum over the four gives a map that only turns.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class P4Conv2d(nn.Module):
    """A convolution from fields to fields that commutes with quarter turns; same height and width.

    Takes `(B, 4 * in_fields, H, W)` to `(B, 4 * out_fields, H, W)`. The filter bank of orientation r is the one of
    orientation 0, turned by r quarters and shifted by r along the input's orientations. Without bias.

    Args:
        in_fields: fields that come in.
        out_fields: fields that go out.
        kernel_size: odd.

    Raises:
        ValueError: `kernel_size` is even.
    """

    def __init__(self, in_fields: int, out_fields: int, kernel_size: int = 3) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"a p4 convolution needs an odd kernel size, not {kernel_size}")
        self.weight = nn.Parameter(torch.empty(out_fields, in_fields, 4, kernel_size, kernel_size))
        nn.init.normal_(self.weight, std=(2 / (4 * in_fields * kernel_size**2)) ** 0.5)

    def filters(self) -> Tensor:
        """The bank (4 * out_fields, 4 * in_fields, K, K) of all orientations."""
        turned = [torch.rot90(self.weight.roll(r, 2), r, (3, 4)) for r in range(4)]
        return torch.stack(turned, 1).flatten(0, 1).flatten(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve."""
        return F.conv2d(x, self.filters(), padding=self.weight.shape[-1] // 2)

    def extra_repr(self) -> str:
        """The layer's sizes, for printing."""
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}, {tuple(self.weight.shape[3:])}"


class P4BatchNorm2d(nn.BatchNorm3d):
    """BatchNorm with one scale and one mean for the four orientations of a field."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `(B, 4 * F, H, W)`."""
        return super().forward(x.reshape(x.shape[0], -1, 4, *x.shape[2:])).flatten(1, 2)
