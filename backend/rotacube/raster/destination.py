"""Where a file of a run goes: judged before any work, marked while it is made, then put in its place.

What a run writes until it is done carries the run's process in its name, so that the next run in that folder can tell
what belongs to nobody any more. The last step never replaces what nobody agreed to replace, and takes away what an
earlier file has left beside its name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil

from rotacube.errors import OutputUnwritable
from rotacube.raster.gdal import GDAL_ERRORS, cause_of
from rotacube.raster.references import BESIDE, References

LONGEST = 180
"""Bytes of the longest name: temporary files beside it carry longer ones, and file systems end at 255."""
PART = ".rotacube-part"
FOREIGN = 86_400.0
"""Seconds after which the temporary files of another machine, which nobody writes to, are taken for lost."""
QUIET = 600.0
"""Seconds without a new file after which a run of another machine is taken for dead."""
_MARK = re.compile(r"\.(?P<host>[0-9a-f]{6})-(?P<pid>[0-9]+)-(?P<start>[0-9]+)-[0-9a-f]{8}\.[a-z.]+" + re.escape(PART))


class Destination:
    """The place of one file: temporary names beside it, and the step that puts it there.

    Args:
        output: the path, which `check_output` found good; a link is followed.
        overwrite: whether a file that is there may be replaced.
        note: is told the path and the part that is about to take it.
    """

    def __init__(
        self, output: Path, overwrite: bool, note: Callable[[Path, Path], object] = lambda output, part: None
    ) -> None:
        self.output, self.overwrite, self._note = output.resolve(), overwrite, note
        self._folder: int | None = None
        if os.unlink in os.supports_dir_fd:  # the folder may be renamed while we work in it
            with contextlib.suppress(OSError):
                self._folder = os.open(self.output.parent, os.O_RDONLY)
        self._stem = f".{self.output.name}.{_process()}-{uuid.uuid4().hex[:8]}"
        self._parts: list[str] = []

    def part(self, kind: str, end: str = "") -> Path:
        """A temporary path beside the file, with an end that some drivers want; `drop` removes what lies there."""
        path = self.output.with_name(f"{self._stem}.{kind}{PART}{end}")
        self._parts += [path.name, *(path.name + suffix for suffix in (*BESIDE, ".ovr.tmp", "-journal"))]
        return path

    def put(self, part: Path) -> None:
        """Let a part take its place: on the disk for good, whole, and with nothing beside it that is not its own.

        Raises:
            OutputUnwritable: somebody else has put a file there meanwhile.
            OSError: the disk is full, or the folder is gone.
        """
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())
        self._note(self.output, part)
        aside: list[tuple[Path, Path]] = []
        try:
            for path in _beside(self.output):
                if not self.overwrite:
                    raise FileExistsError(f"'{path.name}' of another file has come beside it")
                moved = self.part(f"aside{len(aside)}")
                path.replace(moved)
                aside.append((moved, path))
            if self.overwrite:
                part.replace(self.output)
            else:
                _link(part, self.output)
        except BaseException:
            for moved, path in aside:
                with contextlib.suppress(OSError):
                    moved.replace(path)
            raise
        self._sync_folder()

    def place(self, part: Path) -> None:
        """Let a part take its place, as `put` does.

        Raises:
            OutputUnwritable: whatever keeps it from there.
        """
        try:
            self.put(part)
        except GDAL_ERRORS as error:
            raise unwritable(self.output, error) from error

    def drop(self) -> None:
        """Remove all temporary files; doing it twice is fine."""
        for name in self._parts:
            with contextlib.suppress(OSError):
                if self._folder is None:
                    self.output.with_name(name).unlink()
                else:
                    os.unlink(name, dir_fd=self._folder)
        self._parts = []
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None

    def _sync_folder(self) -> None:
        if self._folder is not None:
            with contextlib.suppress(OSError):  # not every file system can
                os.fsync(self._folder)


def unwritable(output: Path, error: Exception) -> OutputUnwritable:
    """Why a file cannot be written, and what to do."""
    return OutputUnwritable(
        f"The map could not be written to '{output.parent}' ({cause_of(error)}). The disk may be full, or the folder "
        "was taken away or renamed: free some space or choose another place."
    )


def check_output(
    output: Path, overwrite: bool, references: References, suffixes: Sequence[str] = (".tif", ".tiff")
) -> None:
    """Check, before any work, that a file can be written.

    Args:
        output: the final path.
        overwrite: whether a file that is there may be replaced.
        references: the files that are read, which are never replaced.
        suffixes: how its name may end.

    Raises:
        OutputUnwritable: the folder is missing or not writable, the name has another end, or something is there
            already or is read.
    """
    if "\0" in str(output):
        raise OutputUnwritable("The output's name holds a NUL character. Choose another name.")
    if len(os.fsencode(output.name)) > LONGEST:
        raise OutputUnwritable(
            f"The name '{output.name[:40]}...' is too long: it may have {LONGEST} bytes. Choose a shorter one."
        )
    try:
        _check_place(output, output.resolve(), overwrite, references, suffixes)
    except (OSError, ValueError, RuntimeError) as error:
        raise OutputUnwritable(f"'{output}' is no place for a file ({error}). Choose another one.") from error


def _check_place(output: Path, target: Path, overwrite: bool, references: References, suffixes: Sequence[str]) -> None:
    if target.is_dir():
        raise OutputUnwritable(f"'{output}' is a folder. Give the name of a file that ends in {suffixes[0]}.")
    if output.suffix.lower() not in suffixes:
        raise OutputUnwritable(f"'{output.name}' does not end in {suffixes[0]}. Give it such a name.")
    if not target.parent.is_dir():
        raise OutputUnwritable(f"The folder '{target.parent}' does not exist. Create it, or choose another place.")
    if target.exists() and not target.is_file():
        raise OutputUnwritable(f"'{output}' is no ordinary file but a device or a pipe. Choose another name.")
    for beside in (target.with_name(target.name + suffix) for suffix in BESIDE):
        if beside.exists() and not beside.is_file() and not beside.is_dir():
            raise OutputUnwritable(
                f"Beside '{output}' lies '{beside.name}', a device or a pipe, which would be taken for a part of the "
                "mask. Remove it, or choose another name."
            )
    there = [path for path in (target, *_beside(target)) if path.exists()]
    for path in there:
        if any(_same(path, read) for read in references.files):
            raise OutputUnwritable(
                f"'{path}' is the raster itself, or a file that it reads. Choose another name: a mask never replaces "
                "its source."
            )
    if there and not overwrite:
        if target.exists():
            raise OutputUnwritable(f"'{output}' is there already. Choose another name, or say that it may be replaced.")
        raise OutputUnwritable(
            f"Beside '{output}' lies '{there[0].name}' of an earlier file, which would be taken for a part of the "
            "mask. Remove it, choose another name, or say that it may be replaced."
        )
    if there and not references.complete:
        raise OutputUnwritable(
            f"'{output}' is there already, and the raster is a tile index, whose tiles are never replaced: it might be "
            "one. Choose a new name."
        )
    if not os.access(target.parent, os.W_OK):
        raise OutputUnwritable(f"The folder '{target.parent}' may not be written to. Choose another place.")


def sweep(folder: Path) -> None:
    """Remove what killed runs have left in a folder, whatever they were writing."""
    host = _host()
    try:
        names = [entry.name for entry in os.scandir(folder) if PART in entry.name and entry.name.startswith(".")]
    except OSError:
        return
    for name in names:
        mark, path = _MARK.search(name), folder / name
        with contextlib.suppress(OSError):
            if mark and mark["host"] == host:
                lost = not _lives(int(mark["pid"]), int(mark["start"]))
            else:
                lost = time.time() - path.stat().st_mtime > FOREIGN
            if lost:
                path.unlink()


def owner_mark() -> str:
    """This process, in a text that `owner_lives` knows it by."""
    return _process()


def owner_lives(mark: Path) -> bool:
    """Whether the process whose mark a file holds still works; of another machine's only what it did lately tells."""
    with contextlib.suppress(OSError, ValueError):
        text = mark.read_text(encoding="ascii")
        return marked_lives(text) if is_local(text) else time.time() - mark.parent.stat().st_mtime < QUIET
    return False


