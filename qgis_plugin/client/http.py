"""Requests to the backend: JSON over HTTP on the loopback, with `http.client`, which knows no proxy.

Every call opens its own connection, so a `Client` may be used from any thread. None of this may be called from the
GUI thread: a busy backend answers late.
"""

from __future__ import annotations

import http.client
import json
from typing import Any, List, Optional
from urllib.parse import quote

from .schema import BackendError, Info, JobInfo, JobRequest, ModelInfo, parse, parse_list

HOST = "127.0.0.1"


class Client:
    """The backend's interface as methods."""

    def __init__(self, port: int, token: str, timeout: float = 30.0):
        self.port = port
        self._token = token
        self._timeout = timeout

    def info(self) -> Info:
        """What the backend runs on."""
        return parse(Info, self._json("GET", "/v1/info"))

    def models(self) -> List[ModelInfo]:
        """The models that are installed."""
        return parse_list(ModelInfo, self._json("GET", "/v1/models"))

    def submit(self, request: JobRequest) -> JobInfo:
        """Create a job."""
        return parse(JobInfo, self._json("POST", "/v1/jobs", request.to_json()))

    def job(self, job: str) -> JobInfo:
        """A job as it stands."""
        return parse(JobInfo, self._json("GET", f"/v1/jobs/{quote(job, safe='')}"))

    def cancel(self, job: str) -> JobInfo:
        """Ask for a job's end; it comes as an event."""
        return parse(JobInfo, self._json("POST", f"/v1/jobs/{quote(job, safe='')}/cancel"))

    def delete(self, job: str) -> None:
        """Forget a job."""
        self._request("DELETE", f"/v1/jobs/{quote(job, safe='')}")

    def tile(self, job: str, n: int) -> bytes:
        """The picture of a finished tile, as PNG."""
        return self._request("GET", f"/v1/jobs/{quote(job, safe='')}/tiles/{int(n)}.png")

    def open_events(self, job: str, last_id: Optional[str], timeout: float):
        """Open a job's event stream.

        Returns:
            Connection and response; the caller reads lines and closes the connection.
        """
        headers = {"Accept": "text/event-stream"}
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        connection = http.client.HTTPConnection(HOST, self.port, timeout=timeout)
        try:
            response = self._send(connection, "GET", f"/v1/jobs/{quote(job, safe='')}/events", None, headers)
            if response.status != http.client.OK:
                raise _error(response.status, response.read())
        except BaseException:
            connection.close()
            raise
        return connection, response

    def _json(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._request(method, path, body)
        try:
            return json.loads(answer)
        except ValueError as error:
            raise BackendError("protocol", "The backend answered with something that is no JSON.") from error

    def _request(self, method: str, path: str, body: Any = None) -> bytes:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=self._timeout)
        try:
            response = self._send(connection, method, path, body, {})
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise BackendError(
                "unreachable", f"The backend does not answer ({error or type(error).__name__})."
            ) from error
        finally:
            connection.close()
        if not 200 <= response.status < 300:
            raise _error(response.status, data)
        return data

    def _send(self, connection, method: str, path: str, body: Any, headers: dict):
        headers = {**headers, "Authorization": f"Bearer {self._token}"}
        payload = None
        if body is not None:
            payload = json.dumps(body).encode("utf-8")
            headers["Content-Type"] = "application/json"
        connection.request(method, path, payload, headers)
        return connection.getresponse()


def _error(status: int, data: bytes) -> BackendError:
    try:
        error = json.loads(data)["error"]
        return BackendError(str(error["code"]), str(error["message"]), status)
    except (ValueError, KeyError, TypeError):
        return BackendError("protocol", f"The backend answered {status} without saying why.", status)
