"""Connections: those that have not shown the token yet are few and short, so that nobody keeps the owner out.

Whoever is on this machine can connect. A connection is a stranger's until a request on it had the token. Beyond
`most_strangers` the stranger that has waited longest is closed for the next to come, who is the owner at some time;
and a request, head and body, has `WHOLE` seconds to arrive.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import socket
import sys
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

WHOLE = 10.0
"""Seconds that a request may take to arrive."""
KEPT = 75
"""Seconds that a connection is kept between two requests."""
STRANGERS = 256
"""How many connections are kept that have not shown the token, where the system lets us have so many files."""
AT_ONCE = 64
"""Connections that are accepted before those that are there are listened to again."""
WAITING = 1024
"""Connections that the system holds for us until they are accepted."""
_FILES = 4096  # as many as we ask the system for
_STATE = "connection"

_numbers = itertools.count()


class Connection(H11Protocol):
    """One connection, as uvicorn serves it, with a deadline for each request and a limit on strangers."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.app_state = {**self.app_state, _STATE: self}
        self.stranger = True
        self._number = next(_numbers)
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request; the stranger that has waited longest goes where there are too many."""
        super().connection_made(transport)
        self._wait()
        strangers = [c for c in self.connections if isinstance(c, Connection) and c.stranger]
        if len(strangers) > most_strangers():
            min(strangers, key=lambda c: c._number).drop()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request."""
        self._wait()
        super().data_received(data)
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more will come."""
        self._stop_waiting()
        super().connection_lost(exc)

    def drop(self) -> None:
        """Close the connection, whatever was to come or to go."""
        self.connections.discard(self)
        self.transport.abort()

    def _wait(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(WHOLE, self.drop)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Server(uvicorn.Server):
    """uvicorn's server with `Connection`s.

    Args:
        app: the application. Run it with a `listening_socket`.
    """

    def __init__(self, app: Any) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                backlog=AT_ONCE,
                timeout_keep_alive=KEPT,
                timeout_graceful_shutdown=1,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve. asyncio takes one number for what it accepts at once and what may wait: set the second."""
        await super().startup(sockets)
        for listener in sockets or []:
            listener.listen(WAITING)


def listening_socket(port: int) -> socket.socket:
    """A socket that listens on 127.0.0.1, for `Server`.

    Args:
        port: 0 takes a free one.

    Raises:
        OSError, OverflowError: the port cannot be had.
    """
    # asyncio switches the delay of small packets off only where it reads that the protocol is TCP.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(WAITING)  # before the port is told: whoever reads it may connect at once
    except BaseException:
        listener.close()
        raise
    return listener


def trust(scope: Any) -> None:
    """Say that the request of this ASGI scope had the token: its connection is no stranger's."""
    connection = scope.get("state", {}).get(_STATE)
    if isinstance(connection, Connection):
        connection.stranger = False


@functools.cache
def most_strangers() -> int:
    """How many connections are kept that have not shown the token: at most a quarter of the files that we may open."""
    return max(AT_ONCE, min(STRANGERS, _allowed_files() // 4))


def _allowed_files() -> int:
    """How many files, sockets among them, this process may open; it is given as many as it may ask for."""
    if sys.platform == "win32":
        return _FILES
    import resource

    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if most == resource.RLIM_INFINITY else min(_FILES, most)
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _FILES if allowed == resource.RLIM_INFINITY else allowed
