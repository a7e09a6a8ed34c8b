"""The backend's sentences for the dock: titles instead of names, and advice that can be followed there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Optional, Tuple

from ..client.schema import BackendError, JobResult, ModelInfo
from ..i18n import tr
from ..layers.classes import BACKGROUND
from ..layers.output import OutputExists
from . import format as fmt

_OF_THE_TERMINAL = re.compile(r"(?:^|\s|`)--[a-z]|\bname the bands\b")
_SENTENCES = re.compile(r"(?<=[.!?])\s+(?=[A-Z“‘'\"])")


def sentence(error: BackendError, model: Optional[ModelInfo]) -> str:
    """What the backend says, without what can be done on the command line only."""
    text = error.message
    if model is not None:
        text = text.replace(f"'{model.name}'", f"“{model.title}”")
    sentences = _SENTENCES.split(text)  # the first says what is wrong, those that follow what to do
    useful = [item for n, item in enumerate(sentences) if n == 0 or not _OF_THE_TERMINAL.search(item)]
    if len(useful) < len(sentences) and error.code == "raster_bands":
        useful.append(
            tr(
                "Choose another layer, or show this one as multiband color (Layer Properties ▸ Symbology): its red, "
                "green and blue are read then, and one band may stand for all three."
            )
        )
    return " ".join(useful)


def agreement(error: BackendError) -> Tuple[str, str]:
    """What the backend asks for: a field of the order, and the button that gives it; empty where for nothing."""
    return {
        "raster_resolution": ("any_resolution", tr("Map anyway")),
        "raster_network": ("allow_network", tr("Allow network")),
    }.get(error.code, ("", ""))


def replacing(error: OutputExists) -> Tuple[str, str]:
    """What is there already, and the button that agrees to its end."""
    name = Path(error.path).name
    if error.layer_name is not None:
        return tr("{} is shown as “{}”.").format(name, error.layer_name), tr("Replace the layer's file")
    return tr("{} is there already.").format(name), tr("Replace it")


def mapped(source_name: str, result: JobResult) -> str:
    """What a run has found."""
    found = ", ".join(
        f"{item.name} {fmt.square_metres(item.area_m2)} m² ({fmt.share(item.share)})"
        for item in result.classes
        if item.id != BACKGROUND
    )
    return tr("“{}” is mapped: {}.").format(source_name, found)


def set_up(named: Optional[str]) -> str:
    """What the set-up came to; `named` is where another Python is named, None where none is."""
    if named is None:
        return tr("The backend is set up.")
    return tr("The backend is set up, but {origin} names another Python, which is used.").format(origin=named)
