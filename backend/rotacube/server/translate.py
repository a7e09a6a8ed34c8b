"""Between the backend's own words and those of the contract."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from rotacube.doctor import Diagnosis
from rotacube.inference.estimate import Estimate
from rotacube.inference.run import MapRequest, MapResult, Product
from rotacube.jobs.queue import Snapshot, TileDone
from rotacube.jobs.records import Interrupted
from rotacube.models.card import ModelCard
from rotacube.raster.reading import NodataRange, Reading
from rotacube.server import schema

_REQUEST = (
    *("raster", "model", "bounds", "bounds_crs", "overwrite", "threshold", "smallest", "within", "zones", "zone_field"),
    *("resume", "turns", "grid"),
)
"""What of a request is the same in both words; of its reading:"""
_READING = ("declared_nodata", "alpha_band", "any_resolution", "allow_network")


def _plain(origin: object, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(origin, name) for name in names}


def to_map(request: schema.JobRequest) -> MapRequest:
    """A request as the runs have it."""
    return MapRequest(
        **_plain(request, _REQUEST),
        products=tuple(Product(p.kind, Path(p.path), p.format) for p in request.products),
        reading=to_reading(request),
    )


def to_reading(request: schema.JobRequest | schema.RasterReading) -> Reading:
    """What a request says about its raster."""
    return Reading(
        bands=None if request.bands is None else tuple(request.bands),
        nodata=tuple(NodataRange(n.low, n.high, n.band) for n in request.nodata),
        **_plain(request, _READING),
    )


def to_info(job: Snapshot) -> schema.JobInfo:
    """A job as it stands."""
    return schema.JobInfo(
        id=job.id,
        state=job.state,
        request=_request(job.request),
        tiles_done=job.tiles_done,
        tiles_total=job.tiles_total,
        seconds_left=job.seconds_left,
        step=job.step,
        step_share=job.step_share,
        result=None if job.result is None else to_result(job.result, job.id),
        error=None if job.error is None else schema.ErrorBody(code=job.error.code, message=job.error.message),
    )


def to_estimate(found: Estimate) -> schema.Estimate:
    """What a job would come to."""
    disks = [
        schema.DiskNeed(folder=str(folder), bytes=size, free=shutil.disk_usage(folder).free)
        for folder, size in found.needs.disks.items()
    ]
    return schema.Estimate(tiles=found.tiles, width=found.width, height=found.height, disks=disks)


def to_interrupted(found: Interrupted) -> schema.InterruptedJob:
    """A job that can be gone on with."""
    return schema.InterruptedJob(id=found.id, request=_request(found.request), share=round(found.share, 4))


def to_tile_event(done: TileDone) -> schema.TileEvent:
    """A finished tile."""
    tile = done.tile
    return schema.TileEvent(
        n=tile.n,
        done=tile.done,
        total=tile.total,
        seconds_left=tile.seconds_left,
        crs=tile.crs,
        corners=tile.corners,
        counts=tile.counts,
        preview=f"v1/jobs/{done.job}/tiles/{tile.n}.png" if done.preview else None,
    )


def to_model_info(card: ModelCard) -> schema.ModelInfo:
    """A model's card."""
    return schema.ModelInfo(
        **card.model_dump(
            include={
                *("name", "title", "task", "architecture", "bands", "gsd", "tile", "overlap", "notice"),
                *("licence", "attribution", "training_data", "accuracy"),
            }
        ),
        gsd_range=card.gsd_range,
        threshold=card.threshold if len(card.classes) == 2 else None,
        smallest=card.separation.smallest,
        classes=[schema.ClassInfo(**c.model_dump()) for c in card.classes],
        parameters=card.weights.parameters,
        sha256=card.weights.sha256,
    )


def to_backend_info(found: Diagnosis) -> schema.Info:
    """What the backend runs on."""
    return schema.Info(
        version=found.version,
        torch=found.torch,
        device=found.device,
        device_why=found.device_why,
        threads=found.threads,
        operators=[schema.OperatorInfo(name=o.name, path=o.path, why=o.why) for o in found.operators],
        model_folders=found.model_folders,
    )


def _request(request: MapRequest) -> schema.JobRequest:
    reading = request.reading
    return schema.JobRequest(
        **_plain(request, _REQUEST),
        products=[_product(p) for p in request.products],
        bands=None if reading.bands is None else list(reading.bands),
        nodata=[schema.NodataRange(low=n.low, high=n.high, band=n.band) for n in reading.nodata],
        **_plain(reading, _READING),
    )


def _product(product: Product) -> schema.ProductRequest:
    return schema.ProductRequest.model_validate(
        {"kind": product.kind, "format": product.format, "path": str(product.path)}
    )


def to_result(result: MapResult, job: str = "") -> schema.JobResult:
    """What a job has made; without a job of the server its products have no address."""
    mapped = sum(c.area_m2 for c in result.classes)
    return schema.JobResult(
        products=[
            schema.Product(**_product(p).model_dump(), href=f"v1/jobs/{job}/products/{n}" if job else "")
            for n, p in enumerate(result.products)
        ],
        width=result.width,
        height=result.height,
        gsd=result.gsd,
        classes=[
            schema.ClassArea(
                id=c.info.id,
                name=c.info.name,
                color=c.info.color,
                pixels=c.pixels,
                area_m2=round(c.area_m2, 2),
                share=round(c.area_m2 / mapped, 6) if mapped else 0.0,
            )
            for c in result.classes
        ],
        nodata_pixels=result.nodata_pixels,
        seconds=round(result.seconds, 2),
        device=result.place,
        notes=result.notes,
    )
