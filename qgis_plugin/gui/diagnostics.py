"""What plugin and backend run on, in words that can be pasted into a bug report."""

from __future__ import annotations

import platform
import sys
from typing import Optional

from osgeo import gdal
from qgis.core import Qgis
from qgis.PyQt.QtCore import PYQT_VERSION_STR, QT_VERSION_STR

from .. import paths
from ..client import environment
from ..client.schema import Info
from ..client.supervisor import Supervisor
from ..i18n import tr


def report(supervisor: Supervisor, info: Optional[Info]) -> str:
    """The report; short if the backend is not up."""
    lines = [
        f"Rotacube {paths.version()}",
        f"QGIS {Qgis.QGIS_VERSION}, Qt {QT_VERSION_STR}, PyQt {PYQT_VERSION_STR}, GDAL {gdal.__version__}, "
        f"Python {sys.version.split()[0]}, {platform.platform()}",
        "",
        _python(),
    ]
    if info is None:
        lines.append(tr("Backend: {state}").format(state=supervisor.state))
    else:
        lines += [
            tr("Backend: {version}, process {pid}, torch {torch}").format(
                version=info.version, pid=supervisor.pid, torch=info.torch
            ),
            tr("Device: {device}, {threads} threads. {why}").format(
                device=info.device, threads=info.threads, why=info.device_why
            ),
            "",
            tr("Operators:"),
            *(f"  {item.name}: {item.path}. {item.why}" for item in info.operators),
            "",
            tr("Model folders:"),
            *(f"  {folder}" for folder in info.model_folders),
        ]
    lines += ["", tr("Backend's log: {}").format(supervisor.log_path)]
    tail = supervisor.log_tail()
    return "\n".join(lines + ([tail] if tail else []))


def _python() -> str:
    try:
        python = environment.find_python()
    except environment.BackendMissing as error:
        return str(error)
    return tr("Backend's Python: {path}, from {origin}").format(path=python.path, origin=python.origin)
