"""Buckets that verdicts can use, and series that begin at zero."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from service.metrics import UNASSIGNED, Metrics, duration_buckets
from service.types import Mode, RequestOutcome, Variant


def test_one_point_two_times_an_edge_is_an_edge():
    """So both sides of the comparison are exact counts."""
    edges = duration_buckets(10.0)
    for lower, upper in zip(edges, edges[2:], strict=False):
        assert pytest.approx(1.2 * lower, rel=1e-12) == upper


@pytest.mark.parametrize("timeout", [0.5, 10.0, 60.0])
def test_the_top_edge_lies_above_the_timeout(timeout):
    """Otherwise two saturated variants would compare as equal."""
    assert duration_buckets(timeout)[-2] > timeout


def test_only_loaded_versions_are_shown():
    """An unloaded version, or one that moved to another provider, leaves no series."""
    metrics = Metrics(CollectorRegistry(), 10.0)
    metrics.show_versions([("phase-2", "CPU", "int8"), ("phase-3", "CPU", "fp32")])
    metrics.show_versions([("phase-3", "CUDA", "fp16")])
    shown = [sample.labels for sample in next(iter(metrics.version_info.collect())).samples]
    assert [{"version": "phase-3", "provider": "CUDA", "precision": "fp16"}] == shown


def test_expected_series_begin_at_zero():
    """For every mode and outcome, also of unassigned requests."""
    registry = CollectorRegistry()
    metrics = Metrics(registry, 10.0)
    metrics.expect([(Variant.CANARY, "phase-3")])
    for variant in ("canary", UNASSIGNED):
        for mode in Mode:
            for outcome in RequestOutcome:
                labels = {
                    "variant": variant,
                    "version": "phase-3",
                    "mode": mode.value,
                    "outcome": outcome.value,
                }
                name = "nextvec_request_duration_seconds_count"
                assert registry.get_sample_value(name, labels) == 0
