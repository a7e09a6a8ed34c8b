"""The parts that several families are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain, cycle, repeat
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rotacube.nn import CubeConv2d, FusionMode, Involution2d, KroneckerFusion, RotationConv2d

Kind = Literal["conv", "cube", "involution", "rotation", "se"]


def scaled(channels: Sequence[int], width: float) -> tuple[int, ...]:
    """Channel counts times `width`, to multiples of 4, which a Cube convolution takes.

    Raises:
        ValueError: `width` is not between 1/16 and 4, or there is a count that no network has.
    """
    if not all(1 <= c <= 8192 for c in channels):
        raise ValueError(f"Channel counts are between 1 and 8192, not {tuple(channels)}.")
    if not 0.0625 <= width <= 4:
        raise ValueError(f"The width of a network is a factor between 1/16 and 4, not {width}.")
    return tuple(max(4, round(c * width / 4) * 4) for c in channels)


class CubeMaker:
    """Makes the Cube convolutions of one network.

    Args:
        anchor: "alternate" changes from layer to layer, so that the one-sided supports cancel; "tl" is the paper's.
        options: of `CubeConv2d`: `router`, `attention`, `mode`, `stride`.

    Raises:
        ValueError: The anchor is unknown.
    """

    def __init__(self, anchor: Literal["alternate", "tl", "br"] = "alternate", **options: Any) -> None:
        if anchor not in ("alternate", "tl", "br"):
            raise ValueError(f'The anchor of Cube convolutions is "alternate", "tl" or "br", not {anchor!r}.')
        if anchor == "alternate" and options.get("stride", 2) == 1:
            anchor = "tl"  # the ablation knows no other
        self.anchors = cycle(["tl", "br"] if anchor == "alternate" else [anchor])
        self.options = options

    def __call__(self, inputs: int, outputs: int, *, bias: bool = True) -> CubeConv2d:
        """The next Cube convolution, 3x3."""
        return CubeConv2d(inputs, outputs, anchor=next(self.anchors), bias=bias, **self.options)  # type: ignore[arg-type]


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of `(B, C, H, W)`; without a copy in channels_last."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each pixel over its channels."""
        return F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps).permute(
            0, 3, 1, 2
        )


def conv_norm(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    *,
    stride: int = 1,
    groups: int = 1,
    dilation: int = 1,
    act: bool = True,
) -> nn.Sequential:
    """A convolution that keeps the size (but for its stride), BatchNorm, and ReLU where `act`."""
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), *([nn.ReLU()] if act else []))


class SqueezeExcite(nn.Module):
    """Scales each channel by what all channels' means say (Hu et al. 2018, reduction 16)."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        inner = max(1, channels // reduction)
        self.squeeze = nn.Conv2d(channels, inner, 1, bias=False)
        self.excite = nn.Conv2d(inner, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Scale `(B, C, H, W)`."""
        scale: Tensor = self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True)))).sigmoid()
        return x * scale


class Stack(nn.Sequential):
    """Operators one after the other, BatchNorm and ReLU behind each: UNet's base block and all its variants.

    Args:
        inputs: channels that come in.
        outputs: channels of every operator.
        kinds: "conv" and "cube" are 3x3; "involution" is 7x7 and cannot come first where the channels change;
            "rotation" is 3x3 and gives `orientations / 4` times the channels; "se" is Squeeze-and-Excitation.
        cubes: makes the Cube convolutions.
        orientations: of the rotation-invariant convolutions.

    Attributes:
        out_channels: of the last operator.

    Raises:
        ValueError: a kind is unknown, there are none or more than 16, or an involution would have to change its
            channels.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kinds: Sequence[Kind] = ("conv", "conv"),
        *,
        cubes: CubeMaker | None = None,
        orientations: int = 4,
    ) -> None:
        super().__init__()
        if not 1 <= len(kinds) <= 16 or orientations > 64:
            raise ValueError("A block has between 1 and 16 operators, of at most 64 orientations.")
        cubes = cubes or CubeMaker()
        for kind in kinds:
            if kind == "se":
                self.append(SqueezeExcite(inputs))
                continue
            layer: nn.Module
            made = outputs
            if kind == "conv":
                layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
            elif kind == "cube":
                layer = cubes(inputs, outputs, bias=False)
            elif kind == "rotation":
                layer = RotationConv2d(inputs, outputs, orientations=orientations, bias=False)
                made = layer.total_channels
            elif kind == "involution":
                if inputs != outputs:
                    raise ValueError(f"An involution keeps its channels: it cannot make {outputs} of {inputs}.")
                layer = Involution2d(outputs)
            else:
                raise ValueError(f"There is no operator '{kind}' in a block.")
            self.append(nn.Sequential(layer, nn.BatchNorm2d(made), nn.ReLU()))
            inputs = made
        self.out_channels = inputs


class UpStage(nn.Module):
    """One decoder stage of a UNet: 2x2 up-convolution, fusion with the encoder's map, a stack of operators.

    Args:
        coarse: channels of the map that is doubled.
        width: channels of the encoder's map, and of the result.
        kinds: of the stack.
        skip: how the two maps are fused.
        cubes: makes the Cube convolutions.
        orientations: of the rotation-invariant convolutions.
    """

    def __init__(
        self,
        coarse: int,
        width: int,
        kinds: Sequence[Kind] = ("conv", "conv"),
        *,
        skip: FusionMode = "concat",
        cubes: CubeMaker | None = None,
        orientations: int = 4,
    ) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(coarse, width, 2, 2)
        self.fusion = KroneckerFusion([width, width], width, skip)
        self.stack = Stack(self.fusion.out_channels, width, kinds, cubes=cubes, orientations=orientations)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Fuse `(B, coarse, H, W)` with `(B, width, 2H, 2W)` to `(B, width, 2H, 2W)`."""
        result: Tensor = self.stack(self.fusion([fine, self.up(coarse)]))
        return result


