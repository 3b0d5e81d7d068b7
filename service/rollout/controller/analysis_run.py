"""The analysis run: it reads the counters, updates the guardrails and assesses them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from service.observability import tracing
from service.rollout.analysis.counters import Counts
from service.rollout.analysis.guardrails.guardrail import Measurement
from service.rollout.analysis.guardrails.suite import GuardrailSuite
from service.rollout.analysis.shadow_stats import ShadowStats
from service.rollout.analysis.sources.evidence_source import (
    EvidenceSource,
    Snapshot,
    counters_since,
)
from service.rollout.outlook.condition import judged_since
from service.rollout.plan.guardrail_suite import guardrail_suite
from service.rollout.plan.rollout_plan import RolloutPlan
from service.rollout.state.assessment import with_shadow_verdict
from service.rollout.state.events import AnalysisBaseline, AnalysisResult
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState
from service.rollout.storage.errors import StoreError

log = logging.getLogger(__name__)


async def start_analysis(
    source: EvidenceSource, rollout: RolloutState, past: dict[str, Counts], *, now: float
) -> AnalysisBaseline | None:
    """Read the counters from which the canary's requests count; `now` is in epoch seconds.

    `past` are stable's requests before it, by mode. Returns None if the counters cannot be
    read: counting then starts with the first analysis run.
    """
    plan = rollout.plan
    assert rollout.canary is not None
    assert plan is not None
    try:
        snapshot = await source.read(rollout.stable, rollout.canary)
    except Exception as error:  # noqa: BLE001 - the first run reports it, and holds
        log.warning(
            "cannot read the counters before the rollout; the first analysis run will try again: "
            "%s",
            error,
        )
        return None
    suite = guardrail_suite(plan, source.edges, rollout.attempt)
    return AnalysisBaseline(suite.initial_evidence(source.edges, past), snapshot, now)


async def run_analysis(
    source: EvidenceSource,
    record: RolloutRecord,
    *,
    now: float,
    started_at: float,
    take_shadow_stats: Callable[[], ShadowStats] | None = None,
) -> AnalysisResult:
    """Read, update and assess once.

    `now` and `started_at` (of this process) are epoch seconds. `take_shadow_stats` returns
    what the copies of a shadow step have shown since its last call. Any exception is the
    outcome `error` and leaves the evidence unchanged, so that the next run counts what this
    one could not. Only a `StoreError` is raised: the store that replicas share is away.
    """
    rollout, plan = record.rollout, record.rollout.plan
    assert plan is not None
    assert rollout.canary is not None
    suite = guardrail_suite(plan, source.edges, rollout.attempt)
    try:
        with tracing.child("evidence", stable=rollout.stable, canary=rollout.canary):
            snapshot = await source.read(rollout.stable, rollout.canary)
        with tracing.child("verdict", step=rollout.step):
            result = judge_snapshot(
                record, suite, snapshot, edges=source.edges, now=now, started_at=started_at
            )
        if plan.steps[rollout.step].shadow:
            copies = snapshot.copies_since(record.snapshot)
            if copies is None and take_shadow_stats is not None:
                copies = take_shadow_stats()
            if copies is not None:
                result = _add_copies(record, result, copies)
    except StoreError:
        raise  # nothing is evaluated while the replicas' store is away
    except Exception as error:
        # A bug in the judging must hold the rollout too.
        log.exception("the counters could not be read or judged")
        text = str(error) or type(error).__name__
        return AnalysisResult(
            suite.error(text, rollout.step),
            0,
            record.evidence,
            record.snapshot,
            record.analysed_at,
            record.shadow,
        )
    return result


def judge_snapshot(
    record: RolloutRecord,
    suite: GuardrailSuite,
    snapshot: Snapshot,
    *,
    edges: tuple[float, ...],
    now: float,
    started_at: float,
) -> AnalysisResult:
    """The pure part of `run_analysis`, without the shadow copies."""
    rollout, plan = record.rollout, record.rollout.plan
    assert plan is not None
    evidence, before = record.evidence, record.snapshot
    if evidence is None or evidence.edges != edges:
        if evidence is not None:
            log.warning("the histogram's buckets have changed; the evidence starts again")
        evidence, before = suite.initial_evidence(edges, {}), None
    new = counters_since(before, snapshot)
    # Latency is judged only from counts whose whole interval lies after settling.
    settled = settled_at(rollout, plan, started_at)
    settled_throughout = record.analysed_at is not None and record.analysed_at >= settled
    measurement = Measurement(
        new,
        settled=rollout.warmed and settled_throughout,
        canary_only=plan.steps[rollout.step].takes_all,
        restarted=before is not None and _same_keys_may_come_again(before, snapshot),
    )
    evidence, assessment = suite.update(evidence, measurement, rollout.step)
    requests = sum(arms.canary.total for arms in new.requests.values())
    return AnalysisResult(assessment, requests, evidence, snapshot, now, record.shadow)


def _same_keys_may_come_again(before: Snapshot, now: Snapshot) -> bool:
    """Whether a process has begun or gone, which moves routing keys to another one."""
    return (before.origin, before.processes) != (now.origin, now.processes)


def settled_at(rollout: RolloutState, plan: RolloutPlan, started_at: float) -> float:
    """When latency may be judged, in epoch seconds, once the canary is warm.

    A process that has just started lets the traffic settle too.
    """
    return max(judged_since(rollout, plan), started_at + plan.settle_seconds)


def _add_copies(
    record: RolloutRecord, result: AnalysisResult, copies: ShadowStats
) -> AnalysisResult:
    """The result of a shadow step: its copies count in place of requests."""
    plan = record.rollout.plan
    assert plan is not None
    step = plan.steps[record.rollout.step]
    shadow = _with_copies(record, copies)
    return replace(
        result,
        assessment=with_shadow_verdict(step, shadow, result.assessment),
        canary_requests=copies.total,
        shadow=shadow,
    )


def _with_copies(record: RolloutRecord, new: ShadowStats) -> ShadowStats:
    """The record's statistics with the new copies. In the warm-up, only those without an answer."""
    if not record.rollout.warmed:
        new = ShadowStats(new.edges, faults=new.faults, dropped=new.dropped)
    before = record.shadow
    return new if before is None or before.edges != new.edges else before.plus(new)
