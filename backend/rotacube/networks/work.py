"""Counts the parameters of a network and the multiply-accumulates of one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from rotacube.networks.mask_rcnn import CELLS, MASK_CELLS, MaskRCNN
from rotacube.networks.registry import create_model
from rotacube.nn import Involution2d, KroneckerFusion, RotationConv2d
from rotacube.ops._dispatch import plain_operators


@dataclass(frozen=True)
class Work:
    """Attributes: parameters of the network; multiply-accumulates (`macs`) of one forward pass in eval mode."""

    parameters: int
    macs: int


def count_work(network: nn.Module, image: Tensor) -> Work:
    """Count a network's parameters and the multiply-accumulates that an image takes.

    PyTorch's counter sees convolutions and matrix products, those of a Cube convolution among them. Added is what our
    other operators multiply:

    - involution: `K^2 * C * H * W`, beside the convolutions that make its kernels;
    - Kronecker fusion of n maps: `n^2 * C * H * W`;
    - rotation-invariant convolution: `K^2 * C * m * O * H * W`, once for the four rotations that share the products
      (the paper's scatter form), whatever the path that runs here computes.

    Args:
        network: in eval mode.
        image: (B, bands, H, W), where the network is; on the device "meta" nothing is computed.
    """
    own = 0
    before: list[int] = []
    handles = []

    def note(layer: nn.Module, args: Any) -> None:
        before.append(counter.get_total_flops())

    def replace(layer: RotationConv2d, args: tuple[Tensor], out: Tensor) -> None:
        nonlocal own
        seen = counter.get_total_flops() - before.pop()
        pixels = out.shape[0] * out.shape[-2] * out.shape[-1]
        own += layer.in_channels * layer.total_channels * layer.weight.shape[-1] ** 2 * pixels - seen // 2

    def fusion(layer: KroneckerFusion, args: tuple[list[Tensor]], out: Tensor) -> None:
        nonlocal own
        if layer.weight is not None:
            own += len(layer.channels) * out.numel()

    def involution(layer: Involution2d, args: tuple[Tensor], out: Tensor) -> None:
        nonlocal own
        own += layer.kernel_size**2 * out.numel()

    for layer in network.modules():
        if isinstance(layer, RotationConv2d):
            handles += [layer.register_forward_pre_hook(note), layer.register_forward_hook(replace)]
        elif isinstance(layer, KroneckerFusion):
            handles.append(layer.register_forward_hook(fusion))
        elif isinstance(layer, Involution2d):
            handles.append(layer.register_forward_hook(involution))
    try:
        with plain_operators(), FlopCounterMode(display=False) as counter, torch.no_grad():
            network(image)
    finally:
        for handle in handles:
            handle.remove()
    return Work(sum(p.numel() for p in network.parameters()), counter.get_total_flops() // 2 + own)


class _Regions(nn.Module):
    """What Mask R-CNN computes for an image, for so many regions and masks whatever lies on it."""

    def __init__(self, network: MaskRCNN, regions: int, masks: int) -> None:
        super().__init__()
        self.network, self.regions, self.masks = network, regions, masks

    def forward(self, image: Tensor) -> None:
        maps = self.network.maps(image)
        for part in maps:
            seen = self.network.propose(part)
            self.network.objectness(seen)
            self.network.moves(seen)
        width = maps[0].shape[1]
        hidden = self.network.second(image.new_empty(self.regions, width, CELLS, CELLS))
        self.network.score(hidden)
        self.network.correct(hidden)
        self.network.draw(image.new_empty(self.masks, width, MASK_CELLS, MASK_CELLS))


def mask_rcnn_work(bands: int = 3, side: int = 512, regions: int = 1000, masks: int = 100) -> Work:
    """Count Mask R-CNN on ResNet-50, whose work depends on how many regions and masks an image has.

    >>> mask_rcnn_work().parameters
    43970133
    """
    with torch.device("meta"):
        network = _Regions(MaskRCNN(bands), regions, masks).eval()
        return count_work(network, torch.empty(1, bands, side, side))


def network_work(name: str, bands: int = 3, classes: int = 2, side: int = 512, **options: Any) -> Work:
    """Count a network of the registry without building its weights.

    Args:
        name: in the registry.
        bands: input bands.
        classes: two share one logit.
        side: height and width of the image.
        options: of `create_model`.

    >>> network_work("convnext-cube").parameters
    45104368
    """
    with torch.device("meta"):
        network = create_model(name, bands, classes, **options).eval()
        return count_work(network, torch.empty(1, bands, side, side))
