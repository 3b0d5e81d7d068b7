"""The analysis run: what it reads, what it judges, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.rollout.analysis.counters import Counters, CountsByArm
from service.rollout.analysis.sources.evidence_source import Snapshot
from service.rollout.analysis.verdict import VerdictOutcome
from service.rollout.controller.analysis_run import (
    judge_snapshot,
    run_analysis,
    settled_at,
    start_analysis,
)
from service.rollout.plan.guardrail_suite import guardrail_suite
from service.rollout.state.events import Phase
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState
from tests.support.rollout_fakes import EDGES, QUICK, FakeEvidence, bucket_counts

ROLLOUT = RolloutState("a", Phase.PROGRESSING, canary="b", plan=QUICK, warmed=True)


def snapshot(count, origin="one") -> Snapshot:
    counts = bucket_counts([0.1] * count)
    return Snapshot(origin, "a", "b", Counters({"step": CountsByArm(counts, counts)}))


def judge(record, new, *, edges=EDGES, now=100.0):
    suite = guardrail_suite(QUICK, edges, 1)
    return judge_snapshot(record, suite, new, edges=edges, now=now, started_at=0.0)


@pytest.mark.parametrize(
    ("step", "step_since", "started_at", "expected"),
    [
        (0, 100.0, 0.0, 100.0),  # settle_seconds = 5 lie within the warm-up of 10
        (1, 100.0, 0.0, 105.0),
        (1, 100.0, 200.0, 205.0),  # a restart settles again
    ],
)
def test_latency_is_judged_after_settling(step, step_since, started_at, expected):
    rollout = replace(ROLLOUT, step=step, step_since=step_since)
    assert expected == settled_at(rollout, QUICK, started_at)


def test_only_requests_since_the_last_run_are_judged():
    first = judge(RolloutRecord(ROLLOUT), snapshot(50))
    assert 0 == first.canary_requests
    record = RolloutRecord(ROLLOUT, first.evidence, first.snapshot, first.analysed_at)
    second = judge(record, snapshot(80))
    assert 30 == second.canary_requests
    assert (snapshot(80), 100.0) == (second.snapshot, second.analysed_at)


def test_other_buckets_start_the_evidence_again(caplog):
    first = judge(RolloutRecord(ROLLOUT), snapshot(50))
    record = RolloutRecord(ROLLOUT, first.evidence, first.snapshot, first.analysed_at)
    other = judge(record, snapshot(80), edges=EDGES[:-1])
    assert 0 == other.canary_requests
    assert EDGES[:-1] == other.evidence.edges
    assert "the histogram's buckets have changed" in caplog.text


@pytest.mark.parametrize(("problem", "text"), [(OSError("gone"), "gone"), (OSError(), "OSError")])
async def test_an_exception_is_an_error_and_leaves_the_evidence_unchanged(problem, text):
    source = FakeEvidence()
    baseline = await start_analysis(source, ROLLOUT, {}, now=1.0)
    record = RolloutRecord(ROLLOUT, baseline.evidence, baseline.snapshot, baseline.analysed_at)
    source.error = problem
    result = await run_analysis(source, record, now=9.0, started_at=0.0)
    assert VerdictOutcome.ERROR is result.assessment.outcome
    assert f"error: {text}" in result.assessment.message
    assert (record.evidence, record.snapshot, 1.0) == (
        result.evidence,
        result.snapshot,
        result.analysed_at,
    )


async def test_without_counters_at_the_start_the_first_run_starts_the_count(caplog):
    source = FakeEvidence()
    source.error = OSError("gone")
    assert await start_analysis(source, ROLLOUT, {}, now=1.0) is None
    assert "the first analysis run will try again: gone" in caplog.text
