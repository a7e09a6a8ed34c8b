"""What to map, in plain values, checked before any work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rotacube import __version__
from rotacube.errors import OptionsRefused, OutputUnwritable, RequestRefused
from rotacube.inference.findings import names_of
from rotacube.inference.needs import Needs, needs_of
from rotacube.inference.outputs import KINDS, check_format
from rotacube.inference.source_grid import GRIDS, MODEL, SOURCE, SourceGrid
from rotacube.inference.store import folder_of, left_of, placed_by
from rotacube.inference.turns import TURNS
from rotacube.inference.within import Within, within
from rotacube.models.card import ModelCard
from rotacube.models.store import labels_of
from rotacube.raster.destination import check_output
from rotacube.raster.file_source import FileSource
from rotacube.raster.grid import Box
from rotacube.raster.members import SUFFIXES
from rotacube.raster.reading import AS_THE_FILE_SAYS, Reading
from rotacube.texts import check_crs, check_output_name, check_raster
from rotacube.vector.layers import read_polygons


@dataclass(frozen=True)
class Product:
    """A file that a run makes: of which kind (a key of `KINDS`), in which of its formats, where.

    >>> Product("mask", Path("mask.tif")).format
    'cog'
    """

    kind: str
    path: Path
    format: str = "cog"


@dataclass(frozen=True)
class MapRequest:
    """What to map, in plain values: it can be sent to another process.

    Attributes:
        raster: what GDAL opens; or rasters that are mapped as one, see `members_of`.
        model: a model's name, or its folder.
        products: what to make, each in a file of its own.
        bounds: left, bottom, right, top of the area; the whole raster if None.
        bounds_crs: of the bounds; the raster's own if None.
        reading: the raster's bands, its validity, and what else its file does not say.
        overwrite: whether files that are there may be replaced.
        threshold: the probability from which on a pixel is of class 1, of two classes; the model's own if None.
        smallest: square metres of the smallest roof or patch; the model's own if None.
        within: a layer of polygons outside of which all is nodata, as `read_polygons` takes it; none if empty.
        zones: a layer of polygons whose statistics are wanted, as `read_polygons` takes it; none if empty.
        zone_field: the field with their names; they are numbered if empty.
        resume: whether what a run that was cut off has left is gone on with.
        turns: how often each tile is looked at, turned and mirrored: 1, 4 or 8.
        grid: of `GRIDS`, the one that mask and probability are delivered on: the model's, or the raster's own.

    >>> MapRequest("town.tif", "rooftop-small", (Product("mask", Path("mask.tif")),)).overwrite
    False
    """

    raster: str
    model: str
    products: tuple[Product, ...]
    bounds: tuple[float, float, float, float] | None = None
    bounds_crs: str | None = None
    reading: Reading = AS_THE_FILE_SAYS
    overwrite: bool = False
    threshold: float | None = None
    smallest: float | None = None
    within: str = ""
    zones: str = ""
    zone_field: str = ""
    resume: bool = False
    turns: int = 1
    grid: str = MODEL


@dataclass(frozen=True)
class Prepared:
    """What a checked request comes to.

    Attributes:
        seen: the source, open.
        area: the part of the model's grid that is mapped.
        delivered: the raster's own grid, where mask and probability are delivered on it and it is another.
        needs: of the disks.
    """

    seen: Within
    area: Box
    delivered: SourceGrid | None
    needs: Needs


@contextmanager
def prepared(request: MapRequest, card: ModelCard) -> Iterator[Prepared]:
    """A request's source, open, and the part of its grid that is asked for; all that can be judged at once is checked.

    Raises:
        RequestRefused: a name is none that anything can have, or the products do not go together.
        OptionsRefused: the model labels no pixels, a product is none that a run can make, or what writes it is not
            installed.
        ModelDamaged: the card names a network that there is not.
        RasterMissing, RasterUnreadable, RasterNotGeoreferenced, RasterBands: the raster is not usable.
        RasterNeedsNetwork, RasterResolution: nobody allowed the network, or a resolution far from the model's.
        RasterEmpty: the area does not touch the raster.
        LayerRefused: the polygons to map within, or the zones, cannot be read.
        OutputUnwritable: a product cannot be written, or a disk is too full.
    """
    with looked_at(request, card) as ready:
        ready.needs.check()
        yield ready


@contextmanager
def looked_at(request: MapRequest, card: ModelCard) -> Iterator[Prepared]:
    """As `prepared`, whatever room there is on the disks."""
    _check_names(request)
    check_labels_pixels(card)
    _check_products(request.products)
    check_turns(request.turns, card)
    if request.grid not in GRIDS:
        raise OptionsRefused(f"A map is delivered on the grid of the {' or the '.join(GRIDS)}, not '{request.grid}'.")
    with FileSource(request.raster, card, request.reading) as source:
        seen = within(source, request.within)
        area, delivered = _area(request, seen)
        if request.zones:
            read_polygons(request.zones, source.grid.crs, request.zone_field or None)
        _check_apart(request)
        for product in request.products:
            suffixes = KINDS[product.kind].formats[product.format]
            check_output(product.path, may_replace(request, product), source.files, suffixes)
        yield Prepared(seen, area, delivered, _needs(request, card, area, delivered))


def parts_of(request: MapRequest, card: ModelCard) -> list[str]:
    """What is kept of each strip for the products."""
    needs = {need for product in request.products for need in KINDS[product.kind].needs}
    return names_of(card, needs | ({"chance"} if request.grid == SOURCE else set()))


def _area(request: MapRequest, seen: Within) -> tuple[Box, SourceGrid | None]:
    """The part of the model's grid that is mapped, and what of the raster's own grid is delivered, if it is another."""
    source = seen.source
    own = request.grid == SOURCE and source.scale != (1.0, 1.0)
    grid = source.own if own else source.grid
    asked = grid.box_of_bounds(request.bounds, request.bounds_crs) if request.bounds else grid.extent
    if not own:
        return seen.extent(asked), None
    delivered = SourceGrid(source, asked)
    area = seen.extent(delivered.under())
    return area, delivered.over(area)


def _needs(request: MapRequest, card: ModelCard, area: Box, delivered: SourceGrid | None) -> Needs:
    """What the run will need on its disks."""
    kept = left_of(folder_of(request.products[0].path)).size if request.resume else 0
    products = [(product.kind, product.path) for product in request.products]
    shown = delivered.box if delivered else area
    return needs_of(products, parts_of(request, card), area.height * area.width, kept, shown=shown.height * shown.width)


def provenance(raster: str, card: ModelCard) -> dict[str, str]:
    """What every product says of where it comes from, as tags."""
    tags = {
        "ROTACUBE_VERSION": __version__,
        "ROTACUBE_MODEL": card.name,
        "ROTACUBE_MODEL_SHA256": card.weights.sha256,
        "ROTACUBE_THRESHOLD": f"{card.threshold:g}",
        "ROTACUBE_RASTER": raster,
        "ROTACUBE_LICENCE": card.licence,
        "ROTACUBE_ATTRIBUTION": card.attribution,
    }
    if card.notice:
        tags["ROTACUBE_NOTICE"] = card.notice
    return tags


def may_replace(request: MapRequest, product: Product) -> bool:
    """Whether what lies at a product's path may be replaced: somebody said so, or the run that is resumed has
    put it there.
    """
    return request.overwrite or (request.resume and placed_by(folder_of(request.products[0].path), product.path))


def check_labels_pixels(card: ModelCard) -> None:
    """Check that a model can map.

    Raises:
        OptionsRefused: it labels whole images.
        ModelDamaged: the card names a network that there is not.
    """
    if labels_of(card) != "pixels":
        raise OptionsRefused(f"The model '{card.name}' labels whole images, not pixels: choose another to map with.")


def _check_names(request: MapRequest) -> None:
    check_raster(request.raster)
    for product in request.products:
        check_output_name(str(product.path))
    if request.bounds_crs is not None:
        check_crs(request.bounds_crs)


def _check_products(products: tuple[Product, ...]) -> None:
    if not products:
        raise RequestRefused(f"Nothing is asked for. Name a product: {', '.join(KINDS)}.")
    for product in products:
        if product.kind not in KINDS or product.format not in KINDS[product.kind].formats:
            known = ", ".join(f"{kind} ({' or '.join(about.formats)})" for kind, about in KINDS.items())
            raise RequestRefused(f"There is no product '{product.kind}' as '{product.format}'. There are: {known}.")
        check_format(product.format)
    if len({product.path for product in products}) < len(products):
        raise RequestRefused("Two products have the same path. Give each a name of its own.")


def _check_apart(request: MapRequest) -> None:
    """Check that no product will be one of the rasters of the folder that is mapped."""
    folder = Path(request.raster)
    for product in request.products:
        inside = folder.is_dir() and product.path.resolve().parent == folder.resolve()
        if inside and product.path.suffix.lower() in SUFFIXES:
            raise OutputUnwritable(
                f"'{product.path}' would lie among the rasters of the folder that is mapped, and be taken for one of "
                "them the next time. Choose another folder."
            )


def check_turns(turns: int, card: ModelCard) -> None:
    """Check that a model can look at its tiles so often.

    Raises:
        OptionsRefused: it cannot.
    """
    if turns not in TURNS:
        raise OptionsRefused(f"A tile can be looked at {', '.join(map(str, TURNS))} times, not {turns}.")
    if turns > 1 and any(output.name == "direction" for output in card.further):
        raise OptionsRefused(f"The model '{card.name}' tells directions, which cannot be averaged: map without turns.")


def card_of(request: MapRequest, card: ModelCard) -> ModelCard:
    """The model's card as a request changes it; see `with_cuts`."""
    return with_cuts(card, request.threshold, request.smallest)


