"""A server that others on the machine crowd: whoever has the token is answered within a second all the while."""

from __future__ import annotations

import http.client
import json
import os
import socket
import statistics
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from bodies import job_body
from processes import TOKEN, client_of, running

from rotacube.server.connections import STRANGERS, WHOLE

resource = pytest.importorskip("resource", reason="counts open files")
PASS = {"Authorization": f"Bearer {TOKEN}"}
CROWD = 1500


def soon():
    """Seconds within which an answer comes; where others take all processors, the modest server waits for them."""
    return 1 if os.getloadavg()[0] < (os.cpu_count() or 1) else 5


@pytest.fixture(scope="module", autouse=True)
def many_files():
    """This process may hold a crowd of connections; the server it starts has the usual number."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] != resource.RLIM_INFINITY and before[1] < CROWD + 500:
        pytest.skip("the system allows too few open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], CROWD + 500), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def server(tmp_path):
    """The server's process, its port and its log."""
    path = tmp_path / "backend.log"

    def usual():
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))

    with path.open("wb") as log, running(stderr=log, preexec_fn=usual) as (process, first):
        yield process, first["port"], path


def ask(port, path="/v1/health", connection=None):
    """Seconds that an answer takes to whoever has the token."""
    start = time.monotonic()
    asked = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    asked.request("GET", path, headers=PASS)
    answer = asked.getresponse()
    answer.read()
    assert answer.status == 200
    if connection is None:
        asked.close()
    return time.monotonic() - start


@contextmanager
def asked_all_the_while(port):
    """Gives the seconds of every answer to a request that is made again and again meanwhile."""
    times, stop = [], threading.Event()

    def go_on():
        while not stop.wait(0.05):
            try:
                times.append(ask(port))
            except (OSError, http.client.HTTPException):
                times.append(float("inf"))

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield times
    finally:
        stop.set()
        thread.join()


def knock(port, words=b""):
    """A connection on which so much has been said."""
    knocking = socket.create_connection(("127.0.0.1", port), timeout=20)
    knocking.sendall(words)
    return knocking


def closed(connection):
    """Whether the other side has closed, as far as is known now."""
    connection.setblocking(False)
    try:
        while connection.recv(4096):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def test_a_crowd_that_says_nothing_keeps_nobody_out(server):
    process, port, log = server
    kept = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    ask(port, connection=kept)
    same = kept.sock
    with asked_all_the_while(port) as times, ExitStack() as crowd:
        for _ in range(CROWD):
            crowd.enter_context(knock(port))
        time.sleep(2)
        assert ask(port, connection=kept) < soon() and kept.sock is same, "who had the token before stays"
        files = Path(f"/proc/{process.pid}/fd")
        if files.is_dir():
            assert len(list(files.iterdir())) < STRANGERS + 100
    kept.close()
    assert len(times) > 20 and max(times) < soon()
    assert log.stat().st_size < 2000


def test_half_a_request_is_not_waited_for(server):
    _, port, log = server
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    body = head + f"Authorization: Bearer {TOKEN}\r\nContent-Length: 1000\r\n\r\n".encode() + b'{"raster": '
    whole = f"GET /v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    with asked_all_the_while(port) as times, ExitStack() as stack:
        waiting = [stack.enter_context(knock(port, words)) for words in (b"", b"GET", head, body) for _ in range(20)]
        second = stack.enter_context(knock(port, whole))
        assert second.recv(4096).startswith(b"HTTP/1.1 200")
        second.sendall(head)
        dripping = stack.enter_context(knock(port, head))
        end = time.monotonic() + WHOLE + 2
        while time.monotonic() < end:
            time.sleep(0.5)
            try:
                dripping.sendall(b"X-Slow: yes\r\n")
            except OSError:
                break
        time.sleep(max(0.0, end - time.monotonic()))
        assert all(closed(connection) for connection in (*waiting, second, dripping))
    assert max(times) < soon()
    assert log.stat().st_size < 2000 and "Traceback" not in log.read_text()


def test_rubbish_does_not_fill_the_log(server):
    _, port, log = server
    with asked_all_the_while(port) as times:
        for _ in range(CROWD):
            with knock(port, b"\0\1\2\r\n\r\n") as connection:
                assert connection.recv(100).startswith(b"HTTP/1.1 400")
    assert max(times) < soon()
    assert "Invalid HTTP request" in log.read_text() and log.stat().st_size < 2000


def test_who_lacks_the_token_is_answered_and_closed(server):
    with knock(server[1], b"GET /v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") as connection:
        told = b""
        while part := connection.recv(4096):
            told += part
    assert told.startswith(b"HTTP/1.1 401")


def test_many_listeners_to_one_job_take_no_threads(server, model_folder, write_raster, tmp_path):
    process, port, _ = server
    image = np.random.default_rng(0).integers(0, 256, (3, 3000, 3000), np.uint8)
    raster = write_raster(tmp_path / "large.tif", image)
    with client_of({"port": port}) as client, ExitStack() as stack:
        job = client.post("/v1/jobs", json=job_body(raster, model_folder, tmp_path / "mask.tif")).json()["id"]
        path = f"/v1/jobs/{job}/events"

        def threads():
            status = Path(f"/proc/{process.pid}/status")
            return int(status.read_text().split("Threads:")[1].split()[0]) if status.exists() else 0

        before = threads()
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
        listening = [stack.enter_context(knock(port, request)) for _ in range(60)]
        times = [(ask(port), ask(port, "/v1/models"), ask(port, "/v1/jobs")) for _ in range(10)]
        health, models, jobs = map(max, zip(*times, strict=True))
        assert health < soon() and max(models, jobs) < 3 * soon(), times
        assert threads() < before + 20
        client.post(f"/v1/jobs/{job}/cancel")
        for listener in listening:
            told = b""
            while b'"state":"cancelled"' not in told:
                part = listener.recv(1 << 16)
                assert part
                told += part
            assert b'"state":"queued"' in told


def test_a_connection_that_is_kept_answers_as_fast_as_a_new_one(server):
    """Small packets that wait for each other make it forty milliseconds."""
    port = server[1]
    kept = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    both = [(ask(port), ask(port, connection=kept)) for _ in range(200)]
    kept.close()
    fresh, again = (statistics.median(times) for times in zip(*both, strict=True))
    assert again < 3 * fresh, json.dumps({"fresh": fresh, "again": again})
