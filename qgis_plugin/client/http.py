"""Requests to the backend: JSON over HTTP, with `http.client`, which knows no proxy.

A call takes a connection that an earlier one has left open, or opens one; two calls never share one, so a `Client` may
be used from any thread. None of this may be called from the GUI thread: a busy backend answers late.
"""

from __future__ import annotations

import http.client
import json
import threading
from typing import Any, List, Optional, Tuple
from urllib.parse import quote, urljoin, urlsplit

from .schema import (
    BackendError,
    Estimate,
    Info,
    InterruptedJob,
    JobInfo,
    JobRequest,
    ModelInfo,
    RoofGrown,
    RoofsFound,
    ViewInfo,
    ViewRequest,
    parse,
    parse_list,
)

LONG_S = 600.0  # that roofs of a place may take: a slow processor, a model to load first
ESTIMATE_S = 60.0  # that a raster of many files may take to be opened
_KEPT = 2  # connections that wait for the next call
_REPEATABLE = ("GET", "PUT", "DELETE")  # asked twice, they do what they do once
_CONNECTIONS = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}


class Client:
    """The backend's interface as methods.

    Args:
        base_url: where the interface begins: `http://127.0.0.1:41234/`, or `https://host/rotacube/`.
        token: what the backend wants to be shown.
        timeout: seconds that an answer may take.

    Raises:
        BackendError: if the address is none that a backend can have.
    """

    def __init__(self, base_url: str, token: str, timeout: float = 30.0):
        try:
            parts = urlsplit(base_url)
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError:
            self._host = ""
        if not self._host or parts.scheme not in _CONNECTIONS:
            text = f"The backend's address is to be like https://host:port/, not {base_url}."
            raise BackendError("address", text)
        self._connect = _CONNECTIONS[parts.scheme]
        self.base_url = parts.geturl().rstrip("/") + "/"
        self._token = token
        self._timeout = timeout
        self._kept: List[http.client.HTTPConnection] = []
        self._lock = threading.Lock()  # guards the list

    def close(self) -> None:
        """Close what waits for a next call; there may still be one."""
        with self._lock:
            kept, self._kept = self._kept, []
        for connection in kept:
            connection.close()

    def info(self) -> Info:
        """What the backend runs on."""
        return parse(Info, self._json("GET", "v1/info"))

    def models(self) -> List[ModelInfo]:
        """The models that are installed."""
        return parse_list(ModelInfo, self._json("GET", "v1/models"))

    def submit(self, request: JobRequest) -> JobInfo:
        """Create a job."""
        return parse(JobInfo, self._json("POST", "v1/jobs", request.to_json()))

    def estimate(self, request: JobRequest) -> Estimate:
        """What a job would come to."""
        return parse(Estimate, self._json("POST", "v1/estimate", request.to_json(), ESTIMATE_S))

    def job(self, job: str) -> JobInfo:
        """A job as it stands."""
        return parse(JobInfo, self._json("GET", _job(job)))

    def cancel(self, job: str) -> JobInfo:
        """Ask for a job's end; it comes as an event."""
        return parse(JobInfo, self._json("POST", _job(job) + "/cancel"))

    def delete(self, job: str) -> None:
        """Forget a job."""
        self._request("DELETE", _job(job))

    def interrupted(self) -> List[InterruptedJob]:
        """The jobs that ended before their time."""
        return parse_list(InterruptedJob, self._json("GET", "v1/interrupted"))

    def resume(self, interrupted: str) -> JobInfo:
        """Create a job that goes on with an interrupted one."""
        return parse(JobInfo, self._json("POST", _interrupted(interrupted) + "/resume"))

    def discard(self, interrupted: str) -> None:
        """Drop what an interrupted job has left."""
        self._request("DELETE", _interrupted(interrupted))

    def open_view(self, request: ViewRequest) -> ViewInfo:
        """Begin to look at a raster."""
        return parse(ViewInfo, self._json("POST", "v1/views", request.to_json(), LONG_S))

    def close_view(self, view: str) -> None:
        """Forget a view, with all that is known of it."""
        self._request("DELETE", _view(view))

    def send_cell(self, view: str, cell: Tuple[int, int], png: bytes) -> None:
        """The pixels of a cell, column and row."""
        self._request("PUT", f"{_view(view)}/cells/{cell[0]}/{cell[1]}", png)

    def roofs(
        self, view: str, bounds: Tuple[float, float, float, float], ring: float, threshold: Optional[float], ticket: str
    ) -> RoofsFound:
        """The roofs of a place in a view; `cancel_roofs` with the ticket ends it, with code `cancelled`."""
        body = {"bounds": bounds, "ring": ring, "threshold": threshold, "smallest": None, "ticket": ticket}
        return parse(RoofsFound, self._json("POST", _view(view) + "/roofs", body, LONG_S))

    def cancel_roofs(self, view: str, ticket: str) -> None:
        """End what goes on under a ticket."""
        self._request("DELETE", f"{_view(view)}/work/{quote(ticket, safe='')}")

    def grow(self, view: str, point: Tuple[float, float], threshold: Optional[float]) -> RoofGrown:
        """The roof about a point that was not found."""
        body = {"point": point, "threshold": threshold}
        return parse(RoofGrown, self._json("POST", _view(view) + "/grow", body, LONG_S))

    def fetch(self, address: str) -> bytes:
        """What lies at an address that the backend gave: a tile's picture, a product."""
        return self._request("GET", address)

    def open_events(self, job: str, last_id: Optional[str], timeout: float):
        """Open a job's event stream.

        Returns:
            Connection and response; the caller reads lines and closes the connection.
        """
        headers = {"Accept": "text/event-stream"}
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        connection = self._connect(self._host, self._port, timeout=timeout)
        try:
            response = self._send(connection, "GET", self._target(_job(job) + "/events"), None, headers)
            if response.status != http.client.OK:
                raise _error(response.status, response.read())
        except BaseException:
            connection.close()
            raise
        return connection, response

    def _json(self, method: str, address: str, body: Any = None, timeout: Optional[float] = None) -> Any:
        answer = self._request(method, address, body, timeout)
        try:
            return json.loads(answer)
        except ValueError as error:
            raise BackendError("protocol", "The backend answered with something that is no JSON.") from error

    def _request(self, method: str, address: str, body: Any = None, timeout: Optional[float] = None) -> bytes:
        target = self._target(address)
        connection = self._take() if method in _REPEATABLE else None
        if connection is not None:
            try:
                return self._exchange(connection, method, target, body)
            except (OSError, http.client.HTTPException):
                # the backend has closed it meanwhile, as it may: once more, on a new one
                self.close()
        try:
            connection = self._connect(self._host, self._port, timeout=timeout or self._timeout)
            return self._exchange(connection, method, target, body, timeout is None)
        except (OSError, http.client.HTTPException) as error:
            raise BackendError(
                "unreachable", f"The backend does not answer ({error or type(error).__name__})."
            ) from error

    def _exchange(self, connection, method: str, target: str, body: Any, may_keep: bool = True) -> bytes:
        """One request and its answer; the connection is kept for the next one if both sides are done with this."""
        whole = False
        try:
            response = self._send(connection, method, target, body, {})
            data = response.read()
            whole = may_keep and not response.will_close
        finally:
            if not whole or not self._keep(connection):
                connection.close()
        if not 200 <= response.status < 300:
            raise _error(response.status, data)
        return data

    def _take(self) -> Optional[http.client.HTTPConnection]:
        with self._lock:
            return self._kept.pop() if self._kept else None

    def _keep(self, connection: http.client.HTTPConnection) -> bool:
        with self._lock:
            if len(self._kept) >= _KEPT:
                return False
            self._kept.append(connection)
            return True

    def _target(self, address: str) -> str:
        """Path and query of an address; one that leads away from the backend is refused: the token goes along."""
        try:
            url = urljoin(self.base_url, address)
        except ValueError:
            url = ""
        if not url.startswith(self.base_url) or not url.isascii() or not url.isprintable() or " " in url:
            raise BackendError("protocol", f"The backend gave an address that is not its own: {address}")
        parts = urlsplit(url)
        return f"{parts.path}?{parts.query}" if parts.query else parts.path

    def _send(self, connection, method: str, target: str, body: Any, headers: dict):
        headers = {**headers, "Authorization": f"Bearer {self._token}"}
        payload = None
        if isinstance(body, bytes):
            payload, headers["Content-Type"] = body, "image/png"
        elif body is not None:
            payload = json.dumps(body).encode("utf-8")
            headers["Content-Type"] = "application/json"
        connection.request(method, target, payload, headers)
        return connection.getresponse()


def _job(job: str) -> str:
    return f"v1/jobs/{quote(job, safe='')}"


def _interrupted(name: str) -> str:
    return f"v1/interrupted/{quote(name, safe='')}"


def _view(view: str) -> str:
    return f"v1/views/{quote(view, safe='')}"


def _error(status: int, data: bytes) -> BackendError:
    try:
        error = json.loads(data)["error"]
        return BackendError(str(error["code"]), str(error["message"]), status)
    except (ValueError, KeyError, TypeError):
        return BackendError("protocol", f"The backend answered {status} without saying why.", status)
