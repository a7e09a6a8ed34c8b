"""What is said of a flight, and of a model that is to map it."""

from __future__ import annotations

from typing import Optional

from qgis.core import QgsProject

from ..client.schema import ModelInfo
from ..gui import format as fmt
from ..i18n import tr
from ..layers.classes import BACKGROUND
from ..layers.flights import Flight


def summary(flight: Flight) -> str:
    """How many frames, how high, how fine, how much ground."""
    one = len(flight.frames) == 1
    parts = [
        tr("1 frame") if one else tr("{} frames").format(fmt.number(len(flight.frames))),
        tr("{} m above the ground").format(fmt.number(flight.height, 0 if flight.height >= 10 else 1)),
        tr("pixels of {} on the ground").format(fmt.resolution(flight.gsd)),
        tr("{} ha").format(fmt.hectares(flight.area(QgsProject.instance()))),
    ]
    if flight.left_out:
        parts.append(tr("{} left out").format(fmt.number(len(flight.left_out))))
    return ", ".join(parts)


def fitting(model: ModelInfo, flight: Optional[Flight]) -> str:
    """What a model finds, and whether it fits the frames, where these are known."""
    sought = ", ".join(item.name for item in model.classes if item.id != BACKGROUND)
    text = tr("finds {classes} · {resolution} per pixel")
    text = text.format(classes=sought, resolution=fmt.resolution(model.gsd))
    low, high = model.gsd_range
    if flight is not None and not low <= flight.gsd <= high:
        far = tr("The frames' pixels are {}; the model is made for {} to {}. Frames that do not fit are left out.")
        text += "\n" + far.format(*(fmt.resolution(size) for size in (flight.gsd, low, high)))
    return text