def with_cuts(card: ModelCard, threshold: float | None, smallest: float | None) -> ModelCard:
    """A card with another threshold, and another area of the smallest roof or patch; its own where they are None.

    How sure a roof has to be moves with the threshold, by as many logits.

    Raises:
        OptionsRefused: the threshold is no probability, or the smallest area none.
    """
    changed: dict[str, Any] = {}
    moved: dict[str, float] = {}
    if threshold is not None:
        if not 0 < threshold < 1:
            raise OptionsRefused(f"A threshold of {threshold:g} is no probability: it lies between 0 and 1.")
        changed["threshold"] = threshold
        moved["sure"] = _moved(card.separation.sure, _odds(threshold) / _odds(card.threshold))
    if smallest is not None:
        check_smallest(smallest)
        moved["smallest"] = smallest
    return card.model_copy(update={**changed, "separation": card.separation.model_copy(update=moved)})


def _odds(probability: float) -> float:
    return probability / (1 - probability)


def _moved(probability: float, times: float) -> float:
    """The probability whose odds are so many times those of this one.

    >>> _moved(0.5, 4)
    0.8
    """
    odds = _odds(probability) * times
    return odds / (1 + odds)


def check_smallest(area: float) -> None:
    """Check the square metres of the smallest roof or patch.

    Raises:
        OptionsRefused: they are none.
    """
    if not 0 <= area <= 1e4:
        raise OptionsRefused(f"The smallest area may be 0 to 10,000 square metres, not {area:g}.")
