"""Models of others become models of ours: a card is made of what an ONNX file says of itself.

The file's metadata are those of the QGIS plugin Deepness (PUTvision, "Adding metadata to ONNX model"): `model_type`,
`class_names`, `resolution` (centimetres a pixel), `tile_size`, `tiles_overlap` (percent), `seg_thresh`,
`standardization_mean` and `standardization_std` (of values divided by 255), each as JSON.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from rotacube.errors import ModelDamaged, ModelMissing, OptionsRefused
from rotacube.models.card import COLOURS, ONNX, ROOFS, ModelCard, Normalisation
from rotacube.models.onnx_network import (
    GIVES,
    LARGEST,
    LOGITS,
    OPTIONS,
    PROBABILITIES,
    OnnxNetwork,
    parameters_of,
    parse_onnx,
)
from rotacube.models.store import place_for, save_weights

SEGMENTOR = "segmentor"
TILE = 512
"""Pixels a side, where neither the file nor a person says it."""
COLOUR_BANDS = ["red", "green", "blue"]
PATCHES = "classes"
"""The task of what is no model of roofs: each patch of a class is one piece."""
_UNKNOWN = "not known: ask who made the model"


@dataclass(frozen=True)
class Wishes:
    """What a person says of a file; what it does not say itself is needed, what it does is replaced.

    Attributes:
        name: of the model; that of the file if empty.
        classes: names, the background first.
        resolution: metres a pixel.
        tile: pixels a side, where the file takes any.
        gives: `LOGITS` or `PROBABILITIES`; what it gives of a few images tells if None.
        roofs: whether the second class are roofs, to be told apart.
    """

    name: str = ""
    classes: Sequence[str] = ()
    resolution: float | None = None
    tile: int | None = None
    gives: str | None = None
    roofs: bool = False


def install_onnx(path: Path, wishes: Wishes, overwrite: bool = False) -> tuple[ModelCard, Path]:
    """Make a model folder of an ONNX file in the user's own folder, after it was run once.

    Raises:
        ModelMissing: there is no such file.
        ModelDamaged: it cannot be read or run, or is no model of segmentation.
        OptionsRefused: what runs it is not installed, or what has to be known is not said.
        OutputUnwritable: there is a model of that name already, or the folder cannot be written to.
    """
    if wishes.gives not in (None, *OPTIONS[GIVES]):
        raise OptionsRefused(f"A file gives {' or '.join(OPTIONS[GIVES])}, not '{wishes.gives}'.")
    content = _content(path)
    model = parse_onnx(content, path.name)
    said = {entry.key: _value(entry.value) for entry in model.metadata_props}
    kind = str(said.get("model_type", SEGMENTOR))
    if kind.lower() != SEGMENTOR:
        raise ModelDamaged(f"'{path.name}' is a {kind}. Maps are made with models of segmentation (Segmentor) alone.")
    tried = OnnxNetwork(model, LOGITS, 2, path.name)
    producer = f", written by {model.producer_name}" if model.producer_name else ""
    try:
        fields = _fields(path, wishes, said, tried)
        fields["source"] = f"the ONNX file {path.name}{producer}"
        target = place_for(fields["name"], overwrite, "Name this one with --name")
        return save_weights(content, ".onnx", parameters_of(model), fields, target), target
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "card"
        raise OptionsRefused(f"'{path.name}' makes no model: '{place}' does not fit ({first['msg']}).") from error


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise ModelMissing(f"There is no file '{path}'. Check its name.")
        if path.stat().st_size > LARGEST:
            raise ModelDamaged(f"'{path.name}' has more bytes than an ONNX file can have.")
        return path.read_bytes()
    except OSError as error:
        raise ModelDamaged(f"'{path}' cannot be read ({error.strerror}).") from error


def _fields(path: Path, wishes: Wishes, said: dict[str, Any], network: OnnxNetwork) -> dict[str, Any]:
    """The card's fields, of what the file says, what a person says, and what it gives of a few images."""
    batch, bands, *size = network.input.shape
    if not isinstance(bands, int) or not 0 < bands <= 1000 or (isinstance(batch, int) and batch != 1):
        raise ModelDamaged(f"'{path.name}' takes images {network.input.shape}, not (1, bands, H, W). Export it so.")
    tile = _tile(path.name, wishes, said, size)
    rule = _normalisation(path.name, said, bands)
    channels, gives = _look(network, bands, tile, rule)
    overlap = _number(path.name, said, "tiles_overlap", 12.5)
    threshold = _number(path.name, said, "seg_thresh", 0.5)
    stem = re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).strip("-._")
    names = _classes(path.name, wishes, said, channels)
    return {
        "name": wishes.name or stem or "model",
        "title": path.stem,
        "task": ROOFS if wishes.roofs else PATCHES,
        "architecture": ONNX,
        "options": {GIVES: wishes.gives or gives},
        "bands": COLOUR_BANDS if bands == 3 else [f"band {n}" for n in range(1, bands + 1)],
        "gsd": _resolution(path.name, wishes, said),
        "tile": tile,
        "overlap": min(round(tile * overlap / 100), tile // 2),
        "normalisation": rule,
        "classes": [
            {"id": n, "name": name, "color": COLOURS[(n - 1) % len(COLOURS)] if n else "#000000"}
            for n, name in enumerate(names)
        ],
        "threshold": threshold if 0 < threshold < 1 else 0.5,
        "notice": "A model of others: nothing of it was measured here, and its probabilities are as they come.",
        **dict.fromkeys(("licence", "attribution", "training_data"), _UNKNOWN),
        "accuracy": {},
    }


def _tile(name: str, wishes: Wishes, said: dict[str, Any], size: Sequence[Any]) -> int:
    fixed = {side for side in size if isinstance(side, int)}
    if len(fixed) > 1:
        raise ModelDamaged(f"'{name}' takes images of {size[1]} x {size[0]} pixels. Export it for square ones.")
    if fixed:
        return int(fixed.pop())
    return wishes.tile or int(_number(name, said, "tile_size", _number(name, said, "tiles_size", TILE)))


def _normalisation(name: str, said: dict[str, Any], bands: int) -> dict[str, Any]:
    """Values are divided by 255, then standardised where the file says how."""
    rule: dict[str, Any] = {"scale": 255.0}
    for key, word, usual in (("mean", "standardization_mean", 0.0), ("std", "standardization_std", 1.0)):
        found = said.get(word, [usual] * bands)
        try:
            rule[key] = [float(value) for value in found]
        except (TypeError, ValueError) as error:
            raise _not_said_well(name, word, found) from error
        if len(rule[key]) != bands:
            raise _not_said_well(name, word, found)
    return Normalisation.model_validate(rule).model_dump()


def _look(network: OnnxNetwork, bands: int, tile: int, rule: dict[str, Any]) -> tuple[int, str]:
    """How many channels the file gives, and whether they are probabilities: those lie between 0 and 1, whatever it is
    shown; a few logits lie elsewhere.
    """
    if not 64 <= tile <= 2048 or tile % 32:
        raise ModelDamaged(f"'{network.name}' takes {tile} pixels a side. A tile is a multiple of 32, 64 to 2,048.")
    rng = np.random.default_rng(0)
    mean, std = (np.array(rule[key], np.float32)[:, None, None] for key in ("mean", "std"))
    plain = [np.full((bands, tile, tile), level, np.float32) for level in (0, 1)]
    noise = [rng.random((bands, tile, tile), np.float32) * reach for reach in (1, 8, -8)]
    found = [network.raw(((image - mean) / std)[None]) for image in (*plain, *noise)]
    within = all(values.min() >= -1e-4 and values.max() <= 1 + 1e-4 for values in found)
    return found[0].shape[1], PROBABILITIES if within else LOGITS


def _classes(name: str, wishes: Wishes, said: dict[str, Any], channels: int) -> list[str]:
    names = list(wishes.classes) or _said_classes(name, said)
    if not names:
        raise OptionsRefused(
            f"'{name}' does not say what its classes are. Name them, the background first: --classes background,roof."
        )
    if channels == 1 and len(names) == 1:
        names = ["background", *names]
    if len(names) != (2 if channels == 1 else channels):
        raise OptionsRefused(
            f"'{name}' gives {channels} value{'s' if channels > 1 else ''} a pixel, but {len(names)} classes are named "
            f"({', '.join(names)[:200]}). Name them all: --classes background,roof."
        )
    return names


def _said_classes(name: str, said: dict[str, Any]) -> list[str]:
    """Names in the order of their numbers, from 0; none where the file says none."""
    found = said.get("class_names", said.get("names"))
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], dict):
        found = found[0]  # a dictionary for each output
    if found is None or isinstance(found, list):
        return [str(value) for value in found or ()]
    try:
        numbered = sorted((int(key), str(value)) for key, value in found.items())
    except (AttributeError, TypeError, ValueError) as error:
        raise _not_said_well(name, "class_names", found) from error
    if [number for number, _ in numbered] != list(range(len(numbered))):
        raise _not_said_well(name, "class_names", found)
    return [value for _, value in numbered]


def _resolution(name: str, wishes: Wishes, said: dict[str, Any]) -> float:
    if wishes.resolution is not None:
        return wishes.resolution
    if "resolution" not in said:
        raise OptionsRefused(f"'{name}' does not say how large its pixels are. Say it in metres: --resolution 0.15.")
    return _number(name, said, "resolution", 0) / 100


def _number(name: str, said: dict[str, Any], word: str, usual: float) -> float:
    try:
        value = float(said.get(word, usual))
    except (TypeError, ValueError) as error:
        raise _not_said_well(name, word, said[word]) from error
    if not 0 <= value <= 1e6:
        raise _not_said_well(name, word, value)
    return value


def _not_said_well(name: str, word: str, value: Any) -> ModelDamaged:
    return ModelDamaged(f"'{name}' says {str(value)[:100]!r} as its {word}, which cannot be. Mend its metadata.")


def _value(text: str) -> Any:
    """What a metadata value says: JSON, or what Python prints; else the text itself."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return text
