"""What a model is to learn, and the folder in which that is done: kept, so that it is gone on with after a crash."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import List, Optional

from ..client import cards, environment
from ..i18n import tr

STEPS = 500
TILE = 512
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_KEPT, _TILES, _WORK, _MODEL = "lesson.json", "tiles", "work", "model"


@dataclass(frozen=True)
class Lesson:
    """What is learned from what.

    Attributes:
        raster: what the backend opens.
        polygons: a layer of it, see `layers/polygons.path_of`.
        field: of the polygons, with the class.
        area: a layer within which all that is not drawn is the model's first class; may be empty.
        model: the name of the one to begin with.
        name: of the new one.
        title: of the new one; that of the first, tuned, if empty.
        steps: of the training.
        any_resolution: whether the raster may be far from the model's resolution.
    """

    raster: str
    polygons: str
    field: str
    area: str
    model: str
    name: str
    title: str = ""
    steps: int = STEPS
    any_resolution: bool = False

    @property
    def folder(self) -> Path:
        """Where it is done."""
        return home() / self.name

    @property
    def model_folder(self) -> Path:
        """Where the new model comes about, before it is installed."""
        return self.folder / _MODEL

    def begin(self) -> None:
        """Make the folder anew; what was there of that name is dropped.

        Raises:
            OSError: it cannot be written.
        """
        self.drop()
        self.folder.mkdir(parents=True)
        (self.folder / _KEPT).write_text(json.dumps(asdict(self)), encoding="utf-8")

    def drop(self) -> None:
        """Remove the folder and all that is in it.

        Raises:
            OSError: it cannot be removed.
        """
        if self.folder.is_dir():
            shutil.rmtree(self.folder)

    def done(self) -> None:
        """It is learned: keep the report, not what it was made with."""
        (self.folder / _KEPT).unlink()
        for path in (self.folder / _TILES, self.model_folder):
            shutil.rmtree(path, ignore_errors=True)
        for path in (self.folder / _WORK).glob("*.ckpt"):
            path.unlink()

    def commands(self) -> List[List[str]]:
        """What the backend has to do, one after the other; what is done already is left out."""
        tiles, work = self.folder / _TILES, self.folder / _WORK
        cut = cut_tiles(
            self.raster, self.polygons, str(tiles), self.field, self.model, TILE, self.area, self.any_resolution
        )
        train = tune(self.model, str(tiles), self.steps, self.name, self.title, str(work), str(self.model_folder))
        install = ["models", "install", str(self.model_folder)]
        return [*([] if tiles.is_dir() else [cut]), train, install]


def cut_tiles(
    raster: str, drawn: str, folder: str, field: str, model: str, side: int, area: str, any_resolution: bool
) -> List[str]:
    """The command that cuts a raster into tiles about polygons."""
    command = ["dataset", "from-labels", raster, drawn, folder, "--class-field", field, "--model", model]
    command += ["--tile", str(side)]
    command += ["--area", area] if area else []
    return command + (["--any-resolution"] if any_resolution else [])


def tune(model: str, data: str, steps: int, name: str, title: str, work: str, output: str) -> List[str]:
    """The command that teaches a model with a folder of tiles; the title is that of the first, tuned, if empty."""
    changes = {"model": model, "data": data, "schedule.steps": steps, "card.name": name}
    changes.update({"card.title": title} if title else {})
    command = ["train", "finetune", "--work", work, "--output", output]
    for key, value in changes.items():
        command += ["--set", f"{key}={json.dumps(value)}"]
    return command


def home() -> Path:
    """The folder of all lessons."""
    return environment.data_home() / "trainings"


def unfinished(name: str) -> Optional[Lesson]:
    """What was begun under a name, and neither done nor dropped."""
    try:
        kept = json.loads((home() / name / _KEPT).read_text(encoding="utf-8"))
        lesson = Lesson(**kept)
    except (OSError, ValueError, TypeError):
        return None
    return lesson if lesson.name == name else None


def complaint(name: str) -> str:
    """What is wrong with the name of a new model; empty where nothing is."""
    if not _NAME.fullmatch(name):
        return tr("Name the new model with small letters, digits, - and _, such as my-field.")
    if cards.find(name) is not None:
        return tr("There is a model “{}” already. Choose another name.").format(name)
    return ""
