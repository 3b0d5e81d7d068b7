"""Logs, traces and metrics of a real server, as the one on call meets them."""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.fakes import unit_vectors
from tests.support.ports import free_port
from tests.support.serving import NEXTVEC, START_SECONDS, TOKEN

DIM = 768
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
FORGED = "2026-01-01T00:00:00.000Z CRITICAL forged: line"


def exchange(server, raw):
    """Send bytes as they are; the response is not read to its end."""
    url = server.client.base_url
    with socket.create_connection((url.host, url.port), timeout=5) as connection:
        connection.sendall(raw)
        return connection.recv(4096)


def misbehave(server):
    """Requests whose text tries to get into the log."""
    server.append("alice", unit_vectors(1, dim=DIM))
    for path in (f"/none%0a{FORGED.replace(' ', '%20')}", "/%1b[31m%c2%85", "/v1/sessions/a%0ab"):
        exchange(server, f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
    exchange(server, b"GET / HTTP/1.1\r\nno colon\r\n\r\n")
    server.client.get("/v2", headers={"X-Request-Id": "r\x1b[31m"})
    server.client.get("/admin/v1/rollout", headers={"Authorization": f"Bearer {TOKEN}-not"})
    server.admin("POST", json={"canary": "phase-3"}, headers={"If-Match": '"0"'})
    aborted = server.admin("POST", "/abort", json={"reason": f"x\n{FORGED}\x1b[0m"})
    assert aborted.is_success, aborted.text
    server.predict(unit_vectors(2, dim=DIM), **TRACEPARENT)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_every_line_of_a_bad_day_is_one_json_event(serve, workers):
    """Nothing is forged; no token and no session id is written."""
    with serve(
        NEXTVEC_LOG__FORMAT="json", NEXTVEC_LOG__ACCESS_SHARE="1", NEXTVEC_HTTP__WORKERS=workers
    ) as server:
        misbehave(server)
    text = server.log.read_text()
    events = [json.loads(line) for line in text.splitlines()]

    assert all(event["time"].endswith("Z") and event["level"] for event in events)
    assert {"uvicorn.error", "service.inference.registry"} <= {e["logger"] for e in events}
    assert not any(event["message"].startswith("2026-01-01") for event in events)
    assert TOKEN not in text
    assert "alice" not in text
    assert "\x1b" not in text
    (traced,) = (event for event in events if event.get("trace_id") == TRACE)
    assert ("/v1/predict", 200, "stable", "phase-2") == tuple(
        traced[name] for name in ("path", "status", "variant", "version")
    )
    statuses = {event.get("status") for event in events}
    assert {200, 400, 401, 404} <= statuses


def test_every_line_of_a_bad_day_is_readable_text(serve):
    with serve(NEXTVEC_LOG__ACCESS_SHARE="1") as server:
        misbehave(server)
    lines = server.log.read_text().split("\n")

    assert all(line.isprintable() for line in lines)
    assert not any(line.startswith("2026-01-01") for line in lines)
    assert any(f"trace_id={TRACE}" in line and "status=200" in line for line in lines)


def test_a_log_that_nobody_reads_stops_no_request(models, tmp_path):
    """A pipe holds 64 KiB; the requests write several times as much."""
    reading, writing = os.pipe()
    port = free_port()
    command = [NEXTVEC, "serve", "--models", models, "--port", str(port)]
    environment = {
        **os.environ,
        "NEXTVEC_ROLLOUT__DATABASE": str(tmp_path / "state.db"),
        "NEXTVEC_LOG__ACCESS_SHARE": "1",
    }
    process = subprocess.Popen(command, env=environment, stderr=writing)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            wait_until_ready(client, process)
            for _ in range(1500):
                assert client.get("/v2/health/live").status_code == 200
    finally:
        process.terminate()
        assert 0 == process.wait(timeout=30)
        os.close(reading)
        os.close(writing)


def wait_until_ready(client, process):
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert process.poll() is None
        assert time.monotonic() < deadline
        try:
            if client.get("/v2/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)


@contextmanager
def collector():
    """An OTLP collector; yields its address and the spans that it gets."""
    spans = []

    class CollectorHandler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    spans.extend(scope.spans)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), CollectorHandler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/traces", spans
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_spans_arrive_at_a_collector_before_the_process_ends(serve, workers):
    """One trace, also if the request crosses processes."""
    with collector() as (endpoint, spans):
        with serve(
            NEXTVEC_TRACING__ENABLED="true",
            NEXTVEC_TRACING__ENDPOINT=endpoint,
            NEXTVEC_HTTP__WORKERS=workers,
        ) as server:
            server.predict(unit_vectors(2, dim=DIM), **TRACEPARENT)
        found = {span.name for span in spans if span.trace_id.hex() == TRACE}

    assert {"POST /v1/predict", "prefix cache", "queue", "engine"} == found


def test_a_collector_that_is_away_delays_neither_requests_nor_the_end(serve):
    endpoint = f"http://user:s3cret-word@127.0.0.1:{free_port()}/v1/traces?key=s3cret-word"
    with serve(NEXTVEC_TRACING__ENABLED="true", NEXTVEC_TRACING__ENDPOINT=endpoint) as server:
        for _ in range(5):
            server.predict(unit_vectors(2, dim=DIM))
        server.process.terminate()
        assert 0 == server.process.wait(timeout=20)
    log = server.log.read_text()
    assert "opentelemetry" in log, "it says that spans are lost"
    assert "s3cret-word" not in log


def test_a_server_counts_its_own_series(serve):
    """At most 4,000 with two versions in a rollout."""
    with serve("--canary", "phase-3") as server:
        server.admin("POST", json={"canary": "phase-3"}, headers={"If-Match": '"0"'})
        server.append("s", unit_vectors(1, dim=DIM))
        page = server.client.get("/metrics")

    assert "gzip" == page.headers["content-encoding"]
    series = [line for line in page.text.splitlines() if not line.startswith("#")]
    assert len(series) <= 4000
