"""What a layer shows of its file: which bands, which values are nodata, which band is opacity; as a request says it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import List, Optional, Sequence

import numpy as np
from qgis.core import QgsMultiBandColorRenderer, QgsRasterInterface, QgsRasterLayer, QgsRasterRange

from ..client.schema import NodataRange
from ..compat import ALPHA_BAND, is_fully_transparent
from ..i18n import tr

COLOURS = ["red", "green", "blue"]
BLACK = NodataRange(0, 0)  # in every band that is read
MOST_RANGES = 256  # that a request may hold
_LARGEST = float(np.finfo("float64").max)


@dataclass(frozen=True)
class Shown:
    """How a layer shows its file; what is None is left to the file."""

    bands: Optional[List[int]] = None
    nodata: List[NodataRange] = field(default_factory=list)
    declared_nodata: bool = True
    alpha_band: Optional[int] = None
    unsent: bool = False  # whether it hides colours that cannot be told in ranges


def as_shown(layer: QgsRasterLayer, wanted: Sequence[str]) -> Shown:
    """What a layer shows.

    Args:
        layer: a layer that GDAL reads.
        wanted: the names of the bands that the model reads. Bands are told only where these are red, green and blue,
            and the layer is shown in them.
    """
    provider, renderer = layer.dataProvider(), layer.renderer()
    if provider is None or renderer is None:
        return Shown()
    bands = _colours(renderer) if list(wanted) == COLOURS else None
    used = sorted({band for band in bands or renderer.usesBands() if 1 <= band <= provider.bandCount()})
    declared = all(provider.useSourceNoDataValue(band) for band in used if provider.sourceHasNoDataValue(band))
    nodata = [_inclusive(item, band) for band in used for item in provider.userNoDataValues(band)]
    hidden, unsent = _hidden(renderer)
    return Shown(bands, nodata + hidden, declared, _opacity(provider, renderer), unsent)


def sentence(shown: Shown, black: bool = False) -> str:
    """What is read, in a line for the person who chose the layer.

    Args:
        shown: what the layer shows.
        black: whether black is nodata beside that.
    """
    if shown.bands is None:
        parts = [tr("The file says which bands are red, green and blue: the layer is not shown in three bands")]
    else:
        parts = [tr("Reads bands {} as the layer shows them").format(", ".join(map(str, shown.bands)))]
    values = [_in_words(item) for item in [*shown.nodata, *([BLACK] if black else [])]]
    values = list(dict.fromkeys(values))
    if len(values) > 4:
        values = [*values[:3], tr("{} more").format(len(values) - 3)]
    if values:
        text = tr("{} is nodata") if len(values) == 1 else tr("{} are nodata")
        parts.append(text.format(", ".join(values)))
    if not shown.declared_nodata:
        parts.append(tr("the file's own nodata value counts as data"))
    if shown.alpha_band:
        parts.append(tr("band {} is opacity").format(shown.alpha_band))
    elif shown.alpha_band == 0:
        parts.append(tr("the file's opacity is not used"))
    if shown.unsent:
        parts.append(tr("colours that the layer makes transparent are read as data"))
    return "; ".join(parts) + "."


def _colours(renderer) -> Optional[List[int]]:
    if not isinstance(renderer, QgsMultiBandColorRenderer):
        return None
    bands = [renderer.redBand(), renderer.greenBand(), renderer.blueBand()]
    return bands if min(bands) >= 1 else None


def _opacity(provider: QgsRasterInterface, renderer) -> Optional[int]:
    # QGIS counts the mask of a file as one more band; the file knows of no such band, but its own opacity is the mask
    own = [band for band in range(1, provider.bandCount() + 1) if provider.colorInterpretation(band) == ALPHA_BAND]
    chosen = renderer.alphaBand()
    if chosen in own or (chosen < 1 and not own):
        return None
    return max(chosen, 0)


def _hidden(renderer):
    """Values that the renderer makes fully transparent, as ranges, and whether some cannot be told so."""
    transparency = renderer.rasterTransparency()
    if transparency is None:
        return [], False
    if isinstance(renderer, QgsMultiBandColorRenderer):
        items = [item for item in transparency.transparentThreeValuePixelList() if is_fully_transparent(item)]
        gray = [item.red for item in items if item.red == item.green == item.blue]
        return [NodataRange(value, value) for value in gray], len(gray) < len(items)
    items = [item for item in transparency.transparentSingleValuePixelList() if is_fully_transparent(item)]
    band = next(iter(renderer.usesBands()), None)
    return [NodataRange(_finite(item.min), _finite(item.max), band) for item in items], False


def _inclusive(item: QgsRasterRange, band: int) -> NodataRange:
    low, high = _finite(item.min(), -_LARGEST), _finite(item.max(), _LARGEST)
    kinds = QgsRasterRange.BoundsType
    if item.bounds() in (kinds.IncludeMax, kinds.Exclusive):
        low = float(np.nextafter(low, math.inf))
    if item.bounds() in (kinds.IncludeMin, kinds.Exclusive):
        high = float(np.nextafter(high, -math.inf))
    return NodataRange(low, high, band)


def _finite(value: float, otherwise: float = 0.0) -> float:
    """A bound that JSON can hold; QGIS's open ends are NaN or infinite."""
    if math.isnan(value):
        return otherwise
    return min(max(value, -_LARGEST), _LARGEST)


def _in_words(item: NodataRange) -> str:
    if item.low == item.high:
        return f"{item.low:.10g}"
    return tr("{} to {}").format(f"{item.low:.10g}", f"{item.high:.10g}")