def u_shape(
    x: Tensor,
    encoder: Iterable[nn.Module],
    decoder: Iterable[nn.Module],
    downs: Iterable[Callable[[Tensor], Tensor]] = repeat(partial(F.max_pool2d, kernel_size=2)),
) -> Tensor:
    """Down through the encoder's stages, and up through the decoder's, which see the skips.

    Args:
        x: (B, C, H, W).
        encoder: stages that keep height and width.
        decoder: stages that take the coarse map and the encoder's finer one, one fewer than the encoder's.
        downs: what halves height and width between the encoder's stages; by default 2x2 maxima.

    Returns:
        The last stage's maps, of height and width H and W.
    """
    skips: list[Tensor] = []
    first: Callable[[Tensor], Tensor] = nn.Identity()
    for down, stage in zip(chain([first], downs), encoder, strict=False):
        x = stage(down(x))
        skips.append(x)
    x = skips.pop()
    for stage in decoder:
        x = stage(x, skips.pop())
    return x


class Bottleneck(nn.Module):
    """ResNet's residual block of 1x1, 3x3 and 1x1 convolutions (He et al. 2016), the stride in the 3x3."""

    expansion = 4

    def __init__(self, inputs: int, inner: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        outputs = inner * self.expansion
        self.change = nn.Sequential(
            conv_norm(inputs, inner, 1),
            conv_norm(inner, inner, 3, stride=stride, dilation=dilation),
            conv_norm(inner, outputs, 1, act=False),
        )
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else conv_norm(inputs, outputs, 1, stride=stride, act=False)

    def forward(self, x: Tensor) -> Tensor:
        """Add the block's change to `(B, C, H, W)`."""
        return F.relu(self.shortcut(x) + self.change(x))


def resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """The maps bilinearly at another height and width, corners not aligned, in channels_last.

    Maps of one pixel have no memory format that PyTorch would keep, and a concatenation with them would be in another.
    """
    larger = F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
    return larger.contiguous(memory_format=torch.channels_last)


def pooled(x: Tensor, height: int, width: int) -> Tensor:
    """The means over `height` x `width` bins, as adaptive average pooling has them, as two matrix products.

    So it exports: ONNX knows no adaptive pooling whose bins overlap.
    """
    rows, columns = (_bins(n, bins).to(x) for n, bins in zip(x.shape[2:], (height, width), strict=True))
    return (rows @ x @ columns.mT).contiguous(memory_format=torch.channels_last)


def _bins(size: int, bins: int) -> Tensor:
    """The matrix (bins, size) that takes means: bin i covers floor(i * size / bins) to ceil((i + 1) * size / bins)."""
    start = torch.arange(bins) * size // bins
    end = -(-(torch.arange(1, bins + 1) * size) // bins)
    index = torch.arange(size)
    inside = (index >= start[:, None]) & (index < end[:, None])
    return inside.double() / (end - start)[:, None]


def init_normal(module: nn.Module) -> None:
    """Weights of convolutions from a truncated normal of deviation 0.02, biases zero: for networks with LayerNorm."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def to_channels_last(network: nn.Module) -> nn.Module:
    """The network itself, its convolutions' weights in channels_last (those of five axes stay as they are)."""
    for tensor in chain(network.parameters(), network.buffers()):
        if tensor.dim() == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    return network


def coarse_head(channels: int, outputs: int, factor: int) -> nn.Sequential:
    """A head on maps that are `factor` times too coarse: 1x1, and bilinear enlargement."""
    return nn.Sequential(
        nn.Conv2d(channels, outputs, 1), nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=False)
    )
