"""The HTTP interface: see docs/api.md for what OpenAPI cannot say."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated

from fastapi import FastAPI, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException

from rotacube import __version__
from rotacube.doctor import diagnose
from rotacube.errors import RequestRefused, RotacubeError, printable
from rotacube.inference.estimate import estimate
from rotacube.jobs.queue import Job, Jobs, TileDone
from rotacube.jobs.views import Views
from rotacube.models.store import list_models
from rotacube.server.connections import trust
from rotacube.server.schema import (
    ErrorAnswer,
    Estimate,
    Health,
    Info,
    InterruptedJob,
    JobInfo,
    JobRequest,
    ModelInfo,
    TileEvent,
)
from rotacube.server.translate import (
    to_backend_info,
    to_estimate,
    to_info,
    to_interrupted,
    to_map,
    to_model_info,
    to_tile_event,
)
from rotacube.server.views import routes_of

log = logging.getLogger(__name__)
LARGEST = 2**20
"""Largest body of a request, bytes, and of one that brings a cell's picture:"""
LARGEST_CELL = 2**21
HEARTBEAT = 10.0
"""Seconds without an event after which a sign of life is sent."""
CLOSED = {"Connection": "close"}
"""Headers of an answer after which nothing more is taken from whoever asked."""
_LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,18}")


def create_app(token: str, jobs: Jobs | None = None) -> FastAPI:
    """The application.

    Args:
        token: the bearer token that every request must carry.
        jobs: where jobs are kept; fresh if None.
    """
    app = FastAPI(
        title="Rotacube",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        responses={status: {"model": ErrorAnswer} for status in (400, 401, 403, 404, 413, 422, 500)},
    )
    queue = jobs or Jobs()
    views = Views(queue.model)
    started = time.monotonic()

    @app.middleware("http")
    async def guard(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        if not _LOOPBACK.fullmatch(request.headers.get("host", "")):
            return _error(403, "refused", "Requests are only taken under a loopback host name.", CLOSED)
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            return _error(401, "unauthorised", "The request lacks the server's token.", CLOSED)
        trust(request.scope)
        length = request.headers.get("content-length", "0")
        most = LARGEST_CELL if request.method == "PUT" else LARGEST
        if "transfer-encoding" in request.headers or not _NUMBER.fullmatch(length) or int(length) > most:
            return _error(413, "too_large", f"A request may have at most {most} bytes, and must say how many.")
        return await answer(request)

    @app.exception_handler(RotacubeError)
    async def known(request: Request, error: RotacubeError) -> Response:
        log.warning("%s %s: %s (%s)", request.method, request.url.path, error.message, error.code)
        return _error(error.status, error.code, error.message)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return _error(422, RequestRefused.code, f"The request does not fit at '{place}': {first['msg']}.")

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        return _error(error.status_code, "http", f"{error.detail}.")

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return _error(500, "internal", f"The backend failed in a way that it should not ({type(error).__name__}).")

    # What looks at memory alone is answered in the loop: the threads are for what reads files, which may take them all.

    @app.get("/v1/health")
    async def health() -> Health:
        """A sign of life."""
        return Health(version=__version__, pid=os.getpid(), uptime_s=time.monotonic() - started)

    @app.get("/v1/info")
    def info() -> Info:
        """What the backend runs on; launches every operator once."""
        found = diagnose()
        log.info("device %s: %s", found.device, found.device_why)
        for line in found.compiled.sentences():
            log.info("%s", line)
        return to_backend_info(found)

    @app.get("/v1/models")
    def models() -> list[ModelInfo]:
        """The installed models."""
        return [to_model_info(card) for card, _ in list_models()]

    @app.post("/v1/jobs", status_code=201)
    def create(request: JobRequest) -> JobInfo:
        """Queue a job; input that can be judged at once is refused."""
        return to_info(queue.create(to_map(request)).now)

    @app.post("/v1/estimate")
    def estimated(request: JobRequest) -> Estimate:
        """What a job would come to; input that can be judged at once is refused."""
        return to_estimate(estimate(to_map(request)))

    @app.get("/v1/jobs")
    async def every() -> list[JobInfo]:
        """All jobs, the oldest first."""
        return [to_info(job.now) for job in queue.all()]

    @app.get("/v1/jobs/{name}")
    async def one(name: str) -> JobInfo:
        """One job as it stands."""
        return to_info(queue.get(name).now)

    @app.post("/v1/jobs/{name}/cancel")
    async def cancel(name: str) -> JobInfo:
        """Ask a job to end; it does within a tile."""
        return to_info(queue.cancel(name).now)

    @app.delete("/v1/jobs/{name}", status_code=204, response_class=Response)
    async def delete(name: str) -> None:
        """Cancel a job and forget it; what it wrote stays."""
        queue.delete(name)

    @app.get(
        "/v1/jobs/{name}/events",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}, "model": TileEvent}},
    )
    async def events(name: str, request: Request) -> StreamingResponse:
        """Server-sent events: `state` with a JobInfo, `tile` with a TileEvent, `heartbeat`."""
        last = request.headers.get("last-event-id", "0")
        stream = _stream(queue.get(name), int(last) if _NUMBER.fullmatch(last) else 0)
        return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    @app.get("/v1/jobs/{name}/tiles/{n}.png", response_class=Response, responses={200: {"content": {"image/png": {}}}})
    async def preview(name: str, n: int) -> Response:
        """RGBA picture of a finished tile."""
        return Response(queue.get(name).preview(n), media_type="image/png")

    @app.get("/v1/jobs/{name}/products/{n}", response_class=FileResponse)
    def product(name: str, n: Annotated[int, Path(ge=0)]) -> FileResponse:
        """A file that the job has made."""
        made = queue.get(name).product(n)
        return FileResponse(made.path, filename=made.path.name)

    @app.get("/v1/interrupted")
    def interrupted() -> list[InterruptedJob]:
        """Jobs that ended with their server, or whose disk was full, the oldest first."""
        return [to_interrupted(found) for found in queue.interrupted()]

    @app.post("/v1/interrupted/{name}/resume", status_code=201)
    def resume(name: str) -> JobInfo:
        """Queue a job that goes on with an interrupted one."""
        return to_info(queue.resume(name).now)

    @app.delete("/v1/interrupted/{name}", status_code=204, response_class=Response)
    def discard(name: str) -> None:
        """Remove what an interrupted job has left."""
        queue.discard(name)

    app.include_router(routes_of(views))
    app.state.jobs, app.state.views = queue, views
    return app


async def _stream(job: Job, number: int) -> AsyncIterator[str]:
    """The events after a number as they come. It waits without a thread, so that there may be many."""
    loop, news = asyncio.get_running_loop(), asyncio.Event()

    def tell() -> None:
        with contextlib.suppress(RuntimeError):  # the server has ended, and its loop is closed
            loop.call_soon_threadsafe(news.set)

    with job.watched(tell):
        while True:
            news.clear()
            events, ended = job.events_after(number)
            for event in events:
                number = event.number
                if isinstance(event.data, TileDone):
                    kind, data = "tile", to_tile_event(event.data).model_dump_json()
                else:
                    kind, data = "state", to_info(event.data).model_dump_json()
                yield f"id: {number}\nevent: {kind}\ndata: {data}\n\n"
            if ended:
                return
            try:
                await asyncio.wait_for(news.wait(), HEARTBEAT)
            except asyncio.TimeoutError:
                yield "event: heartbeat\ndata: {}\n\n"


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": printable(message)}}, status, headers)
