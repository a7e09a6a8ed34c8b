r"""Which Python runs the backend, with which command and environment variables.

The Python is looked for in this order: the setting `rotacube/python`, the environment variable `ROTACUBE_PYTHON`, the
managed environment. That one lies outside of the plugin's folder and of QGIS's profiles, in the user's folder for
application data (`~/.local/share/rotacube/env` on Linux, `~/Library/Application Support/rotacube/env` on macOS,
`%LOCALAPPDATA%\rotacube\\env` on Windows), so that an upgrade of plugin or QGIS keeps it and all profiles share it.
`ROTACUBE_HOME` puts it elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Mapping, Optional

from qgis.core import QgsApplication, QgsSettings
from qgis.PyQt.QtCore import QStandardPaths

from .. import paths
from ..i18n import tr
from .schema import BackendError
from .supervisor import MISSING, NOT_STARTED, Launch

MARKER = "rotacube-environment.json"

# What QGIS sets for its own Python, Qt and GDAL, and what would mislead another Python with a GDAL of its own.
_FOREIGN = ("GDAL_DATA", "GDAL_DRIVER_PATH", "PROJ_LIB", "PROJ_DATA", "GEOTIFF_CSV", "GISBASE", "VIRTUAL_ENV")
_FOREIGN_PREFIXES = ("PYTHON", "QT_", "QGIS_", "OSGEO4W", "O4W_", "CONDA_", "DYLD_")


class BackendMissing(BackendError):
    """There is no Python that could run the backend: with code `MISSING`, none is named, and none was set up yet."""

    def __init__(self, message: str, code: str = NOT_STARTED):
        super().__init__(code, message)


@dataclass(frozen=True)
class Python:
    """A Python for the backend and where its path came from."""

    path: str
    origin: str


def setting(name: str) -> str:
    """A text setting of the plugin; empty if it is not set."""
    return str(QgsSettings().value(f"rotacube/{name}", "") or "").strip()


def set_setting(name: str, value: str) -> None:
    """Keep a text setting of the plugin."""
    QgsSettings().setValue(f"rotacube/{name}", value.strip())


def data_home() -> Path:
    """The folder of the managed environment."""
    named = os.environ.get("ROTACUBE_HOME", "").strip()
    if named:
        return Path(named)
    return Path(QStandardPaths.writableLocation(QStandardPaths.StandardLocation.GenericDataLocation)) / "rotacube"


def log_folder() -> Path:
    """The folder of the backend's logs."""
    return Path(QStandardPaths.writableLocation(QStandardPaths.StandardLocation.GenericCacheLocation)) / "rotacube"


def managed_folder() -> Path:
    """The managed environment itself."""
    return data_home() / "env"


def python_in(folder: Path) -> Path:
    """The Python of a virtual environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def managed_is_complete() -> bool:
    """Whether the managed environment was set up to its end."""
    return (managed_folder() / MARKER).is_file() and python_in(managed_folder()).exists()


def mark_complete(version: str) -> None:
    """Note that the managed environment is whole."""
    (managed_folder() / MARKER).write_text(json.dumps({"version": version}), encoding="utf-8")


def mark_incomplete() -> None:
    """Note that the managed environment is being changed: until that is done, nothing is started with it."""
    with contextlib.suppress(FileNotFoundError):
        (managed_folder() / MARKER).unlink()


def setup_log() -> Path:
    """What the last set-up ran, and what was said."""
    return data_home() / "setup.log"


def named_python() -> Optional[Python]:
    """The Python that the user names, whether it is there or not."""
    for path, origin in (
        (setting("python"), tr("the settings")),
        (os.environ.get("ROTACUBE_PYTHON", "").strip(), "ROTACUBE_PYTHON"),
    ):
        if path:
            return Python(path, origin)
    return None


def find_python() -> Python:
    """The Python that runs the backend.

    Raises:
        BackendMissing: with a sentence that says what to do.
    """
    named = named_python()
    if named is not None and not Path(named.path).is_file():
        text = tr("The Python that {origin} names is not there: {path}. Choose another one in Rotacube's settings.")
        raise BackendMissing(text.format(origin=named.origin, path=named.path))
    if named is not None:
        return named
    if managed_is_complete():
        return Python(str(python_in(managed_folder())), tr("the managed environment"))
    raise BackendMissing(
        tr("The backend is not set up yet. Press “Set up backend” in the panel, or name a Python in the settings."),
        MISSING,
    )


def launch() -> Launch:
    """What starts the backend as a server, without the token.

    Raises:
        BackendMissing: if there is nothing to start.
    """
    return command("serve", "--port", "0", "--parent-pipe")


def command(*arguments: str) -> Launch:
    """A command of the backend's, and the environment variables that it needs.

    Raises:
        BackendMissing: if there is nothing to start.
    """
    script = paths.launch_script()
    if not script.is_file():
        text = tr("The plugin's folder lacks {path}. Install the plugin again.")
        raise BackendMissing(text.format(path=script))
    env = clean_environment(os.environ)
    models = setting("models")
    if models:
        env["ROTACUBE_MODELS"] = models
    return Launch([find_python().path, str(script), *arguments], env)


def clean_environment(inherited: Mapping[str, str]) -> Dict[str, str]:
    """The environment variables for another Python: QGIS's own paths taken out.

    An own GDAL, PROJ or Python home in them would make the other Python load the wrong libraries.
    """
    env = {
        key: value
        for key, value in inherited.items()
        if key.upper() not in _FOREIGN and not key.upper().startswith(_FOREIGN_PREFIXES)
    }
    if "LD_LIBRARY_PATH" in env:
        kept = [part for part in env["LD_LIBRARY_PATH"].split(":") if part and "grass" not in part]
        env["LD_LIBRARY_PATH"] = ":".join(kept)
        if not kept:
            del env["LD_LIBRARY_PATH"]
    if sys.platform in ("win32", "darwin"):
        env["PATH"] = os.pathsep.join(p for p in env.get("PATH", "").split(os.pathsep) if not _belongs_to_qgis(p))
    env.update(PYTHONUTF8="1", PYTHONUNBUFFERED="1", PYTHONNOUSERSITE="1")
    return env


def _belongs_to_qgis(folder: str) -> bool:
    place = Path(os.environ.get("OSGEO4W_ROOT") or QgsApplication.prefixPath())
    try:
        Path(folder).resolve().relative_to(place.resolve())
    except (ValueError, OSError):
        return False
    return True
