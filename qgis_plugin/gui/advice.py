"""The backend's sentences for the dock: titles instead of names, and advice that can be followed there."""

from __future__ import annotations

import re
from typing import Optional

from ..client.schema import BackendError, ModelInfo
from ..i18n import tr

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
