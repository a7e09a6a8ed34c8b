"""How far pip is, from what it prints and from what lies in the environment. It knows neither QGIS nor Qt.

pip tells the bytes of the file that it downloads (from 24.1 on) and the order of its steps, but not how much there is
in all: that is planned before, with `pip install --dry-run`, and given here as packages. Where a size is not known,
packages are counted instead of bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Sequence, Set
from urllib.parse import unquote

_BEGINS = re.compile(r"\s*(?P<how>Downloading|Using cached|Processing) (?P<where>.+?)(?: \([^()]*\))?\s*$")
_BYTES = re.compile(r"\s*Progress (\d+) of (\d+)")
_VERSION = re.compile(r"pip (\d+)\.(\d+)")


@dataclass(frozen=True)
class Package:
    """What pip is going to install: the size is the download's, None if it is not known."""

    name: str
    version: str
    file: str
    size: Optional[int]

    @property
    def folder(self) -> str:
        """The folder that notes it in the environment, in small letters."""
        return f"{_plain(self.name)}-{self.version}.dist-info".lower()


@dataclass(frozen=True)
class Amount:
    """So much of so much, in bytes or packages; the total is None where nobody knows it."""

    done: int
    total: Optional[int]
    in_bytes: bool
    file: str = ""


class PipOutput:
    """Reads pip's lines."""

    def __init__(self, planned: Sequence[Package] = ()):
        self._planned = {package.file: package for package in planned}
        self._all_known = bool(planned) and all(package.size is not None for package in planned)
        self._complete: Set[str] = set()
        self._file, self._bytes, self._file_bytes = "", 0, None
        self.order: List[str] = []  # in which packages are installed, known when that begins

    def feed(self, line: str) -> bool:
        """Read a line; true if it only tells a number of bytes, which belongs into no log."""
        told = _BYTES.match(line)
        if told:
            self._bytes, self._file_bytes = int(told[1]), int(told[2])
            return True
        if line.startswith("Installing collected packages:"):
            self._next("")
            self.order = [name.strip() for name in line.partition(":")[2].split(",")]
        begins = _BEGINS.match(line)
        if begins:
            file = unquote(re.split(r"[/\\]", begins["where"])[-1])
            if file.endswith(".metadata"):
                return False
            self._next(file)
            if begins["how"] != "Downloading":  # it is there already
                self._next("")
        return False

    def downloaded(self) -> Amount:
        """How much is on this computer already; without a plan that of the file in hand."""
        if not self._planned:
            return Amount(self._bytes, self._file_bytes, True, self._file)
        done = [package for file, package in self._planned.items() if file in self._complete]
        if not self._all_known:
            return Amount(len(done), len(self._planned), False, self._file)
        under_way = self._bytes if self._file in self._planned else 0
        total = sum(package.size for package in self._planned.values())
        return Amount(min(total, sum(package.size for package in done) + under_way), total, True, self._file)

    def _next(self, file: str) -> None:
        """Another file's turn: the one before is complete."""
        if self._file:
            self._complete.add(self._file)
        self._file, self._bytes, self._file_bytes = file, 0, None


def read_plan(text: str) -> List[Package]:
    """The packages, from what `package_sizes.py` printed; lines that are none are passed over."""
    found = []
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) == 4:
            found.append(Package(*fields[:3], int(fields[3]) if fields[3].isdigit() else None))
    return found


def installed(planned: Sequence[Package], order: Sequence[str], environment: Path) -> Amount:
    """How much of what is planned lies in the environment, and what is in hand.

    pip notes a package when its last file is in place, so a large one stands still until then.
    """
    places = [*environment.glob("lib/python*/site-packages"), environment / "Lib" / "site-packages"]
    there = {note.parent.name.lower() for place in places for note in place.glob("*.dist-info/RECORD")}
    done = [package for package in planned if package.folder in there]
    names = {_plain(package.name) for package in done}
    in_hand = next((name for name in order if _plain(name) not in names), "")
    if any(package.size is None for package in planned):
        return Amount(len(done), len(planned), False, in_hand)
    return Amount(sum(package.size for package in done), sum(package.size for package in planned), True, in_hand)


def _plain(name: str) -> str:
    return re.sub("[-_.]+", "_", name).lower()


def tells_bytes(version: str) -> bool:
    """Whether a pip of this version, as `pip --version` says it, tells bytes where it writes to no terminal."""
    found = _VERSION.search(version)
    return bool(found) and (int(found[1]), int(found[2])) >= (24, 1)
