"""The server as a process: binds, says where, and ends with its parent."""

from __future__ import annotations

import json
import logging
import os
import platform
import secrets
import signal
import sys
import threading
import time

import torch

from rotacube import __version__
from rotacube.errors import RotacubeError
from rotacube.jobs.queue import Jobs
from rotacube.jobs.records import Records, records_folder
from rotacube.memory import set_allocator
from rotacube.server.app import create_app
from rotacube.server.connections import Server, listening_socket
from rotacube.server.log import start_log

VARIABLE = "ROTACUBE_TOKEN"
log = logging.getLogger(__name__)
GRACE = 3.0
"""Seconds that a running job has to end once the parent is gone."""


class ServeError(RotacubeError):
    """The server cannot start."""

    code = "serve"


def serve(port: int, parent_pipe: bool) -> None:
    """Run until interrupted, or until the parent's pipe closes.

    Args:
        port: on 127.0.0.1; 0 takes a free one. The first line on stdout is JSON with the port.
        parent_pipe: end as soon as standard input closes.

    Raises:
        ServeError: the port cannot be had.
    """
    token = os.environ.pop(VARIABLE, "")
    announced = {"version": __version__, "pid": os.getpid()}
    if not token:
        token = secrets.token_urlsafe(32)
        print(f"No {VARIABLE} in the environment; this run's token is {token}", file=sys.stderr)
    start_log()
    _be_modest()
    log.info(
        "Rotacube %s starts: process %d, Python %s, %s", __version__, os.getpid(), platform.python_version(), sys.prefix
    )
    try:
        listener = listening_socket(port)
    except (OSError, OverflowError) as error:
        raise ServeError(f"Port {port} on 127.0.0.1 cannot be had ({error}). Choose another, or 0 for any.") from error
    jobs = Jobs(Records(records_folder()))
    app = create_app(token, jobs)
    server = Server(app)
    if parent_pipe:
        threading.Thread(target=_end_with_parent, args=(jobs,), daemon=True).start()
    # uvicorn raises the signal again once it has shut down; the jobs still need to clean up then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    port = listener.getsockname()[1]
    print(json.dumps({"port": port, **announced}), flush=True)
    log.info("listens on 127.0.0.1:%d", port)
    try:
        server.run(sockets=[listener])
    finally:
        app.state.views.close_all()
        jobs.close()
        log.info("ends")


def _be_modest() -> None:
    """Low priority, a core left to the person at the machine, and memory kept within a run alone."""
    set_allocator()
    if hasattr(os, "nice"):
        os.nice(5)
    torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))


def _end_with_parent(jobs: Jobs) -> None:
    """Wait for the end of standard input; then interrupt the jobs, give them a moment to clean up, and be gone."""
    while os.read(sys.stdin.fileno(), 1024):  # unbuffered: a lock on the buffer would abort a shutdown of another cause
        pass
    ending = threading.Thread(target=jobs.close, daemon=True)
    ending.start()
    log.info("the parent is gone")
    ending.join(GRACE)
    time.sleep(0.1)
    os._exit(0)
