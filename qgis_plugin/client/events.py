"""A job's events, read in a thread of its own and handed to callbacks there.

The stream is server-sent events. A broken connection is taken up again with `Last-Event-ID`; silence of thirty seconds
(the backend sends a heartbeat every ten) counts as broken. Tile previews are fetched in the same thread.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from typing import Any, Callable, Iterator, Optional, Tuple

from .http import Client
from .schema import FINAL_STATES, BackendError, JobInfo, TileEvent, parse

SILENCE_S = 30.0
RETRIES = 5


class EventReader:
    """Reads one job's events until its final state.

    Args:
        client: the way to the backend.
        job: the job's id.
        on_state: gets every change of the job's state.
        on_tile: gets every finished tile, and its picture as PNG where there is one.
        on_broken: gets the number of the attempt to take a broken stream up again.
        on_lost: gets the error that ends the reading before the job's end.
        silence_s: seconds without a sign of life after which the stream counts as broken.
    """

    def __init__(
        self,
        client: Client,
        job: str,
        on_state: Callable[[JobInfo], Any],
        on_tile: Callable[[TileEvent, Optional[bytes]], Any],
        on_broken: Callable[[int], Any],
        on_lost: Callable[[BackendError], Any],
        silence_s: float = SILENCE_S,
    ):
        self._client = client
        self._job = job
        self._on_state = on_state
        self._on_tile = on_tile
        self._on_broken = on_broken
        self._on_lost = on_lost
        self._silence_s = silence_s
        self._last_id: Optional[str] = None
        self._stopping = threading.Event()
        self._socket: Optional[socket.socket] = None
        self._thread = threading.Thread(target=self._run, name="rotacube-events", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self, wait_s: float = 2.0) -> None:
        """Stop reading; no callback is called afterwards."""
        self._stopping.set()
        if self._socket is not None:
            with contextlib.suppress(OSError):  # wakes the thread out of recv
                self._socket.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self._thread.join(wait_s)

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                for name, data in self._events():
                    failures = 0
                    if self._deliver(name, data):
                        return
                reason = BackendError("interrupted", "The backend closed the connection before the job was done.")
            except BackendError as error:
                if error.status or error.code == "protocol":
                    self._tell(self._on_lost, error)
                    return
                reason = error
            except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
                # http.client raises the last two when its socket is shut down under its hands
                reason = BackendError("interrupted", f"The connection to the backend broke ({error}).")
            failures += 1
            if failures > RETRIES:
                self._tell(self._on_lost, reason)
                return
            self._tell(self._on_broken, failures)
            self._stopping.wait(min(0.2 * 2**failures, 5.0))

    def _events(self) -> Iterator[Tuple[str, str]]:
        connection, response = self._client.open_events(self._job, self._last_id, self._silence_s)
        self._socket = connection.sock
        try:
            name, data, number = "message", [], self._last_id
            while not self._stopping.is_set():
                line = response.readline()
                if not line:
                    return
                text = line.decode("utf-8").rstrip("\r\n")
                field, _, value = text.partition(":")
                value = value[1:] if value.startswith(" ") else value
                if not text and data:
                    yield name, "\n".join(data)
                    self._last_id = number  # now, for one that was cut off is asked for again
                if not text:
                    name, data = "message", []
                elif field == "id":
                    number = value
                elif field == "event":
                    name = value
                elif field == "data":
                    data.append(value)
        finally:
            self._socket = None
            connection.close()

    def _deliver(self, name: str, data: str) -> bool:
        """Pass an event on; true after the last one."""
        if name not in ("state", "tile"):
            return False
        try:
            content = json.loads(data)
        except ValueError as error:
            raise BackendError("protocol", "The backend sent an event that is no JSON.") from error
        if name == "tile":
            event = parse(TileEvent, content)
            self._tell(self._on_tile, event, self._picture(event))
            return False
        job = parse(JobInfo, content)
        self._tell(self._on_state, job)
        return job.state in FINAL_STATES

    def _picture(self, event: TileEvent) -> Optional[bytes]:
        if event.preview is None or self._stopping.is_set():
            return None
        try:
            return self._client.fetch(event.preview)
        except BackendError:  # a preview is a courtesy: dropped ones are not worth a word
            return None

    def _tell(self, callback: Callable[..., Any], *values: Any) -> None:
        if not self._stopping.is_set():
            callback(*values)
