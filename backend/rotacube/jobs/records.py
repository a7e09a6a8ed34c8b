"""What was asked of a server, kept until it is done: jobs that ended with their server are found again.

A record is a file in the user's own folder, one for each folder of a run (`rotacube.inference.store`), named after it:
whoever maps to the same place again takes the record over.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from rotacube.errors import RotacubeError
from rotacube.files import data_folder, write_text
from rotacube.inference.run import MapRequest
from rotacube.inference.store import MANIFEST, folder_of, left_of
from rotacube.raster.destination import is_local, marked_lives, owner_mark, sweep

log = logging.getLogger(__name__)
_REQUEST = TypeAdapter(MapRequest)


@dataclass(frozen=True)
class Interrupted:
    """A job that ended before its time: what was asked, and the share of the map that is kept, 0 to 1."""

    id: str
    request: MapRequest
    share: float


def records_folder() -> Path:
    """Where the user's records lie: `ROTACUBE_JOBS`, or a folder for application data."""
    return Path(os.environ.get("ROTACUBE_JOBS") or data_folder() / "jobs")


def id_of(request: MapRequest) -> str:
    """The name of a request's record."""
    return hashlib.sha256(os.fsencode(_job_folder(request))).hexdigest()[:12]


class Records:
    """The records in a folder; with None nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def keep(self, request: MapRequest) -> None:
        """Remember a request until `settle` or `forget`. Where that fails the log says so: the job can do without."""
        if self.folder is None:
            return
        try:
            text = json.dumps({"owner": owner_mark(), "request": _REQUEST.dump_python(request, mode="json")}, indent=1)
            write_text(self._path(id_of(request)), text)
        except (RotacubeError, OSError, ValueError) as error:
            log.warning("the job could not be remembered: %s", error)

    def settle(self, request: MapRequest) -> None:
        """A job has ended: forget it unless there is something to go on with."""
        left = left_of(_job_folder(request))
        if left.runs or not (left.folder / MANIFEST).is_file():
            self.forget(id_of(request))

    def forget(self, name: str) -> None:
        """Remember a request no more."""
        if self.folder is not None:
            with contextlib.suppress(OSError):
                self._path(name).unlink()

    def discard(self, found: Interrupted) -> None:
        """Forget a job, and remove what it has left."""
        folder = _job_folder(found.request)
        shutil.rmtree(folder, ignore_errors=True)
        sweep(folder.parent)
        self.forget(found.id)

    def interrupted(self) -> list[Interrupted]:
        """The jobs that nobody works on any more, the oldest first."""
        if self.folder is None or not self.folder.is_dir():
            return []
        paths = [path for path in self.folder.glob("*.json") if path.is_file()]
        found = [self._interrupted(path) for path in sorted(paths, key=lambda path: path.stat().st_mtime)]
        return [job for job in found if job is not None]

    def _interrupted(self, path: Path) -> Interrupted | None:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            owner, request = str(content["owner"]), _REQUEST.validate_python(content["request"])
            if id_of(request) != path.stem:
                raise ValueError("it is not named after its request")
        except (OSError, ValueError, LookupError, TypeError) as error:
            log.warning("the record '%s' is left aside: %s", path, error)
            return None
        left = left_of(_job_folder(request))
        if left.runs or (owner != owner_mark() and is_local(owner) and marked_lives(owner)):
            return None
        if not (left.folder / MANIFEST).exists() and _all_newer(request, path):
            self.forget(path.stem)  # it had ended, but for this
            return None
        return Interrupted(path.stem, request, left.share)

    def _path(self, name: str) -> Path:
        return Path(self.folder or "") / f"{name}.json"


def _job_folder(request: MapRequest) -> Path:
    return folder_of(request.products[0].path)


def _all_newer(request: MapRequest, record: Path) -> bool:
    """Whether all products were made after the record."""
    with contextlib.suppress(OSError):
        since = record.stat().st_mtime_ns
        return all(product.path.stat().st_mtime_ns > since for product in request.products)
    return False
