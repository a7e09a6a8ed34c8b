"""The folder of a run beside its first product: what was found, strip by strip, and what it was asked.

A run that was killed leaves it; one with the same request goes on from there. A strip's file has its name only once it
is whole.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rotacube.errors import JobDamaged, OutputUnwritable, RequestRefused, first_line
from rotacube.inference.findings import Finding
from rotacube.inference.scratch import is_whole, read_array, write_array
from rotacube.raster.destination import owner_lives, owner_mark, unwritable
from rotacube.raster.gdal import GDAL_ERRORS, cause_of
from rotacube.raster.grid import Box
from rotacube.raster.write import NODATA

SUFFIX = ".rotacube-job"
MANIFEST, OWNER, PLACED = "manifest.json", "owner", "placed"
_KEPT = re.compile(r"strip(_[0-9]+){4}\.tif")
FRAME = re.compile(r"frame_(?P<mark>[0-9a-f]{16})((?:_[0-9]+){4})\.tif")
"""The file of what is kept of a drone's frame."""
FRAMES = "how many frames"
"""What a manifest calls the number of frames of a flight."""


def folder_of(output: Path) -> Path:
    """The folder of the run whose first product this is."""
    output = output.resolve()
    return output.with_name(f".{output.name}{SUFFIX}")


def placed_by(folder: Path, output: Path) -> bool:
    """Whether the run of a folder has itself put this file in its place before it was cut off."""
    try:
        lines = (folder / PLACED).read_text(encoding="utf-8").splitlines()
        return _line_of(output.resolve(), output) in lines
    except (OSError, ValueError):
        return False


def _line_of(output: Path, file: Path) -> str:
    """What is noted of a file that takes a path: it keeps its number, size and time on the way there."""
    stat = file.stat()
    return json.dumps([str(output), stat.st_ino, stat.st_size, stat.st_mtime_ns])


