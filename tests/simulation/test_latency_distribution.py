"""Distributions, from two figures or from a file."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from service.metrics import Metrics
from service.types import Mode, RequestOutcome
from simulation.latency_distribution import Z95, LatencyError, LognormalLatency, load


def test_a_lognormal_has_its_median_and_percentile():
    latency = LognormalLatency(0.05, 0.5)
    seconds = np.array([0.05, 0.05 * math.exp(0.5 * Z95)])
    assert [0.5, 0.95] == pytest.approx(latency.within(seconds))


def test_a_report_becomes_the_lognormal_through_its_percentiles(tmp_path):
    """Through stable's row with the most requests."""
    rows = [
        {"variant": "canary", "count": 900, "p50": 9.0, "p95": 9.9},
        {"variant": "stable", "count": 5, "p50": 1.0, "p95": 2.0},
        {"variant": "stable", "count": 500, "p50": 0.02, "p95": 0.05},
    ]
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"rows": rows}))
    assert [0.5, 0.95] == pytest.approx(load(path).within(np.array([0.02, 0.05])))


def metrics_text(count):
    metrics = Metrics(CollectorRegistry(), 10.0)
    for _ in range(count):
        for seconds in (0.01, 0.02, 0.04, 99.0):
            metrics.observe_request("stable", "a", Mode.STEP, RequestOutcome.OK, seconds)
        metrics.observe_request("stable", "a", Mode.PREFILL, RequestOutcome.OK, 5.0)
        metrics.observe_request("canary", "b", Mode.STEP, RequestOutcome.OK, 5.0)
        metrics.observe_request("stable", "a", Mode.STEP, RequestOutcome.REJECTED, 0.0001)
    return generate_latest(metrics.registry)


def test_the_histogram_of_metrics_is_taken_as_it_is(tmp_path):
    path = tmp_path / "metrics.txt"
    path.write_bytes(metrics_text(300))
    latency = load(path)
    found = latency.within(np.array([0.000_1, 0.005, 0.015, 0.03, 1.0, 1000.0]))
    assert [0, 0, 0.25, 0.5, 0.75, 0.75] == pytest.approx(found)
    assert "metrics.txt, step, 1200 requests" == latency.name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", "neither a report nor a copy"),
        ('{"rows": []}', "no row for stable"),
        ('{"rows": [{"variant": "stable", "count": 1, "p50": null, "p95": 1}]}', "neither"),
        (
            '{"rows": [{"variant": "stable", "count": 1, "p50": 2, "p95": 1}]}',
            "are not a distribution",
        ),
        ("nonsense {", "neither a report nor a copy"),
        ("", "0 stable requests"),
        (metrics_text(3).decode(), "12 stable requests"),
    ],
)
def test_a_file_without_latencies_is_refused(tmp_path, text, expected):
    path = tmp_path / "given"
    path.write_text(text)
    with pytest.raises(LatencyError, match=expected):
        load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(LatencyError, match="report\\.json, or a copy of /metrics"):
        load(tmp_path / "none")
