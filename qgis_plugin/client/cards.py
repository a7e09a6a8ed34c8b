"""The models that are installed, read from their cards: without a backend that runs, also where there is none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import List, Optional

from .. import paths
from . import environment
from .schema import BackendError, ModelInfo, parse

CARD = "model.json"
DEFAULT = "rooftop-lite"
ROOFTOPS = "rooftops"
"""The task of models that find roofs."""
SCENES = "scenes"
"""The task of models that label whole images."""
_FACTORS = (0.1, 3.0)  # of the resolution, where the card names none
_HUT = 2.0  # square metres of the smallest roof, where the card names none


def installed() -> List[ModelInfo]:
    """All models, the one that is offered first at the beginning."""
    found = {}
    for folder in _folders():
        for path in sorted(folder.glob(f"*/{CARD}")):
            model = read(path.parent)
            if model is not None:
                found.setdefault(model.name, model)
    return sorted(found.values(), key=lambda model: (model.name != DEFAULT, model.name))


def find(name: str) -> Optional[ModelInfo]:
    """A model by its name, or by its folder."""
    for model in installed():
        if model.name == name:
            return model
    return read(Path(name)) if os.sep in name else None


def read(folder: Path) -> Optional[ModelInfo]:
    """What the card in a folder says; None where there is none that could be read."""
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        low, high = card.get("gsd_factors", _FACTORS)
        card.update(gsd_range=(card["gsd"] * low, card["gsd"] * high), notice=card.get("notice", ""))
        least = _HUT if card["task"] == ROOFTOPS else min(_HUT, 100 * card["gsd"] ** 2)
        card.update(smallest=card.get("separation", {}).get("smallest", least))
        card.update(threshold=card["threshold"] if len(card["classes"]) == 2 else None)
        card.update(parameters=card["weights"]["parameters"], sha256=card["weights"]["sha256"])
        return parse(ModelInfo, card)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, BackendError):
        return None


def _folders() -> List[Path]:
    """Where the backend looks, in its order."""
    named = environment.setting("models") or os.environ.get("ROTACUBE_MODELS", "")
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    parts = [Path(part) for part in named.split(os.pathsep) if part]
    return [*parts, data / "rotacube" / "models", Path(paths.resource("models"))]
