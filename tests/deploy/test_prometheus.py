"""Rules and queries in a real Prometheus that scrapes the service's own metrics."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from service.metrics import UNASSIGNED, Metrics
from service.quality_metrics import HIT_RANKS
from service.rollout.controller import gauges
from service.rollout_metrics import FleetMetrics
from service.session_metrics import SessionStoreMetrics
from service.types import Mode, RequestOutcome, Variant
from tests.support import prometheus_server, yaml_files
from tests.support.expressions import DEPLOY, everything, filled, queries
from tests.support.tools import need

pytestmark = pytest.mark.slow

FOLDER = DEPLOY / "prometheus"
START_SECONDS = 60
needs_prometheus = need("promtool", "prometheus")
VERSIONS = {Variant.STABLE: "phase-2", Variant.CANARY: "phase-3"}
MAY_BE_EMPTY = {
    "Alerts firing A",
    "annotation Guardrails",
    "annotation Rollout transitions",
    "annotation Model versions",
    "Shadow: P95 in the engine A",
    "Shadow: agreement with stable A",
    "Deliveries and backlog A",
    "Deliveries and backlog B",
}
"""The exporter's rollout has no firing alert, no transition, no webhook and no shadow step."""


def promtool(*arguments):
    done = subprocess.run(
        ["promtool", *arguments], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stdout + done.stderr


@needs_prometheus
def test_the_configuration_is_valid():
    promtool("check", "config", "prometheus.yml")


@needs_prometheus
def test_the_rules_pass_their_tests():
    promtool("test", "rules", "alerts.test.yml")


class Exporter:
    """The service's metrics over HTTP. Each scrape adds requests."""

    def __init__(self):
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry, timeout=10.0)
        gauges.create(self.metrics)
        metrics = self.metrics
        metrics.rollout.info.labels("Progressing", *VERSIONS.values()).set(1)
        metrics.rollout.reason.labels("step_passed").set(1)
        metrics.rollout.weight.labels("canary").set(0.25)
        metrics.rollout.weight.labels("stable").set(0.75)
        metrics.rollout.outlook.labels("looks_good").set(1)
        metrics.rollout.guardrail_ratio.labels("latency").set(1.02)
        for end, ratio in (("low", 0.9), ("high", 1.3)):
            metrics.rollout.guardrail_interval.labels("latency", end).set(ratio)
        for bound in ("expected", "earliest", "deadline"):
            metrics.rollout.decision_timestamp.labels(bound).set(time.time() + 60)
        metrics.rollout.guardrail_log_bound.labels("latency", "fail").set(5.7)
        metrics.show_versions([("phase-3", "CPUExecutionProvider", "int8")])
        metrics.expect_caller("search")
        metrics.sessions.set(3)
        metrics.session_bytes.set(3 * 8192)
        FleetMetrics(self.registry).publish(
            up=True,
            leads=True,
            revision=7,
            unread_seconds=0.5,
            replicas=3,
            withheld=False,
            outdated=False,
        )
        self.store = SessionStoreMetrics(self.registry)
        self.store.watch(lambda: True, lambda: 2)

    def scrape(self):
        self.store.observe(0.0003)
        self.store.claims.labels("begin").inc()
        for variant, version in VERSIONS.items():
            for mode in Mode:
                for i in range(20):
                    seconds = 0.01 * (1 + i / 10)
                    self.metrics.observe_request(variant, version, mode, RequestOutcome.OK, seconds)
                for outcome in (RequestOutcome.REJECTED, RequestOutcome.ERROR):
                    self.metrics.observe_request(variant, version, mode, outcome, 0.001)
                self.metrics.observe_request(UNASSIGNED, version, mode, RequestOutcome.OK, 0.01)
                self.metrics.observe_engine(variant, version, mode, 0.001, 0.01)
            self.metrics.quality.cosine.labels(variant).observe(0.7)
            self.metrics.quality.predictions.labels(variant).inc()
            for k in HIT_RANKS:
                self.metrics.quality.hits.labels(variant, k).inc()
            self.metrics.quality.key_share.labels(variant, version).observe(0.5)
            self.metrics.batch_size.labels(version).observe(4)
            self.metrics.queue_length.labels(version).set(1)
            self.metrics.engine_busy.labels(version).inc(0.2)
        return generate_latest(self.registry)


class Prometheus:
    """A running server on its own port."""

    def __init__(self, url):
        self.url = url

    def ask(self, path, **parameters):
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]

    def samples(self, expr):
        return self.ask("query", query=filled(expr))["result"]


@pytest.fixture(scope="module")
def exporter():
    source = Exporter()

    class ExpositionHandler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = source.scrape()
            # A scrape can time out on a busy machine; the next one follows.
            with contextlib.suppress(ConnectionError):
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), ExpositionHandler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def prometheus(exporter, tmp_path_factory):
    """The shipped configuration with another target, scrape interval and rules path."""
    folder = tmp_path_factory.mktemp("prometheus")
    config = yaml_files.load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s"}
    config["rule_files"] = [str(FOLDER / "alerts.yml")]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{exporter}"]}]
    with prometheus_server.running(folder, config) as address:
        server = Prometheus(address)
        _wait_for_scrapes(server, folder / "log")
        yield server


def _wait_for_scrapes(server, log):
    """Wait for a few successful scrapes, which rates need."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            found = server.samples('sum_over_time(up{job="nextvec"}[1m])')
            if found and float(found[0]["value"][1]) >= 3:
                return
        except OSError:
            pass
        time.sleep(0.1)
    pytest.fail(f"Prometheus did not scrape: {log.read_text(encoding='utf-8')}")


@needs_prometheus
def test_every_panel_has_data(prometheus):
    """Each query of the dashboard, as Grafana sends it, returns data."""
    empty = {name for name, expr in queries().items() if not prometheus.samples(expr)}

    assert set() == empty - MAY_BE_EMPTY


@needs_prometheus
def test_no_panel_shows_only_nan(prometheus):
    values = {
        name: [sample["value"][1] for sample in prometheus.samples(expr)]
        for name, expr in queries().items()
    }

    assert [] == [name for name, found in values.items() if found and set(found) == {"NaN"}]


@needs_prometheus
def test_the_server_accepts_every_expression(prometheus):
    """Only the server finds type errors, such as the rate of an instant vector."""
    for expr in everything().values():
        prometheus.samples(expr)


@needs_prometheus
def test_the_server_has_loaded_every_alert(prometheus):
    groups = prometheus.ask("rules", type="alert")["groups"]
    loaded = {rule["name"] for group in groups for rule in group["rules"]}

    assert loaded
    assert loaded <= everything().keys()
    assert all("err" != rule["health"] for group in groups for rule in group["rules"])


@needs_prometheus
def test_percentiles_and_the_limit_equal_the_recorded_durations(prometheus):
    """Both variants have the same durations; the P95 is 29 ms, the limit 1.2 times that."""
    panels = queries()
    (limit,) = prometheus.samples(panels["P95 per variant B"])
    p95 = prometheus.samples(panels["P95 per variant A"])

    assert pytest.approx(1.2 * 0.029, rel=0.1) == float(limit["value"][1])
    assert {"stable", "canary"} == {sample["metric"]["variant"] for sample in p95}
    for sample in p95:
        assert pytest.approx(0.029, rel=0.1) == float(sample["value"][1])
