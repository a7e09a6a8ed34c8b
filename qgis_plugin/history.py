"""The runs that have finished, kept over sessions in a file of the plugin's own."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Dict, List

from qgis.core import QgsApplication

from .client.schema import MASK, BackendError, JobRequest, JobResult, ModelInfo, parse
from .layers.results import Finished

KEPT = 100
"""Runs in the file; the oldest go."""
NAME = "history.json"


def in_profile() -> Path:
    """The plugin's folder in the profile of the QGIS that runs."""
    return Path(QgsApplication.qgisSettingsDirPath()) / "rotacube"


@dataclass(frozen=True)
class Past:
    """A run that has finished.

    Attributes:
        id: its own.
        when: it was done, in local time as ISO 8601 writes it.
        finished: the run.
        there: whether its mask was there when somebody looked last.
    """

    id: str
    when: str
    finished: Finished
    there: bool


class History:
    """The file, read anew before each change, for several QGIS may share it.

    What in it is damaged, or of another version of the plugin, is passed over; a file that is not to be read or written
    is none.
    """

    def __init__(self, folder: Path):
        self._path = folder / NAME

    def load(self) -> List[Past]:
        """The runs, the latest first; whether their files are there is looked at, which may take its time."""
        return [
            Past(entry["id"], entry["when"], finished, os.path.exists(finished.mask.path))
            for entry in self._read()
            for finished in _finished(entry)
        ]

    def add(self, finished: Finished) -> str:
        """Keep a run, which takes the place of an earlier one into the same file, and give its id."""
        own = uuid.uuid4().hex
        entry = {
            "id": own,
            "when": datetime.now().isoformat(timespec="seconds"),
            "source_name": finished.source_name,
            **{name: dataclasses.asdict(getattr(finished, name)) for name in ("request", "result", "model")},
        }
        mask = finished.mask.path
        others = [other for other in self._read() if not any(run.mask.path == mask for run in _finished(other))]
        self._write([entry, *others][:KEPT])
        return own

    def remove(self, own: str) -> None:
        """Forget a run; its files stay."""
        self._write([entry for entry in self._read() if entry.get("id") != own])

    def _read(self) -> List[Dict[str, Any]]:
        try:
            entries = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # there is none yet, or it was damaged
            return []
        return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []

    def _write(self, entries: List[Dict[str, Any]]) -> None:
        """It appears whole, or stays as it was: a run is worth more than its being remembered."""
        beside = self._path.with_name(f"{NAME}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps(entries, ensure_ascii=False), encoding="utf-8")
            os.replace(beside, self._path)
        with contextlib.suppress(OSError):
            beside.unlink()


def _finished(entry: Dict[str, Any]) -> List[Finished]:
    """The run of an entry, or none where it is damaged."""
    try:
        finished = Finished(
            str(entry["source_name"]),
            parse(JobRequest, entry["request"]),
            parse(JobResult, entry["result"]),
            parse(ModelInfo, entry["model"]),
        )
        datetime.fromisoformat(entry["when"])
        finished.result.product(MASK)
        return [finished] if isinstance(entry["id"], str) and _is_sound(finished) else []
    except (BackendError, KeyError, TypeError, ValueError, AttributeError):
        return []


def _is_sound(finished: Finished) -> bool:
    """Whether what is shown of a run is of the types that it should be."""
    classes, request = finished.result.classes, finished.request
    texts = [finished.model.name, finished.model.title, request.raster, request.model]
    texts += [product.path for product in (*request.products, *finished.result.products)]
    texts += [text for item in classes for text in (item.name, item.color)]
    numbers = [value for item in classes for value in (item.id, item.area_m2, item.share)]
    return all(isinstance(text, str) for text in texts) and all(isinstance(value, (int, float)) for value in numbers)