class Store:
    """Strips on disk, read back by windows.

    Args:
        folder: its own; see `folder_of`.
        area: what is mapped, in the grid's pixels.
        names: of the parts of every strip.
    """

    def __init__(self, folder: Path, area: Box, names: Sequence[str]) -> None:
        self.folder, self.area, self.names = folder, area, list(names)
        self.boxes: list[Box] = []

    def begin(self, manifest: dict[str, Any], *, resume: bool) -> None:
        """Make the folder, or take over the one that a killed run has left; `boxes` then are its strips.

        Args:
            manifest: all that the strips depend on, as plain values.
            resume: whether what is there is gone on with; else it is thrown away.

        Raises:
            OutputUnwritable: another run writes there now, or the folder cannot be made.
            JobDamaged: what is there was found with something else: the sentence says what.
        """
        manifest = json.loads(json.dumps(manifest))
        try:
            if self.folder.exists():
                if owner_lives(self.folder / OWNER):
                    raise OutputUnwritable(
                        f"Another run is writing to '{self.folder.parent}' under the same name. Wait for it, or choose "
                        "another name."
                    )
                if resume:
                    self._take_over(manifest)
                else:
                    shutil.rmtree(self.folder)
            self.folder.mkdir(exist_ok=True)
            (self.folder / OWNER).write_text(owner_mark(), encoding="ascii")
            if not (self.folder / MANIFEST).exists():
                part = self.folder / f"{MANIFEST}.part"
                part.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
                part.replace(self.folder / MANIFEST)
        except OSError as error:
            if not self.boxes:
                self.drop()
            raise unwritable(self.folder, error) from error

    def _take_over(self, manifest: dict[str, Any]) -> None:
        text = self._read_text(MANIFEST)
        if not text:  # it was killed before its first strip, or while it tidied up: what it has placed is its own still
            self._clear((PLACED,))
            return
        try:
            old = json.loads(text)
            if not isinstance(old, dict):
                raise ValueError("it holds no object")
        except ValueError as error:
            raise JobDamaged(
                f"What was left of the run in '{self.folder}' is damaged ({first_line(error)}). Run without resuming, "
                "which starts anew."
            ) from error
        changed = [key for key in {**old, **manifest} if old.get(key) != manifest.get(key)]
        if changed:
            raise JobDamaged(
                f"The run in '{self.folder}' cannot go on: {', '.join(changed)} changed since. Run without resuming, "
                "which starts anew."
            )
        self._clear((MANIFEST, PLACED), self.keeps)
        self.boxes.sort(key=lambda box: (box.left, box.top))

    def _clear(self, names: Sequence[str], keeps: Callable[[Path], bool] = lambda path: False) -> None:
        """Remove what is in the folder, but for files of these names and those that are kept."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in names and not keeps(path):
                path.unlink()

    def keeps(self, path: Path) -> bool:
        """Whether a file that a killed run has left is gone on with; it is one of `boxes` then."""
        if not _KEPT.fullmatch(path.name) or not self._whole(_box_of(path)):
            return False
        self.boxes.append(_box_of(path))
        return True

    def _whole(self, box: Box) -> bool:
        """Whether a strip's file is what was written: a machine that lost its power may leave another."""
        try:
            return is_whole(self._path(box), (len(self.names), box.height, box.width))
        except GDAL_ERRORS:
            return False

    def add(self, finding: Finding) -> None:
        """Keep a strip.

        Raises:
            OutputUnwritable: the disk is full, or the folder was taken away.
        """
        box = finding.box
        try:
            write_array(self._path(box), np.stack([finding.parts[name] for name in self.names]), NODATA)
        except GDAL_ERRORS as error:
            raise unwritable(self.folder, error) from error
        self.boxes.append(box)

    def finding(self, box: Box) -> Finding:
        """A strip that is kept."""
        return Finding(box, dict(zip(self.names, self.read(box, self.names), strict=True)))

    def read(self, window: Box, names: Sequence[str]) -> NDArray[np.uint8]:
        """Parts (names, height, width) of a window; nodata where nothing was found.

        Raises:
            JobDamaged: a strip cannot be read.
        """
        found = np.full((len(names), window.height, window.width), NODATA, np.uint8)
        bands = [self.names.index(name) + 1 for name in names]
        for box in self.boxes:
            both = box & window
            if both.empty:
                continue
            try:
                found[(slice(None), *both.within(window))] = read_array(self._path(box), bands, *both.within(box))
            except GDAL_ERRORS as error:
                raise JobDamaged(
                    f"A strip in '{self.folder}' cannot be read ({cause_of(error)}). Resume the run: it is found again."
                ) from error
        return found

    def note(self, output: Path, part: Path) -> None:
        """Note that a product is about to take its place: where the run is cut off then, it may be replaced by itself.

        Raises:
            OSError: the disk is full.
        """
        with (self.folder / PLACED).open("a", encoding="utf-8") as stream:
            stream.write(_line_of(output, part) + "\n")

    def leave(self) -> None:
        """Let another run take the folder over."""
        with contextlib.suppress(OSError):
            (self.folder / OWNER).unlink()

    def drop(self) -> None:
        """Remove the folder; without its manifest nobody goes on with the rest, should this be cut off."""
        with contextlib.suppress(OSError):
            (self.folder / MANIFEST).unlink()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, box: Box) -> Path:
        return self.folder / f"strip_{box.left}_{box.top}_{box.right}_{box.bottom}.tif"

    def _read_text(self, name: str) -> str:
        path = self.folder / name
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _box_of(path: Path) -> Box:
    left, top, right, bottom = map(int, path.stem.split("_")[1:])
    return Box(top, left, bottom, right)


@dataclass(frozen=True)
class Left:
    """What a run has left, or is working on.

    Attributes:
        folder: its own.
        raster: what it maps; empty where its manifest cannot be read.
        strips: how many are kept; of a drone's flight its frames.
        share: of the map, or of the frames, that these are, 0 to 1.
        frames: of the flight; 0 of a raster.
        size: bytes.
        runs: whether its process still works.
    """

    folder: Path
    raster: str
    strips: int
    share: float
    size: int
    runs: bool
    frames: int = 0


def left_in(folder: Path) -> list[Left]:
    """The folders of runs in a folder.

    Raises:
        RequestRefused: there is no such folder, or it may not be read.
    """
    try:
        found = sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIX) and path.is_dir())
    except OSError as error:
        raise RequestRefused(f"The folder '{folder}' cannot be read ({error.strerror}). Check its name.") from error
    return [left_of(path) for path in found]


def left_of(folder: Path) -> Left:
    """What there is in the folder of a run, which may be gone."""
    raster, pixels, frames = "", 0, 0
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        raster = str(manifest["the raster"][0])
        frames = int(manifest.get(FRAMES, 0))
        top, left, bottom, right = map(int, manifest["the area"][:4])
        pixels = (bottom - top) * (right - left)
    size, boxes, done = 0, [], 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # a run may work there
            size += path.stat().st_size if path.is_file() else 0
            if _KEPT.fullmatch(path.name):
                boxes.append(_box_of(path))
            done += bool(FRAME.fullmatch(path.name))
    if frames:
        return Left(folder, raster, done, min(1.0, done / frames), size, owner_lives(folder / OWNER), frames)
    share = min(1.0, sum(box.height * box.width for box in boxes) / pixels) if pixels > 0 else 0.0
    return Left(folder, raster, len(boxes), share, size, owner_lives(folder / OWNER))
