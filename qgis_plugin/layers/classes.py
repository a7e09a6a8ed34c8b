"""How classes look wherever they are drawn: on the map, in the layer's legend, in the dock."""

from __future__ import annotations

from typing import Union

from qgis.PyQt.QtGui import QColor

from ..client.schema import ClassArea, ClassInfo

BACKGROUND = 0
OPACITY = 0.75  # what lies below stays recognisable


def color(item: Union[ClassInfo, ClassArea]) -> QColor:
    """The colour of a class; the background is transparent."""
    made = QColor(item.color)
    if item.id == BACKGROUND:
        made.setAlpha(0)
    return made
