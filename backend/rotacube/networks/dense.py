"""What all networks for dense labels have in common: features, and a head that makes logits and further outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Further(NamedTuple):
    """An output beside the logits: in how many channels, and what its values mean."""

    channels: int
    meaning: str


FURTHER = {
    "border": Further(1, "logit of the probability that the pixel lies between two roofs that touch"),
    "distance": Further(
        1,
        "logit of how deep the pixel lies inside its roof: 0 at its edge, 1 in its middle or 16 pixels from it",
    ),
    "direction": Further(2, "cosine and sine of four times the angle of the nearest wall, from rows towards columns"),
}
"""What a network can say of roofs beside their class."""


class DenseNetwork(nn.Module, ABC):
    """Labels every pixel: `(B, bands, H, W)` to logits `(B, outputs, H, W)`, or to these and further outputs by name.

    A family defines `features`, `stride` (height and width are multiples of it), and calls `add_head`.

    Attributes:
        channels: the outputs by name, "logits" first, and how many channels each has.
    """

    stride: int
    head: nn.Module
    channels: dict[str, int]

    def add_head(self, make: Callable[[int], nn.Module], outputs: int, further: Sequence[str]) -> None:
        """Add the head that makes all outputs of features.

        Args:
            make: builds a head with the given number of channels.
            outputs: logits a pixel.
            further: names of `FURTHER`.

        Raises:
            ValueError: a name is not one of these, or stands there twice.
        """
        if isinstance(further, str) or set(further) - FURTHER.keys() or len(set(further)) < len(further):
            raise ValueError(f"Further outputs are each one of {', '.join(FURTHER)}, not {further!r}.")
        self.channels = {"logits": outputs} | {name: FURTHER[name].channels for name in further}
        self.head = make(sum(self.channels.values()))

    def scale_logits(self, factor: float) -> None:
        """Multiply the classes' logits from now on: a temperature, put into the head's last convolution."""
        last, each = self._last()
        rows = each * self.channels["logits"]
        with torch.no_grad():
            last.weight[:rows] *= factor
            if last.bias is not None:
                last.bias[:rows] *= factor

    def shift_logits(self, shifts: Sequence[float]) -> None:
        """Add a number to the logits of each class from now on, in the head's last convolution.

        Raises:
            ValueError: that has no bias.
        """
        last, each = self._last()
        if last.bias is None:
            raise ValueError("The head's last convolution has no bias that could be shifted.")
        with torch.no_grad():
            last.bias[: each * len(shifts)] += last.bias.new_tensor(shifts).repeat_interleave(each)

    def _last(self) -> tuple[nn.Conv2d, int]:
        """The head's last convolution, and how many of its rows each output has; they are in the outputs' order."""
        last = [layer for layer in self.head.modules() if isinstance(layer, nn.Conv2d)][-1]
        return last, last.out_channels // sum(self.channels.values())

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """What the head is made of."""

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """Logits for every pixel; with further outputs all of them by name.

        Raises:
            ValueError: height or width is no multiple of `stride`.
        """
        height, width = x.shape[2:]
        if height % self.stride or width % self.stride:
            raise ValueError(f"This network takes a multiple of {self.stride} pixels a side, not {height} x {width}.")
        found: Tensor = self.head(self.features(x))
        if len(self.channels) == 1:
            return found
        return dict(zip(self.channels, torch.split(found, list(self.channels.values()), 1), strict=True))
