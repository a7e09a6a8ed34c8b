"""The part of the HTTP interface that answers while somebody looks at a map: roofs of a view, one by one."""

from __future__ import annotations

import json
from typing import Annotated, Any

import shapely
from fastapi import APIRouter, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from rotacube.inference.view import BLOCK, Roof
from rotacube.jobs.views import Held, Views
from rotacube.raster.cell_source import CELL, CellSource
from rotacube.server.schema import (
    GrowRequest,
    RoofGrown,
    RoofInfo,
    RoofsFound,
    RoofsRequest,
    ViewInfo,
    ViewRequest,
    ViewUse,
)
from rotacube.server.translate import to_reading

Number = Annotated[int, Path(ge=-(2**31), lt=2**31)]


def routes_of(views: Views) -> APIRouter:
    """The routes of views."""
    router = APIRouter(prefix="/v1/views")

    @router.post("", status_code=201)
    def create(request: ViewRequest) -> ViewInfo:
        """Begin to look at a raster, or at pixels that the client sends."""
        raster = None if request.raster is None else (request.raster.path, to_reading(request.raster))
        return _view_info(views.open(request.model, raster, request.crs, request.near))

    @router.get("/{name}")
    def use(name: str) -> ViewUse:
        """What a view holds."""
        view = views.get(name).view
        cells = view.source.count if isinstance(view.source, CellSource) else 0
        return ViewUse(tiles=len(view.tiles), cells=cells, bytes=view.size + cells * 4 * CELL**2)

    @router.delete("/{name}", status_code=204, response_class=Response)
    def close(name: str) -> None:
        """Forget a view."""
        views.close(name)

    @router.put("/{name}/cells/{column}/{row}", status_code=204, response_class=Response)
    async def cell(name: str, column: Number, row: Number, request: Request) -> None:
        """The pixels of a cell, as PNG; where alpha is 0 nothing is known."""
        held = await run_in_threadpool(views.get, name)
        png = await request.body()
        await run_in_threadpool(held.put, column, row, png)

    @router.post("/{name}/roofs")
    def roofs(name: str, asked: RoofsRequest) -> RoofsFound:
        """The roofs of a place, each the same in every view."""
        found = views.get(name).roofs(asked.bounds, asked.ring, asked.threshold, asked.smallest, asked.ticket)
        return RoofsFound(roofs=[_roof_info(roof) for roof in found.roofs], needs=found.needs, cut=found.cut)

    @router.delete("/{name}/work/{ticket}", status_code=204, response_class=Response)
    def cancel(name: str, ticket: str) -> None:
        """End the work of a ticket within a tile."""
        views.get(name).cancel(ticket)

    @router.post("/{name}/grow")
    def grow(name: str, asked: GrowRequest) -> RoofGrown:
        """A roof about a point that was missed."""
        roof, why, needs = views.get(name).grow(asked.point, asked.threshold)
        return RoofGrown(roof=None if roof is None else _roof_info(roof), why=why or None, needs=needs)

    return router


def _view_info(held: Held) -> ViewInfo:
    view, t = held.view, held.view.grid.transform
    return ViewInfo(
        id=held.id,
        crs=view.grid.crs,
        gsd=view.card.gsd,
        origin=(t.c, t.f),
        pixel=((t.a**2 + t.d**2) ** 0.5, -((t.b**2 + t.e**2) ** 0.5)),
        cell=CELL if isinstance(view.source, CellSource) else BLOCK,
        threshold=view.card.threshold,
    )


def _roof_info(roof: Roof) -> RoofInfo:
    geometry: dict[str, Any] = json.loads(shapely.to_geojson(roof.shape))
    return RoofInfo(
        id=roof.id,
        geometry=geometry,
        area=roof.area,
        perimeter=roof.perimeter,
        confidence=roof.confidence,
        axis=roof.axis if roof.regular else None,
        outline="regularised" if roof.regular else "as found",
    )
