"""Requests: where they go, and where they must not."""

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from fixtures import started, wait
from qgis_plugin.client.http import Client
from qgis_plugin.client.schema import BackendError, JobRequest, ProductRequest


@pytest.fixture
def server():
    """Gives a server's base URL with a prefix, and the list of the paths that it was asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *args):
            pass

    listener = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listener.server_address[1]}/rotacube", asked
    listener.shutdown()
    listener.server_close()


@pytest.mark.parametrize("end", ["", "/"])
def test_addresses_are_relative_to_the_base(server, end):
    base, asked = server
    assert Client(base + end, "token").models() == []
    assert asked == ["/rotacube/v1/models"]


@pytest.mark.parametrize("address", ["ftp://host/", "host:41234", "", "http:///x", "http://host:port/", "http://[::1/"])
def test_address_that_no_backend_has(address):
    with pytest.raises(BackendError) as caught:
        Client(address, "token")
    assert caught.value.code == "address"


def test_addresses_that_the_backend_gives_are_followed(server):
    base, asked = server
    assert Client(base, "token").fetch("v1/jobs/1/tiles/3.png?size=2") == b"[]"
    assert asked == ["/rotacube/v1/jobs/1/tiles/3.png?size=2"]


@pytest.mark.parametrize(
    "address",
    ["http://elsewhere/rotacube/x", "//elsewhere/x", "file:///etc/passwd", "https://127.0.0.1/rotacube/x", "/other"]
    + ["../other", "//[x", "v1/a b", "v1/ä"],
)
def test_addresses_that_lead_away_are_refused(server, address):
    base, asked = server
    with pytest.raises(BackendError, match="not its own") as caught:
        Client(base, "token").fetch(address)
    assert caught.value.code == "protocol" and asked == []


class Counting:
    """A server that counts connections and requests, and closes a connection after some answers without a word."""

    def __init__(self, answers):
        self.connections, self.requests = 0, []
        self.answers = answers
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self.listener.getsockname()[1]}/"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, connection.makefile("rb") as lines:
            for _ in range(self.answers):
                first, length = lines.readline(), 0
                while (line := lines.readline().strip()) not in (b"",):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                if not first:
                    return
                lines.read(length)
                self.requests.append(first.split()[0].decode())
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")


@pytest.fixture
def counting():
    """Gives servers that close a connection after so many answers."""
    made = []

    def make(answers):
        made.append(Counting(answers))
        return made[-1]

    yield make
    for server in made:
        server.listener.close()


def test_connection_is_kept_from_call_to_call(counting):
    server = counting(1000)
    client = Client(server.base, "token")
    for _ in range(20):
        client.models()
    assert server.connections == 1 and len(server.requests) == 20
    client.close()
    client.models()
    assert server.connections == 2


def test_connection_that_the_backend_closed_is_made_anew(counting):
    server = counting(1)
    client = Client(server.base, "token")
    for _ in range(5):
        assert client.models() == []
        time.sleep(0.02)
    assert len(server.requests) == 5


def test_what_must_not_be_done_twice_gets_a_new_connection(counting):
    server = counting(1000)
    client = Client(server.base, "token")
    client.models()
    with pytest.raises(BackendError, match="does not fit"):
        client.submit(JobRequest("r.tif", "m", []))
    assert server.connections == 2 and server.requests == ["GET", "POST"]


def test_calls_from_many_threads_do_not_mix(counting):
    server = counting(1000)
    client = Client(server.base, "token")
    answers = []
    threads = [threading.Thread(target=lambda: answers.extend(client.models() for _ in range(25))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == [[]] * 200 and len(server.requests) == 200 and server.connections < 100


def test_backend_that_is_not_there():
    with pytest.raises(BackendError, match="does not answer") as caught:
        Client("http://127.0.0.1:9/", "token").info()
    assert caught.value.code == "unreachable" and caught.value.status == 0


def test_refusals_are_told_by_their_codes(supervisor):
    client = started(supervisor()).client
    with pytest.raises(BackendError) as caught:
        Client(client.base_url, "another token").info()
    assert (caught.value.code, caught.value.status) == ("unauthorised", 401)
    with pytest.raises(BackendError) as caught:
        client.submit(JobRequest("r.tif", "fake-rooftop", []))
    assert (caught.value.code, caught.value.status) == ("refused", 422)
    with pytest.raises(BackendError) as caught:
        client.job("none")
    assert (caught.value.code, caught.value.status) == ("job_missing", 404)


def test_product_is_fetched_and_the_job_forgotten(supervisor, raster, tmp_path):
    client = started(supervisor()).client
    job = client.submit(JobRequest(raster, "fake-rooftop", [ProductRequest(str(tmp_path / "m.tif"))]))
    wait(lambda: client.job(job.id).state == "finished")
    mask = client.job(job.id).result.product("mask")
    assert client.fetch(mask.href) == (tmp_path / "m.tif").read_bytes()
    client.delete(job.id)
    with pytest.raises(BackendError) as caught:
        client.job(job.id)
    assert caught.value.code == "job_missing"
