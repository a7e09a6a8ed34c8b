"""A run: what to map, checked before any work, then carried out from the raster to its products."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from rotacube import __version__
from rotacube.errors import OptionsRefused, RequestRefused
from rotacube.inference.device import Place, choose_place
from rotacube.inference.engine import Engine, TileLogits
from rotacube.inference.labels import labels_of
from rotacube.inference.outputs import KINDS, ClassTotal, Setting, Totals, opened
from rotacube.models.card import ModelCard
from rotacube.models.store import LoadedModel, load_model, network_of
from rotacube.raster.destination import Destination, check_output, sweep
from rotacube.raster.file_source import CACHE_BYTES, FileSource, all_nodata
from rotacube.raster.grid import Box
from rotacube.raster.map_grid import Corners, metres
from rotacube.raster.reading import AS_THE_FILE_SAYS, Reading
from rotacube.texts import check_crs, check_output_name, check_raster

log = logging.getLogger(__name__)


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
        raster: what GDAL opens.
        model: a model's name, or its folder.
        products: what to make, each in a file of its own.
        bounds: left, bottom, right, top of the area; the whole raster if None.
        bounds_crs: of the bounds; the raster's own if None.
        reading: the raster's bands, its validity, and what else its file does not say.
        overwrite: whether files that are there may be replaced.

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


@dataclass(frozen=True)
class Tile:
    """One finished tile: its core within the area, and the class ids there before blending (None: all nodata)."""

    n: int
    done: int
    total: int
    seconds_left: float | None
    box: Box
    corners: Corners
    crs: str
    labels: NDArray[np.uint8] | None
    counts: dict[int, int]


@dataclass(frozen=True)
class MapResult:
    """What a run made.

    `gsd` is that of the map's pixels in metres, along a row and along a column; `notes` are sentences on how the raster
    was read that a person should know.
    """

    products: tuple[Product, ...]
    width: int
    height: int
    gsd: tuple[float, float]
    classes: list[ClassTotal]
    nodata_pixels: int
    seconds: float
    place: str
    notes: list[str] = field(default_factory=list)


def run_map(
    request: MapRequest,
    model: LoadedModel | None = None,
    *,
    place: Place | None = None,
    on_tile: Callable[[Tile], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> MapResult:
    """Map a raster.

    Args:
        request: what to map.
        model: the request's model, where it is loaded already.
        place: device and precision; the best there is if None.
        on_tile: called with each finished tile, in the order of the grid.
        cancelled: asked before each batch; a true answer ends the run.

    Raises:
        RotacubeError: a subclass that says what is wrong; nothing is left behind.
        JobCancelled: `cancelled` said so; nothing is left behind.

    >>> request = MapRequest("town.tif", "rooftop-small", (Product("mask", Path("mask.tif")),))
    >>> result = run_map(request)
    >>> result.width, result.height, [total.info.name for total in result.classes]
    (256, 256, ['background', 'roof'])
    """
    start = time.monotonic()
    model = model or load_model(request.model)
    place = place or choose_place()
    card = model.card
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES), prepared(request, card) as (source, area):
        log.info("%s, %d x %d pixels of %s: mapping", request.raster, area.width, area.height, metres(source.grid.gsd))
        for product in request.products:
            sweep(product.path.resolve().parent)
        setting = Setting(source.grid, area, card, _provenance(request, card))
        totals = Totals(setting)
        engine = Engine.of(model, place)
        places = [(product.kind, Destination(product.path, request.overwrite)) for product in request.products]
        outputs = [totals, *(KINDS[kind].make(destination, setting) for kind, destination in places)]
        strips = engine.strips(source, area, on_tile=_Reporter(setting, on_tile), cancelled=cancelled)
        # Closing the strips waits for the reader, which must not outlive the source.
        with opened(outputs), closing(strips):
            for strip in strips:
                for output in outputs:
                    output.write(strip)
            if totals.empty:
                raise all_nodata(request.raster)
            for output in outputs:
                output.finish()
        seconds = time.monotonic() - start
        for product in request.products:
            log.info("%s: %s written in %.1f s on %s", product.path, product.kind, seconds, place)
        return MapResult(
            request.products,
            area.width,
            area.height,
            source.grid.gsd,
            totals.classes,
            totals.nodata,
            seconds,
            str(place),
            [*([card.notice] if card.notice else []), *source.notes],
        )


@contextmanager
def prepared(request: MapRequest, card: ModelCard) -> Iterator[tuple[FileSource, Box]]:
    """A request's source, open, and the part of its grid that is asked for; all that can be judged at once is checked.

    Raises:
        RequestRefused: a name is none that anything can have, or the products do not go together.
        OptionsRefused: the model labels no pixels, or a product is none that a run can make.
        ModelDamaged: the card names a network that there is not.
        RasterMissing, RasterUnreadable, RasterNotGeoreferenced, RasterBands: the raster is not usable.
        RasterNeedsNetwork, RasterResolution: nobody allowed the network, or a resolution far from the model's.
        RasterEmpty: the area does not touch the raster.
        OutputUnwritable: a product cannot be written.
    """
    _check_names(request)
    if network_of(card).labels != "pixels":
        raise OptionsRefused(f"The model '{card.name}' labels whole images, not pixels: choose another to map with.")
    _check_products(request.products)
    with FileSource(request.raster, card, request.reading) as source:
        grid = source.grid
        area = grid.box_of_bounds(request.bounds, request.bounds_crs) if request.bounds else grid.extent
        for product in request.products:
            check_output(product.path, request.overwrite, area.height * area.width, source.files)
        yield source, area


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
    if len({product.path for product in products}) < len(products):
        raise RequestRefused("Two products have the same path. Give each a name of its own.")


@dataclass
class _Reporter:
    """Tells of tiles as people follow them: where they lie, what they show, and how long it will take."""

    setting: Setting
    tell: Callable[[Tile], None] | None
    start: float = field(default_factory=time.monotonic)

    def __call__(self, tile: TileLogits) -> None:
        if self.tell is None:
            return
        setting, done = self.setting, tile.n + 1
        spent = time.monotonic() - self.start
        left = spent / done * (tile.total - done) if spent > 0.5 else None
        labels = None
        if tile.logits is not None and tile.valid is not None:
            labels = labels_of(tile.logits, tile.valid, setting.card)
        counts = {} if labels is None else {c.id: int((labels == c.id).sum()) for c in setting.card.classes}
        corners = setting.grid.corners(tile.box)
        self.tell(Tile(tile.n, done, tile.total, left, tile.box, corners, setting.grid.crs, labels, counts))


def _provenance(request: MapRequest, card: ModelCard) -> dict[str, str]:
    tags = {
        "ROTACUBE_VERSION": __version__,
        "ROTACUBE_MODEL": card.name,
        "ROTACUBE_MODEL_SHA256": card.weights.sha256,
        "ROTACUBE_RASTER": request.raster,
        "ROTACUBE_LICENCE": card.licence,
        "ROTACUBE_ATTRIBUTION": card.attribution,
    }
    if card.notice:
        tags["ROTACUBE_NOTICE"] = card.notice
    if request.bounds:
        tags["ROTACUBE_BOUNDS"] = " ".join(map(str, request.bounds))
    return tags
