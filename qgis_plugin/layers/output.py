"""Where the mask goes: a temporary file, or a path that is checked before anything starts.

Only what is cheap is checked here. Whether the raster that is mapped reads the file, at whatever depth, is for the
backend to say.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Iterable, List, Optional

from osgeo import gdal
from qgis.core import QgsMapLayer, QgsProcessingUtils

from ..i18n import tr
from . import results, source

SUFFIXES = (".tif", ".tiff")


class OutputRefused(Exception):
    """The mask cannot be written there; the text says why and what to do."""


class OutputExists(Exception):
    """There is a file already; the user has to agree to its end."""

    def __init__(self, path: str, layer_name: Optional[str] = None):
        super().__init__(path)
        self.path = path
        self.layer_name = layer_name  # of the mask that shows the file, if there is one


def resolve(text: str, source_name: str, source_path: str, layers: Iterable[QgsMapLayer], replace: bool) -> str:
    """The path of the mask.

    Args:
        text: what the user gave; empty for a temporary file.
        source_name: the layer's name, for a temporary file's name.
        source_path: the raster that is read.
        layers: the project's layers.
        replace: whether the user agreed to overwrite a file, and the masks that show it.

    Raises:
        OutputRefused: if nothing can be written there.
        OutputExists: if there is a file and `replace` is false.
    """
    text = text.strip()
    if not text:
        stem = re.sub(r"[^\w.-]+", "_", source_name).strip("_") or "raster"
        return QgsProcessingUtils.generateTempFilename(f"{stem}_mask.tif")
    path = Path(text).expanduser()
    if not path.is_absolute():
        raise OutputRefused(tr("Give the output's whole path, with its folder: “{}” has none.").format(text))
    if path.is_dir() or text.endswith(("/", os.sep)):
        raise OutputRefused(tr("The output {} is a folder. Add a file name to it.").format(path))
    if not path.suffix:
        path = path.with_suffix(".tif")
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
        layers = list(layers)
        _check_existing(path, source_path, layers)
        if not replace:
            shown = results.shown_at(str(path), layers)
            raise OutputExists(str(path), shown[0].name() if shown else None)
    return str(path)


def check_beside(paths: List[str], layers: Iterable[QgsMapLayer], replace: bool) -> None:
    """Check the files beside the mask, whose names follow from its.

    Raises:
        OutputExists: if there is one and `replace` is false.
    """
    for path in paths:
        if Path(path).exists() and not replace:
            shown = [layer for layer in layers if _same(Path(path), source.path_of(layer))]
            raise OutputExists(path, shown[0].name() if shown else None)


def _check_existing(path: Path, source_path: str, layers: List[QgsMapLayer]) -> None:
    if _same(path, source_path):
        raise OutputRefused(
            tr("The output is the raster that is to be mapped. Choose another name, such as {}.").format(_free(path))
        )
    for layer in layers:
        if not results.is_mask(layer) and any(_same(path, file) for file in _files(layer)):
            text = tr("{} is open in this project as “{}”. Remove that layer, or choose another name, such as {}.")
            raise OutputRefused(text.format(path, layer.name(), _free(path)))


def _files(layer: QgsMapLayer) -> List[str]:
    """What a layer reads on this machine: its file, and what GDAL says lies beside or behind it."""
    path = source.path_of(layer)
    if layer.providerType() != "gdal" or not os.path.isfile(path):
        return [path]
    gdal.PushErrorHandler("CPLQuietErrorHandler")
    try:
        dataset = gdal.OpenEx(path, gdal.OF_RASTER)
        return [path, *((dataset.GetFileList() if dataset is not None else None) or [])]
    except RuntimeError:  # damaged; how GDAL says it depends on a switch that others set
        return [path]
    finally:
        gdal.PopErrorHandler()


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
