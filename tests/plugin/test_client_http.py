"""Requests: where they go, and where they must not."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from qgis_plugin.client.http import Client
from qgis_plugin.client.schema import BackendError


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


def test_backend_that_is_not_there():
    with pytest.raises(BackendError, match="does not answer") as caught:
        Client("http://127.0.0.1:9/", "token").info()
    assert caught.value.code == "unreachable" and caught.value.status == 0
