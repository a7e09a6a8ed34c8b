"""The model card (`model.json`): how a model is described.

A model is a folder. Its card says everything that a run needs to know (bands, ground sample distance, normalisation,
tile, classes) and that a person wants to know (licence, attribution, training data, measured accuracy), and names the
weights beside it by their SHA-256. Nothing here needs PyTorch: `rotacube.models.store` finds, loads and saves models.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from rotacube.errors import ModelDamaged, ModelMissing, first_line
from rotacube.logits import outputs_of

CARD = "model.json"
ONNX = "onnx"
"""The architecture of what others made: the network is in the file of the weights."""
AGAIN = "Install the model again."
COLOURS = ("#e4572e", "#3f9b45", "#2e86ab", "#f6ae2d", "#7b2d8b", "#8fd14f", "#d7263d", "#1b998b", "#e0a4d3", "#c9b18c")
"""Of classes that have none of their own; class 0 aside."""
LONGEST = 2**18
"""Bytes of the largest card."""
DEEPEST = 4
"""How deep the value of an option may nest."""
_CONTROL = r"\x00-\x1f\x7f-\x9f"
Line = Annotated[str, Field(max_length=500, pattern=f"^[^{_CONTROL}]*$")]
Text = Annotated[str, Field(max_length=10_000)]
OptionName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]
Count = Annotated[int, Field(ge=0, le=10**9)]
Color = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CardClass(_Strict):
    """One class: its value in the mask, its name and its colour."""

    id: int = Field(ge=0, le=254)
    name: Line
    color: Color

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour as three numbers of 0 to 255."""
        red, green, blue = bytes.fromhex(self.color[1:])
        return red, green, blue


