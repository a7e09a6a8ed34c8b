"""Numbers as people read them."""

from __future__ import annotations

import math
from typing import Mapping, Optional, Tuple

from qgis.PyQt.QtCore import QDate, QDateTime, QLocale, Qt

from ..client.schema import Estimate
from ..i18n import locale, tr


def duration(seconds: float) -> str:
    """`mm:ss`, with hours where there are some."""
    total = max(0, math.ceil(seconds))
    hours, rest = divmod(total, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes:02d}:{seconds:02d}"


def progress(done: int, total: int, seconds_left: Optional[float]) -> str:
    """How far a job is: `tile n of m, mm:ss left`."""
    text = tr("tile {done} of {total}").format(done=done, total=total)
    if seconds_left is None:
        return text
    return text + ", " + tr("{time} left").format(time=duration(seconds_left))


def frames(what: str, done: float, total: float, seconds_left: Optional[float]) -> str:
    """How far the backend is with drone frames: frame by frame, then by the share of a step."""
    known = {
        "Looking at frames": tr("looking at frame {done} of {total}"),
        "Looking for features": tr("looking for features in frame {done} of {total}"),
        "Matching frames": tr("matching frames, pair {done} of {total}"),
        "Mapping frames": tr("mapping frame {done} of {total}"),
    }
    if total <= 1 and what not in known:
        return step(what, done / max(1e-9, total))
    text = known.get(what, f"{what}, {{done}} / {{total}}")
    text = text.format(done=number(min(done + 1, total)), total=number(total))
    return text if seconds_left is None else text + ", " + tr("{} left").format(duration(seconds_left))


def estimate(found: Estimate, seconds: Optional[float]) -> str:
    """What a run comes to: `so many tiles, so much on the disk, so long`; what is not known is left out."""
    tiles = tr("1 tile") if found.tiles == 1 else tr("{} tiles").format(number(found.tiles))
    parts = [tiles, tr("up to {} on the disk").format(size(sum(disk.bytes for disk in found.disks)))]
    if seconds is not None:
        parts.append(tr("about {}").format(duration(seconds)))
    text = ", ".join(parts)
    for disk in found.disks:
        if disk.free < disk.bytes:
            text += ". " + tr("The disk of {} has only {} left.").format(disk.folder, size(disk.free))
    return text


def step(what: str, share: float) -> str:
    """What the backend does after the last tile, and how far it is."""
    known = {
        "Telling roofs apart": tr("telling roofs apart"),
        "Outlining patches": tr("outlining patches"),
        "Drawing outlines": tr("drawing outlines"),
        "Counting zones": tr("counting zones"),
        "Joining frames": tr("joining frames"),
        "Resampling to the raster's grid": tr("resampling to the raster's grid"),
    }
    return f"{known.get(what, what)}, {per_cent(share, 1)}"


def moment(when: str) -> str:
    """A time as ISO 8601 writes it, as the language does in short."""
    return locale().toString(QDateTime.fromString(when, Qt.DateFormat.ISODate), QLocale.FormatType.ShortFormat)


def day(when: str) -> str:
    """The day of such a time."""
    return locale().toString(QDate.fromString(when[:10], Qt.DateFormat.ISODate), QLocale.FormatType.ShortFormat)


def measured(accuracy: Mapping[str, float], name: str) -> str:
    """A figure of a model's card, with its 95% interval where the card has one."""
    if not {f"{name} low", f"{name} high"} <= accuracy.keys():
        return number(accuracy[name], 2)
    low, high = (number(accuracy[f"{name} {end}"], 2) for end in ("low", "high"))
    return f"{number(accuracy[name], 2)} ({low}–{high})"


def number(value: float, decimals: int = 0) -> str:
    """A number with the separators of the language that the texts are in."""
    return locale().toString(float(value), "f", decimals)


def size(count: float) -> str:
    """A number of bytes, as download pages give it."""
    if count >= 999.5e6:
        return number(count / 1e9, 1) + " GB"
    return number(count / 1e6, 1 if 0 < count < 9.95e6 else 0) + " MB"


def per_cent(done: float, total: float) -> str:
    """How much of a whole is done, in whole per cent that say 100 only at the end."""
    return number(math.floor(100 * done / total)) + " %"


def square_metres(area_m2: float) -> str:
    """An area in square metres, with as many decimals as make sense."""
    return number(area_m2, 2 if 0 < area_m2 < 10 else 0)


def hectares(area_m2: float) -> str:
    """An area in hectares, with as many decimals as make sense."""
    ha = area_m2 / 10_000
    return number(ha, 5 if 0 < ha < 0.01 else 3 if ha < 10 else 2 if ha < 1000 else 0)


def share(value: float) -> str:
    """A share between 0 and 1 as per cent."""
    return number(100 * value, 1) + " %"


def device(name: str) -> str:
    """A device as the backend names it, with the usual capitals."""
    return name.replace("cpu", "CPU").replace("cuda", "CUDA")


def resolution(gsd: float) -> str:
    """A ground sample distance."""
    return number(gsd * 100, 0 if gsd >= 0.1 else 1 if gsd >= 0.01 else 2) + " cm" if gsd < 1 else number(gsd, 1) + " m"


def pixel_size(gsd: Tuple[float, float]) -> str:
    """A ground sample distance along a row and along a column; one number where both read the same."""
    along_row, along_column = (resolution(size) for size in gsd)
    if along_row == along_column:
        return along_row
    value, unit = along_row.rsplit(" ", 1)
    return f"{value if along_column.endswith(f' {unit}') else along_row} × {along_column}"
