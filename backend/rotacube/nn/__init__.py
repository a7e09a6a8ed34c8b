"""Layers made of the operators."""

from rotacube.nn.cube import ChannelRouter, CubeConv2d, LatticeAttention
from rotacube.nn.involution import Involution2d
from rotacube.nn.kronecker import FusionMode, KroneckerFusion
from rotacube.nn.p4 import P4BatchNorm2d, P4Conv2d
from rotacube.nn.rotation import RotationConv2d

__all__ = [
    "ChannelRouter",
    "CubeConv2d",
    "FusionMode",
    "Involution2d",
    "KroneckerFusion",
    "LatticeAttention",
    "P4BatchNorm2d",
    "P4Conv2d",
    "RotationConv2d",
]
