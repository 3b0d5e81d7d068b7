"""Buckets that verdicts can use, and series that begin at zero."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from service.metrics import UNASSIGNED, Metrics, duration_buckets
from service.types import TIMED, Mode, RequestOutcome, Variant


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
                name = "nextvec_requests_total"
                assert registry.get_sample_value(name, labels) == 0


def test_only_answered_and_abandoned_requests_have_a_duration():
    """Faults, invalid and rejected requests are counted only."""
    registry = CollectorRegistry()
    metrics = Metrics(registry, 10.0)
    for outcome in RequestOutcome:
        metrics.observe_request("canary", "phase-3", Mode.STEP, outcome, 0.5)
    labels = {"variant": "canary", "version": "phase-3", "mode": "step"}
    name = "nextvec_request_duration_seconds_count"
    assert registry.get_sample_value(name, labels) == len(TIMED)
    for outcome in RequestOutcome:
        found = registry.get_sample_value("nextvec_requests_total", {**labels, "outcome": outcome})
        assert found == 1


def test_requests_that_outlive_their_version_make_no_series():
    """They end after the version was unloaded."""
    registry = CollectorRegistry()
    metrics = Metrics(registry, 10.0)
    metrics.expect([(Variant.CANARY, "phase-3")])
    metrics.show_versions([])
    metrics.observe_request("canary", "phase-3", Mode.STEP, RequestOutcome.ERROR, 0.5)
    metrics.observe_engine("canary", "phase-3", Mode.STEP, 0.1, 0.2)
    samples = [sample for family in registry.collect() for sample in family.samples]
    assert [] == [sample for sample in samples if sample.labels.get("version") == "phase-3"]
