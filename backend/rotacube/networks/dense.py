"""What all networks for dense labels have in common: features, a head, and for roofs a second head for boundaries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn


class RoofMaps(NamedTuple):
    """What a network with `boundary=True` gives.

    Attributes:
        logits: (B, outputs, H, W), of the classes.
        boundary: (B, 1, H, W), the logit that a pixel lies on a roof's boundary: roofs that touch are parted by it.
    """

    logits: Tensor
    boundary: Tensor


class DenseNetwork(nn.Module, ABC):
    """Labels every pixel: `(B, bands, H, W)` to logits `(B, outputs, H, W)`, or to `RoofMaps`.

    A family defines `features`, `stride` (height and width are multiples of it), and calls `add_heads`.
    """

    stride: int
    head: nn.Module
    boundary_head: nn.Module | None

    def add_heads(self, make: Callable[[int], nn.Module], outputs: int, boundary: bool) -> None:
        """Add the head that makes logits of features, and with `boundary` a second one of its kind.

        Args:
            make: builds a head with the given number of outputs.
            outputs: logits a pixel.
            boundary: whether the roofs' boundary is a second output.
        """
        self.head = make(outputs)
        self.boundary_head = make(1) if boundary else None

    @property
    def further(self) -> dict[str, int]:
        """The outputs beside the logits: their names in `RoofMaps`, in order, and how many channels each has."""
        return {} if self.boundary_head is None else {"boundary": 1}

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """What the heads are made of."""

    def forward(self, x: Tensor) -> Tensor | RoofMaps:
        """Logits for every pixel.

        Raises:
            ValueError: height or width is no multiple of `stride`.
        """
        height, width = x.shape[2:]
        if height % self.stride or width % self.stride:
            raise ValueError(f"This network takes a multiple of {self.stride} pixels a side, not {height} x {width}.")
        found = self.features(x)
        logits: Tensor = self.head(found)
        return logits if self.boundary_head is None else RoofMaps(logits, self.boundary_head(found))