class Normalisation(_Strict):
    """How pixel values become the network's input: `(value / scale - mean) / std` per band.

    `scale` is that of 8-bit values. Other data types are first stretched so that the 2nd and 98th percentile of each
    band over the whole file become 0 and 1. What is far from what 0 to 1 can have as mean and deviation is a mistake.
    """

    scale: float = Field(ge=1e-3, le=1e6)
    mean: list[Annotated[float, Field(ge=-10, le=10)]]
    std: list[Annotated[float, Field(ge=1e-3, le=10)]]

    def apply(self, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Network input from band values that were scaled or stretched already.

        Args:
            values: (bands, H, W) in 0..1; what lies beyond is clipped.
            valid: (H, W).

        Returns:
            (bands, H, W), zero where nodata.
        """
        mean, std = (np.array(v, np.float32)[:, None, None] for v in (self.mean, self.std))
        return np.where(valid, (np.clip(values, 0, 1) - mean) / std, np.float32(0))


class CardOutput(_Strict):
    """An output beside the logits: its name, its channels, and what its values mean, for other programs."""

    name: Line
    channels: int = Field(ge=1, le=1000)
    meaning: Text


ROOFS = "rooftops"
"""The task of models that find roofs."""
PLANTS = "plants"
"""The task of models whose classes but the first are plants."""
HUT = 2.0
"""Square metres of the smallest roof."""


class Separation(_Strict):
    """How single roofs are told apart: see `vector.instances.separate_roofs`.

    `saddle` is in the depth's units; `border` is the weight of the output of that name; `sure` is the mean probability
    of a roof's pixels from which on it counts, at the card's threshold; `smallest`, of single roofs or of the patches
    of other classes, is in square metres: where a card does not say it, see `smallest_of`.
    """

    saddle: float = Field(default=0.2, gt=0, lt=1)
    border: float = Field(default=0.5, ge=0, le=1)
    sure: float = Field(default=0.0, ge=0, lt=1)
    smallest: float = Field(default=HUT, ge=0, le=1e4)


class Weights(_Strict):
    """The file with the weights; an ONNX file holds its network, too."""

    file: str = Field(pattern=r"^[A-Za-z0-9_.-]+\.(safetensors|onnx)$", max_length=255)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    parameters: int = Field(ge=0, le=10**11)


def smallest_of(task: str, gsd: float) -> float:
    """Square metres of the smallest roof or patch, where nobody says it: a hut, of other classes ten by ten pixels at
    the most.

    >>> smallest_of("rooftops", 0.15), smallest_of("plants", 0.0025)
    (2.0, 0.000625)
    """
    return HUT if task == ROOFS else min(HUT, round(100 * gsd**2, 9))


class ModelCard(_Strict):
    """What `model.json` holds.

    `gsd` is the ground sample distance in metres; rasters of `gsd_factors` times that are what the model is made for;
    `tile` and `overlap` are pixels; `architecture` and `options` are a network's name and options, as `create_model`
    takes them, or `ONNX` and `models.onnx_network.OPTIONS`. `further` says what the network gives beside its logits,
    `separation` how that makes single roofs; `notice` is what a person has to know before the model is used.
    `confusion` says by place, from validation, which share of the pixels of each class (rows) is found as each class
    (columns); `counts` how many roofs are there, how many were found, and how many of these match.
    """

    format: int = Field(default=1, ge=1, le=1)
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=100)
    title: Line
    task: Line
    architecture: Line
    options: dict[OptionName, Any] = Field(default_factory=dict, max_length=100)
    source: Text
    bands: list[Line] = Field(min_length=1, max_length=1000)
    gsd: float = Field(ge=1e-3, le=1e3)
    gsd_factors: tuple[Annotated[float, Field(ge=1e-3)], Annotated[float, Field(le=1e3)]] = (0.1, 3.0)
    tile: int = Field(ge=64, le=2048, multiple_of=32)
    overlap: int = Field(ge=0)
    normalisation: Normalisation
    classes: list[CardClass] = Field(min_length=2)
    threshold: float = Field(gt=0, lt=1)
    further: list[CardOutput] = Field(default_factory=list, max_length=10)
    separation: Separation = Separation()
    notice: Text = ""
    licence: Text
    attribution: Text
    training_data: Text
    accuracy: dict[Line, float] = Field(max_length=1000)
    confusion: dict[Line, list[list[Annotated[float, Field(ge=0, le=1)]]]] = Field(default_factory=dict, max_length=100)
    counts: dict[Line, tuple[Count, Count, Count]] = Field(default_factory=dict, max_length=100)
    weights: Weights

    @property
    def gsd_range(self) -> tuple[float, float]:
        """The finest and the coarsest raster that the model is made for, metres a pixel."""
        return self.gsd * self.gsd_factors[0], self.gsd * self.gsd_factors[1]

    @property
    def outputs(self) -> int:
        """Logits a pixel, or an image."""
        return outputs_of(len(self.classes))

    @model_validator(mode="before")
    @classmethod
    def _smallest(cls, given: Any) -> Any:
        """Fill in what a card does not say of the smallest piece."""
        if not isinstance(given, dict) or not isinstance(given.get("gsd"), int | float):
            return given
        told = given.get("separation", {})
        if not isinstance(told, dict) or "smallest" in told:
            return given
        return {**given, "separation": {**told, "smallest": smallest_of(given.get("task", ""), given["gsd"])}}

    @field_validator("options")
    @classmethod
    def _plain(cls, options: dict[str, Any]) -> dict[str, Any]:
        if not all(_is_plain(value, DEEPEST) for value in options.values()):
            raise ValueError("an option is text, a number, true, false, null, or a short list or object of these")
        return options

    @model_validator(mode="after")
    def _fits_together(self) -> ModelCard:
        if len(self.normalisation.mean) != len(self.bands) or len(self.normalisation.std) != len(self.bands):
            raise ValueError("normalisation needs a mean and a std for each band")
        if [c.id for c in self.classes] != list(range(len(self.classes))):
            raise ValueError("class ids must be 0, 1, 2, ... in order")
        count = len(self.classes)
        if any([len(row) for row in table] != [count] * count for table in self.confusion.values()):
            raise ValueError(f"each table of confusion has {count} rows of {count} shares")
        if any(matched > min(truth, found) for truth, found, matched in self.counts.values()):
            raise ValueError("counts are the roofs that are there, found and matched: no more match than were found")
        if not 0 < self.gsd_factors[0] <= 1 <= self.gsd_factors[1]:
            raise ValueError("gsd_factors must be a factor up to 1 and one from 1 on")
        if (self.architecture == ONNX) != self.weights.file.endswith(".onnx"):
            raise ValueError(f"the weights of the architecture {ONNX}, and of no other, are an .onnx file")
        if self.overlap * 2 > self.tile:
            raise ValueError("overlap must be at most half the tile")
        return self


def read_card(folder: Path) -> ModelCard:
    """Read and check a model's card.

    Raises:
        ModelMissing: the folder has no card.
        ModelDamaged: the card is not valid; the sentence names what is wrong.

    >>> from rotacube import find_model
    >>> read_card(find_model("rooftop-small")[1]).gsd
    0.15
    """
    path = folder / CARD
    try:
        if not path.is_file():
            raise ModelMissing(f"There is no model in '{folder}': it has no {CARD}. Choose a folder that holds one.")
        with path.open("rb") as file:
            content = file.read(LONGEST + 1)
        if len(content) > LONGEST:
            raise ModelDamaged(f"'{path}' is no model card: it has more than {LONGEST:,} bytes. {AGAIN}")
        return ModelCard.model_validate(json.loads(content.decode("utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"]) or "card"
        raise ModelDamaged(f"The model card '{path}' is not valid at '{place}': {first['msg']}. {AGAIN}") from error
    except (OSError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise ModelDamaged(f"The model card '{path}' cannot be read ({first_line(error)}). {AGAIN}") from error


def _is_plain(value: Any, depth: int) -> bool:
    """Whether a value is what the options of a network are made of."""
    if isinstance(value, (list, tuple, dict)):
        parts = list(value.values()) if isinstance(value, dict) else value
        named = not isinstance(value, dict) or all(isinstance(key, str) and len(key) <= 100 for key in value)
        return depth > 0 and named and len(parts) <= 100 and all(_is_plain(part, depth - 1) for part in parts)
    if isinstance(value, str):
        return len(value) <= 100 and value.isprintable()
    return value is None or (isinstance(value, (bool, int, float)) and abs(value) <= 1e9)
