"""What is to be mapped of a flight, as the backend's commands; what was begun and is not done, also by earlier QGIS."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional

from ..client import environment

FOOTPRINTS = "footprints.gpkg"
FILES = ("mask.tif", "probability.tif", "rgb.tif", "agreement.tif", "shares.csv", FOOTPRINTS)
"""What a map of frames leaves in its folder."""
_BEGUN = "frames/begun"


@dataclass(frozen=True)
class FramesOrder:
    """What is mapped, with what, where to.

    Attributes:
        folder: with the frames.
        output: the folder of the map.
        model: a model's name, or its folder.
        gsd: metres of the map's pixels; the model's if None.
        ground: elevation of the ground above the sea, metres; None where the frames say their height above it.
        threshold: probability from which on a pixel is of class 1, of two; the model's own if None.
        any_resolution: whether frames far from the model's resolution are mapped.
        replace: whether files that are there may be replaced.
        refine: whether the frames' poses are refined by what neighbours both show.
    """

    folder: str
    output: str
    model: str
    gsd: Optional[float] = None
    ground: Optional[float] = None
    threshold: Optional[float] = None
    any_resolution: bool = False
    replace: bool = False
    refine: bool = False

    @property
    def raster(self) -> str:
        """What it was made from, for the layers' metadata."""
        return self.folder

    @property
    def name(self) -> str:
        """Of the flight: its folder's."""
        return Path(self.folder).name

    @property
    def there(self) -> List[str]:
        """The files of an earlier map that lie where this one goes."""
        return [name for name in FILES if (Path(self.output) / name).exists()]

    def to_json(self) -> Dict[str, Any]:
        """What the layers' history says."""
        return {"frames": dataclasses.asdict(self)}

    def command(self, *flags: str) -> List[str]:
        """What maps it, with the options `--resume` and `--keep` as they are wanted."""
        command = ["frames", "map", self.folder, self.output, "--model", self.model, *_ground(self.ground)]
        command += ["--gsd", str(self.gsd)] if self.gsd else []
        command += [] if self.threshold is None else ["--threshold", str(self.threshold)]
        command += ["--any-resolution"] if self.any_resolution else []
        command += ["--overwrite"] if self.replace else []
        command += ["--refine"] if self.refine else []
        return [*command, "--footprints", str(Path(self.output) / FOOTPRINTS), *flags]


def look(folder: str, ground: Optional[float]) -> List[str]:
    """The command that says where frames lie."""
    return ["frames", "list", folder, *_ground(ground)]


def outline(folder: str, output: str, ground: Optional[float], refine: bool) -> List[str]:
    """The command that writes footprints, of refined poses if so; a file that is there is replaced."""
    return ["frames", "footprints", folder, output, *_ground(ground), *(["--refine"] if refine else []), "--overwrite"]


def _ground(ground: Optional[float]) -> List[str]:
    return [] if ground is None else ["--ground", str(ground)]


def begun() -> List[FramesOrder]:
    """What was begun and neither done nor dropped, the latest last; folders that are gone are forgotten."""
    try:
        orders = [FramesOrder(**kept) for kept in json.loads(environment.setting(_BEGUN) or "[]")]
    except (ValueError, TypeError):
        return []
    return [order for order in orders if Path(order.output).is_dir()]


def begun_at(output: str) -> Optional[FramesOrder]:
    """What was begun into a folder."""
    return next((order for order in begun() if order.output == output), None)


def note_begun(order: FramesOrder) -> None:
    """Remember that there is something to go on with."""
    _keep([*(other for other in begun() if other.output != order.output), order])


def forget(order: FramesOrder) -> None:
    """There is nothing to go on with any more."""
    _keep([other for other in begun() if other.output != order.output])


def _keep(orders: List[FramesOrder]) -> None:
    environment.set_setting(_BEGUN, json.dumps([dataclasses.asdict(order) for order in orders]))
