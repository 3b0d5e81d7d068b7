"""The registry's counters, and what is new since the last run."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client import CollectorRegistry

from service.metrics import UNASSIGNED, Metrics
from service.rollout.analysis.counters import Counters, Counts, CountsByArm
from service.rollout.analysis.sources.evidence_source import Snapshot, counters_since
from service.rollout.analysis.sources.registry_source import RegistrySource
from service.types import Mode, RequestOutcome
from tests.support.rollout_fakes import EDGES, bucket_counts


def observe(metrics, variant, version, outcome, seconds, mode="step"):
    metrics.observe_request(variant, version, Mode(mode), RequestOutcome(outcome), seconds)


def snapshot(stable=(), canary=(), origin="one", faults=0) -> Snapshot:
    arms = CountsByArm(bucket_counts(stable), bucket_counts(canary, faults))
    return Snapshot(origin, "a", "b", Counters({"step": arms}))


async def test_the_registry_is_read_by_variant_version_and_mode():
    metrics = Metrics(CollectorRegistry(), 10.0)
    source = RegistrySource(metrics)
    observe(metrics, "stable", "a", "ok", 0.1)
    observe(metrics, "canary", "b", "ok", 0.2)
    observe(metrics, "canary", "b", "ok", 100.0)
    observe(metrics, "canary", "b", "ok", 0.3, mode="prefill")
    observe(metrics, "canary", "other", "ok", 0.2)
    observe(metrics, UNASSIGNED, "b", "ok", 0.2)
    read = await source.read("a", "b")
    assert EDGES == source.edges
    assert (
        CountsByArm(bucket_counts([0.1]), bucket_counts([0.2, 100.0]))
        == read.counters.requests["step"]
    )
    assert CountsByArm(bucket_counts([]), bucket_counts([0.3])) == read.counters.requests["prefill"]


async def test_faults_count_whatever_they_took_and_callers_mistakes_do_not():
    """The duration of a caller who left counts: it waited at least that long."""
    metrics = Metrics(CollectorRegistry(), 10.0)
    for outcome in ("error", "timeout", "invalid", "rejected", "cancelled"):
        observe(metrics, "canary", "b", outcome, 0.001)
    read = await RegistrySource(metrics).read("a", "b")
    assert bucket_counts([0.001], faults=2) == read.counters.requests["step"].canary


async def test_every_duration_falls_into_the_bucket_the_guardrail_thinks_it_does():
    metrics = Metrics(CollectorRegistry(), 10.0)
    seconds = [*EDGES, *(edge * 1.01 for edge in EDGES)]
    for value in seconds:
        observe(metrics, "canary", "b", "ok", value)
    read = await RegistrySource(metrics).read("a", "b")
    assert bucket_counts(seconds) == read.counters.requests["step"].canary


def test_the_difference_of_two_snapshots_is_new():
    new = counters_since(snapshot([0.1], [0.2]), snapshot([0.1, 0.1, 5.0], [0.2], faults=3))
    assert {"step": CountsByArm(bucket_counts([0.1, 5.0]), bucket_counts([], 3))} == new.requests


def test_the_first_snapshot_only_starts_the_count():
    assert Counters() == counters_since(None, snapshot([0.1] * 9))


def test_other_versions_start_a_new_count():
    assert Counters() == counters_since(replace(snapshot([0.1]), canary="c"), snapshot([0.1] * 9))


def test_counters_of_another_process_started_from_zero():
    """Even if all of them already exceed their old values."""
    new = counters_since(snapshot([0.1] * 5), snapshot([0.1] * 9, origin="two"))
    assert bucket_counts([0.1] * 9) == new.requests["step"].stable


def test_a_counter_that_went_down_restarted_from_zero():
    """With all of its series, or the loss would look like a shift."""
    new = counters_since(snapshot([0.1] * 5), snapshot([0.1] * 3 + [9.0]))
    assert bucket_counts([0.1] * 3 + [9.0]) == new.requests["step"].stable


def test_a_mode_that_was_not_there_is_new():
    before = Snapshot("one", "a", "b", Counters())
    assert (
        Counts((0,) * len(EDGES) + (1,))
        == counters_since(before, snapshot([99.0])).requests["step"].stable
    )
