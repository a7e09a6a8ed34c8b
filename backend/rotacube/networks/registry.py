"""The networks by name: who builds them, from which source, and the reading taken where a paper leaves room."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from rotacube.errors import ModelMissing, OptionsRefused, first_line
from rotacube.logits import outputs_of
from rotacube.networks.convnext import convnext_cube, convnext_u
from rotacube.networks.deeplab import DeepLabV3Plus
from rotacube.networks.fast_scnn import FastSCNN
from rotacube.networks.hrnet import HRNet
from rotacube.networks.layers import to_channels_last
from rotacube.networks.lite_unet import LiteUNet
from rotacube.networks.p4_unet import P4UNet
from rotacube.networks.scene import alexnet, inception, vgg16
from rotacube.networks.swin_unet import SwinUNet
from rotacube.networks.unet import UNet

Labels = Literal["pixels", "images"]


@dataclass(frozen=True)
class Network:
    """A network that can be built.

    Attributes:
        name: in the registry.
        title: for a person.
        build: takes bands and outputs, and options by keyword.
        source: the paper.
        reading: what was chosen where the papers leave room; empty where they leave none.
        fixed: the keywords of `build` that make this network of its family.
        labels: what its logits label: every pixel, or whole images (scenes).
    """

    name: str
    title: str
    build: Callable[..., nn.Module]
    source: str
    reading: str = ""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    labels: Labels = "pixels"

    def options(self) -> dict[str, Any]:
        """The options that may be chosen, with their defaults."""
        parameters = inspect.signature(self.build).parameters.values()
        chosen = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        return {name: default for name, default in chosen.items() if name not in self.fixed}


_CUBE_PAPER = "Cube Kernel"
_RI_PAPER = "Accelerated Rotation-Invariant Convolution"
_KPFF_PAPER = "Kronecker Product Feature Fusion"
_LAST = "The operator stands in the last decoder stage."
_FIRST = "The operator stands in the first encoder stage, behind a 3x3 that takes the bands."

_ALL = (
    Network(
        "convnext-cube",
        "ConvNeXt-Cube",
        convnext_cube,
        _CUBE_PAPER,
        "Depthwise 7x7 becomes Cube 3x3 in ConvNeXt-Tiny's blocks; each of three decoder stages is a 3x3 at the coarse "
        "resolution, bilinear doubling, Cube fusion of the concatenation and three blocks; a 3x3 head with pixel "
        "shuffle. Anchors alternate; the paper's fixed one is cube={'anchor': 'tl'}.",
    ),
    Network(
        "convnext-cube-small",
        "ConvNeXt-Cube, small",
        convnext_cube,
        "ours, for work on a CPU",
        fixed={"depths": (2, 2, 6, 2), "widths": (40, 80, 160, 320), "decoder_depths": (2, 2, 2)},
    ),
    Network(
        "convnext-u",
        "ConvNeXt-U",
        convnext_u,
        "Cube Kernel, later abstract",
        "ConvNeXt-Tiny's encoder, UNet's decoder (2x2 up-convolution, concatenation, double 3x3) to a quarter of the "
        "resolution, a 3x3 head with pixel shuffle.",
        {"decoder": "conv"},
    ),
    Network(
        "convnext-u-cube",
        "ConvNeXt-U-Cube",
        convnext_u,
        "Cube Kernel, later abstract",
        "ConvNeXt-U whose decoder's double 3x3 convolutions are Cubes; the encoder is kept.",
        {"decoder": "cube"},
    ),
    Network(
        "unet",
        "UNet",
        UNet,
        "Ronneberger et al. 2015",
        "The original widths, padded, with BatchNorm and 2x2 up-convolutions. With two operations a "
        "multiply-accumulate it has the 385 G that the table gives for SENet.",
    ),
    Network(
        "unet-conv",
        "UNet + Conv Kernel",
        UNet,
        _CUBE_PAPER,
        f"{_LAST} It is one more double 3x3: its 38.7 G are what the table has between UNet and UNet + Conv (38.8 G).",
        {"last": ("conv", "conv", "conv", "conv")},
    ),
    Network(
        "unet-cube",
        "UNet + Cube Kernel",
        UNet,
        _CUBE_PAPER,
        f"{_LAST} Both 3x3 of the stage are Cubes: 0.08 M parameters less, as in the table.",
        {"last": ("cube", "cube")},
    ),
    Network(
        "cube-unet",
        "Cube Kernel + UNet",
        UNet,
        _CUBE_PAPER,
        f"{_FIRST} A Cube takes a multiple of four channels, so it cannot take the bands themselves.",
        {"first": ("conv", "cube")},
    ),
    Network(
        "unet-involution",
        "UNet + Involution",
        UNet,
        _CUBE_PAPER,
        f"{_LAST} An involution keeps its channels, so a 3x3 brings them to 64 before it. 7x7, groups of 16 channels.",
        {"last": ("conv", "involution")},
    ),
    Network("involution-unet", "Involution + UNet", UNet, _CUBE_PAPER, _FIRST, {"first": ("conv", "involution")}),
    Network(
        "involution-unet-cube",
        "Involution + UNet + Cube Kernel",
        UNet,
        _CUBE_PAPER,
        "Involution as in involution-unet, Cubes as in unet-cube.",
        {"first": ("conv", "involution"), "last": ("cube", "cube")},
    ),
    Network(
        "involution-cube-unet",
        "Involution + Cube Kernel + UNet",
        UNet,
        _CUBE_PAPER,
        "The first stage is a 3x3 that takes the bands, an involution, and a Cube.",
        {"first": ("conv", "involution", "cube")},
    ),
    Network(
        "se-unet",
        "SE-UNet",
        UNet,
        "Hu et al. 2018, in UNet",
        "Squeeze-and-Excitation (reduction 16, no biases) after every base block.",
        {"block": ("conv", "conv", "se")},
    ),
    *(
        Network(
            f"ri-unet-{n}",
            f"RI-UNet, {n} orientation{'s' if n > 1 else ''}",
            UNet,
            _RI_PAPER,
            "The first convolution of every base block is rotation-invariant"
            + (", its maximum taken over each group of four orientations" if n > 4 else "")
            + (f"; it gives {n // 4} times the channels, from two steered filters" if n > 4 else "")
            + ". A multiply-accumulate counts once for the four rotations that share it.",
            {"block": ("rotation", "conv"), "orientations": n},
        )
        for n in (1, 4, 8, 16)
    ),
    Network(
        "p4-unet",
        "p4-equivariant UNet",
        P4UNet,
        "ours; Cohen and Welling 2016 in UNet",
        "Half of UNet's widths as fields of four orientations; the orientations are pooled once, before the head.",
    ),
    Network(
        "deeplabv3plus",
        "DeepLabv3+",
        DeepLabV3Plus,
        "Chen et al. 2018",
        "ResNet-50 (the paper names no backbone), output stride 16, rates 6, 12, 18.",
        {"decoder": "conv"},
    ),
    Network(
        "deeplabv3plus-cube",
        "DeepLabv3+ Cube",
        DeepLabV3Plus,
        _CUBE_PAPER,
        "The decoder's two 3x3 convolutions are Cubes.",
        {"decoder": "cube"},
    ),
    Network(
        "swin-unet",
        "Swin-UNet",
        SwinUNet,
        "Cao et al. 2021",
        "Windows of 8, which divide 512. Its decoder has no 3x3 convolution.",
        {"decoder": "swin"},
    ),
    Network(
        "swin-unet-conv",
        "Swin-UNet, decoder of convolutions",
        SwinUNet,
        _CUBE_PAPER,
        "Swin-UNet's encoder and patch expanding; two 3x3 convolutions a decoder stage. The published sizes of "
        "Swin-Unet and Swin-UCube speak of such a decoder, so this is the network to compare the Cube with.",
        {"decoder": "conv"},
    ),
    Network(
        "swin-unet-cube",
        "Swin-UCube",
        SwinUNet,
        _CUBE_PAPER,
        "Swin-UNet's encoder and patch expanding; two Cubes a decoder stage.",
        {"decoder": "cube"},
    ),
    Network(
        "lite-unet",
        "UNet on EfficientNet-Lite0",
        LiteUNet,
        "ours; Tan and Le 2019, Ronneberger et al. 2015",
        "No network of the papers: the one whose encoder has ImageNet weights that may be given away. It is the "
        "teacher of the roof networks, and the line that they are measured against.",
    ),
    Network("fast-scnn", "Fast-SCNN", FastSCNN, "Poudel et al. 2019"),
    Network("hrnet-w48", "HRNet-W48", HRNet, "Wang et al. 2020", "HRNetV2's head, without OCR."),
    Network(
        "alexnet",
        "AlexNet",
        alexnet,
        _KPFF_PAPER,
        "Krizhevsky 2014; conv3, conv4 and conv5 are fused.",
        labels="images",
    ),
    Network("vgg-16", "VGG-16", vgg16, _KPFF_PAPER, "The last three stages are fused.", labels="images"),
    Network(
        "inception",
        "Inception",
        inception,
        _KPFF_PAPER,
        "GoogLeNet with BatchNorm, without auxiliary classifiers; inception 3, 4 and 5 are fused.",
        labels="images",
    ),
)
NETWORKS = {network.name: network for network in _ALL}


def find_network(name: str) -> Network:
    """The network of that name.

    Raises:
        ModelMissing: there is none.

    >>> find_network("convnext-cube").source
    'Cube Kernel'
    """
    if name not in NETWORKS:
        raise ModelMissing(f"There is no network '{name}'. Known are: {', '.join(sorted(NETWORKS))}.")
    return NETWORKS[name]


def create_model(name: str, in_bands: int, classes: int, **options: Any) -> nn.Module:
    """Build a network with fresh weights, in channels_last.

    Args:
        name: a network's name, a key of `NETWORKS`.
        in_bands: input bands.
        classes: classes, background among them; two classes share one logit, K > 2 have K.
        options: of the network, see `Network.options`; all have `width`, a factor on their channels, dense ones have
            `further`, outputs beside the logits (`networks.dense.FURTHER`), with which all come by name.

    Raises:
        ModelMissing: there is no network of that name.
        OptionsRefused: an option is unknown, or its value makes no network.

    >>> network = create_model("unet-cube", 3, 2, width=0.125, further=["border"]).eval()
    >>> network(torch.zeros(1, 3, 64, 64))["border"].shape
    torch.Size([1, 1, 64, 64])
    """
    return build_network(name, in_bands, classes, options)


def build_network(name: str, in_bands: int, classes: int, options: Mapping[str, Any]) -> nn.Module:
    """The same with options that have any name: those of a model's card, say.

    Raises:
        ModelMissing, OptionsRefused: as `create_model` does.
    """
    network = find_network(name)
    known = network.options()
    for option in options:
        if option not in known:
            raise OptionsRefused(f"The network '{name}' has no option '{option}'. It has: {', '.join(known)}.")
    if in_bands < 1 or classes < 2:
        raise OptionsRefused(f"A network takes one band or more and two classes or more, not {in_bands} and {classes}.")
    try:
        built = network.build(in_bands, outputs_of(classes), **network.fixed, **options)
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RuntimeError) as error:
        sentence = f"The network '{name}' cannot be built so: {first_line(error)}."
        raise OptionsRefused(sentence.replace("..", ".")) from error
    return to_channels_last(built)
