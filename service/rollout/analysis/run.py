"""One analysis run: from the counters to an assessment."""

from __future__ import annotations

import logging
from collections.abc import Callable

from service.rollout.analysis.counters import Counts
from service.rollout.analysis.guardrails.guardrail import Measurement
from service.rollout.analysis.guardrails.interference import InterferenceState
from service.rollout.analysis.guardrails.suite import Evidence, GuardrailSuite
from service.rollout.analysis.shadow_stats import ShadowStats
from service.rollout.analysis.sources.registry_source import EvidenceSource, Snapshot, since
from service.rollout.plan.rollout_plan import RolloutPlan
from service.rollout.state.assessment import add_shadow
from service.rollout.state.events import AnalysisBaseline, AnalysisResult
from service.rollout.state.record import RolloutRecord
from service.rollout.state.rollout_state import RolloutState

log = logging.getLogger(__name__)


async def start_analysis(
    source: EvidenceSource, rollout: RolloutState, past: dict[str, Counts], *, now: float
) -> AnalysisBaseline | None:
    """Read the counters before the canary's first request; `now` is in epoch seconds.

    `past` holds stable's earlier requests by mode. Returns None when the source cannot be
    read: counting then starts with the first analysis run.
    """
    assert rollout.canary is not None
    try:
        snapshot = await source.read(rollout.stable, rollout.canary)
    except Exception as error:  # noqa: BLE001 - the first analysis run reports it and holds
        log.warning("the counters cannot be read, the first analysis will retry: %s", error)
        return None
    evidence = Evidence(source.edges, interference=InterferenceState(past))
    return AnalysisBaseline(evidence, snapshot, now)


async def run_analysis(
    source: EvidenceSource,
    record: RolloutRecord,
    *,
    now: float,
    started_at: float,
    take_shadow_stats: Callable[[], ShadowStats] | None = None,
) -> AnalysisResult:
    """Measure, evaluate every guardrail and assess.

    `now` and `started_at`, the start of this process, are in epoch seconds.
    `take_shadow_stats` returns the statistics of shadow copies since its last call. Never
    raises: a problem becomes an assessment with the outcome `error`. The evidence is then
    unchanged, so the next run counts what this one could not.
    """
    plan = record.rollout.plan
    assert plan is not None
    suite = GuardrailSuite.of(plan, source.edges, record.rollout.attempt)
    try:
        return await _analyse(source, record, plan, suite, now, started_at, take_shadow_stats)
    except Exception as error:
        # A fault outside the guardrails must hold the rollout as well.
        log.exception("the evidence cannot be read or evaluated")
        message = str(error) or type(error).__name__
        return AnalysisResult(
            suite.unreadable(message, record.rollout.step),
            0,
            record.evidence,
            record.snapshot,
            record.analysed_at,
            record.shadow,
        )


async def _analyse(
    source: EvidenceSource,
    record: RolloutRecord,
    plan: RolloutPlan,
    suite: GuardrailSuite,
    now: float,
    started_at: float,
    take_shadow_stats: Callable[[], ShadowStats] | None,
) -> AnalysisResult:
    rollout = record.rollout
    assert rollout.canary is not None
    step = plan.steps[rollout.step]
    snapshot = await source.read(rollout.stable, rollout.canary)
    evidence, before = _start_from(source, record)
    new = since(before, snapshot)
    # A latency is judged only if its whole interval lies after warm-up and settling.
    settled = settled_at(rollout, plan, started_at)
    steady = record.analysed_at is not None and record.analysed_at >= settled
    measurement = Measurement(
        new,
        steady=rollout.warmed and steady,
        alone=step.takes_all,
        restarted=before is not None and before.origin != snapshot.origin,
    )
    evidence, assessment = suite.look(evidence, measurement, rollout.step)
    requests = sum(arms.canary.total for arms in new.requests.values())
    shadow = record.shadow
    if step.shadow and take_shadow_stats is not None:
        copies = take_shadow_stats()
        shadow = _add_copies(record, copies)
        assessment, requests = add_shadow(step, shadow, assessment), copies.total
    return AnalysisResult(assessment, requests, evidence, snapshot, now, shadow)


def _start_from(source: EvidenceSource, record: RolloutRecord) -> tuple[Evidence, Snapshot | None]:
    """The evidence so far and the counters that it includes."""
    if record.evidence is None:
        return Evidence(source.edges), None
    if record.evidence.edges != source.edges:
        log.warning("the histogram's buckets have changed; the evidence is reset")
        return Evidence(source.edges), None
    return record.evidence, record.snapshot


def settled_at(rollout: RolloutState, plan: RolloutPlan, started_at: float) -> float:
    """When latencies may be judged, in epoch seconds, if the canary is warm by then.

    The warm-up already had the first step's weight, so it counts as settling time there.
    """
    settle = plan.settle_seconds
    since_step = max(0.0, settle - plan.warm_up_seconds) if rollout.step == 0 else settle
    return max(rollout.step_since + since_step, started_at + settle)


def _add_copies(record: RolloutRecord, new: ShadowStats) -> ShadowStats:
    """The step's statistics with the new copies. Only faults count during the warm-up."""
    if not record.rollout.warmed:
        new = ShadowStats(new.edges, faults=new.faults)
    before = record.shadow
    return new if before is None or before.edges != new.edges else before.plus(new)
