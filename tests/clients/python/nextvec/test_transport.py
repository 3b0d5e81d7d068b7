"""Which errors of a connection may pass with time."""

from __future__ import annotations

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from nextvec.client import Client
from nextvec.errors import RequestTimeoutError, TransportError
from nextvec.exchange import Call
from nextvec.transport import http_options, to_failure
from tests.support.tls_files import make_certificate

CALL = Call("GET", "/v2", timeout=3.0)


@pytest.mark.parametrize(
    ("error", "permanent"),
    [
        (httpx.ConnectError("refused"), False),
        (httpx.ReadError("reset"), False),
        (httpx.RemoteProtocolError("disconnected"), False),
        (httpx.ReadTimeout("slow"), False),
        (TimeoutError(), False),
        (httpx.ProxyError("no"), False),
        (httpx.UnsupportedProtocol("no"), True),
        (httpx.LocalProtocolError("a header"), True),
    ],
)
def test_only_a_connection_can_come_back(error, permanent):
    failure = to_failure(CALL, error)
    assert permanent is failure.permanent
    assert "GET /v2" in str(failure.error)
    assert error is failure.error.__cause__


def test_a_certificate_that_is_not_trusted_stays_so():
    error = httpx.ConnectError("certificate verify failed")
    error.__cause__ = ssl.SSLCertVerificationError("self-signed certificate")
    assert to_failure(CALL, error).permanent


def test_a_timeout_says_how_long_it_was():
    failure = to_failure(CALL, httpx.ReadTimeout(""))
    assert RequestTimeoutError is type(failure.error)
    assert "within 3 s" in str(failure.error)


def test_a_file_without_authorities_is_refused(tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(OSError, match=r"(?i)pem|certificate|ssl"):
        http_options(tmp_path / "ca.pem", 10)


@pytest.fixture
def tls_server(tmp_path):
    """A server that speaks TLS with a certificate of its own, and that file."""
    make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), ReadyHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}", tmp_path / "tls.crt"
    server.shutdown()
    thread.join()
    server.server_close()


class ReadyHandler(BaseHTTPRequestHandler):
    """Answers every request with an empty 200."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


def test_a_service_with_an_authority_of_its_own_is_trusted_by_its_file(tls_server):
    """Without the file it is refused at once: no number of attempts would help."""
    url, authority = tls_server
    with Client(url, ca=authority) as client:
        assert client.is_ready()
    with Client(url) as client, pytest.raises(TransportError, match=r"(?i)certificate") as raised:
        client.session("a").info()
    assert not getattr(raised.value, "__notes__", [])
