"""The file of statistics that a run leaves: read for tables and charts, and saved as other programs want it."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

from osgeo import ogr
from qgis.core import QgsCoordinateTransformContext, QgsVectorFileWriter, QgsVectorLayer

from ..client.schema import JobResult
from ..i18n import tr
from .further import STATISTICS

CSV, XLSX = ".csv", ".xlsx"


class SharesError(Exception):
    """The statistics cannot be read or saved; the text says why and what to do."""


class Measure(NamedTuple):
    """As mapped, as it likely is, and between what with 95% certainty; both ends are None where that is unknown."""

    found: float
    best: float
    low: Optional[float]
    high: Optional[float]


class ClassShare(NamedTuple):
    """What a class has of a zone: square metres, a share between 0 and 1, and roofs where they were counted."""

    class_id: int
    name: str
    area: Measure
    share: Measure
    roofs: Optional[Measure]


class Zone(NamedTuple):
    """The whole map, or a zone in it."""

    name: str
    classes: List[ClassShare]


class Shares(NamedTuple):
    """All zones of a file, the whole map first, and what their intervals take for granted."""

    zones: List[Zone]
    assumptions: str


def path_of(result: JobResult) -> str:
    """The file of a job's statistics; empty where it made none that can be shown."""
    found = [item.path for item in result.products if item.kind == STATISTICS and item.format == "csv"]
    return found[0] if found else ""


def read(path: str) -> Shares:
    """What a file of statistics (CSV) holds.

    Raises:
        SharesError: the file is gone, or somebody has changed it.
    """
    zones: List[Zone] = []
    assumptions = ""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                item = _class_share(row)
                name = row["zone"]
                # two zones may have one name: a class comes but once in each
                if not zones or zones[-1].name != name or item.class_id in {c.class_id for c in zones[-1].classes}:
                    zones.append(Zone(name, []))
                zones[-1].classes.append(item)
                assumptions = assumptions or row["assumptions"]
    except OSError as error:
        text = tr("{path} cannot be read ({why}). Map again with statistics.")
        raise SharesError(text.format(path=path, why=error.strerror or error)) from None
    except (KeyError, TypeError, ValueError, csv.Error):
        text = tr("{} is no file of statistics any more: it was changed. Map again with statistics.")
        raise SharesError(text.format(path)) from None
    if not zones:
        raise SharesError(tr("{} holds no row: nothing was mapped there.").format(path))
    return Shares(zones, assumptions)


def formats() -> Tuple[str, ...]:
    """The suffixes of the files that can be saved here: GDAL is built without XLSX in places."""
    driver = ogr.GetDriverByName("XLSX")
    return (CSV, XLSX) if driver is not None and driver.TestCapability(ogr.ODrCCreateDataSource) else (CSV,)


def save(path: str, target: str) -> None:
    """Save all zones of a file of statistics, with its columns, as CSV or XLSX; the target appears whole.

    Args:
        path: the file of statistics.
        target: where to; its suffix is one of `formats()`.

    Raises:
        SharesError: nothing can be written there, or the statistics are gone.
    """
    aim = Path(target)
    part = aim.with_name(f".{aim.stem}.part{aim.suffix}")
    try:
        if aim.suffix.lower() == XLSX:
            _write_workbook(path, part)
        else:
            shutil.copyfile(path, part)
        os.replace(part, aim)
    except OSError as error:
        text = tr("{path} cannot be written ({why}). Choose another place for the table.")
        raise SharesError(text.format(path=target, why=error.strerror or error)) from None
    finally:
        if part.exists():
            part.unlink()


def _write_workbook(path: str, part: Path) -> None:
    """A sheet with numbers as numbers.

    Raises:
        OSError: as said in `save`.
    """
    table = QgsVectorLayer(f"{path}|option:AUTODETECT_TYPE=YES", "statistics", "ogr")
    if not table.isValid():
        raise OSError(tr("{} is gone").format(path))
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName, options.layerName = "XLSX", "statistics"
    context = QgsCoordinateTransformContext()
    error, message = QgsVectorFileWriter.writeAsVectorFormatV3(table, str(part), context, options)[:2]
    if error != QgsVectorFileWriter.WriterError.NoError:
        raise OSError(message)
    written = QgsVectorLayer(str(part), "statistics", "ogr")  # a driver that fails as it closes tells nobody
    if not written.isValid() or written.featureCount() < table.featureCount():
        raise OSError(tr("the disk may be full"))


def _class_share(row: Dict[str, str]) -> ClassShare:
    roofs = _measure(row, "count") if row.get("count") else None
    return ClassShare(int(row["class_id"]), row["class"], _measure(row, "area", "_m2"), _measure(row, "share"), roofs)


def _measure(row: Dict[str, str], name: str, unit: str = "") -> Measure:
    found, best, low, high = (row[f"{name}{part}{unit}"] for part in ("", "_best", "_low", "_high"))
    if not low or not high:
        return Measure(float(found), float(best), None, None)
    return Measure(float(found), float(best), float(low), float(high))
