"""Layers made of the operators."""

from rotacube.nn.cube import CubeConv2d

__all__ = ["CubeConv2d"]
