"""A run: from a checked request to its products, through strips that a later run can go on from."""

from __future__ import annotations

import heapq
import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from rotacube import __version__
from rotacube.errors import ClusterFailed, JobCancelled, JobDamaged, JobInterrupted, OutputUnwritable
from rotacube.inference.cluster import Cluster
from rotacube.inference.device import Place, choose_place
from rotacube.inference.engine import Engine, TileLogits, strip_boxes
from rotacube.inference.findings import Finding, finding_of
from rotacube.inference.labels import labels_of
from rotacube.inference.needs import ON_EITHER, Needs
from rotacube.inference.outputs import KINDS, ClassTotal, Output, Setting, Totals, opened
from rotacube.inference.request import MapRequest, Product, card_of, may_replace, parts_of, prepared, provenance
from rotacube.inference.source_grid import SOURCE, SourceGrid
from rotacube.inference.store import Store, folder_of
from rotacube.inference.within import Within
from rotacube.models.card import ModelCard
from rotacube.models.store import LoadedModel, load_model
from rotacube.raster.destination import Destination, sweep
from rotacube.raster.file_source import CACHE_BYTES, all_nodata
from rotacube.raster.grid import Box
from rotacube.raster.map_grid import Corners, metres
from rotacube.raster.write import NODATA

__all__ = ["MapRequest", "MapResult", "Product", "Tile", "prepared", "run_map"]
WORTH_KEEPING = 60.0
"""Seconds of work from which on a run whose disk is full keeps what it found."""

log = logging.getLogger(__name__)


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

    `width` and `height` are those of mask and probability; `gsd` is that of their pixels in metres, along a row and
    along a column; `notes` are sentences on how the raster was read that a person should know.
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
    cluster: Cluster | None = None,
    on_start: Callable[[Needs], object] = lambda needs: None,
    on_tile: Callable[[Tile], None] | None = None,
    on_step: Callable[[str, float], None] = lambda what, share: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> MapResult:
    """Map a raster.

    Args:
        request: what to map.
        model: the request's model, where it is loaded already.
        place: device and precision; the best there is if None.
        cluster: workers that find the strips, in their own place; this process does if None.
        on_start: called before the first tile with what the run will need on its disks.
        on_tile: called with each finished tile, in the order of the grid; with a cluster, with each strip, in no order.
        on_step: called after the last tile with what is being done, in words, and its share that is done.
        cancelled: asked before each batch and each step; a true answer ends the run, and so does `JobInterrupted`
            where it raises that.

    Raises:
        RotacubeError: a subclass that says what is wrong; nothing is left behind, but for the strips of a long run
            whose disk was full, or whose cluster was lost.
        JobCancelled: `cancelled` said so; nothing is left behind.
        JobInterrupted: `cancelled` raised it; what was found is kept, for a run that resumes.

    >>> request = MapRequest("town.tif", "rooftop-small", (Product("mask", Path("mask.tif")),))
    >>> result = run_map(request)
    >>> result.width, result.height, [total.info.name for total in result.classes]
    (256, 256, ['background', 'roof'])
    """
    start = time.monotonic()
    model = model or load_model(request.model)
    place = cluster.place if cluster else place or choose_place()
    card = card_of(request, model.card)
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES), prepared(request, card) as ready:
        seen, area, source = ready.seen, ready.area, ready.seen.source
        log.info("%s, %d x %d pixels of %s: mapping", request.raster, area.width, area.height, metres(source.grid.gsd))
        for product in request.products:
            sweep(product.path.resolve().parent)
        store = Store(folder_of(request.products[0].path), area, parts_of(request, card))
        needs = ready.needs
        if not cluster:
            engine = Engine.of(model, place, request.turns)
            needs = needs.with_memory(engine, len(card.bands), area)
        needs.check()
        on_start(needs)
        store.begin(_manifest(request, model.card, seen, area, place, store.names), resume=request.resume)

        def step(what: str, share: float) -> None:
            if cancelled():
                raise JobCancelled("The job was cancelled; nothing was written.")
            on_step(what, share)

        tags = _tags(request, card)
        setting = Setting(source.grid, area, card, tags, store, step, request.zones, request.zone_field)
        laid, delivered = setting, ready.delivered
        if delivered:
            laid = replace(setting, grid=delivered.grid, area=delivered.box, tags={**tags, "ROTACUBE_GRID": SOURCE})
        totals = Totals(laid)
        made = [(p.kind, _output(p, request, laid if p.kind in ON_EITHER else setting)) for p in request.products]
        outputs = [totals, *(output for _, output in made)]
        late = [totals, *(output for kind, output in made if kind in ON_EITHER)] if delivered else []
        early = [output for output in outputs if output not in late]
        report = _Reporter(setting, on_tile)
        if cluster:
            found = _from_cluster(cluster, request, model.card, seen, setting, report, cancelled)
        else:
            found = _findings(engine, seen, setting, report, cancelled)
        try:
            # Closing what is found waits for the reader, which must not outlive the source.
            with opened(outputs), closing(found):
                for finding in found:
                    for output in early:
                        output.write(finding)
                if delivered:
                    _deliver(delivered, setting, late)
                if totals.empty:
                    raise all_nodata(request.raster)
                for output in outputs:
                    output.finish()
                for output in outputs:
                    output.place()
        except OutputUnwritable as error:
            if time.monotonic() - start < WORTH_KEEPING or not store.boxes:
                store.drop()
                raise OutputUnwritable(f"{error.message} Nothing was left behind.") from error
            store.leave()
            raise OutputUnwritable(
                f"{error.message} What was found is kept beside the map: resume the run to go on when there is space."
            ) from error
        except (JobInterrupted, JobDamaged):
            store.leave()
            raise
        except ClusterFailed:
            if store.boxes:
                store.leave()
            else:
                store.drop()
            raise
        except BaseException:
            store.drop()
            raise
        store.drop()
        seconds = time.monotonic() - start
        for product in request.products:
            log.info("%s: %s written in %.1f s on %s", product.path, product.kind, seconds, place)
        return MapResult(
            request.products,
            laid.area.width,
            laid.area.height,
            laid.grid.gsd,
            totals.classes,
            totals.nodata,
            seconds,
            str(place),
            [*([card.notice] if card.notice else []), *source.notes],
        )


