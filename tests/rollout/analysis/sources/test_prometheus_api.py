"""The HTTP client of a Prometheus server: slow, wrong and missing servers."""

from __future__ import annotations

import asyncio
import base64
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest

from service.observability import request_scope
from service.rollout import assembly
from service.rollout.analysis.sources import prometheus_api
from service.rollout.analysis.sources.prometheus_api import (
    EvidenceError,
    PrometheusApi,
    prometheus_tls,
)
from service.rollout.analysis.sources.prometheus_source import PrometheusSource
from service.settings import RolloutSettings
from service.settings.loader import ConfigurationError
from tests.support.prometheus_fakes import new_metrics, serving
from tests.support.rollout_fakes import EDGES


async def query(url, timeout_seconds=5.0):
    return await PrometheusApi(url, timeout_seconds=timeout_seconds).query("up")


async def test_the_body_is_returned_as_it_was_sent():
    with serving(lambda path: (200, "application/json", path.encode())) as port:
        assert b"/api/v1/query?query=up" == await query(f"http://127.0.0.1:{port}/")


async def test_a_server_that_never_responds_is_given_up():
    ended = threading.Event()

    def wait(path):
        ended.wait(30)
        return 200, "application/json", b"{}"

    with serving(wait) as port:
        with pytest.raises(EvidenceError, match=r"did not respond within 0.05 s|did not finish"):
            await query(f"http://127.0.0.1:{port}", timeout_seconds=0.05)
        ended.set()


async def test_a_server_that_sends_byte_by_byte_is_disconnected():
    """Every read is in time, but the whole response is not."""
    disconnected = threading.Event()

    class DribblingHandler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(1000):
                    disconnected.wait(0.01)
                    self.wfile.write(b" ")
            except ConnectionError:
                disconnected.set()

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), DribblingHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            with pytest.raises(EvidenceError, match=r"did not finish its response in 0\.1 s"):
                await query(f"http://127.0.0.1:{server.server_port}", timeout_seconds=0.05)
            assert await asyncio.to_thread(disconnected.wait, 10)
        finally:
            disconnected.set()
            server.shutdown()
            thread.join()


async def test_an_error_status_is_quoted_with_its_body():
    with (
        serving(lambda path: (503, "text/plain", b"starting up" + b"." * 9999)) as port,
        pytest.raises(EvidenceError, match=r"status 503: starting up\.{400}") as caught,
    ):
        await query(f"http://127.0.0.1:{port}")
    assert len(str(caught.value)) < 600


async def test_a_redirect_is_not_followed():
    with (
        serving(lambda path: (302, "text/plain", b"elsewhere")) as port,
        pytest.raises(EvidenceError, match=r"redirects .status 302"),
    ):
        await query(f"http://127.0.0.1:{port}")


async def test_a_user_and_a_password_are_sent_and_never_shown():
    heard = []

    class BasicAuthHandler(BaseHTTPRequestHandler):
        def do_GET(self):
            heard.append(self.headers["Authorization"])
            self.send_response(503)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), BasicAuthHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            with pytest.raises(EvidenceError, match="status 503") as caught:
                await query(f"http://user:s3cr%40t@127.0.0.1:{server.server_port}/")
        finally:
            server.shutdown()
            thread.join()
    assert ["Basic " + base64.b64encode(b"user:s3cr@t").decode()] == heard
    with pytest.raises(EvidenceError, match="did not respond") as missing:
        await query("http://user:s3cr%40t@127.0.0.1:9")
    for text in (str(caught.value), str(missing.value), repr(missing.value.__cause__)):
        assert "s3cr" not in text
        assert "user" not in text


async def test_a_proxy_of_the_environment_is_not_used_for_this_machine(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with serving(lambda path: (200, "application/json", b"{}")) as port:
        assert b"{}" == await query(f"http://127.0.0.1:{port}")


async def test_a_response_that_is_too_large_is_given_up(monkeypatch):
    monkeypatch.setattr(prometheus_api, "MAX_BYTES", 1000)
    with (
        serving(lambda path: (200, "application/json", b" " * 1001)) as port,
        pytest.raises(EvidenceError, match="more than 1000 bytes"),
    ):
        await query(f"http://127.0.0.1:{port}")


async def test_without_a_server_the_error_says_what_to_check():
    with serving(lambda path: (200, "", b"")) as port:
        pass
    with pytest.raises(EvidenceError, match=r"did not respond within 5 s .*rollout.prometheus_url"):
        await query(f"http://127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({}, None),
        ({"prometheus_url": "http://user:s3cret@{host}/x"}, "Basic dXNlcjpzM2NyZXQ="),
        ({"prometheus_token": "s3cret"}, "Bearer s3cret"),
    ],
)
async def test_the_settings_say_how_to_log_in(settings, sent, caplog):
    heard = []

    class AuthorizationHandler(BaseHTTPRequestHandler):
        def do_GET(self):
            heard.append((self.path, self.headers["Authorization"]))
            self.send_response(503)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), AuthorizationHandler) as server:
        host = f"127.0.0.1:{server.server_port}"
        url = settings.get("prometheus_url", "http://{host}/x").format(host=host)
        source = assembly.evidence_source(
            RolloutSettings.model_validate({**settings, "prometheus_url": url}),
            new_metrics(),
        )
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            with pytest.raises(EvidenceError) as caught:
                await source.read("a", "b")
        finally:
            server.shutdown()
            thread.join()
    ((path, authorization),) = heard
    assert path.startswith("/x/api/v1/query")
    assert authorization == sent
    assert f"http://{host}/x" in str(caught.value)
    assert "s3cret" not in str(caught.value) + caplog.text


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("user", ["user:s3cret@", "s3cret@", "us%40er:s3cret%2Fmore@"])
async def test_a_server_that_repeats_the_request_shows_no_secret(status, user):
    """As some proxies do in their error pages."""

    class EchoHandler(BaseHTTPRequestHandler):
        def do_GET(self):
            content = f"{self.headers}".encode() * 20
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), EchoHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            url = f"http://{user}127.0.0.1:{server.server_port}"
            source = PrometheusSource(url, EDGES)
            with pytest.raises(EvidenceError) as caught:
                await source.read("a", "b")
        finally:
            server.shutdown()
            thread.join()
    given = user.rstrip("@").partition(":")
    plain = f"{unquote(given[0])}:{unquote(given[2])}"
    for secret in ("s3cret", base64.b64encode(plain.encode()).decode()):
        assert secret not in str(caught.value)


@pytest.mark.parametrize(
    "files",
    [
        {"prometheus_ca": "/no/ca.crt"},
        {"prometheus_certificate": "/no/client.crt", "prometheus_key": "/no/client.key"},
    ],
)
def test_tls_files_that_cannot_be_used_are_named(files):
    with pytest.raises(ConfigurationError, match="/no/"):
        prometheus_tls(RolloutSettings.model_validate(files))


async def test_a_query_carries_the_trace_of_the_analysis():
    headers = []

    class HeaderHandler(BaseHTTPRequestHandler):
        def do_GET(self):
            headers.append(self.headers["traceparent"])
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments):
            pass

    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with ThreadingHTTPServer(("127.0.0.1", 0), HeaderHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        with request_scope.entered({"traceparent": parent}):
            await query(f"http://127.0.0.1:{server.server_port}")
        await query(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()

    assert [parent, None] == headers
