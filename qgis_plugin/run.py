"""One run: the request that an order makes, followed to its final state.

An order is plain values: the dock takes them from its fields, and whoever has them elsewhere makes the same request of
them. Only `Run` needs an event loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Optional, Tuple

from qgis.core import QgsCoordinateTransformContext, QgsMapLayer, QgsRasterLayer, QgsReferencedRectangle, QgsVectorLayer
from qgis.PyQt.QtCore import QObject, pyqtSignal

from .client.http import Client
from .client.schema import (
    FINAL_STATES,
    MASK,
    ON_MODEL,
    BackendError,
    JobInfo,
    JobRequest,
    JobResult,
    ModelInfo,
    ProductRequest,
)
from .i18n import tr
from .layers import further, output, polygons, reading, source
from .layers.drawn import Drawn, part_of
from .layers.results import Finished
from .signals.background import Background
from .signals.job import JobSignals


@dataclass(frozen=True)
class Order:
    """What is to be mapped, with what, where to."""

    layer: Optional[QgsRasterLayer]
    model: ModelInfo
    output: str = ""  # as the user gave it; empty for a temporary file
    area: Optional[QgsReferencedRectangle] = None  # the whole layer if None
    within: Optional[QgsVectorLayer] = None  # polygons, outside of which all is nodata
    selected_only: bool = False  # of these polygons
    further: Tuple[str, ...] = ()  # kinds of products beside the mask
    drawn: Optional[Drawn] = None  # on the map, in place of area and polygons
    black_is_nodata: bool = False
    threshold: Optional[float] = None  # probability from which on a pixel is of class 1; the model's own if None
    smallest: Optional[float] = None  # square metres of the smallest roof or patch; the model's own if None
    grid: str = ON_MODEL  # whose pixels mask and probability have
    turns: int = 1  # how often each tile is looked at
    zone_field: str = ""  # of the polygons, with their names
    replace: bool = False  # whether the user agreed to overwrite a file
    any_resolution: bool = False  # whether the user agreed to map what the model is not made for
    allow_network: bool = False  # whether the user agreed to requests that the raster makes


def views_of_a_tile() -> Tuple[Tuple[int, str], ...]:
    """How often a tile can be looked at, each in words."""
    return (
        (1, tr("One")),
        (2, tr("Two, one turned (twice as long)")),
        (4, tr("Four, turned (4 times as long)")),
        (8, tr("Eight, turned and mirrored (8 times as long)")),
    )


def build_request(
    order: Order, context: QgsCoordinateTransformContext, open_layers: Iterable[QgsMapLayer]
) -> JobRequest:
    """What the backend is asked for.

    Args:
        order: what is wanted.
        context: how to get from one CRS to another.
        open_layers: layers whose files must not be written over.

    Raises:
        SourceRefused: if the layer or the area cannot be mapped.
        OutputRefused: if the mask cannot be written where it is to go.
        OutputExists: if there is a file already, and nobody agreed to its end.
    """
    origin = source.from_layer(order.layer)
    area, outline = (order.area, None) if order.drawn is None else part_of(order.drawn, origin, context)
    bounds = source.bounds(area, origin, context) if area is not None else None
    path = output.resolve(order.output, origin.name, origin.path, open_layers, order.replace)
    within = ""
    if order.within is not None:
        within = polygons.path_of(order.within, order.selected_only, context, order.zone_field)
    zones = within if further.STATISTICS in order.further else ""
    if outline is not None:
        within = polygons.path_of(outline, False, context)
    products = [ProductRequest(path), *(further.request(kind, path) for kind in order.further)]
    output.check_beside([product.path for product in products[1:]], open_layers, order.replace)
    shown = reading.as_shown(order.layer, order.model.bands)
    nodata = [*shown.nodata, *([reading.BLACK] if order.black_is_nodata else [])]
    if len(nodata) > reading.MOST_RANGES:
        text = tr("The layer “{}” has {} values that are nodata; {} can be told. Make ranges of them.")
        raise source.SourceRefused(text.format(origin.name, len(nodata), reading.MOST_RANGES))
    return JobRequest(
        raster=origin.path,
        model=order.model.name,
        products=products,
        bounds=bounds,
        bounds_crs=source.crs_text(origin.crs) if bounds else None,
        bands=shown.bands,
        nodata=nodata,
        declared_nodata=shown.declared_nodata,
        alpha_band=shown.alpha_band,
        any_resolution=order.any_resolution,
        allow_network=order.allow_network,
        overwrite=order.replace,
        threshold=order.threshold,
        smallest=order.smallest,
        within=within,
        turns=order.turns,
        grid=order.grid,
        zones=zones,
        zone_field=order.zone_field if zones else "",
    )


def outcome(job: JobInfo) -> JobResult:
    """What a finished job left.

    Raises:
        BackendError: if the job failed, or left no mask.
    """
    if job.state != "finished":
        error = job.error
        message = error.message if error else tr("The backend gave up without saying why.")
        raise BackendError(error.code if error else "error", message)
    if job.result is None:
        raise BackendError("protocol", tr("The backend finished without a result."))
    job.result.product(MASK)  # raises where there is none
    return job.result


class Run(QObject):
    """Submits a job, or resumes the interrupted one that `resumes` names, and follows it.

    Exactly one of `finished`, `failed` and `cancelled` comes, unless it is dropped; `accepted` before it, where the
    backend has taken the job.
    """

    accepted = pyqtSignal()
    progressed = pyqtSignal(int, int, object)
    stepped = pyqtSignal(str, float)
    tile = pyqtSignal(object, object)
    interrupted = pyqtSignal(int)
    finished = pyqtSignal(object)
    failed = pyqtSignal(object)
    cancelled = pyqtSignal()

    def __init__(
        self, client: Client, request: JobRequest, source_name: str, model: ModelInfo, resumes: str = "", parent=None
    ):
        super().__init__(parent)
        self.order: Optional[Order] = None  # of which the request was made
        self.resumes = resumes
        self.request = request
        self.source_name = source_name
        self.model = model
        self.project_gone = False
        self.cancelling = False
        self.job_id = ""
        self.tiles = 0  # of the job, as far as anything is known of it
        self._client = client
        self._over = False
        self._events: Optional[JobSignals] = None
        self._background = Background(self)

    @property
    def over(self) -> bool:
        """Whether nothing more comes."""
        return self._over

    def start(self) -> None:
        """Create the job, or the one that goes on with it."""
        if self.resumes:
            self._background.call(lambda: self._client.resume(self.resumes), self._submitted, self._fail)
        else:
            self._background.call(lambda: self._client.submit(self.request), self._submitted, self._fail)

    def cancel(self) -> None:
        """Ask the backend to stop after the tile that it works on."""
        self.cancelling = True
        if self.job_id:
            self._background.call(lambda: self._client.cancel(self.job_id), lambda job: None, self._cancel_failed)

    def drop(self) -> None:
        """Follow the job no further; no signal comes afterwards."""
        self._over = True
        self._background.close()
        if self._events is not None:
            self._events.stop()

    def _submitted(self, job: JobInfo) -> None:
        if self._over:
            return
        self.job_id = job.id
        self._events = JobSignals(self._client, job.id, self)
        self._events.state.connect(self._state)
        self._events.tile.connect(self._tile)
        self._events.broken.connect(self.interrupted)
        self._events.lost.connect(self._fail)
        self._events.start()
        self.accepted.emit()
        if self.cancelling:
            self.cancel()

    def _state(self, job: JobInfo) -> None:
        if self._over:
            return
        self.tiles = job.tiles_total
        if job.state == "running" and job.step:
            self.stepped.emit(job.step, job.step_share)
        elif job.state == "running" and job.tiles_total:
            self.progressed.emit(job.tiles_done, job.tiles_total, job.seconds_left)
        elif job.state == "cancelled":
            self._over = True
            self.cancelled.emit()
        elif job.state in FINAL_STATES:
            self._ended(job)

    def _ended(self, job: JobInfo) -> None:
        try:
            result = outcome(job)
        except BackendError as error:
            self._fail(error)
            return
        self._over = True
        self._background.call(lambda: self._client.delete(job.id), lambda _: None)  # frees its previews
        self.finished.emit(Finished(self.source_name, self.request, result, self.model))

    def _tile(self, event, image) -> None:
        if not self._over:
            self.progressed.emit(event.done, event.total, event.seconds_left)
            self.tile.emit(event, image)

    def _cancel_failed(self, error: BackendError) -> None:
        if error.status == 0:  # the backend is not to be reached: the reader or the supervisor will say so
            return
        self._fail(error)

    def _fail(self, error: BackendError) -> None:
        if not self._over:
            self._over = True
            self.failed.emit(error)
