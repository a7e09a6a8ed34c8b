"""Where the mask goes: a temporary file, or a path that is checked before anything starts."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Iterable, Optional

from qgis.core import QgsMapLayer, QgsProcessingUtils

from ..i18n import tr

SUFFIXES = (".tif", ".tiff")


class OutputRefused(Exception):
    """The mask cannot be written there; the text says why and what to do."""


class OutputExists(Exception):
    """There is a file already; the user has to agree to its end."""

    def __init__(self, path: str):
        super().__init__(path)
        self.path = path


def resolve(text: str, source_name: str, source_path: str, layers: Iterable[QgsMapLayer], replace: bool) -> str:
    """The path of the mask.

    Args:
        text: what the user gave; empty for a temporary file.
        source_name: the layer's name, for a temporary file's name.
        source_path: the raster that is read.
        layers: the project's layers.
        replace: whether the user agreed to overwrite a file.

    Raises:
        OutputRefused: if nothing can be written there.
        OutputExists: if there is a file and `replace` is false.
    """
    text = text.strip()
    if not text:
        stem = re.sub(r"[^\w.-]+", "_", source_name).strip("_") or "raster"
        return QgsProcessingUtils.generateTempFilename(f"{stem}_mask.tif")
    path = Path(text).expanduser()
    if not path.suffix:
        path = path.with_suffix(".tif")
    if not path.is_absolute():
        raise OutputRefused(tr("Give the output's whole path, with its folder: “{}” has none.").format(text))
    if path.suffix.lower() not in SUFFIXES:
        raise OutputRefused(
            tr("The mask is a GeoTIFF: let the output's name end in .tif instead of {}.").format(path.suffix)
        )
    if path.is_dir():
        raise OutputRefused(tr("The output {} is a folder. Add a file name to it.").format(path))
    if not path.parent.is_dir():
        raise OutputRefused(
            tr("The output's folder {} does not exist. Create it or choose another one.").format(path.parent)
        )
    if not os.access(path.parent, os.W_OK):
        raise OutputRefused(tr("QGIS may not write into {}. Choose another folder for the output.").format(path.parent))
    if path.exists():
        _check_existing(path, source_path, layers)
        if not replace:
            raise OutputExists(str(path))
    return str(path)


def _check_existing(path: Path, source_path: str, layers: Iterable[QgsMapLayer]) -> None:
    if _same(path, source_path):
        raise OutputRefused(
            tr("The output is the raster that is to be mapped. Choose another name, such as {}.").format(_free(path))
        )
    for layer in layers:
        if _same(path, layer.source().split("|", 1)[0]):
            text = tr("{} is open in this project as “{}”. Remove that layer, or choose another name, such as {}.")
            raise OutputRefused(text.format(path, layer.name(), _free(path)))


def _same(path: Path, other: Optional[str]) -> bool:
    try:
        return bool(other) and os.path.samefile(path, other)
    except (OSError, ValueError):
        return False


def _free(path: Path) -> str:
    n = 2
    while path.with_name(f"{path.stem}_{n}{path.suffix}").exists():
        n += 1
    return path.with_name(f"{path.stem}_{n}{path.suffix}").name