def _output(product: Product, request: MapRequest, setting: Setting) -> Output:
    kind = KINDS[product.kind]
    destination = Destination(product.path, may_replace(request, product), setting.store.note)
    return kind.make(destination, setting, product.format)


def _deliver(delivered: SourceGrid, setting: Setting, outputs: Sequence[Output]) -> None:
    """Write what was found on the raster's own grid."""
    step = partial(setting.step, "Resampling to the raster's grid")
    for finding in delivered.findings(setting.store, setting.card, step):
        for output in outputs:
            output.write(finding)


def _findings(
    engine: Engine, source: Within, setting: Setting, report: _Reporter, cancelled: Callable[[], bool]
) -> Generator[Finding, None, None]:
    """What was found before, and what is found now, in the order of the grid."""
    store = setting.store
    done = list(store.boxes)
    strips = engine.strips(source, setting.area, done=done, on_tile=report.tile, cancelled=cancelled)

    def new() -> Iterator[Finding]:
        for strip in strips:
            known = replace(strip, valid=strip.valid & source.inside(strip.box))
            finding = finding_of(known, setting.card, store.names)
            store.add(finding)
            yield finding

    with closing(strips):
        yield from heapq.merge(map(store.finding, done), new(), key=lambda finding: _order(finding.box))


def _from_cluster(
    cluster: Cluster,
    request: MapRequest,
    card: ModelCard,
    seen: Within,
    setting: Setting,
    report: _Reporter,
    cancelled: Callable[[], bool],
) -> Generator[Finding, None, None]:
    """What was found before, and what workers find now: kept as it comes, given in the order of the grid."""
    store = setting.store
    boxes = strip_boxes(seen, setting.area, setting.card.tile, setting.card.overlap)
    todo = [box for box in boxes if box not in store.boxes]
    _ = seen.source.radiometry  # what it tells of the raster
    found = cluster.findings(request, card, seen, todo, store.names, cancelled)
    with closing(found):
        for box in boxes:
            while box not in store.boxes:
                finding = next(found)
                store.add(finding)
                report.strip(finding, len(store.boxes), len(boxes))
            yield store.finding(box)


def _order(box: Box) -> tuple[int, int]:
    """That of strips."""
    return box.left, box.top


def _manifest(
    request: MapRequest, card: ModelCard, seen: Within, area: Box, place: Place, names: list[str]
) -> dict[str, Any]:
    """All that strips depend on, under names that a person knows."""
    source = seen.source
    files = {str(path): [path.stat().st_size, path.stat().st_mtime_ns] for path in sorted(source.files.files)}
    changed = card_of(request, card).model_dump(mode="json", exclude={"accuracy"})
    return {
        "version": __version__,
        "the raster": [request.raster, files, source.grid.crs, list(source.grid.transform)],
        "how it is read": asdict(request.reading),
        "the area": [area.top, area.left, area.bottom, area.right, seen.mark],
        "the model": changed,
        "how often tiles are looked at": request.turns,
        "where it runs": str(place),
        "what is kept": names,
    }


@dataclass
class _Reporter:
    """Tells of tiles as people follow them: where they lie, what they show, and how long it will take."""

    setting: Setting
    tell: Callable[[Tile], None] | None
    start: float = field(default_factory=time.monotonic)

    def tile(self, tile: TileLogits) -> None:
        """Tell of a tile."""
        if self.tell is None:
            return
        labels = None
        if tile.logits is not None and tile.valid is not None:
            labels = labels_of(tile.logits, tile.valid, self.setting.card)
        self._tell(tile.n + 1, tile.total, tile.box, labels)

    def strip(self, finding: Finding, done: int, total: int) -> None:
        """Tell of a strip, as of a tile."""
        labels = finding.labels
        self._tell(done, total, finding.box, labels if (labels != NODATA).any() else None)

    def _tell(self, done: int, total: int, box: Box, labels: NDArray[np.uint8] | None) -> None:
        if self.tell is None:
            return
        setting, spent = self.setting, time.monotonic() - self.start
        left = spent / done * (total - done) if spent > 0.5 else None
        counts = {} if labels is None else {c.id: int((labels == c.id).sum()) for c in setting.card.classes}
        corners = setting.grid.corners(box)
        self.tell(Tile(done - 1, done, total, left, box, corners, setting.grid.crs, labels, counts))


def _tags(request: MapRequest, card: ModelCard) -> dict[str, str]:
    tags = provenance(request.raster, card)
    if request.bounds:
        tags["ROTACUBE_BOUNDS"] = " ".join(map(str, request.bounds))
    return tags
