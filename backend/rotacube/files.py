"""Files that appear whole: the old one or the new one is there, never half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rotacube.errors import OutputUnwritable


def data_folder() -> Path:
    """The user's own folder for what this package keeps."""
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return data / "rotacube"


@contextmanager
def in_one_step(path: Path, make_folder: bool = False) -> Iterator[Path]:
    """Gives a path to write to, beside `path`; what was written there takes its place if nothing was raised.

    Args:
        path: the final name.
        make_folder: whether its folder is made where there is none.

    Raises:
        OutputUnwritable: The file cannot be written; what was there is untouched.
    """
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".rotacube-") as folder:
            new = Path(folder) / path.name
            yield new
            new.replace(path)
    except OSError as error:
        raise OutputUnwritable(
            f"'{path}' cannot be written ({error.strerror}). Choose a folder that you may write to, with space left."
        ) from error


@contextmanager
def new_folder(path: Path, *parts: str) -> Iterator[Path]:
    """Gives a folder to fill, beside `path`; it takes its name if nothing was raised.

    Args:
        path: the final name, which nothing has yet.
        parts: folders that it starts with.

    Raises:
        OutputUnwritable: it is there already, or cannot be written.
    """
    if path.exists():
        raise OutputUnwritable(f"'{path}' is there already. Choose a folder that is not.")
    with in_one_step(path, make_folder=True) as new:
        for part in parts:
            (new / part).mkdir(parents=True)
        yield new


def is_file(path: Path) -> bool:
    """Whether there is a file that may be looked at; `Path.is_file` raises where it may not."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether there is a folder that may be looked at."""
    try:
        return path.is_dir()
    except OSError:
        return False


def write_text(path: Path, text: str) -> None:
    """Writes a text file in one step, with its folder.

    Raises:
        OutputUnwritable: The file cannot be written.
    """
    with in_one_step(path, make_folder=True) as new:
        new.write_text(text, encoding="utf-8")
