"""Exporters of the service's metrics, a fake Prometheus and a real one that scrapes them."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry, generate_latest

from service.metrics import Metrics
from service.rollout.analysis.sources.prometheus_response import (
    FAULT_METRIC,
    INFERENCE_METRIC,
    KEY_METRIC,
    REQUEST_METRIC,
)
from service.types import Mode, RequestOutcome
from tests.support import prometheus_server

WAIT_SECONDS = 60


@contextlib.contextmanager
def serving(answer):
    """Serve `answer(path)`, a (status, content type, body), and yield the port."""

    class PrometheusHandler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, kind, body = answer(self.path)
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), PrometheusHandler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def new_metrics() -> Metrics:
    """Metrics of a process with versions a and b loaded."""
    metrics = Metrics(CollectorRegistry(), 10.0)
    for variant, version in (("stable", "a"), ("canary", "b")):
        for mode in Mode:
            for outcome in RequestOutcome:
                metrics.requests.labels(variant, version, mode, outcome)
            metrics.request_duration.labels(variant, version, mode)
            metrics.inference_duration.labels(variant, version, mode)
    return metrics


def vector(targets: dict[str, Metrics], versions=("a", "b")) -> bytes:
    """The query response for both arms when each instance has these metrics."""
    result = [
        {
            "metric": {
                "__name__": sample.name,
                **sample.labels,
                "instance": instance,
                "job": "nextvec",
            },
            "value": [1.7e9, str(int(sample.value))],
        }
        for instance, metrics in targets.items()
        for instrument in (
            metrics.request_duration,
            metrics.requests,
            metrics.inference_duration,
            metrics.quality.key_share,
        )
        for family in instrument.collect()
        for sample in family.samples
        if sample.name in {REQUEST_METRIC, FAULT_METRIC, INFERENCE_METRIC, KEY_METRIC}
        and (sample.labels["variant"], sample.labels["version"])
        in zip(("stable", "canary"), versions, strict=True)
        and sample.labels.get("outcome", "error") in {"error", "timeout"}
    ]
    data = {"resultType": "vector", "result": result}
    return json.dumps({"status": "success", "data": data}).encode()


class ScrapeTarget:
    """Metrics as of the last `settle`, for a real Prometheus to scrape."""

    def __init__(self):
        self.metrics = new_metrics()
        self.url = ""
        self._number = 0
        self._render()

    def _render(self):
        self._number += 1
        self._body = generate_latest(self.metrics.registry) + f"settled {self._number}\n".encode()

    def answer(self, path):
        return 200, "text/plain; version=0.0.4", self._body

    def settle(self):
        """Wait until the server at `url` has stored the present counts."""
        self._render()
        deadline = time.monotonic() + WAIT_SECONDS
        while self._stored() != self._number:
            assert time.monotonic() < deadline, self.url
            time.sleep(0.02)

    def _stored(self):
        """The number of the newest stored scrape, 0 if there is none."""
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/query?query=settled") as answer:
                result = json.load(answer)["data"]["result"]
        except OSError:
            return 0
        return int(result[0]["value"][1]) if result else 0


@contextlib.contextmanager
def prometheus(folder, target):
    """Run a real server that scrapes `target` twice a second; yield its address."""
    config = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"},
        "scrape_configs": [
            {"job_name": "nextvec", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
        ],
    }
    with prometheus_server.running(folder, config) as address:
        yield address