def is_local(mark: str) -> bool:
    """Whether a mark is that of a process of this machine."""
    return mark.split("-")[0] == _host()


def marked_lives(mark: str) -> bool:
    """Whether the process of this machine that has this mark still works.

    Raises:
        ValueError: it is no mark.
    """
    _, pid, start = mark.split("-")
    return _lives(int(pid), int(start))


def _link(part: Path, output: Path) -> None:
    """Give a file its final name unless that is taken."""
    try:
        try:
            os.link(part, output)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links: an empty file of ours holds the name until it is replaced
            os.close(os.open(output, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            try:
                part.replace(output)
            except OSError:
                output.unlink()
                raise
    except FileExistsError as error:
        raise OutputUnwritable(
            f"'{output}' was made by somebody else meanwhile, and is left as it is. Choose another name, or say that "
            "it may be replaced."
        ) from error


def _beside(path: Path) -> Iterator[Path]:
    for suffix in BESIDE:
        beside = path.with_name(path.name + suffix)
        if beside.is_file():
            yield beside


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:6]


def _process() -> str:
    own = psutil.Process()
    return f"{_host()}-{own.pid}-{int(own.create_time())}"


def _lives(pid: int, start: int) -> bool:
    """Whether the process that had this number at that time is still there."""
    try:
        return abs(int(psutil.Process(pid).create_time()) - start) <= 1
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True
