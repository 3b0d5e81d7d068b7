"""The analysis run: it reads the counters, updates the guardrails and assesses them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from service.rollout.analysis.counters import Counts
from service.rollout.analysis.guardrails.guardrail import Measurement
from service.rollout.analysis.guardrails.suite import GuardrailSuite
from service.rollout.analysis.shadow_stats import NAME, ShadowStats, assess_shadow
from service.rollout.analysis.sources.evidence_source import (
    EvidenceSource,
    Snapshot,
    counters_since,
)
from service.rollout.analysis.verdict import Assessment, assess
from service.rollout.plan.rollout_plan import RolloutPlan
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState

log = logging.getLogger(__name__)


async def start_analysis(
    source: EvidenceSource, record: RolloutRecord, baseline: dict[str, Counts], *, now: float
) -> RolloutRecord:
    """The record with the snapshot from which the canary's requests count.

    `baseline` are stable's requests before it, by mode. If the counters cannot be read the
    record is unchanged, and counting starts with the first analysis run.
    """
    rollout, plan = record.rollout, record.rollout.plan
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
        return record
    suite = GuardrailSuite.of(plan, source.edges, rollout.attempt)
    evidence = suite.initial_evidence(source.edges, baseline)
    return replace(record, evidence=evidence, snapshot=snapshot, analysed_at=now)


async def run_analysis(
    source: EvidenceSource,
    record: RolloutRecord,
    *,
    now: float,
    started_at: float,
    take_shadow_stats: Callable[[], ShadowStats] | None = None,
) -> tuple[RolloutRecord, Assessment, int]:
    """Read, update and assess once.

    Returns the record with the new evidence, its assessment, and the number of the
    canary's new requests. `now` and `started_at` (of this process) are epoch seconds.
    `take_shadow_stats` returns what the copies of a shadow step have shown since its last
    call. Any exception is the outcome `error` and leaves the record unchanged, so that the
    next run counts what this one could not.
    """
    rollout, plan = record.rollout, record.rollout.plan
    assert plan is not None
    assert rollout.canary is not None
    suite = GuardrailSuite.of(plan, source.edges, rollout.attempt)
    try:
        snapshot = await source.read(rollout.stable, rollout.canary)
        after, assessment, requests = judge_snapshot(
            record, suite, snapshot, edges=source.edges, now=now, started_at=started_at
        )
        if plan.steps[rollout.step].shadow and take_shadow_stats is not None:
            copies = take_shadow_stats()
            after = replace(after, shadow=_with_copies(after, copies))
            assessment, requests = with_shadow_verdict(after, assessment), copies.total
    except Exception as error:
        # A bug in the judging must hold the rollout too.
        log.exception("the counters could not be read or judged")
        text = str(error) or type(error).__name__
        return record, suite.error(text, rollout.step), 0
    return after, assessment, requests


def judge_snapshot(
    record: RolloutRecord,
    suite: GuardrailSuite,
    snapshot: Snapshot,
    *,
    edges: tuple[float, ...],
    now: float,
    started_at: float,
) -> tuple[RolloutRecord, Assessment, int]:
    """The pure part of `run_analysis`, without the shadow copies."""
    rollout, plan = record.rollout, suite.plan
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
        canary_only=plan.steps[rollout.step].whole,
        restarted=before is not None and before.origin != snapshot.origin,
    )
    evidence, assessment = suite.update(evidence, measurement, rollout.step)
    after = replace(record, evidence=evidence, snapshot=snapshot, analysed_at=now)
    requests = sum(arms.canary.total for arms in new.requests.values())
    return after, assessment, requests


def settled_at(rollout: RolloutState, plan: RolloutPlan, started_at: float) -> float:
    """When latency may be judged, in epoch seconds, once the canary is warm.

    The warm-up of the first step already ran at that step's weight, so it counts towards
    the settling.
    """
    settle = plan.settle_seconds
    since_step = max(0.0, settle - plan.warm_up_seconds) if rollout.step == 0 else settle
    return max(rollout.step_since + since_step, started_at + settle)


def last_assessment(record: RolloutRecord) -> Assessment | None:
    """The assessment of a stored record, after a restart; None without evidence."""
    rollout = record.rollout
    if record.evidence is None or rollout.plan is None:
        return None
    suite = GuardrailSuite.of(rollout.plan, record.evidence.edges, rollout.attempt)
    return with_shadow_verdict(record, suite.assess(record.evidence, rollout.step))


def with_shadow_verdict(record: RolloutRecord, assessment: Assessment) -> Assessment:
    """In a shadow step its own verdict decides, as does a guardrail that fails."""
    plan = record.rollout.plan
    assert plan is not None
    step = plan.steps[record.rollout.step]
    if not step.shadow or record.shadow is None:
        return assessment
    return assess([assess_shadow(record.shadow, step), *assessment.verdicts], frozenset({NAME}))


def _with_copies(record: RolloutRecord, new: ShadowStats) -> ShadowStats:
    """The record's statistics with the new copies. During the warm-up only faults count."""
    if not record.rollout.warmed:
        new = ShadowStats(new.edges, faults=new.faults)
    before = record.shadow
    return new if before is None or before.edges != new.edges else before.plus(new)
