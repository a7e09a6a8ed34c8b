"""How a treatment grid looks on the map."""

from __future__ import annotations

from qgis.core import QgsCategorizedSymbolRenderer, QgsFillSymbol, QgsRendererCategory, QgsVectorLayer

from ..i18n import tr

_TREATED = {"color": "215,25,28,140", "outline_color": "150,0,0,255", "outline_width": "0.2"}
_LEFT = {"style": "no", "outline_color": "70,70,70,200", "outline_width": "0.15"}


def mark(layer: QgsVectorLayer) -> None:
    """Red where it is treated, a thin outline elsewhere; shares in the map tip."""
    categories = [
        QgsRendererCategory("yes", QgsFillSymbol.createSimple(_TREATED), tr("to treat")),
        QgsRendererCategory("no", QgsFillSymbol.createSimple(_LEFT), tr("leave")),
    ]
    layer.setRenderer(QgsCategorizedSymbolRenderer("treat", categories))
    names = [field.name() for field in layer.fields()]
    lines = [f'{name[6:]}: [% round(100 * "{name}", 1) %] %' for name in names if name.startswith("share_")]
    if "rate_l_ha" in names:
        lines.append('[% round("rate_l_ha", 1) %] l/ha')
    layer.setMapTipTemplate("<br>".join(lines))
