"""How much memory a network's outputs take while it looks at an image, without computing anything."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Living(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all tensors that live at once, at most."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.most = 0
        self._known: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return out

    def _count(self, storage: Any) -> None:
        key = storage._cdata
        if key not in self._known:
            self._known[key] = storage.nbytes()
            self.now += storage.nbytes()
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._gone, key)

    def _gone(self, key: int) -> None:
        self.now -= self._known.pop(key, 0)


def live_bytes(network: nn.Module, shape: tuple[int, int, int, int]) -> int:
    """The most bytes that live at once in a forward pass in float32, but for the weights and what libraries take to
    compute a layer.

    Args:
        network: in eval mode; it is not changed.
        shape: (B, bands, H, W) of the input.
    """
    there = copy.deepcopy(network).to("meta")
    image = torch.empty(shape, device="meta").to(memory_format=torch.channels_last)
    with torch.no_grad(), _Living() as living:
        there(image)
    return int(living.most)
