"""Rotacube: rooftops and plant species from imagery, on networks made of Cube and rotation-invariant operators.

The names that a Python user needs first are here, imported when they are used; `docs/python.md` shows them at work.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rotacube._version import __version__

if TYPE_CHECKING:
    from rotacube.doctor import diagnose
    from rotacube.errors import RotacubeError
    from rotacube.inference.device import choose_place
    from rotacube.inference.engine import Engine
    from rotacube.inference.run import MapRequest, Product, run_map
    from rotacube.models.card import read_card
    from rotacube.models.export import export_network
    from rotacube.models.store import find_model, list_models, load_model, save_model
    from rotacube.networks.registry import create_model, find_network
    from rotacube.networks.work import network_work
    from rotacube.nn import CubeConv2d, Involution2d, KroneckerFusion, RotationConv2d
    from rotacube.ops import cube_conv2d, involution2d, kronecker_fusion, rotation_conv2d
    from rotacube.raster.file_source import FileSource

_HOMES = {
    "doctor": ("diagnose",),
    "errors": ("RotacubeError",),
    "inference.device": ("choose_place",),
    "inference.engine": ("Engine",),
    "inference.run": ("MapRequest", "Product", "run_map"),
    "models.card": ("read_card",),
    "models.export": ("export_network",),
    "models.store": ("find_model", "list_models", "load_model", "save_model"),
    "networks.registry": ("create_model", "find_network"),
    "networks.work": ("network_work",),
    "nn": ("CubeConv2d", "Involution2d", "KroneckerFusion", "RotationConv2d"),
    "ops": ("cube_conv2d", "involution2d", "kronecker_fusion", "rotation_conv2d"),
    "raster.file_source": ("FileSource",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "CubeConv2d",
    "Engine",
    "FileSource",
    "Involution2d",
    "KroneckerFusion",
    "MapRequest",
    "Product",
    "RotacubeError",
    "RotationConv2d",
    "__version__",
    "choose_place",
    "create_model",
    "cube_conv2d",
    "diagnose",
    "export_network",
    "find_model",
    "find_network",
    "involution2d",
    "kronecker_fusion",
    "list_models",
    "load_model",
    "network_work",
    "read_card",
    "rotation_conv2d",
    "run_map",
    "save_model",
]


def __getattr__(name: str) -> Any:
    """A public name, imported from its home at its first use: `import rotacube` alone loads no PyTorch."""
    if name not in _HOME:
        raise AttributeError(f"module 'rotacube' has no attribute '{name}'")
    value = getattr(import_module(f"rotacube.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
