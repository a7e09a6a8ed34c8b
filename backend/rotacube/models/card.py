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
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rotacube.errors import ModelDamaged, ModelMissing
from rotacube.logits import outputs_of

CARD = "model.json"
Color = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CardClass(_Strict):
    """One class: its value in the mask, its name and its colour."""

    id: int = Field(ge=0, le=254)
    name: str
    color: Color

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour as three numbers of 0 to 255."""
        red, green, blue = bytes.fromhex(self.color[1:])
        return red, green, blue


class Normalisation(_Strict):
    """How pixel values become the network's input: `(value / scale - mean) / std` per band.

    `scale` is that of 8-bit values. Other data types are first stretched so that the 2nd and 98th percentile of each
    band over the whole file become 0 and 1.
    """

    scale: float = Field(gt=0)
    mean: list[float]
    std: list[Annotated[float, Field(gt=0)]]

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


class Weights(_Strict):
    """The file with the weights."""

    file: str = Field(pattern=r"^[A-Za-z0-9_.-]+\.safetensors$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    parameters: int


class ModelCard(_Strict):
    """What `model.json` holds.

    `gsd` is the ground sample distance in metres; rasters of `gsd_factors` times that are what the model is made for;
    `tile` and `overlap` are pixels; `architecture` and `options` are a network's name and options, as `create_model`
    takes them.
    """

    format: int = Field(default=1, ge=1, le=1)
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    title: str
    task: str
    architecture: str
    options: dict[str, Any] = Field(default_factory=dict)
    source: str
    bands: list[str] = Field(min_length=1)
    gsd: float = Field(gt=0)
    gsd_factors: tuple[float, float] = (0.1, 3.0)
    tile: int = Field(ge=64, le=2048, multiple_of=32)
    overlap: int = Field(ge=0)
    normalisation: Normalisation
    classes: list[CardClass] = Field(min_length=2)
    threshold: float = Field(gt=0, lt=1)
    licence: str
    attribution: str
    training_data: str
    accuracy: dict[str, float]
    weights: Weights

    @property
    def gsd_range(self) -> tuple[float, float]:
        """The finest and the coarsest raster that the model is made for, metres a pixel."""
        return self.gsd * self.gsd_factors[0], self.gsd * self.gsd_factors[1]

    @property
    def outputs(self) -> int:
        """Logits a pixel, or an image."""
        return outputs_of(len(self.classes))

    @model_validator(mode="after")
    def _fits_together(self) -> ModelCard:
        if len(self.normalisation.mean) != len(self.bands) or len(self.normalisation.std) != len(self.bands):
            raise ValueError("normalisation needs a mean and a std for each band")
        if [c.id for c in self.classes] != list(range(len(self.classes))):
            raise ValueError("class ids must be 0, 1, 2, ... in order")
        if not 0 < self.gsd_factors[0] <= 1 <= self.gsd_factors[1]:
            raise ValueError("gsd_factors must be a factor up to 1 and one from 1 on")
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
    if not path.is_file():
        raise ModelMissing(f"There is no model in '{folder}': it has no {CARD}. Choose a folder that holds one.")
    try:
        return ModelCard.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ModelDamaged(f"The model card '{path}' cannot be read ({error}). Install the model again.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"]) or "card"
        raise ModelDamaged(
            f"The model card '{path}' is not valid at '{place}': {first['msg']}. Install the model again."
        ) from error
