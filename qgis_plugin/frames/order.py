"""What is to be mapped of a flight, as the backend's commands; what was begun and is not done, also by earlier QGIS."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional

from ..client import environment

FOOTPRINTS, KMZ, REPORT = "footprints.gpkg", "map.kmz", "report.pdf"
FILES = ("mask.tif", "probability.tif", "rgb.tif", "agreement.tif", "shares.csv", FOOTPRINTS, KMZ, REPORT)
"""What a map of frames leaves in its folder."""
KEPT = ".mask.tif.rotacube-job"
"""In that folder, while it is made: what a run with `--resume` goes on with."""
_BEGUN = "frames/begun"


@dataclass(frozen=True)
class Placing:
    """How frames are placed on the ground.

    Attributes:
        ground: its elevation above the sea, metres; None where the frames say their height above it.
        terrain: a raster of its elevations; a flat ground if empty.
        calibration: a file that says how the lens bends lines; the frames' own tags if empty.
        refine: whether poses are refined by what neighbours both show.
    """

    ground: Optional[float] = None
    terrain: str = ""
    calibration: str = ""
    refine: bool = False

    def options(self) -> List[str]:
        """Of the commands."""
        found = [] if self.ground is None else ["--ground", str(self.ground)]
        found += ["--calibration", self.calibration] if self.calibration else []
        found += ["--dem", self.terrain] if self.terrain else []
        return [*found, *(["--refine"] if self.refine else [])]


@dataclass(frozen=True)
class FramesOrder:
    """What is mapped, with what, where to.

    Attributes:
        folder: with the frames.
        output: the folder of the map.
        model: a model's name, or its folder.
        placing: of the frames.
        gsd: metres of the map's pixels; the model's if None.
        threshold: probability from which on a pixel is of class 1, of two; the model's own if None.
        any_resolution: whether frames far from the model's resolution are mapped.
        replace: whether files that are there may be replaced.
        kmz: whether an overlay for Google Earth is made, too.
        report: whether a page with map and shares is.
    """

    folder: str
    output: str
    model: str
    placing: Placing = Placing()
    gsd: Optional[float] = None
    threshold: Optional[float] = None
    any_resolution: bool = False
    replace: bool = False
    kmz: bool = False
    report: bool = False

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

    @property
    def report_file(self) -> str:
        """Where the page goes; empty where none is wanted."""
        return str(Path(self.output) / REPORT) if self.report else ""

    @property
    def kmz_file(self) -> str:
        """Where the overlay goes; empty where none is wanted."""
        return str(Path(self.output) / KMZ) if self.kmz else ""

    def to_json(self) -> Dict[str, Any]:
        """What the layers' history says."""
        return {"frames": dataclasses.asdict(self)}

    def command(self, *flags: str) -> List[str]:
        """What maps it, with the options `--resume` and `--keep` as they are wanted."""
        command = ["frames", "map", self.folder, self.output, "--model", self.model, *self.placing.options()]
        command += ["--gsd", str(self.gsd)] if self.gsd else []
        command += [] if self.threshold is None else ["--threshold", str(self.threshold)]
        for flag, wanted in (
            ("--any-resolution", self.any_resolution),
            ("--overwrite", self.replace),
            ("--kmz", self.kmz),
            ("--report", self.report),
        ):
            command += [flag] if wanted else []
        return [*command, "--footprints", str(Path(self.output) / FOOTPRINTS), *flags]


def look(folder: str, placing: Placing) -> List[str]:
    """The command that says where frames lie; not refined, for it is to answer soon."""
    return ["frames", "list", folder, *dataclasses.replace(placing, refine=False).options()]


def outline(folder: str, output: str, placing: Placing) -> List[str]:
    """The command that writes footprints; a file that is there is replaced."""
    return ["frames", "footprints", folder, output, *placing.options(), "--overwrite"]


def folder_among(paths: Iterable[str]) -> str:
    """The first folder among paths, or that a frame among them lies in; empty where there is none."""
    for path in paths:
        if os.path.isdir(path):
            return path
        if path.lower().endswith((".jpg", ".jpeg")) and os.path.isfile(path):
            return os.path.dirname(path)
    return ""


def begun() -> List[FramesOrder]:
    """What can be gone on with, the latest last."""
    try:
        kept = json.loads(environment.setting(_BEGUN) or "[]")
        orders = [FramesOrder(**{**one, "placing": Placing(**one["placing"])}) for one in kept]
    except (ValueError, TypeError, LookupError):
        return []
    return [order for order in orders if (Path(order.output) / KEPT).is_dir()]


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
