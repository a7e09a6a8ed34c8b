"""What a run makes beside the mask: its files, and the layers that show them."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Union

from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsColorRampShader,
    QgsFillSymbol,
    QgsLayerTreeGroup,
    QgsMapLayer,
    QgsProject,
    QgsRasterLayer,
    QgsRasterShader,
    QgsRendererCategory,
    QgsSingleBandPseudoColorRenderer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QThread
from qgis.PyQt.QtGui import QColor

from ..client.schema import ClassArea, ClassInfo, Product, ProductRequest
from ..i18n import tr
from . import classes
from .results import GROUP, KEYWORD, Finished, ResultUnreadable, mask_layer, provenance

POLYGONS, PROBABILITY, STATISTICS = "polygons", "probability", "statistics"
_FILES = {POLYGONS: ("gpkg", ".gpkg"), PROBABILITY: ("cog", ".tif"), STATISTICS: ("csv", ".csv")}
_PROVIDERS = {POLYGONS: "ogr", STATISTICS: "ogr"}


class Opened(NamedTuple):
    """The layers of a finished job; they belong to no project yet."""

    mask: QgsRasterLayer
    beside: List[QgsMapLayer]


def opened(finished: Finished, thread: Optional[QThread] = None) -> Opened:
    """The layers of all that a job has made, for `thread` if it is not the one that calls.

    Raises:
        ResultUnreadable: if QGIS cannot open a file.
    """
    return Opened(mask_layer(finished, thread), layers(finished, thread))


def request(kind: str, mask: str) -> ProductRequest:
    """A product of that kind, in a file beside the mask's and named after it."""
    form, suffix = _FILES[kind]
    path = Path(mask)
    return ProductRequest(str(path.with_name(f"{path.stem}_{kind}{suffix}")), kind, form)


def layers(finished: Finished, thread: Optional[QThread] = None) -> List[QgsMapLayer]:
    """The layers of all products but the mask; they belong to no project yet.

    Args:
        finished: the job.
        thread: who is to own the layers, if it is not the thread that calls.

    Raises:
        ResultUnreadable: if QGIS cannot open a file.
    """
    made = []
    for product in finished.result.products:
        if product.kind in _FILES:
            layer = _layer(product, finished)
            if not layer.isValid():
                text = tr("{} was written but QGIS cannot open it. Check that the file is still there.")
                raise ResultUnreadable(text.format(product.path))
            note_origin(layer, finished)
            if thread is not None:
                layer.moveToThread(thread)
            made.append(layer)
    return made


def note_origin(layer: QgsMapLayer, finished: Finished) -> None:
    """Say in a layer's metadata what it was made from."""
    metadata = provenance(finished)
    metadata.removeKeywords(KEYWORD)  # it is no mask
    layer.setMetadata(metadata)


def add(made: List[QgsMapLayer], project: QgsProject) -> None:
    """Add layers to our group; those that show the same files already are replaced.

    Polygons go to the top, probabilities below the mask and hidden, since they would cover it.
    """
    sources = {layer.source() for layer in made}
    project.removeMapLayers([old.id() for old in project.mapLayers().values() if old.source() in sources])
    root = project.layerTreeRoot()
    group: QgsLayerTreeGroup = root.findGroup(GROUP) or root.insertGroup(0, GROUP)
    for layer in made:
        project.addMapLayer(layer, False)
        if isinstance(layer, QgsRasterLayer):
            group.addLayer(layer).setItemVisibilityChecked(False)
        else:
            group.insertLayer(0, layer).setExpanded(False)


def _layer(product: Product, finished: Finished) -> QgsMapLayer:
    name = Path(product.path).stem
    if product.kind == PROBABILITY:
        raster = QgsRasterLayer(product.path, name, "gdal")
        if raster.isValid():
            shade(raster, finished.result.classes)
        return raster
    layer = QgsVectorLayer(product.path, name, _PROVIDERS[product.kind])
    if product.kind == POLYGONS and layer.isValid():
        outline(layer, finished.result.classes)
    return layer


def outline(layer: QgsVectorLayer, every: Sequence[Union[ClassInfo, ClassArea]], opacity: float = 0.25) -> None:
    """Each class in its colour: a strong line, a fill that lets the image through."""
    categories = []
    for item in every[1:]:
        line, fill = classes.color(item), classes.color(item)
        fill.setAlphaF(opacity)
        look: Dict[str, str] = {"color": _rgba(fill), "outline_color": _rgba(line), "outline_width": "0.4"}
        categories.append(QgsRendererCategory(item.name, QgsFillSymbol.createSimple(look), item.name))
    layer.setRenderer(QgsCategorizedSymbolRenderer("class", categories))
    sure = ' ([% round(100 * "confidence") %] %)' if layer.fields().indexOf("confidence") >= 0 else ""
    layer.setMapTipTemplate('<b>[% "class" %]</b> [% round("area_m2", 1) %] m²' + sure)


def colour_scenes(layer: QgsVectorLayer, every: Sequence[ClassInfo]) -> None:
    """Each class in its colour, all of them; how likely each is in the map tip."""
    categories = []
    for item in every:
        fill = QColor(item.color)
        fill.setAlphaF(0.45)
        look: Dict[str, str] = {"color": _rgba(fill), "outline_color": "60,60,60,160", "outline_width": "0.15"}
        categories.append(QgsRendererCategory(item.name, QgsFillSymbol.createSimple(look), item.name))
    layer.setRenderer(QgsCategorizedSymbolRenderer("class", categories))
    names = [field.name() for field in layer.fields()]
    lines = [f'{name[2:]}: [% round(100 * "{name}", 1) %] %' for name in names if name.startswith("p_")]
    title = '[% "name" %]: ' if "name" in names else ""
    layer.setMapTipTemplate("<br>".join([f'<b>{title}[% "class" %]</b>', *lines]))


def shade(layer: QgsRasterLayer, every: Sequence[ClassArea]) -> None:
    """From transparent where a class is unlikely to its colour where it is sure."""
    item = every[1]
    nothing, likely = QColor(item.color), QColor(item.color)
    nothing.setAlpha(0)
    ramp = QgsColorRampShader(0.0, 1.0)
    ramp.setColorRampType(QgsColorRampShader.Type.Interpolated)
    ramp.setColorRampItemList(
        [QgsColorRampShader.ColorRampItem(0.0, nothing, "0 %"), QgsColorRampShader.ColorRampItem(1.0, likely, "100 %")]
    )
    shader = QgsRasterShader()
    shader.setRasterShaderFunction(ramp)
    layer.setRenderer(QgsSingleBandPseudoColorRenderer(layer.dataProvider(), 1, shader))


def _rgba(color: QColor) -> str:
    return f"{color.red()},{color.green()},{color.blue()},{color.alpha()}"
