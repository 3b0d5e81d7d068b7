"""Envoy with the shipped rules, in front of replicas that die."""

from __future__ import annotations

import contextlib
import http.server
import subprocess
import threading
import time

import httpx
import pytest

from loadtest.fleet.balancer import envoy_config, render
from loadtest.fleet.programs import find_program
from tests.support.serving import free_port
from tests.support.tools import need


class ReplicaHandler(http.server.BaseHTTPRequestHandler):
    """Answers every request with 200."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *arguments):
        """Keep the output of the tests short."""


@pytest.fixture
def replicas():
    """Three small servers, as a stack each that stops one."""
    with contextlib.ExitStack() as all_replicas:
        running = []
        for _ in range(3):
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ReplicaHandler)
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            stack = all_replicas.enter_context(contextlib.ExitStack())
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            running.append((server.server_address, stack))
        yield running


@contextlib.contextmanager
def envoy(replicas, folder, **changes):
    """Envoy in front of `replicas`; its cluster's settings are updated with `changes`."""
    port, admin = free_port(), free_port()
    config = envoy_config(("127.0.0.1", port), replicas, admin=("127.0.0.1", admin))
    (cluster,) = config["static_resources"]["clusters"]
    cluster.update(changes)
    (folder / "envoy.yaml").write_text(render(config), encoding="utf-8")
    command = [find_program("envoy"), "-c", folder / "envoy.yaml", "--concurrency", "1"]
    command += ["--use-dynamic-base-id", "--log-level", "error"]
    with (folder / "envoy.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            deadline = time.monotonic() + 30
            while not _answers(client):
                assert process.poll() is None, (folder / "envoy.log").read_text()
                assert time.monotonic() < deadline, (folder / "envoy.log").read_text()
                time.sleep(0.05)
            yield client
    finally:
        process.kill()
        process.wait()


def _answers(client):
    with contextlib.suppress(httpx.HTTPError):
        return client.get("/v2/health/ready").is_success
    return False


@need("envoy")
def test_every_session_finds_the_last_replica_before_the_probes_know(replicas, tmp_path):
    """Two of three replicas die at once. Here nothing takes them out but the retries."""
    addresses = [address for address, _ in replicas]
    with envoy(addresses, tmp_path, health_checks=[], outlier_detection={}) as client:
        for _, stack in replicas[1:]:
            stack.close()
        statuses = [
            client.post(f"/v1/sessions/s{number}/vectors?position=0", content=b"x").status_code
            for number in range(100)
        ]
    assert 100 * [200] == statuses
