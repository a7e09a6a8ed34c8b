"""Rotacube: rooftops and plant species from imagery, on networks made of Cube and rotation-invariant operators."""

from rotacube._version import __version__

__all__ = ["__version__"]
