"""A recipe: all that a training depends on, as a small YAML file that is checked before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rotacube.errors import OptionsRefused, first_line
from rotacube.models.card import ONNX, Color, Line, Normalisation
from rotacube.models.store import find_model
from rotacube.training.datasets.folder import read_description

FOLDER = Path(__file__).parent / "recipes"
IMAGENET = Normalisation(scale=255.0, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(_Strict):
    """Which sets teach, and how often each is drawn.

    `folder` is one that `rotacube dataset from-labels` wrote; `sets` are names of `datasets.sets.SETS` with the share
    of crops of each; `drawn` scenes of our own generator have the share `drawn_share`, with `drawn_mix` those of all
    its settings; unlabelled imagery of those sets has `unlabelled_share`; `centred` is the share of crops about a pixel
    of a class, each class as often; `scales` and `light` say how far crops vary in scale, light and colour,
    `recoloured` how many of them have roofs of other colours, see `RoofCrops`.
    """

    sets: dict[str, float] = Field(default_factory=dict)
    folder: str = ""
    drawn: int = Field(default=0, ge=0, le=2000)
    drawn_share: float = Field(default=0.0, ge=0)
    drawn_mix: bool = True
    unlabelled_share: float = Field(default=0.0, ge=0)
    centred: float = Field(default=0.0, ge=0, le=1)
    scales: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0, le=8)]] = (0.5, 2.0)
    light: float = Field(default=1.0, ge=0, le=1)
    recoloured: float = Field(default=0.3, ge=0, le=1)
    skip_damaged: bool = False
    crop: int = Field(default=256, ge=64, le=1024, multiple_of=32)
    batch: int = Field(default=8, ge=1, le=256)
    workers: int = Field(default=1, ge=0, le=32)

    @model_validator(mode="after")
    def _teaches(self) -> Data:
        if not self.sets and not self.drawn and not self.folder:
            raise ValueError("it names neither sets nor drawn scenes nor a folder")
        if self.scales[0] > self.scales[1]:
            raise ValueError("the first of its scales is larger than the second")
        return self


class Schedule(_Strict):
    """Steps; the highest rate, an encoder's as a factor on it, AdamW's decay, and the share of steps that warm up."""

    steps: int = Field(ge=1)
    rate: float = Field(default=1e-3, gt=0, le=1)
    encoder: float = Field(default=1.0, gt=0, le=1)
    decay: float = Field(default=0.05, ge=0)
    warm_up: float = Field(default=0.08, gt=0, lt=1)
    average: float = Field(default=0.998, ge=0, lt=1)
    checkpoint_steps: int = Field(default=200, ge=1)


class Soup(_Strict):
    """Training that goes on `runs` times from what a recipe came to, each time with a seed of its own; the model's
    weights are the mean of all of them and of those before.

    What several runs learn by heart differs, what they share stays: Wortsman et al., "Model soups", 2022. `schedule` is
    that of each run; `data` takes the place of the recipe's.
    """

    runs: int = Field(ge=1, le=16)
    schedule: Schedule
    data: Data | None = None


class Losses(_Strict):
    """The weight of each loss, see `losses.py`; `weights` those of the classes in their cross-entropy; `taught` is the
    place where a teacher is imitated: all that is seen, or where no label is known.
    """

    classes: float = 1.0
    weights: list[Annotated[float, Field(ge=0)]] = Field(default_factory=list)
    border: float = 0.5
    distance: float = 1.0
    direction: float = 0.5
    imitation: float = 1.0
    taught: Literal["seen", "unknown"] = "seen"
    features: float = 0.0


class Recipe(_Strict):
    """How a model comes about.

    `classes` are the names of the classes with their colours, by their numbers in a mask; single roofs are for the task
    "rooftops" alone. `init` is "imagenet", a timm file in safetensors for ConvNeXt, an installed model's name, or
    nothing; `teacher` an installed model or its folder; `beta` that of the F-beta by which the logits of more than two
    classes are shifted on validation (2: a miss counts more than a false find; 0: they are not); `card` what a person
    has to say of the model: name, title, licence, attribution, notice; `bits` those of a weight in the model's file.
    `precision` is Lightning's, or "auto": bfloat16 where the hardware multiplies in it, since a CPU that only pretends
    to takes five times as long.
    """

    task: Line = "rooftops"
    classes: dict[Line, Color] = Field(default={"background": "#f2efe9", "roof": "#e4572e"}, min_length=2)
    architecture: str
    options: dict[str, Any] = Field(default_factory=dict)
    init: str = ""
    teacher: str = ""
    gsd: float = Field(default=0.15, gt=0)
    tile: int = 512
    overlap: int = 128
    normalisation: Normalisation = IMAGENET
    seed: int = 1
    precision: str = "auto"
    bits: Literal[8, 16, 32] = 16
    data: Data
    schedule: Schedule
    losses: Losses = Losses()
    soup: Soup | None = None
    beta: float = Field(default=0.0, ge=0, le=8)
    card: dict[str, str]

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        if self.losses.weights and len(self.losses.weights) != len(self.classes):
            raise ValueError(f"losses.weights has to have a weight for each of the {len(self.classes)} classes")
        if self.beta and len(self.classes) < 3:
            raise ValueError("beta is for more than two classes: of two the threshold is chosen")
        if self.task != "rooftops" and (self.data.drawn or self.options.get("further")):
            raise ValueError("drawn scenes and further outputs are for rooftops alone")
        return self

    def further(self) -> list[Recipe]:
        """The runs of its soup, as recipes of their own; none without one."""
        if self.soup is None:
            return []
        fields = {"schedule": self.soup.schedule, "data": self.soup.data or self.data, "soup": None}
        return [self.model_copy(update={**fields, "seed": self.seed + n}) for n in range(1, self.soup.runs + 1)]


def read_recipe(name: str, changes: list[str] | None = None) -> Recipe:
    """Read a recipe, and change what `--set` says.

    Args:
        name: of a recipe that comes with the package, or a YAML file.
        changes: "key=value" each, the key with dots into the recipe, the value as YAML.

    Raises:
        OptionsRefused: there is no such recipe, or it is not valid; the sentence names the place.
    """
    known = {path.stem: path for path in FOLDER.glob("*.yaml")}
    path = known.get(name, Path(name))
    if not path.is_file():
        raise OptionsRefused(
            f"There is no recipe '{name}'. Known are: {', '.join(sorted(known))}; or name a YAML file."
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise OptionsRefused(f"The recipe '{path}' is no YAML of keys and values.")
        for text in changes or []:
            change(content, text)
        if "model" in content:
            content = _of_a_model(content)
        return Recipe.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise OptionsRefused(f"The recipe '{name}' is not valid at '{place}': {first['msg']}.") from error
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise OptionsRefused(f"The recipe '{path}' cannot be read ({first_line(error)}).") from error


def _of_a_model(content: dict[str, Any]) -> dict[str, Any]:
    """What a recipe says that starts from an installed model, `model`, and learns from a folder, `data`.

    Raises:
        OptionsRefused: it does not name both, or the model is an ONNX file.
        DatasetDamaged: the folder is none that `rotacube dataset from-labels` wrote.
        ModelMissing, ModelDamaged: there is no such model.
    """
    model, folder, crops = content.pop("model"), content.get("data"), content.pop("crops", {})
    if not model or not isinstance(folder, str) or not folder:
        raise OptionsRefused("Say what learns from what: --set model=NAME --set data=FOLDER, of 'dataset from-labels'.")
    card, _ = find_model(str(model))
    if card.architecture == ONNX:
        raise OptionsRefused(f"'{card.name}' is an ONNX file, which cannot learn: start from a model of ours.")
    classes = read_description(Path(folder))["classes"]
    known = {part.name: part.color for part in card.classes}
    losses = content.pop("losses", {})
    if classes == known:  # where nothing is drawn the new model says what the first one does
        content.setdefault("teacher", str(model))
        losses = {"taught": "unknown", **losses}
    return {
        "task": card.task,
        "classes": classes,
        "architecture": card.architecture,
        "options": card.options,
        "init": str(model),
        "gsd": card.gsd,
        "tile": card.tile,
        "overlap": card.overlap,
        "normalisation": card.normalisation.model_dump(),
        **content,
        "losses": losses,
        "data": {"folder": folder, **crops},
        "card": {
            "name": f"{card.name}-tuned"[:100],
            "title": f"{card.title}, tuned"[:500],
            "licence": card.licence,
            "attribution": card.attribution,
            "notice": card.notice if classes == known else "",
            **content.get("card", {}),
        },
    }


def change(content: dict[str, Any], text: str) -> None:
    """Change a recipe's content by "key=value", the key with dots into it.

    Raises:
        OptionsRefused: the text is none of that kind, or leads nowhere.
    """
    key, equals, value = text.partition("=")
    *parents, last = key.split(".")
    if not equals or not last:
        raise OptionsRefused(f"--set takes key=value, say schedule.steps=500, not '{text}'.")
    place = content
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise OptionsRefused(f"--set {text}: '{parent}' of the recipe has no keys below it.")
    place[last] = yaml.safe_load(value) if value else ""
